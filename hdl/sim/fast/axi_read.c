/* The AXI slave's channels AR and R: bursts are read from memory and presented beat by beat.
 *
 * A burst sees memory when its first beat is presented, the latest moment AXI allows.
 */

#include <string.h>

#include "fast.h"

static struct {
    burst_t *pending;
    int count, capacity;
    burst_t current;
    int serving, ok, presented, busy;
    uint32_t beat; /* the next one to present */
    uint64_t chance;
    uint8_t data[MAX_BURST];
} rd;

int read_busy(void) { return rd.busy; }
int read_idle(void) { return rd.count == 0 && !rd.serving; }

void read_reset(void)
{
    rd.count = rd.serving = rd.presented = rd.busy = 0;
    pins.arready = 1;
    pins.rvalid = pins.rlast = pins.rid = pins.rresp = 0;
    memset(pins.rdata, 0, sizeof pins.rdata);
}

void read_open(uint64_t seed)
{
    read_reset();
    rd.chance = seed;
}

void read_address(burst_t burst)
{
    if (rd.count == rd.capacity) {
        rd.capacity = 2 * rd.capacity + 16;
        rd.pending = grown(rd.pending, rd.capacity, sizeof *rd.pending);
    }
    burst.due = burst.slot + draw(&settings.read_latency, &rd.chance);
    rd.pending[rd.count++] = burst;
}

static void fetch(uint64_t slot)
{
    const burst_t *pending[WINDOW];
    int count = rd.count < WINDOW ? rd.count : WINDOW;
    for (int i = 0; i < count; i++)
        pending[i] = &rd.pending[i];
    int index = next_due(pending, count, slot, &rd.chance);
    if (index < 0)
        return;
    rd.current = rd.pending[index];
    memmove(&rd.pending[index], &rd.pending[index + 1],
            (--rd.count - index) * sizeof *rd.pending);
    pins.rresp = host_read(rd.current.addr, burst_end(&rd.current), rd.current.size, rd.data);
    pins.rid = rd.current.id;
    pins.rlast = 0;
    rd.serving = 1;
    rd.ok = pins.rresp == RESP_OKAY;
    rd.beat = 0;
}

static void present(void)
{
    uint32_t size = rd.current.size;
    uint64_t addr = burst_first(&rd.current) + (uint64_t)rd.beat * size;
    if (size < bus_width)
        memset(pins.rdata, 0, bus_width);
    /* A beat wider than the bus, which is reported, starts in lane 0. */
    memcpy(pins.rdata + addr % bus_width, rd.data + (size_t)rd.beat * size, size);
    rd.beat++;
    pins.rlast = rd.beat == rd.current.beats;
    pins.rvalid = 1;
    rd.presented = 1;
}

int read_step(int flags, uint64_t slot)
{
    int out = 0, was = rd.presented;
    if (flags & F_R) {
        rd.presented = 0;
        if (rd.serving && rd.beat == rd.current.beats) {
            dma_event(&rd.current, 0, rd.ok, slot);
            rd.serving = 0;
        }
    }
    if (!rd.presented) {
        if (!rd.serving)
            fetch(slot);
        if (rd.serving && !paused(settings.stall[STALL_R], &rd.chance)) {
            present();
            out = D_R;
        } else if (was) {
            pins.rvalid = 0;
            out = D_R;
        }
    }
    rd.busy = !rd.presented && (rd.serving || rd.count > 0);
    if (settings.stall[STALL_AR]) {
        pins.arready = !paused(settings.stall[STALL_AR], &rd.chance);
        out |= D_READY;
    }
    return out;
}
