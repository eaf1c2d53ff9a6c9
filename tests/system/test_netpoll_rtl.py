"""Goroutines that park on EAGAIN, with the server's host behind the RTL NIC."""

from __future__ import annotations

from typing import Any

import cocotb
import pytest
from conftest import SEED, SIMS
from netpoll_echo import Echo

from tb import accounts
from tb.world import SECOND, SERVER, World, WorldSettings
from wire2app.simulator import bench_design, simulate

CONNECTIONS = 100


@cocotb.test()
async def netpoll_behind_the_nic(dut: Any) -> None:
    world = World(dut, WorldSettings(seed=SEED))
    await world.up()
    echo = Echo((world.server, world.client), SERVER, CONNECTIONS)
    await world.engine.run(stop=echo.ended, until=world.engine.now + 60 * SECOND)
    echo.check()
    await world.down()
    bad = [line for line in accounts.balance(world) if not line.ok]
    assert not bad, bad


@pytest.mark.parametrize("sim", SIMS)
def test_goroutines_park_and_are_woken_by_frames_of_the_nic(sim: str) -> None:
    simulate(
        bench_design(), "test_netpoll_rtl", sim=sim, seed=SEED, testcase="netpoll_behind_the_nic"
    ).check()
