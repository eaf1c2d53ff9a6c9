"""ns_clock: its time is that of the cycles, to the fraction of a ns, and may be set and moved."""

from __future__ import annotations

import random
from typing import Any

import cocotb
import pytest
from cocotb.triggers import FallingEdge, ReadOnly
from conftest import SEED, SIMS
from wire_side_common import start_clock_and_reset

from pystack.dev.drivers import w2a_regs as regs
from wire2app.simulator import Design, nic_sources, simulate

FRACTION = 24  # bits of the increment behind the point
MASK64, ALL = (1 << 64) - 1, 0xFFFFFFFF
RESET_INCREMENT = regs.CLOCK_INCREMENT_VALUE_RESET


class Clock:
    """The block, and the time as it ought to be, in units of 2^-24 ns."""

    def __init__(self, dut: Any) -> None:
        self.dut, self.rng = dut, random.Random(SEED)
        self.increment, self.time = RESET_INCREMENT, 0
        self.low = 0  # as last written, for the write of the high word

    async def start(self) -> None:
        await start_clock_and_reset(
            self.dut, skipped=0, write_ahead=0, write=0, write_addr=0, write_data=0, write_mask=0,
            read_ahead=0, read_addr=0,
        )  # fmt: skip

    async def clock(self, **inputs: int) -> None:
        await FallingEdge(self.dut.clk)
        strobes = dict.fromkeys(("write_ahead", "write", "read_ahead", "skipped"), 0)
        for name, value in (strobes | inputs).items():
            getattr(self.dut, name).value = value
        await ReadOnly()

    async def now(self) -> int:
        await self.clock()
        return int(self.dut.now.value)

    async def write(self, addr: int, value: int, mask: int = ALL, **inputs: int) -> None:
        await self.clock(write_ahead=1, write_addr=addr, write_data=value, write_mask=mask)
        await self.clock(write=1, **inputs)
        assert int(self.dut.write_known.value)

    async def read(self, addr: int) -> int:
        """As the port does: the address a clock before, and the data a clock later."""
        await self.clock(read_addr=addr)
        await self.clock(read_ahead=1)
        await self.clock()
        assert int(self.dut.read_known.value)
        return int(self.dut.read_data.value)

    async def gained(self, cycles: int, skipped: int = 0) -> int:
        before = await self.now()
        for number in range(cycles - 1):
            await self.clock(skipped=skipped if number == cycles // 2 else 0)
        return (await self.now()) - before


def near(gained: int, cycles: int, increment: int) -> bool:
    """The fractions before and after are not seen: a ns up or down."""
    return abs(gained - (cycles * increment >> FRACTION)) <= 1


@cocotb.test()
async def it_gains_its_increment_each_cycle_also_of_those_left_out(dut: Any) -> None:
    bench = Clock(dut)
    await bench.start()
    assert await bench.read(regs.CLOCK_INCREMENT) == RESET_INCREMENT
    assert near(await bench.gained(1000), 1000, RESET_INCREMENT)
    for increment in (1 << FRACTION, (6 << FRACTION) + 0x666666, 3 << FRACTION - 1, 0xFFFFFFFF):
        await bench.write(regs.CLOCK_INCREMENT, increment)
        assert await bench.read(regs.CLOCK_INCREMENT) == increment
        assert near(await bench.gained(300), 300, increment)
        for skipped in (1, 77, 10**12):
            assert near(await bench.gained(10, skipped), 10 + skipped, increment)


@cocotb.test()
async def it_begins_at_0_and_goes_on_from_there(dut: Any) -> None:
    bench = Clock(dut)
    await bench.start()
    times = [await bench.now() for _ in range(10)]
    assert times == sorted(times) and times[-1] <= 10 * ((RESET_INCREMENT >> FRACTION) + 1)


@cocotb.test()
async def fractions_are_kept_when_cycles_are_left_out(dut: Any) -> None:
    bench = Clock(dut)
    await bench.start()
    increment = (1 << FRACTION - 2) + 12345
    await bench.write(regs.CLOCK_INCREMENT, increment)
    assert await bench.read(regs.CLOCK_INCREMENT) == increment
    before, cycles = await bench.now(), 0
    for _ in range(400):
        skipped = bench.rng.choice((0, 1, 3))
        await bench.clock(skipped=skipped)
        cycles += 1 + skipped
    for _ in range(8):
        await bench.clock()
    assert near(await bench.now() - before, cycles + 9, increment)


@cocotb.test()
async def it_may_be_set_and_shifted_both_ways(dut: Any) -> None:
    bench = Clock(dut)
    await bench.start()
    await bench.write(regs.CLOCK_INCREMENT, 2 << FRACTION)
    for value in (0x12345678_FFFFFFF0, 5, 0xFFFFFFFF_00000000, 1 << 40):
        await bench.write(regs.CLOCK_LO, value & ALL)
        await bench.write(regs.CLOCK_HI, value >> 32)
        assert await bench.now() == value, "from the write on"
        assert await bench.now() == value, "the first cycle counts a clock later"
        assert await bench.now() == (value + 2) & MASK64
    at = await bench.now()
    for count, shift in enumerate((100, -50, 0x7FFFFFFF, -0x80000000)):
        skipped = 3 * (count % 2)
        await bench.write(regs.CLOCK_ADJUST, shift & ALL, skipped=skipped)
        assert await bench.read(regs.CLOCK_ADJUST) == shift & ALL
        at += shift + 2 * 6 + 2 * skipped
        assert await bench.now() == at & MASK64


@cocotb.test()
async def bytes_are_written_alone(dut: Any) -> None:
    bench = Clock(dut)
    await bench.start()
    await bench.write(regs.CLOCK_INCREMENT, 0)
    for addr in (regs.CLOCK_INCREMENT, regs.CLOCK_ADJUST):
        await bench.write(addr, 0x11223344)
        await bench.write(addr, ALL, 0x00FF0000)
        assert await bench.read(addr) == 0x11FF3344
    await bench.write(regs.CLOCK_INCREMENT, 0)
    await bench.write(regs.CLOCK_LO, 0x01020304)
    await bench.write(regs.CLOCK_LO, 0, 0xFF)
    await bench.write(regs.CLOCK_HI, 0xAABBCCDD)
    await bench.write(regs.CLOCK_HI, 0, 0xFF000000)
    await bench.clock()
    assert await bench.now() == 0x00BBCCDD_01020300


@cocotb.test()
async def the_low_word_latches_the_high_word(dut: Any) -> None:
    bench = Clock(dut)
    await bench.start()
    await bench.write(regs.CLOCK_INCREMENT, 1 << FRACTION)
    for high in (7, 0x80000000):
        await bench.write(regs.CLOCK_LO, 0xFFFFFFF0)
        await bench.write(regs.CLOCK_HI, high)
        low = await bench.read(regs.CLOCK_LO)
        assert 0xFFFFFFF0 <= low <= 0xFFFFFFF8
        for _ in range(20):
            await bench.clock()
        assert await bench.now() >> 32 == high + 1
        assert await bench.read(regs.CLOCK_HI) == high
        assert await bench.read(regs.CLOCK_LO) < 0x100
        assert await bench.read(regs.CLOCK_HI) == high + 1


@cocotb.test()
async def both_words_are_of_one_time_however_close_it_is_to_the_carry(dut: Any) -> None:
    bench = Clock(dut)
    await bench.start()
    await bench.write(regs.CLOCK_INCREMENT, 1 << FRACTION)
    carried = set()
    for before in range(12):
        start = (7 << 32) - before
        await bench.write(regs.CLOCK_LO, start & ALL)
        await bench.write(regs.CLOCK_HI, start >> 32)
        low = await bench.read(regs.CLOCK_LO)
        time = await bench.read(regs.CLOCK_HI) << 32 | low
        assert start <= time < start + 6, f"{time:#x} soon after {start:#x}"
        carried.add(time >> 32)
    assert carried == {6, 7}


@cocotb.test()
async def other_addresses_are_none_of_its(dut: Any) -> None:
    bench = Clock(dut)
    await bench.start()
    own = (regs.CLOCK_LO, regs.CLOCK_HI, regs.CLOCK_INCREMENT, regs.CLOCK_ADJUST)
    for addr in range(0, 0x100, 4):
        known = int(addr in own)
        await bench.clock(write_addr=addr, write_data=ALL, write_mask=ALL, read_addr=addr)
        await bench.clock(write_ahead=1, read_ahead=1)
        await bench.clock(write=1 - known)
        assert int(dut.write_known.value) == int(dut.read_known.value) == known
        assert known or int(dut.read_data.value) == 0
    assert await bench.read(regs.CLOCK_INCREMENT) == RESET_INCREMENT
    assert await bench.now() < 2000


@pytest.mark.parametrize("sim", SIMS[-1:])
def test_ns_clock(sim: str) -> None:
    design = Design("ns_clock", nic_sources(), {"Gated": 1})
    simulate(design, __name__, sim=sim, seed=SEED).check()
