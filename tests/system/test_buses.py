"""One workload on both buses: every frame, burst, completion and counter is the same."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import cocotb
import pytest
from conftest import SEED, SIMS
from test_transfer import exchange

from pystack.core.trace import Record
from pystack.dev.wire import Impairment
from tb import accounts
from tb.settings import BusSettings, Resp
from tb.world import World, WorldSettings
from wire2app.simulator import bench_design, simulate

WORKLOADS = {
    "sound": WorldSettings(seed=SEED),
    "lossy": WorldSettings(seed=SEED, impairment=Impairment(loss=0.02, reorder=0.02)),
    "small ring, slow memory": WorldSettings(
        seed=SEED, ring_entries=4, bus_settings=BusSettings(read_latency=(90,), write_latency=(70,))
    ),
}
BYTES = 48 << 10


@cocotb.test()
async def workload(dut: Any) -> None:
    """Writes what it saw of frames, bursts, completions and counters, times included."""
    name = os.environ["W2A_WORKLOAD"]
    seen: dict[str, list[Any]] = {"frames": [], "bursts": [], "completions": []}
    settings = WORKLOADS[name]

    def frame(direction: str, data: bytes, start: int, end: int) -> None:
        digest = hashlib.sha256(data).hexdigest()[:16]
        seen["frames"].append([direction, len(data), digest, start, end])

    def received(record: Record) -> None:
        seen["completions"].append([record.time, *record.values])

    world = World(dut, WorldSettings(**{**vars(settings), "probes": [frame]}))
    world.bench.on_dma(lambda *burst: seen["bursts"].append(burst))
    await world.up()
    world.nic.tp_rx.attach(received)
    if name == "sound":  # and one error on the way
        world.bench.host.fail("write", resp=Resp.SLVERR, min_length=33, skip=20, times=1)
    await exchange(world, BYTES)
    counters = {
        "hw": world.hw_stats,
        "errors": dict(world.nic.hw_errors),
        "drops": accounts.drops(world),
        "bursts": [world.bench.host.served.reads, world.bench.host.served.write_bytes],
        "cycles": world.bench.cycles,
        "end": world.engine.now,
    }
    Path(os.environ["W2A_SEEN"]).write_text(json.dumps({**seen, "counters": counters}))


@pytest.mark.parametrize("sim", SIMS)
@pytest.mark.parametrize("name", WORKLOADS)
def test_both_buses_show_the_same_to_the_nanosecond(sim: str, name: str, tmp_path: Path) -> None:
    found = {}
    for bus in ("fast", "pins"):
        out = tmp_path / f"{bus}.json"
        env = {"W2A_WORKLOAD": name, "W2A_SEEN": str(out)}
        simulate(
            bench_design(bus), "test_buses", sim=sim, seed=SEED, testcase="workload", env=env
        ).check()
        found[bus] = json.loads(out.read_text())
    fast, pins = found["fast"], found["pins"]
    assert len(fast["frames"]) > 60 and len(fast["completions"]) > 20
    for what in fast:
        for number, (one, other) in enumerate(zip(fast[what], pins[what], strict=True)):
            assert one == other, f"{what} {number}"
    assert fast["counters"] == pins["counters"]
