"""Wall time of two hours without traffic over the RTL NIC: a keepalive connection is all there is.

The job `tb.jobs.idle_job` checks the virtual times and leaves `{"wall_s": ...}`.
"""

from __future__ import annotations

from wire2app.bench.context import Context
from wire2app.bench.figures import Figure, TreeDict
from wire2app.bench.simjob import run_job
from wire2app.simulator import BUSES

JOB = "tb.jobs.idle_job"
SIM = "verilator"


def run(context: Context) -> TreeDict:
    if not context.simulators(SIM):
        return {}
    walls = []
    for done in range(context.rounds):
        context.progress(done, context.rounds)
        walls.append(float(run_job(context, JOB, SIM, BUSES[0], "idle", {})["wall_s"]))
    return {"two_hours_wall_s": Figure(tuple(walls))}
