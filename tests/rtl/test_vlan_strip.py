"""vlan_strip: the outer tag goes, every other byte and the verdict stay."""

from __future__ import annotations

import random
from typing import Any

import cocotb
import pytest
from cocotb.triggers import FallingEdge, ReadOnly
from conftest import SEED, SIMS
from wire_side_common import (
    BAD_FCS,
    CODED_ERROR,
    OK,
    RUNT,
    Beat,
    beat_bytes,
    beats,
    start_clock_and_reset,
)

from wire2app.simulator import Design, nic_sources, simulate

TYPES = (b"\x81\x00", b"\x88\xa8", b"\x81\x01", b"\x00\x81", b"\x08\x00")


def stripped(frame: bytes) -> bytes:
    """A tag that the frame's last beat ends in stays: such a frame is broken anyway."""
    tagged = frame[12:14] in TYPES[:2] and len(frame) > 16
    return frame[:12] + frame[16:] if tagged else frame


class Strip:
    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.frames: list[tuple[bytes, int]] = []
        self._part = bytearray()

    async def reset(self, enable: bool) -> None:
        await start_clock_and_reset(
            self.dut,
            cfg_enable=int(enable),
            s_axis_tdata=0,
            s_axis_tkeep=0,
            s_axis_tvalid=0,
            s_axis_tlast=0,
            s_axis_tuser=0,
        )

    async def clock(self, beat: Beat | None = None) -> None:
        """Outputs follow inputs within the clock: they are looked at before its edge."""
        dut = self.dut
        dut.s_axis_tvalid.value = int(beat is not None)
        if beat is not None:
            dut.s_axis_tdata.value, dut.s_axis_tkeep.value = beat.data, beat.keep
            dut.s_axis_tlast.value, dut.s_axis_tuser.value = int(beat.last), beat.user
        await ReadOnly()
        if int(dut.m_axis_tvalid.value):
            data, keep = int(dut.m_axis_tdata.value), int(dut.m_axis_tkeep.value)
            assert int(dut.m_axis_tlast.value) or keep == 0xFF, "a beat with holes"
            self._part += beat_bytes(data, keep)
            if int(dut.m_axis_tlast.value):
                self.frames.append((bytes(self._part), int(dut.m_axis_tuser.value)))
                self._part.clear()
        await FallingEdge(dut.clk)


async def pass_through(dut: Any, enable: bool) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    strip, due = Strip(dut), []
    await strip.reset(enable)
    await FallingEdge(dut.clk)
    for length in [*range(1, 100), 1514]:
        for kind in TYPES:
            frame = (rng.randbytes(12) + kind + rng.randbytes(length))[:length]
            verdict = rng.choice((OK, BAD_FCS, CODED_ERROR))
            for beat in beats(frame, user=verdict):
                await strip.clock(beat)
            for _ in range(rng.choice((2, 2, 3))):
                await strip.clock()
            due.append((stripped(frame) if enable else frame, verdict))
    assert strip.frames == due
    assert not int(dut.busy.value)


@cocotb.test()
async def tags_go_from_frames_of_every_length(dut: Any) -> None:
    await pass_through(dut, True)


@cocotb.test()
async def nothing_goes_while_it_is_off(dut: Any) -> None:
    await pass_through(dut, False)


@cocotb.test()
async def a_reset_of_one_clock_leaves_nothing_of_a_frame(dut: Any) -> None:
    strip, frame = Strip(dut), bytes(12) + TYPES[0] + bytes(range(24))
    await strip.reset(True)
    await FallingEdge(dut.clk)
    parts = [*beats(frame), None, None]
    for clocks in range(1, len(parts) + 1):  # the last of them is the reset's, beat or not
        for number, beat in enumerate(parts[:clocks], 1):
            dut.rst.value = int(number == clocks)
            await strip.clock(beat)
        dut.rst.value = dut.s_axis_tvalid.value = 0
        await ReadOnly()
        assert (int(dut.m_axis_tvalid.value), int(dut.busy.value)) == (0, 0), clocks
        await FallingEdge(dut.clk)
        strip = Strip(dut)
        for whole in [*beats(frame), None, None]:
            await strip.clock(whole)
        assert strip.frames == [(stripped(frame), OK)], clocks


@cocotb.test()
async def broken_frames_of_one_beat_may_follow_at_once(dut: Any) -> None:
    """None is lost; before a frame of more beats is a free clock."""
    rng = random.Random(cocotb.RANDOM_SEED)
    strip, due = Strip(dut), []
    await strip.reset(True)
    await FallingEdge(dut.clk)
    for length in range(60, 84):
        for broken in range(4):
            frame = rng.randbytes(12) + TYPES[0] + rng.randbytes(length - 14)
            due.append((stripped(frame), OK))
            for beat in beats(frame, user=OK):
                await strip.clock(beat)
            for _ in range(broken):
                due.append((b"", rng.choice((RUNT, CODED_ERROR))))
                await strip.clock(Beat(0, 0, True, due[-1][1]))
            await strip.clock()
            if not broken and length % 8 in (0, 5, 6, 7):
                await strip.clock()
    for _ in range(3):
        await strip.clock()
    assert strip.frames == due
    assert not int(dut.busy.value)


@pytest.mark.parametrize("sim", SIMS)
def test_vlan_strip(sim: str) -> None:
    simulate(Design("vlan_strip", nic_sources()), __name__, sim=sim, seed=SEED).check()
