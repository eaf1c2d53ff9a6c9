"""The NIC by itself, in clock cycles: latencies and line rate, driven at its rings.

Cycles are exact and the same in every run, so the spread is that of frames which reach the NIC at
different moments.  The job `tb.jobs.rtl_bench_job` says what each figure means.
"""

from __future__ import annotations

from wire2app.bench.context import Context
from wire2app.bench.figures import Figure, TreeDict
from wire2app.bench.simjob import run_job

JOB = "tb.jobs.rtl_bench_job"
SIM = "verilator"
BUS = "fast"
SIZES = (60, 64, 128, 256, 512, 1024, 1514)
QUICK_SIZES = (60, 1514)
FRAMES = 400
SAMPLES = 16
LATENCIES = (
    "wire_end_to_completion_cycles",
    "wire_end_to_irq_cycles",
    "doorbell_to_wire_cycles",
)


def run(context: Context) -> TreeDict:
    if not context.simulators(SIM):
        return {"linerate": []}
    settings = {
        "sizes": QUICK_SIZES if context.quick else SIZES,
        "frames": FRAMES // 4 if context.quick else FRAMES,
        "samples": SAMPLES,
    }
    result = run_job(context, JOB, SIM, BUS, "rtl", settings)
    latencies = {name: Figure(tuple(result.pop(name))) for name in LATENCIES}
    own = {name: Figure(tuple(values)) for name, values in result.pop("latency").items()}
    return {**latencies, "latency": own, **result}
