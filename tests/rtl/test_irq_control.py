"""irq_control: fires at the right event, holds the line while masked, and loses no completion."""

from __future__ import annotations

from typing import Any

import cocotb
import pytest
from axi_memory_common import CLOCK_PS
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer
from conftest import SEED, SIMS

from wire2app.simulator import Design, nic_sources, simulate

QUEUES = 2


class Bench:
    """Drives at falling edges; values of queue 0 are set by name, queue 1 stays quiet."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        Clock(dut.clk, CLOCK_PS, "ps").start()

    async def reset(self, cycles: int = 0, count: int = 0, mask: int = 0) -> None:
        quiet = dict.fromkeys(("rx_completed", "tx_completed", "rx_start", "tx_start"), 0)
        quiet |= dict.fromkeys(("failed", "arm", "arm_rx_consumer", "arm_tx_consumer"), 0)
        self.set(**quiet, mask=mask, moderation_cycles=cycles, moderation_count=count)
        self.dut.rst.value = 1
        await self.clocks(3)
        self.dut.rst.value = 0
        await self.clocks(1)

    def set(self, **values: int) -> None:
        for name, value in values.items():
            getattr(self.dut, name).value = value

    async def clocks(self, count: int) -> None:
        for _ in range(count):
            await FallingEdge(self.dut.clk)

    async def arm(self, rx: int = 0, tx: int = 0) -> None:
        self.set(arm=1, arm_rx_consumer=rx, arm_tx_consumer=tx)
        await self.clocks(1)
        self.set(arm=0)

    def bit(self, name: str, queue: int = 0) -> int:
        return int(getattr(self.dut, name).value) >> queue & 1

    async def clocks_until_irq(self, limit: int = 200) -> int:
        for passed in range(limit):
            if self.bit("irq"):
                return passed
            await self.clocks(1)
        raise AssertionError(f"no interrupt within {limit} clocks")

    async def stays_low(self, clocks: int = 60) -> None:
        for _ in range(clocks):
            assert not self.bit("irq")
            await self.clocks(1)


@cocotb.test()
async def first_completion_fires_at_once_and_once(dut: Any) -> None:
    bench = Bench(dut)
    await bench.reset()
    await bench.stays_low()
    assert bench.bit("armed") and not bench.bit("busy")
    bench.set(rx_completed=1)
    assert await bench.clocks_until_irq() == 2
    assert (bench.bit("armed"), bench.bit("fired"), bench.bit("busy")) == (0, 1, 0)
    bench.set(tx_completed=5)
    await bench.clocks(3)
    await bench.arm(rx=1, tx=5)
    await bench.stays_low()
    assert not bench.bit("irq", 1), "the other queue's line moved"


@cocotb.test()
async def rearm_with_work_left_lowers_the_line_and_fires_again(dut: Any) -> None:
    bench = Bench(dut)
    for rx, tx in ((1, 2), (2, 1)):
        await bench.reset()
        bench.set(rx_completed=2, tx_completed=2)
        await bench.clocks_until_irq()
        await bench.arm(rx, tx)
        assert not bench.bit("irq"), "the line must be low for a clock"
        assert await bench.clocks_until_irq() == 4


@cocotb.test()
async def completion_around_the_rearm_is_never_lost(dut: Any) -> None:
    """The window between the driver's last look and its re-arm, one clock at a time."""
    bench = Bench(dut)
    for ring in ("rx_completed", "tx_completed"):
        for cycles, count in ((0, 0), (7, 3), (7, 0)):
            for arrival in range(-4, 5):
                await bench.reset(cycles, count)
                bench.set(**{ring: 1})
                await bench.clocks_until_irq()
                consumer = {"rx": 1} if ring == "rx_completed" else {"tx": 1}
                for clock in range(-5, 6):
                    if clock == arrival:
                        bench.set(**{ring: 2})
                    if clock == 0:
                        await bench.arm(**consumer)
                        assert not bench.bit("irq")
                    else:
                        await bench.clocks(1)
                await bench.clocks_until_irq(20)


@cocotb.test()
async def error_around_the_rearm_fires_until_the_ring_is_restarted(dut: Any) -> None:
    bench = Bench(dut)
    for arrival in range(-4, 5):
        await bench.reset()
        bench.set(rx_completed=1)
        await bench.clocks_until_irq()
        for clock in range(-5, 6):
            bench.set(failed=int(clock >= arrival))
            if clock == 0:
                await bench.arm(rx=1)
            else:
                await bench.clocks(1)
        await bench.clocks_until_irq(20)
        await bench.arm(rx=1)
        await bench.clocks_until_irq(20)
        bench.set(failed=0)
        await bench.arm(rx=1)
        await bench.stays_low()


@cocotb.test()
async def moderation_waits_for_count_or_time(dut: Any) -> None:
    bench = Bench(dut)
    await bench.reset(cycles=50, count=4)
    bench.set(rx_completed=1)
    assert await bench.clocks_until_irq() == 51
    await bench.arm(rx=1)
    bench.set(rx_completed=3, tx_completed=1)
    await bench.clocks(20)
    assert not bench.bit("irq") and bench.bit("busy"), "the timer runs: the clock must not stop"
    bench.set(tx_completed=2)
    assert await bench.clocks_until_irq() == 3
    await bench.arm(rx=2, tx=2)  # one is left: its time starts now
    assert await bench.clocks_until_irq() == 51


@cocotb.test()
async def the_longest_time_is_not_missed_for_a_ring_that_starts_when_it_is_over(dut: Any) -> None:
    """The age is at its largest for one clock; while a ring's indices settle nothing fires."""
    bench = Bench(dut)
    for clocks in range(0xFFFF - 2, 0xFFFF + 1):
        await bench.reset(cycles=0xFFFF, count=4)
        bench.set(rx_completed=1)
        await Timer(clocks * CLOCK_PS, "ps")
        await bench.clocks(1)
        assert not bench.bit("irq")
        bench.set(tx_start=1)
        await bench.clocks(1)
        bench.set(tx_start=0)
        await bench.clocks_until_irq(5)


@cocotb.test()
async def masked_event_is_remembered(dut: Any) -> None:
    bench = Bench(dut)
    await bench.reset(mask=1)
    bench.set(rx_completed=1)
    await bench.stays_low()
    assert (bench.bit("fired"), bench.bit("busy")) == (1, 0)
    bench.set(mask=0)
    assert await bench.clocks_until_irq() <= 1
    bench.set(mask=1)
    await bench.clocks(1)
    assert not bench.bit("irq")


@cocotb.test()
async def indices_wrap_and_restart(dut: Any) -> None:
    bench = Bench(dut)
    await bench.reset()
    bench.set(rx_completed=0xFFFE)
    await bench.arm(rx=0xFFFE)
    await bench.stays_low()
    bench.set(rx_completed=1)  # three more, over the wrap
    await bench.clocks_until_irq()
    await bench.arm(rx=1)
    await bench.stays_low()
    await bench.arm(rx=2)  # the driver saw one whose response is still under way
    await bench.stays_low()
    assert bench.bit("busy"), "it is still to come"
    bench.set(rx_start=1, rx_completed=0)
    await bench.clocks(1)
    bench.set(rx_start=0)
    await bench.stays_low()
    bench.set(rx_completed=1)
    await bench.clocks_until_irq()


@pytest.mark.parametrize("sim", SIMS)
def test_irq_control(sim: str) -> None:
    design = Design("irq_control", nic_sources(), {"Queues": QUEUES})
    simulate(design, __name__, sim=sim, seed=SEED).check()
