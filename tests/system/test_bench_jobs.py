"""The simulations behind `make bench` that need no long run: cycles of the NIC, two idle hours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wire2app.bench import idle, rtl, simjob
from wire2app.bench.context import Context
from wire2app.simulator import BUSES

SETTINGS = {"sizes": [60, 1514], "frames": 100, "samples": 4}
TWO_HOURS = 7200 * 10**9


def run(folder: Path, module: str, bus: str, settings: dict[str, Any]) -> Any:
    return simjob.run_job(Context(out=folder), module, "verilator", bus, "test", settings)


def test_cycles_of_the_nic_are_the_same_on_both_buses(tmp_path: Path) -> None:
    fast, pins = (run(tmp_path / bus, rtl.JOB, bus, SETTINGS) for bus in BUSES)
    assert fast == pins
    for name in rtl.LATENCIES:
        assert len(fast[name]) == 4 and min(fast[name]) > 0
    assert [row["frame_bytes"] for row in fast["linerate"]] == [60, 1514]
    for row in fast["linerate"]:
        assert row["drops"] == 0
        assert 0 < row["rx_fraction"] <= 1.001 and 0 < row["tx_fraction"] <= 1.001


def test_line_rate_both_ways_is_in_exact_cycles(tmp_path: Path) -> None:
    rates: Any = rtl.run(Context(quick=True, out=tmp_path))["linerate"]
    seen = rates["both_ways"]
    used, needed = seen.pop("tx_cycles"), seen.pop("wire_cycles")
    assert needed == round(sum(length + 24 for length in range(60, 459)) / 8)
    assert abs(used - needed) <= 12, "the gap is 12 bytes on average only"
    counts = {"frames": 400, "rx_frames": 400, "rx_drops": 0, "tx_frames": 400}
    assert seen == {"frame_bytes": "60-459", **counts}


@pytest.mark.parametrize("bus", BUSES)
def test_two_idle_hours_cost_next_to_no_cycles(tmp_path: Path, bus: str) -> None:
    """The job itself checks when the probe comes and how long TIME_WAIT lasts."""
    result = run(tmp_path, idle.JOB, bus, {})
    assert result["sim_ns"] > TWO_HOURS
    assert result["cycles"] < 20_000
