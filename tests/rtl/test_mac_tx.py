"""mac_tx: frames on XGMII, their padding, FCS and gaps, decoded lane by lane."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import cocotb
import pytest
from cocotb.triggers import RisingEdge
from cocotbext.eth import XgmiiSink
from conftest import SEED, SIMS
from wire_side_common import (
    IDLE_WORD,
    Beat,
    XgmiiFrame,
    beats,
    decode,
    start_clock_and_reset,
)

from wire2app.simulator import Design, nic_sources, simulate

PREAMBLE_BYTES, FCS_BYTES, GAP = 8, 4, 12
NOISE = 0xA5A5A5A5A5A5A5A5
LOWEST_GAP = 9  # 12 less the largest deficit
PIPELINE = 20  # clocks from the last beat until the wire is idle, padding included, at most


class Transmitter:
    """Feeds beats and records the wire and the events, clock by clock."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.words: list[tuple[int, int]] = []
        self.lengths: list[int] = []  # ev_len of each ev_frame
        self.underruns = 0
        self.stamps: list[int] = []  # the word after each ev_stamp
        self.busy_at: list[bool] = []

    async def reset(self) -> None:
        await start_clock_and_reset(
            self.dut,
            enable=1,
            s_axis_tdata=0,
            s_axis_tkeep=0,
            s_axis_tvalid=0,
            s_axis_tlast=0,
            s_axis_tuser=0,
        )

    async def clock(self) -> bool:
        """One clock; whether a beat was taken."""
        dut = self.dut
        await RisingEdge(dut.clk)
        self.words.append((int(dut.xgmii_txd.value), int(dut.xgmii_txc.value)))
        self.busy_at.append(dut.busy.value == 1)
        if dut.ev_frame.value == 1:
            self.lengths.append(int(dut.ev_len.value))
        self.underruns += int(dut.ev_underrun.value)
        if int(dut.ev_stamp.value):
            self.stamps.append(len(self.words))
        return bool(dut.s_axis_tvalid.value == 1 and dut.s_axis_tready.value == 1)

    async def feed(self, beat: Beat) -> None:
        """Offer one beat until it is taken; bytes beyond tkeep are not zero."""
        dut = self.dut
        dut.s_axis_tvalid.value = 1
        dut.s_axis_tdata.value = beat.data | NOISE << 8 * beat.keep.bit_count() & (1 << 64) - 1
        dut.s_axis_tkeep.value = beat.keep
        dut.s_axis_tlast.value = int(beat.last)
        while not await self.clock():
            pass

    async def pause(self, clocks: int) -> None:
        self.dut.s_axis_tvalid.value = 0
        for _ in range(clocks):
            await self.clock()

    async def send(self, frames: Iterable[bytes], gaps: Sequence[int] = (0,)) -> list[XgmiiFrame]:
        """Send frames with these clocks between them; what was on the wire since the start."""
        for index, frame in enumerate(frames):
            if gaps[index % len(gaps)]:
                await self.pause(gaps[index % len(gaps)])
            for beat in beats(frame):
                await self.feed(beat)
        await self.pause(PIPELINE)
        assert not self.busy_at[-1] and self.words[-1] == IDLE_WORD
        return decode(self.words)


def padded(frame: bytes) -> bytes:
    return frame.ljust(60, b"\0")


def check_frames(transmitter: Transmitter, sent: list[bytes], wire: list[XgmiiFrame]) -> None:
    """Whole frames in order, a length event each, and legal gaps."""
    assert [frame.payload for frame in wire] == [padded(data) for data in sent]
    assert transmitter.lengths == [len(padded(data)) for data in sent]
    assert transmitter.underruns == 0
    for before, after in pairwise(wire):
        assert after.start - before.end >= LOWEST_GAP


def check_line_rate(wire: list[XgmiiFrame]) -> None:
    """Every start is where 12 bytes of gap would put it, at most the deficit of 3 earlier."""
    ideal = wire[0].start
    for before, after in pairwise(wire):
        ideal += PREAMBLE_BYTES + len(before.data) + GAP
        assert 0 <= ideal - after.start <= 3, f"start {after.start}, ideal {ideal}"


@cocotb.test(stage=1)  # takes longest: last
async def every_length_is_sent_whole_at_line_rate(dut: Any) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    transmitter = Transmitter(dut)
    await transmitter.reset()
    sent = [rng.randbytes(length) for length in range(60, 1519)]
    wire = await transmitter.send(sent)
    check_frames(transmitter, sent, wire)
    check_line_rate(wire)
    assert {frame.start % 8 for frame in wire} == {0, 4}


@cocotb.test()
async def any_sequence_of_short_lengths_keeps_line_rate(dut: Any) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    transmitter = Transmitter(dut)
    await transmitter.reset()
    sent = [rng.randbytes(rng.randrange(60, 92)) for _ in range(1500)]
    sent += [rng.randbytes(length) for length in range(60, 70) for _ in range(20)]
    wire = await transmitter.send(sent)
    check_frames(transmitter, sent, wire)
    check_line_rate(wire)
    lanes = {(frame.start % 8, frame.end % 8) for frame in wire}
    assert lanes == {(start, end) for start in (0, 4) for end in range(8)}
    gaps = {after.start - before.end for before, after in pairwise(wire)}
    assert gaps == set(range(9, 16))


@cocotb.test()
async def short_frames_are_padded_to_60_bytes(dut: Any) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    transmitter = Transmitter(dut)
    await transmitter.reset()
    sent = [rng.randbytes(length) for length in range(1, 62)] * 2
    wire = await transmitter.send(sent)
    check_frames(transmitter, sent, wire)
    check_line_rate(wire)


@cocotb.test()
async def frames_after_pauses_are_whole_and_keep_their_distance(dut: Any) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    transmitter = Transmitter(dut)
    await transmitter.reset()
    sent = [rng.randbytes(rng.randrange(1, 100)) for _ in range(600)]
    wire = await transmitter.send(sent, gaps=[rng.randrange(8) for _ in range(101)])
    check_frames(transmitter, sent, wire)
    gaps = [after.start - before.end for before, after in pairwise(wire)]
    # However the pauses fall, a row of gaps lacks no more than one deficit.
    for row in (1, 2, 3, 8):
        for first in range(len(gaps) - row + 1):
            assert sum(gaps[first : first + row]) >= GAP * row - 3


@cocotb.test()
async def after_a_pause_the_next_start_is_in_lane_0_with_no_deficit(dut: Any) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    transmitter = Transmitter(dut)
    await transmitter.reset()
    first = 0
    for before in range(1, 4):  # frames that leave each deficit
        for length in range(60, 64):
            await transmitter.send(rng.randbytes(60 + before) for _ in range(before))
            burst = [rng.randbytes(length) for _ in range(4)]
            wire = await transmitter.send(burst)
            first += before
            assert wire[first].start % 8 == 0
            check_line_rate(wire[first:])
            first += len(burst)


@cocotb.test()
async def jumbo_frames_are_sent_whole(dut: Any) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    transmitter = Transmitter(dut)
    await transmitter.reset()
    sent = [rng.randbytes(length) for length in (9018, 9017, 60, 9014, 0xFFFF)]
    wire = await transmitter.send(sent)
    check_frames(transmitter, sent, wire)
    check_line_rate(wire)


@cocotb.test()
async def late_data_cuts_the_frame_with_error_characters(dut: Any) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    transmitter = Transmitter(dut)
    await transmitter.reset()
    expected: list[bytes | None] = []
    for length in (9, 64, 67, 100):
        for stop in range(1, (length + 7) // 8):
            # The second beat may be late: the first waits while gap and preamble go out.
            for pause in (6, 7, 9) if stop == 1 else (1, 2, 9):
                good = rng.randbytes(60 + length % 9)
                for beat in beats(good):
                    await transmitter.feed(beat)
                frame = beats(rng.randbytes(length))
                for index, beat in enumerate(frame):
                    if index == stop:
                        await transmitter.pause(pause)
                    await transmitter.feed(beat)
                expected += [good, None]
    await transmitter.pause(PIPELINE)
    wire = decode(transmitter.words)
    assert [None if frame.errors else frame.payload for frame in wire] == expected
    assert transmitter.underruns == expected.count(None)
    assert len(transmitter.lengths) == len(expected) - transmitter.underruns
    for before, after in pairwise(wire):
        assert after.start - before.end >= LOWEST_GAP


@cocotb.test()
async def enable_off_finishes_the_frame_and_begins_none(dut: Any) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    transmitter = Transmitter(dut)
    await transmitter.reset()
    sent = [rng.randbytes(100), rng.randbytes(70)]
    for index, beat in enumerate(beats(sent[0])):
        if index == 5:
            dut.enable.value = 0
        await transmitter.feed(beat)
    first, *rest = beats(sent[1])
    await transmitter.feed(first)  # this one waits in the MAC
    dut.s_axis_tdata.value = rest[0].data
    for _ in range(40):
        assert not await transmitter.clock()
    check_frames(transmitter, sent[:1], decode(transmitter.words))
    assert not transmitter.busy_at[-1]
    dut.enable.value = 1
    for beat in rest:
        await transmitter.feed(beat)
    await transmitter.pause(PIPELINE)
    check_frames(transmitter, sent, decode(transmitter.words))


@cocotb.test()
async def busy_covers_all_that_is_not_idle_on_the_wire(dut: Any) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    transmitter = Transmitter(dut)
    await transmitter.reset()
    await transmitter.send([rng.randbytes(n) for n in range(60, 80)], gaps=[12, 0, 0, 5])
    for word, busy in zip(transmitter.words, transmitter.busy_at, strict=True):
        assert busy or word == IDLE_WORD


@cocotb.test()
async def cocotbext_eth_understands_the_frames(dut: Any) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    sink = XgmiiSink(dut.xgmii_txd, dut.xgmii_txc, dut.clk, dut.rst)
    sink.log.setLevel(logging.WARNING)
    transmitter = Transmitter(dut)
    await transmitter.reset()
    sent = [rng.randbytes(rng.randrange(60, 120)) for _ in range(100)]
    await transmitter.send(sent)
    for data in sent:
        frame = sink.recv_nowait()
        assert frame.check_fcs() and bytes(frame.get_payload()) == data


@cocotb.test()
async def a_stamp_is_taken_a_clock_before_the_start_is_on_the_wire(dut: Any) -> None:
    """Of the frames that ask for one, whatever the lane they start in."""
    transmitter = Transmitter(dut)
    await transmitter.reset()
    rng = random.Random(SEED)
    wishes = [rng.getrandbits(1) for _ in range(60)]
    wire: list[XgmiiFrame] = []
    for wish in wishes:
        dut.s_axis_tuser.value = wish
        for beat in beats(rng.randbytes(rng.randrange(60, 90))):
            await transmitter.feed(beat)
        await transmitter.pause(rng.choice((0, 0, 1)))
    wire = await transmitter.send([])
    due = [frame.start // 8 for frame, wish in zip(wire, wishes, strict=True) if wish]
    assert transmitter.stamps == due
    assert {frame.start % 8 for frame in wire} == {0, 4}


@pytest.mark.parametrize("sim", SIMS)
def test_mac_tx(sim: str) -> None:
    simulate(Design("mac_tx", nic_sources()), __name__, sim=sim, seed=SEED).check()
