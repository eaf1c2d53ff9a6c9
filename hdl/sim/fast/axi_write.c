/* The AXI slave's channels AW, W and B: bursts are put together, checked and answered.
 *
 * A burst reaches memory when it is answered, the latest moment AXI allows.
 */

#include <string.h>

#include "fast.h"

typedef struct {
    burst_t burst;
    uint32_t beats; /* that have come; those above MAX_BEATS are not kept */
    uint64_t strobes[MAX_BEATS];
    uint8_t data[MAX_BURST];
} write_t;

/* `queue` holds bursts in the order of their data: those with their address first, then complete
 * ones, then the one that comes in.  Addresses may run ahead.  `spare` has room for all of them. */
static struct {
    write_t **queue, **spare;
    int count, complete, paired, capacity, spares;
    burst_t *addresses;
    int address_count, address_capacity;
    int answering, busy;
    write_t *answer;
    int answer_ok;
    uint64_t chance;
} wr;

int write_busy(void) { return wr.busy; }
int write_idle(void) { return wr.count == 0 && !wr.answering && wr.address_count == 0; }

void write_reset(void)
{
    while (wr.count > 0)
        wr.spare[wr.spares++] = wr.queue[--wr.count];
    if (wr.answering)
        wr.spare[wr.spares++] = wr.answer;
    wr.complete = wr.paired = wr.address_count = wr.answering = wr.busy = 0;
    pins.awready = pins.wready = 1;
    pins.bvalid = pins.bid = pins.bresp = 0;
}

void write_open(uint64_t seed)
{
    write_reset();
    wr.chance = seed;
}

static write_t *open_write(void)
{
    if (wr.count > wr.complete)
        return wr.queue[wr.count - 1];
    if (wr.count + 1 >= wr.capacity) { /* one more may be in `answer` */
        wr.capacity = 2 * wr.capacity + 16;
        wr.queue = grown(wr.queue, wr.capacity, sizeof *wr.queue);
        wr.spare = grown(wr.spare, wr.capacity, sizeof *wr.spare);
    }
    write_t *w = wr.spares > 0 ? wr.spare[--wr.spares] : grown(NULL, 1, sizeof *w);
    w->beats = 0;
    wr.queue[wr.count++] = w;
    return w;
}

void write_beat(const uint8_t *data, uint64_t strobes, int last)
{
    write_t *w = open_write();
    if (w->beats < MAX_BEATS) {
        memcpy(w->data + w->beats * bus_width, data, bus_width);
        w->strobes[w->beats] = strobes;
    }
    w->beats++;
    if (last)
        wr.complete = wr.count;
}

void write_address(burst_t burst)
{
    if (wr.address_count == wr.address_capacity) {
        wr.address_capacity = 2 * wr.address_capacity + 16;
        wr.addresses = grown(wr.addresses, wr.address_capacity, sizeof *wr.addresses);
    }
    wr.addresses[wr.address_count++] = burst;
}

/* IHI 0022, A3.4.3: whether a beat strobes lanes it may not use. */
static void check_strobes(const burst_t *b, uint32_t index, uint64_t strobes)
{
    uint64_t lower = index == 0 ? b->addr : burst_first(b) + (uint64_t)index * b->size;
    uint64_t upper = burst_first(b) + (uint64_t)(index + 1) * b->size;
    uint64_t word = lower - lower % bus_width;
    uint64_t below = upper - word >= 64 ? UINT64_MAX : (1ULL << (upper - word)) - 1;
    uint64_t lanes = below & ~((1ULL << (lower - word)) - 1);
    if (strobes & ~lanes)
        report(REPORT_AXI,
               "write at %#llx: strobes %#llx of beat %u at %#llx leave the lanes %#llx",
               (unsigned long long)b->addr, (unsigned long long)strobes, index,
               (unsigned long long)lower, (unsigned long long)lanes);
}

/* Beats narrower than the bus: each on the lanes its address names. */
static uint32_t commit_narrow(const write_t *w, const uint8_t *mask)
{
    uint32_t worst = RESP_OKAY;
    for (uint32_t i = 0; i < w->burst.beats; i++) {
        uint64_t addr = burst_first(&w->burst) + (uint64_t)i * w->burst.size;
        uint32_t resp = host_write(addr - addr % bus_width, w->data + i * bus_width,
                                   mask + i * bus_width, bus_width);
        worst = resp > worst ? resp : worst;
    }
    return worst;
}

static uint32_t commit(const write_t *w)
{
    static uint8_t mask[MAX_BURST];
    const burst_t *b = &w->burst;
    if (w->beats != b->beats) {
        report(REPORT_AXI, "write at %#llx: WLAST at beat %u of %u", (unsigned long long)b->addr,
               w->beats, b->beats);
        return RESP_SLVERR;
    }
    if (b->size > bus_width)
        return RESP_SLVERR; /* reported with its address */
    int narrow = b->size != bus_width;
    for (uint32_t i = 0; i < b->beats; i++) {
        if (narrow || i == 0)
            check_strobes(b, i, w->strobes[i]);
        for (uint32_t lane = 0; lane < bus_width; lane++)
            mask[i * bus_width + lane] = w->strobes[i] >> lane & 1;
    }
    if (narrow)
        return commit_narrow(w, mask);
    return host_write(burst_first(b), w->data, mask, (uint64_t)b->beats * bus_width);
}

static void write_answer(uint64_t slot)
{
    const burst_t *pending[WINDOW];
    int count = wr.paired < WINDOW ? wr.paired : WINDOW;
    for (int i = 0; i < count; i++)
        pending[i] = &wr.queue[i]->burst;
    int index = next_due(pending, count, slot, &wr.chance);
    if (index < 0)
        return;
    write_t *w = wr.queue[index];
    memmove(&wr.queue[index], &wr.queue[index + 1], (--wr.count - index) * sizeof *wr.queue);
    wr.complete--;
    wr.paired--;
    pins.bresp = commit(w);
    pins.bid = w->burst.id;
    pins.bvalid = 1;
    wr.answer = w;
    wr.answering = 1;
    wr.answer_ok = pins.bresp == RESP_OKAY;
}

/* Give complete bursts the addresses that have come. */
static void pair(uint64_t slot)
{
    int taken = wr.complete - wr.paired;
    if (taken > wr.address_count)
        taken = wr.address_count;
    if (taken == 0)
        return;
    for (int i = 0; i < taken; i++) {
        write_t *w = wr.queue[wr.paired++];
        w->burst = wr.addresses[i];
        w->burst.due = slot + draw(&settings.write_latency, &wr.chance);
    }
    wr.address_count -= taken;
    memmove(wr.addresses, wr.addresses + taken, wr.address_count * sizeof *wr.addresses);
}

int write_step(int flags, uint64_t slot)
{
    int out = 0;
    pair(slot);
    if (flags & F_B && wr.answering) {
        dma_event(&wr.answer->burst, 1, wr.answer_ok, slot);
        wr.spare[wr.spares++] = wr.answer;
        wr.answering = pins.bvalid = 0;
        out = D_B;
    }
    if (wr.paired > 0 && !wr.answering && !paused(settings.stall[STALL_B], &wr.chance)) {
        write_answer(slot);
        out |= wr.answering ? D_B : 0;
    }
    wr.busy = wr.paired > 0 && !wr.answering;
    if (settings.stall[STALL_AW] || settings.stall[STALL_W]) {
        pins.awready = !paused(settings.stall[STALL_AW], &wr.chance);
        pins.wready = !paused(settings.stall[STALL_W], &wr.chance);
        out |= D_READY;
    }
    return out;
}
