// The simulation loop of BUS=fast under Verilator, and its clock.
//
// A simulator that serves VPI asks after every evaluation whether anybody waits for a change of a
// signal, and a clock made of Verilog delays is a coroutine to be scheduled: together they cost as
// much as the NIC itself.  With BUS=fast the only signals that anybody may wait for are
// `attention`, `parked` and `idle` of the toplevel.  So as long as none of them changes and no
// timer of Python is due, this loop goes from one clock edge to the next with nothing in between;
// otherwise a time step is done in full, in the order of IEEE 1800, 4.4.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "Vtop.h"
#include "verilated.h"
#include "verilated_vpi.h"

#if VM_TRACE_FST
#include "verilated_fst_c.h"
#endif
#if VM_COVERAGE
#include "verilated_cov.h"
#endif

extern "C" void vlog_startup_routines_bootstrap(void);

namespace {

VerilatedContext *context;
Vtop *top;  // as all here, never deleted: Verilator's globals may be gone before ours

#if VM_TRACE_FST
VerilatedFstC *trace;

void open_trace(const char *path)
{
    context->traceEverOn(true);
    trace = new VerilatedFstC;
    top->trace(trace, 99);
    trace->open(path);
}

void dump()
{
    if (trace)
        trace->dump(context->time());
}

void close_trace()
{
    if (trace)
        trace->close();
}
#else
void open_trace(const char *) {}
void dump() {}
void close_trace() {}
#endif

void call_value_callbacks()
{
    while (VerilatedVpi::callValueCbs()) {
    }
}

void evaluate()
{
    do {
        top->eval_step();
        VerilatedVpi::clearEvalNeeded();
        VerilatedVpi::doInertialPuts();
        call_value_callbacks();
    } while (VerilatedVpi::evalNeeded());
}

// One time step with every callback that VPI knows.
void full_step()
{
    do {
        evaluate();
        VerilatedVpi::callCbs(cbReadWriteSynch);
        VerilatedVpi::doInertialPuts();
        call_value_callbacks();
    } while (VerilatedVpi::evalNeeded());
    top->eval_end_step();
    VerilatedVpi::callCbs(cbReadOnlySynch);
    dump();
}

// The clock of bench_clock.sv, by the same rules: it stands while `kick` equals `parked`, and goes
// on upon the grid on which it stopped.
class Clock {
public:
    std::uint64_t next() const { return next_; }

    // At next(): drive the pins.
    void tick()
    {
        const bool running = top->kick != top->parked;
        if (at_sample_) {
            top->clk = 0;
            top->sample = running;
            next_ = running ? next_ + HALF : NEVER;
            at_sample_ = !running;
        } else {
            top->sample = 0;
            top->clk = running;
            next_ += HALF;
            at_sample_ = true;
        }
    }

    // Python ran: it may have restarted the clock.
    void look()
    {
        if (next_ == NEVER && top->kick != top->parked) {
            const std::uint64_t now = context->time();
            next_ = now + PERIOD - (now + PERIOD - PHASE) % PERIOD;
        }
    }

    static constexpr std::uint64_t NEVER = UINT64_MAX;

private:
    static constexpr std::uint64_t PERIOD = 6400, HALF = PERIOD / 2, PHASE = 500;  // ps

    std::uint64_t next_ = PHASE;
    bool at_sample_ = true;
};

Clock bench_clock;

// To the next time at which something is due; false if nothing ever is.
bool advance()
{
    bench_clock.look();
    const std::uint64_t next = std::min<std::uint64_t>(VerilatedVpi::cbNextDeadline(),
                                                       bench_clock.next());
    if (next == Clock::NEVER)
        return false;
    context->time(next);
    VerilatedVpi::callCbs(cbNextSimTime);
    call_value_callbacks();
    VerilatedVpi::callTimedCbs();
    call_value_callbacks();
    if (next == bench_clock.next())
        bench_clock.tick();
    return true;
}

unsigned watched() { return top->attention | top->parked << 1 | top->idle << 2; }

// Clock edges only, until Python is due (false) or a watched signal has changed and Python has been
// told (true).
bool run_undisturbed()
{
    bench_clock.look();
    const std::uint64_t deadline = VerilatedVpi::cbNextDeadline();
    const unsigned before = watched();
    while (!context->gotFinish() && bench_clock.next() < deadline) {
        context->time(bench_clock.next());
        bench_clock.tick();
        top->eval_step();
        if (watched() != before) {
            full_step();
            return true;
        }
        top->eval_end_step();
        dump();
    }
    return false;
}

void end(void *)
{
    static bool ended = false;
    if (ended)
        return;
    ended = true;
    VerilatedVpi::callCbs(cbEndOfSimulation);
    close_trace();
#if VM_COVERAGE
    context->coveragep()->write("coverage.dat");
#endif
}

}  // namespace

int main(int argc, char **argv)
{
    context = Verilated::threadContextp();
    context->commandArgs(argc, argv);
    context->fatalOnVpiError(false);
    top = new Vtop(context, "");
    for (int i = 1; i + 1 < argc; i++)
        if (std::strcmp(argv[i], "--trace-file") == 0)
            open_trace(argv[i + 1]);

    vlog_startup_routines_bootstrap();
    Verilated::addExitCb(end, nullptr);
    VerilatedVpi::callCbs(cbStartOfSimulation);
    call_value_callbacks();
    full_step();
    bool called = true;  // Python ran in the last step: it may have asked for the next one
    while (!context->gotFinish() && advance()) {
        full_step();
        called = called ? false : !run_undisturbed();
    }
    top->final();
    end(nullptr);
    return context->errorCount() > 0;
}
