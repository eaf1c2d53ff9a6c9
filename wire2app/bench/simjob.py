"""Runs one job module in a simulation and gives back what it wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from wire2app.bench.context import Context
from wire2app.errors import ToolError
from wire2app.simulator import Design, bench_design, simulate

TIMEOUT_SECONDS = 240


def run_job(
    context: Context,
    module: str,
    sim: str,
    bus: str,
    name: str,
    settings: Mapping[str, Any],
    design: Design | None = None,
) -> Any:
    """The JSON that `module` left at the path `out` of its settings.

    A job reads its settings from the JSON file named by W2A_JOB: `out`, `bus`, `sim`, `seed` and
    those given here.  `name` tells its files under build/bench apart.  `design` is the toplevel,
    that of the bus if None.  Raises ToolError with the end of the log if the job failed.
    """
    folder = context.out / "runs" / f"{name}-{sim}-{bus}"
    folder.mkdir(parents=True, exist_ok=True)
    job, out = folder / "job.json", folder / "out.json"
    out.unlink(missing_ok=True)
    fixed = {"out": str(out), "bus": bus, "sim": sim, "seed": context.seed}
    job.write_text(json.dumps({**fixed, **settings}, indent=2) + "\n")
    result = simulate(
        design or bench_design(bus),
        module,
        sim=sim,
        seed=context.seed,
        env={"W2A_JOB": str(job)},
        work_dir=folder,
        timeout_seconds=TIMEOUT_SECONDS,
    )
    if not result.passed or not out.exists():
        failed = [f"{test}: {message}" for test, ok, message in result.tests if not ok]
        why = "; ".join([*filter(None, (result.reason,)), *failed]) or "it left no result"
        raise ToolError(f"{module} failed on {sim}, bus {bus}, see {result.log}: {why}.")
    return json.loads(out.read_text())
