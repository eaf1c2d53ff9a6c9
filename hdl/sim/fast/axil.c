/* The AXI4-Lite master: the host's register accesses, one at a time and in order.
 *
 * Every read is answered with an event; a write only if somebody waits for it or it fails.
 */

#include <stdlib.h>

#include "fast.h"

typedef struct {
    uint32_t write, offset, value, wanted; /* wanted: somebody waits for the answer of a write */
} access_t;

static struct {
    access_t *queue, current;
    int head, count, capacity; /* a ring */
    int active, busy;
    int aw_delay, w_delay, ar_delay; /* cycles until valid rises; negative: it has, or shall not */
    uint64_t chance;
} axil;

int axil_busy(void) { return axil.busy; }
int axil_idle(void) { return !axil.active; }

static void access_end(uint32_t value, uint32_t resp)
{
    axil.active = 0;
    axil.busy = axil.count > 0;
    if (!axil.current.write)
        event(EV_READ, resp, value, axil.current.offset, 0, 0);
    else if (axil.current.wanted || resp != RESP_OKAY)
        event(EV_WRITE, resp, axil.current.wanted, axil.current.offset, 0, 0);
}

/* The access under way is answered with DECERR, queued ones go on. */
void axil_reset(void)
{
    axil.aw_delay = axil.w_delay = axil.ar_delay = -1;
    pins.awvalid = pins.wvalid = pins.arvalid = pins.addr = pins.wdata = 0;
    pins.bready = pins.rready = 1;
    if (axil.active)
        access_end(0, RESP_DECERR);
    axil.busy = axil.count > 0;
}

void axil_open(uint64_t seed)
{
    axil.active = axil.count = 0;
    axil_reset();
    axil.chance = seed;
}

static void put(access_t access)
{
    if (axil.count == axil.capacity) {
        int capacity = 2 * axil.capacity + 16;
        access_t *queue = grown(NULL, capacity, sizeof *queue);
        for (int i = 0; i < axil.count; i++)
            queue[i] = axil.queue[(axil.head + i) % axil.capacity];
        free(axil.queue);
        axil.queue = queue;
        axil.head = 0;
        axil.capacity = capacity;
    }
    axil.queue[(axil.head + axil.count++) % axil.capacity] = access;
    axil.busy = 1;
}

void axil_read(uint32_t offset) { put((access_t){0, offset, 0, 1}); }

void axil_write(uint32_t offset, uint32_t value, uint32_t wanted)
{
    put((access_t){1, offset, value, wanted});
}

static void issue_step(int *delay, uint32_t *valid)
{
    if (*delay == 0)
        *valid = 1;
    --*delay;
}

static void issue(int *delay, uint32_t *valid)
{
    *delay = 0;
    while (paused(settings.stall[STALL_AXIL], &axil.chance))
        ++*delay;
    issue_step(delay, valid);
}

static void begin(void)
{
    axil.current = axil.queue[axil.head];
    axil.head = (axil.head + 1) % axil.capacity;
    axil.count--;
    axil.active = 1;
    pins.addr = axil.current.offset;
    pins.wdata = axil.current.value;
    if (axil.current.write) {
        issue(&axil.aw_delay, &pins.awvalid);
        issue(&axil.w_delay, &pins.wvalid);
    } else {
        issue(&axil.ar_delay, &pins.arvalid);
    }
    /* Without stalls nothing is to be done until the NIC answers, which the flags tell. */
    axil.busy = settings.stall[STALL_AXIL] != 0;
}

static void write_cycle(int flags, uint32_t resp)
{
    uint64_t stall = settings.stall[STALL_AXIL];
    pins.awvalid &= !(flags & F_AXIL_AW);
    pins.wvalid &= !(flags & F_AXIL_W);
    if (flags & F_AXIL_B) {
        access_end(0, resp);
    } else if (stall) {
        issue_step(&axil.aw_delay, &pins.awvalid);
        issue_step(&axil.w_delay, &pins.wvalid);
        pins.bready = !paused(stall, &axil.chance);
    }
}

static void read_cycle(int flags, uint32_t rdata, uint32_t resp)
{
    uint64_t stall = settings.stall[STALL_AXIL];
    pins.arvalid &= !(flags & F_AXIL_AR);
    if (flags & F_AXIL_R) {
        access_end(rdata, resp);
    } else if (stall) {
        issue_step(&axil.ar_delay, &pins.arvalid);
        pins.rready = !paused(stall, &axil.chance);
    }
}

int axil_step(int flags, uint32_t rdata, uint32_t resp)
{
    if (axil.active && axil.current.write)
        write_cycle(flags, resp);
    else if (axil.active)
        read_cycle(flags, rdata, resp);
    if (!axil.active) {
        if (axil.count > 0)
            begin();
        else
            axil.busy = 0;
    }
    return D_AXIL;
}
