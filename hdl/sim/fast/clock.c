/* The clock: which model has a cycle to do, and when the clock may stand.
 *
 * What `fast_top.sv` saw on the pins comes in first (`saw_*`), then `step`; while the NIC is in
 * reset no model looks.
 */

#include <time.h>

#include "fast.h"

#define F_AXIL (F_AXIL_AW | F_AXIL_W | F_AXIL_B | F_AXIL_AR | F_AXIL_R)

pins_t pins;

static struct {
    int held, ticking, quiet, redrive;
    uint32_t irq, rdata, resp;
} bench;

void clock_open(void)
{
    bench.held = bench.ticking = bench.quiet = 0;
    bench.redrive = 1;
    wake = 0;
}

/* `level`: the NIC is in reset, and every pin is driven again. */
void clock_hold(int level)
{
    bench.held = level;
    if (level) {
        bench.redrive = 1;
        wake = 0; /* Python reads what there is by itself */
    }
}

int held(void) { return bench.held; }

/* Somebody has work: run the clock and look at every cycle from the next on.  Returns whether the
 * clock was running. */
int request(void)
{
    int was = (int)shared.running;
    bench.quiet = 0;
    bench.ticking = 1;
    shared.running = 1;
    return was;
}

static uint64_t slot_at(uint64_t time_ps) { return (time_ps - PHASE_PS) / PERIOD_PS; }

/* The models that have something to do; returns what to drive, and in `again` whether one is to be
 * looked at in the next cycle even if nothing happens. */
static int step_models(int flags, uint64_t slot, int *again)
{
    int out = 0, idle = flags & F_IDLE;
    int write_restless = !idle && (settings.stall[STALL_AW] || settings.stall[STALL_W]);
    int read_restless = !idle && settings.stall[STALL_AR];
    sink_step(slot);
    if (source_busy())
        out |= source_step(slot);
    if (write_busy() || write_restless || flags & (F_AW | F_W | F_B))
        out |= write_step(flags, slot);
    if (read_busy() || read_restless || flags & (F_AR | F_R))
        out |= read_step(flags, slot);
    if (flags & F_IRQ)
        event(EV_IRQ, bench.irq, 0, 0, 0, 0);
    if (axil_busy() || flags & F_AXIL)
        out |= axil_step(flags, bench.rdata, bench.resp);
    *again = write_restless || read_restless || sink_busy() || source_busy() || write_busy()
             || read_busy() || axil_busy();
    return out;
}

/* Whether nothing has been under way for so long that the clock may stand. */
static int may_stop(int flags)
{
    return flags & F_IDLE && settings.idle_skip && write_idle() && read_idle() && axil_idle();
}

static int cycle(int flags, uint64_t slot)
{
    int again, out = step_models(flags, slot, &again);
    if (again) {
        bench.quiet = 0;
    } else if (may_stop(flags)) {
        again = ++bench.quiet < GUARD_CYCLES;
        if (!again) {
            shared.running = 0;
            shared.stops++;
            out |= D_STOP;
        }
    }
    bench.ticking = again;
    return out;
}

static int step(int flags, uint64_t time_ps)
{
    int out = 0;
    if (bench.redrive) {
        bench.redrive = 0;
        out = D_WIRE | D_READY | D_B | D_R | D_AXIL;
    }
    if (!bench.held && (flags & F_HAPPENS || bench.ticking)) {
        shared.ticks++;
        out |= cycle(flags, slot_at(time_ps));
        if (wake)
            out |= D_WAKE;
        wake = 0;
    }
    return out;
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* A cycle: flags in, what to drive out (D_*); measured if Python asks for it. */
int timed_step(int flags, uint64_t time_ps)
{
    if (!shared.profile)
        return step(flags, time_ps);
    uint64_t begin = now_ns();
    int out = step(flags, time_ps);
    shared.transactor_ns += now_ns() - begin;
    return out;
}

void saw_aw(uint64_t time_ps, uint32_t id, uint64_t addr, uint32_t len, uint32_t size,
            uint32_t type)
{
    if (!bench.held)
        write_address(take_address(slot_at(time_ps), id, addr, len, size, type, "write"));
}

void saw_ar(uint64_t time_ps, uint32_t id, uint64_t addr, uint32_t len, uint32_t size,
            uint32_t type)
{
    if (!bench.held)
        read_address(take_address(slot_at(time_ps), id, addr, len, size, type, "read"));
}

void saw_w(const uint8_t *data, uint64_t strobes, int last)
{
    if (!bench.held)
        write_beat(data, strobes, last);
}

void saw_axil(uint32_t rdata, uint32_t resp)
{
    bench.rdata = rdata;
    bench.resp = resp;
}

void saw_column(uint64_t time_ps, uint64_t data, uint8_t control)
{
    if (!bench.held)
        sink_column(slot_at(time_ps), data, control);
}

void saw_irq(uint32_t levels) { bench.irq = levels; }

void saw_violation(uint32_t bits)
{
    if (!bench.held)
        event(EV_VIOLATION, bits, 0, 0, 0, 0);
}
