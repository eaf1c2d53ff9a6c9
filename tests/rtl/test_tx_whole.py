"""tx_whole: a frame is shown when it is whole, or can never be."""

from __future__ import annotations

from typing import Any

import cocotb
import pytest
from cocotb.triggers import FallingEdge, ReadOnly
from conftest import SEED, SIMS
from wire_side_common import start_clock_and_reset

from wire2app.simulator import Design, nic_sources, simulate

QUEUES = 3
MOST = 24  # descriptors of a frame


class Whole:
    """tx_whole before the first ring, with its indices; the others stand."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.fetched = self.consumed = self.running = self.log2_entries = 0

    @classmethod
    async def begin(cls, dut: Any) -> Whole:
        inputs = ("running", "log2_entries", "fetched", "consumed")
        events = ("fetch_push", "fetch_last", "pop", "pop_last")
        await start_clock_and_reset(dut, **dict.fromkeys((*inputs, *events), 0))
        return cls(dut)

    async def start(self, log2_entries: int) -> None:
        """The ring starts (again)."""
        self.fetched = self.consumed = self.running = 0
        self.log2_entries = log2_entries
        await self.clocks(3)
        self.running = 1

    async def clock(self, push: bool = False, pop: bool = False, last: bool = False) -> bool:
        """Two clocks, something may happen in the first: whether a frame is whole in the second."""
        dut = self.dut
        await FallingEdge(dut.clk)
        dut.running.value, dut.log2_entries.value = self.running, self.log2_entries
        dut.fetched.value, dut.consumed.value = self.fetched, self.consumed
        dut.fetch_push.value, dut.pop.value = int(push), int(pop)
        dut.fetch_last.value = dut.pop_last.value = int(last)
        self.fetched += push
        self.consumed += pop
        await FallingEdge(dut.clk)
        dut.fetched.value, dut.consumed.value = self.fetched, self.consumed
        dut.fetch_push.value = dut.pop.value = 0
        await ReadOnly()
        return bool(int(dut.whole.value))

    async def clocks(self, count: int) -> set[bool]:
        return {await self.clock() for _ in range(count)}


@cocotb.test()
async def a_frame_is_whole_with_its_last_descriptor_or_when_no_more_can_come(dut: Any) -> None:
    bench = await Whole.begin(dut)
    for log2, most in ((1, 2), (3, 8), (4, 16), (5, MOST + 1), (15, MOST + 1)):
        await bench.start(log2)
        for number in range(1, most):
            assert not await bench.clock(push=True) and await bench.clocks(3) == {False}, number
        await bench.clock(push=True)
        await bench.clocks(1)
        assert await bench.clocks(3) == {True}, "it cannot become whole"
        await bench.start(log2)
        if most > 2:
            assert not await bench.clock(push=True)
        assert await bench.clock(push=True, last=True)
        if most > 2:
            await bench.clock(pop=True)
        assert await bench.clocks(3) == {True}
        assert not await bench.clock(pop=True, last=True) and await bench.clocks(3) == {False}


@cocotb.test()
async def what_an_earlier_ring_held_makes_no_frame_of_the_next_whole(dut: Any) -> None:
    bench = await Whole.begin(dut)
    await bench.start(6)
    for _ in range(8):
        assert not await bench.clock(push=True)
    await bench.clocks(3)
    await bench.start(3)
    await bench.clocks(3)
    assert not await bench.clock(push=True) and await bench.clocks(3) == {False}


@pytest.mark.parametrize("sim", SIMS)
def test_tx_whole(sim: str) -> None:
    design = Design("tx_whole", nic_sources(), {"Queues": QUEUES})
    simulate(design, __name__, sim=sim, seed=SEED).check()
