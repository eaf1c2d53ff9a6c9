"""RTL and model, the same random traffic: every completion, frame, byte and counter the same.

`SCOREBOARD_ROUNDS` makes it longer (`make coverage`).
"""

from __future__ import annotations

import os
from typing import Any

import cocotb
import pytest
from nic_harness import BUILDS, BUSES, SEED, SIMS, nic_test

from tb.scoreboard.compare import scoreboard
from tb.scoreboard.stops import stops_scoreboard
from tb.settings import BusSettings, Stalls
from wire2app.simulator import bench_design, simulate

ROUNDS = int(os.environ.get("SCOREBOARD_ROUNDS", "32"))
STOP_ROUNDS = max(2, ROUNDS // 4)  # each of two, with a restart between
STALLS = Stalls(aw=0.3, w=0.3, b=0.3, ar=0.3, r=0.3)


@nic_test("queues")
async def three_queues_agree(dut: Any) -> None:
    counters = await scoreboard(dut, SEED, ROUNDS)
    cocotb.log.info("scoreboard: %s", counters)
    assert counters["rx_frames"] > ROUNDS and counters["tx_frames"] > ROUNDS


@nic_test("queues")
async def stalls_change_nothing(dut: Any) -> None:
    await scoreboard(dut, SEED + 1, ROUNDS, BusSettings(stalls=STALLS))


@nic_test("queues")
async def rings_that_stop_agree_up_to_there(dut: Any) -> None:
    left = await stops_scoreboard(dut, SEED + 2, STOP_ROUNDS)
    assert left > STOP_ROUNDS, "stops with something behind them"


@pytest.mark.parametrize("bus", BUSES)
@pytest.mark.parametrize("sim", SIMS)
def test_scoreboard(sim: str, bus: str) -> None:
    rounds = ROUNDS if (sim, bus) == ("verilator", "fast") else min(ROUNDS, 8)
    simulate(
        bench_design(bus, **BUILDS["queues"]),
        __name__,
        sim=sim,
        seed=SEED,
        env={"NIC_BUILD": "queues", "SCOREBOARD_ROUNDS": str(rounds)},
        timeout_seconds=max(600, 2 * rounds),
    ).check()
