"""Idle is free: hours of silence over the RTL NIC cost no clock cycles, and timers keep time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import SEED, SIMS

from wire2app.simulator import bench_design, simulate

HOURS_NS = 7200 * 10**9


@pytest.mark.parametrize("bus", ("fast", "pins"))
@pytest.mark.parametrize("sim", SIMS)
def test_two_hours_of_keepalive_and_time_wait_pass_in_seconds(
    sim: str, bus: str, tmp_path: Path
) -> None:
    """The job itself checks when the probe, the close and the end of TIME_WAIT come."""
    job, out = tmp_path / "job.json", tmp_path / "out.json"
    job.write_text(json.dumps({"out": str(out), "seed": SEED}))
    simulate(
        bench_design(bus), "tb.jobs.idle_job", sim=sim, seed=SEED, env={"W2A_JOB": str(job)}
    ).check()
    result = json.loads(out.read_text())
    assert result["sim_ns"] > HOURS_NS
    # A dozen packets of a thousand cycles each; the time simulated has more than 10^12 cycles.
    assert result["cycles"] < 20_000
