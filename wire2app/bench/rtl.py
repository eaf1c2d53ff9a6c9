"""The NIC by itself, in clock cycles: latencies and line rate, driven at its rings.

Cycles are exact and the same in every run, so the spread is that of frames which reach the NIC at
different moments.  The job `tb.jobs.rtl_bench_job` says what each figure means, and
`tb.jobs.linerate_job` those of both directions at once.
"""

from __future__ import annotations

from wire2app.bench.context import Context
from wire2app.bench.figures import Figure, TreeDict
from wire2app.bench.simjob import run_job

JOB = "tb.jobs.rtl_bench_job"
BOTH_WAYS_JOB = "tb.jobs.linerate_job"
SIM = "verilator"
BUS = "fast"
SIZES = (60, 64, 128, 256, 512, 1024, 1514)
QUICK_SIZES = (60, 1514)
EVERY_SIZE = tuple(range(60, 9019))
QUICK_BOTH_WAYS = 400
HOST_LATENCY = 16  # cycles, both directions at once
FRAMES = 400
SAMPLES = 16
LATENCIES = (
    "wire_end_to_completion_cycles",
    "wire_end_to_irq_cycles",
    "doorbell_to_wire_cycles",
)


def run(context: Context) -> TreeDict:
    if not context.simulators(SIM):
        return {"linerate": {"one_way": []}}
    settings = {
        "sizes": QUICK_SIZES if context.quick else SIZES,
        "frames": FRAMES // 4 if context.quick else FRAMES,
        "samples": SAMPLES,
    }
    result = run_job(context, JOB, SIM, BUS, "rtl", settings)
    latencies = {name: Figure(tuple(result.pop(name))) for name in LATENCIES}
    own = {name: Figure(tuple(values)) for name, values in result.pop("latency").items()}
    rates = {"one_way": result.pop("linerate"), "both_ways": _both_ways(context)}
    return {**latencies, "latency": own, "linerate": rates, **result}


def _both_ways(context: Context) -> TreeDict:
    """One frame behind the other, a frame of each length in turn, both directions at once."""
    lengths = EVERY_SIZE[:QUICK_BOTH_WAYS] if context.quick else EVERY_SIZE
    settings = {"lengths": lengths, "queues": 1, "directions": "both", "latency": HOST_LATENCY}
    seen = run_job(context, BOTH_WAYS_JOB, SIM, BUS, "linerate", settings)
    return {
        "frame_bytes": f"{lengths[0]}-{lengths[-1]}",
        "frames": len(lengths),
        "rx_frames": seen["rx_frames"],
        "rx_drops": seen["rx_drops"],
        "tx_frames": seen["tx_frames"],
        "tx_cycles": seen["tx_cycles"],
        "wire_cycles": round(seen["line_cycles"]),
    }
