"""rx_info: every stored frame finds its own value, whichever of value and end comes first."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import cocotb
import pytest
from cocotb.triggers import FallingEdge
from conftest import SEED, SIMS
from wire_side_common import start_clock_and_reset

from wire2app.simulator import Design, nic_sources, simulate

DEPTH = 8
HELD = DEPTH + 1  # values: those in the RAM but for a free row, and in two registers behind it
PERIOD = 12  # clocks from a frame's end to the next


class Taker:
    """Takes values as the engine does, and compares them with those of the stored frames."""

    def __init__(self, dut: Any, rng: random.Random) -> None:
        self.dut, self.rng = dut, rng
        self.held: deque[int] = deque()
        self.taken = 0

    async def clock(self, chance: float) -> None:
        """A clock with the inputs as they are set; a value that is there is taken by `chance`."""
        dut = self.dut
        ready = bool(int(dut.m_valid.value)) and self.rng.random() < chance
        dut.m_ready.value = int(ready)
        if ready:
            assert int(dut.m_value.value) == self.held.popleft(), f"after {self.taken} values"
            self.taken += 1
        await FallingEdge(dut.clk)


@cocotb.test()
async def values_stay_with_their_frames_when_the_store_is_full(dut: Any) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    taker = Taker(dut, rng)
    await start_clock_and_reset(dut, ended=0, stored=0, value_valid=0, value=0, m_ready=0)
    await FallingEdge(dut.clk)
    dropped = 0
    for number in range(400):
        value = rng.getrandbits(8)
        value_at, end_at, room = rng.randrange(2, 10), 6, True
        chance = 0.01 if number // 40 % 2 else 0.2
        for clock in range(PERIOD):
            dut.value_valid.value, dut.value.value = int(clock == value_at), value
            if clock in (value_at, end_at):
                room = room and len(taker.held) < HELD
            stored = clock == end_at and room and rng.random() < 0.9
            dut.ended.value, dut.stored.value = int(clock == end_at), int(stored)
            if stored:
                taker.held.append(value)
            dropped += clock == end_at and not room
            await taker.clock(chance)
    dut.value_valid.value = dut.ended.value = dut.stored.value = 0
    while taker.held:
        await taker.clock(1.0)
    assert dropped > 20, "never full"
    assert not int(dut.m_valid.value) and not int(dut.busy.value)


@pytest.mark.parametrize("sim", SIMS)
def test_rx_info(sim: str) -> None:
    design = Design("rx_info", nic_sources(), {"Width": 8, "Depth": DEPTH})
    simulate(design, __name__, sim=sim, seed=SEED).check()
