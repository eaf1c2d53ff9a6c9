"""rx_buffer: good frames come out whole and in order, all others leave no trace but an event."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import cocotb
import pytest
from cocotb.triggers import RisingEdge, Timer
from conftest import SEED, SIMS
from wire_side_common import (
    BAD_FCS,
    CODED_ERROR,
    FILTERED,
    OK,
    OVERFLOW,
    OVERSIZE,
    RUNT,
    Beat,
    beat_bytes,
    beats,
    start_clock_and_reset,
)

from wire2app.simulator import Design, nic_sources, simulate

BYTES = 16384
BAD = (BAD_FCS, RUNT, OVERSIZE, CODED_ERROR, FILTERED)
Frame = tuple[bytes, int]  # data, verdict of the wire

# How the host side behaves: asked each clock whether it is ready.
Ready = Callable[[], bool]


class Bench:
    """Wire side, host side and events of the buffer, clock by clock."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.rng = random.Random(cocotb.RANDOM_SEED)
        self.data_ready: Ready = lambda: True
        self.meta_ready: Ready = lambda: True
        self.received: list[bytes] = []
        self.lengths: list[int] = []
        self.events: list[tuple[int, int]] = []  # verdict, length
        self.partial = bytearray()
        self.stalled: tuple[int, ...] | None = None
        self.stalled_meta: int | None = None

    async def reset(self) -> None:
        await start_clock_and_reset(
            self.dut,
            enable=1,
            s_axis_tdata=0,
            s_axis_tkeep=0,
            s_axis_tvalid=0,
            s_axis_tlast=0,
            s_axis_tuser=0,
            m_meta_ready=0,
            m_axis_tready=0,
        )

    async def clock(self, beat: Beat | None = None) -> None:
        dut = self.dut
        dut.s_axis_tvalid.value = int(beat is not None)
        if beat is not None:
            dut.s_axis_tdata.value = beat.data
            dut.s_axis_tkeep.value = beat.keep
            dut.s_axis_tlast.value = int(beat.last)
            dut.s_axis_tuser.value = beat.user
        data_ready, meta_ready = self.data_ready(), self.meta_ready()
        dut.m_axis_tready.value = int(data_ready)
        dut.m_meta_ready.value = int(meta_ready)
        await RisingEdge(dut.clk)
        self.sample_meta(meta_ready)
        if dut.ev_valid.value == 1:
            self.events.append((int(dut.ev_verdict.value), int(dut.ev_len.value)))
        self.sample_data(data_ready)

    def sample_meta(self, ready: bool) -> None:
        """Take the length if there is one; a stalled length must stay as it is."""
        dut = self.dut
        if dut.m_meta_valid.value != 1:
            assert self.stalled_meta is None, "m_meta_valid fell without m_meta_ready"
            return
        length = int(dut.m_meta_len.value)
        assert dut.busy.value == 1
        assert self.stalled_meta in (None, length), "a stalled length changed"
        self.stalled_meta = None if ready else length
        if ready:
            self.lengths.append(length)

    def sample_data(self, ready: bool) -> None:
        """Take the beat if there is one; a stalled beat must stay as it is."""
        dut = self.dut
        if dut.m_axis_tvalid.value != 1:
            assert self.stalled is None, "tvalid fell without tready"
            return
        beat = tuple(int(s.value) for s in (dut.m_axis_tdata, dut.m_axis_tkeep, dut.m_axis_tlast))
        assert dut.busy.value == 1
        assert self.stalled in (None, beat), "a stalled beat changed"
        self.stalled = None if ready else beat
        if not ready:
            return
        data, keep, last = beat
        assert last or keep == (1 << len(dut.m_axis_tkeep)) - 1
        taken = beat_bytes(data, keep)
        assert int.from_bytes(taken, "little") == data, "bytes beyond tkeep are not cleared"
        self.partial += taken
        if last:
            self.received.append(bytes(self.partial))
            self.partial.clear()

    async def frame(self, frame: Frame, pause: float = 0.0) -> None:
        data, verdict = frame
        for beat in beats(data, user=verdict) or [Beat(0, 0, True, verdict)]:
            while self.rng.random() < pause:
                await self.clock()
            await self.clock(beat)

    async def idle(self, clocks: int) -> None:
        for _ in range(clocks):
            await self.clock()

    async def drain(self) -> None:
        """Everything out; the buffer then says that it is empty."""
        self.data_ready = self.meta_ready = lambda: True
        for _ in range(2 * BYTES // 8):
            if self.dut.busy.value == 0:
                break
            await self.clock()
        await self.idle(3)
        assert self.dut.busy.value == 0 and not self.partial

    def check(self, sent: list[Frame]) -> Counter[int]:
        """One event a frame; what is stored came out in order.  The verdict counts."""
        assert len(self.events) == len(sent)
        stored = []
        for (data, wire), (verdict, length) in zip(sent, self.events, strict=True):
            assert length == len(data)
            assert verdict == wire or (wire, verdict) == (OK, OVERFLOW)
            if verdict == OK:
                stored.append(data)
        assert self.received == stored
        assert self.lengths == [len(data) for data in stored]
        return Counter(verdict for verdict, _ in self.events)


def random_frame(rng: random.Random, longest: int = 300) -> Frame:
    """A good frame of at least 60 bytes, or one of any length and a bad verdict."""
    if rng.random() < 0.7:
        return rng.randbytes(rng.randrange(60, longest)), OK
    return rng.randbytes(rng.randrange(0, longest)), rng.choice(BAD)


def mostly(rng: random.Random, share: float) -> Ready:
    return lambda: rng.random() < share


@cocotb.test()
async def every_length_comes_out_as_it_went_in(dut: Any) -> None:
    bench = Bench(dut)
    await bench.reset()
    sent = [(bench.rng.randbytes(length), OK) for length in range(60, 260)]
    sent += [(bench.rng.randbytes(length), OK) for length in (1, 7, 8, 9, 59, 1514, 9018, 9017)]
    for frame in sent:
        await bench.frame(frame)
    await bench.drain()
    assert bench.check(sent) == {OK: len(sent)}


@cocotb.test()
async def random_stalls_lose_and_change_nothing(dut: Any) -> None:
    bench = Bench(dut)
    await bench.reset()
    sent = []
    for data_share, meta_share, pause in ((0.9, 0.5, 0.5), (0.5, 0.1, 0.6), (1.0, 0.05, 0.0)):
        bench.data_ready = mostly(bench.rng, data_share)
        bench.meta_ready = mostly(bench.rng, meta_share)
        for _ in range(60):
            sent.append(random_frame(bench.rng))
            await bench.frame(sent[-1], pause)
        await bench.drain()
    assert bench.check(sent)[OVERFLOW] == 0


@cocotb.test()
async def bad_frames_are_rolled_back_wholly(dut: Any) -> None:
    bench = Bench(dut)
    await bench.reset()
    bench.data_ready = lambda: False
    sent: list[Frame] = []
    for verdict in BAD:  # each would fill the buffer several times if a byte stayed
        for length in (0, 1, 8, 9, 60, 8000, 9000):
            sent += [(bench.rng.randbytes(length), verdict)] * 2
            sent.append((bench.rng.randbytes(60), OK))
    for frame in sent:
        await bench.frame(frame)
    await bench.drain()
    assert bench.check(sent)[OK] == len(BAD) * 7


@cocotb.test()
async def a_full_buffer_drops_whole_frames_and_recovers(dut: Any) -> None:
    bench = Bench(dut)
    await bench.reset()
    sent, counts = [], []
    for _ in range(3):
        bench.data_ready = lambda: False
        for _ in range(110):
            sent.append(random_frame(bench.rng, longest=420))
            await bench.frame(sent[-1])
        bench.data_ready = mostly(bench.rng, 0.3)
        for _ in range(110):
            sent.append(random_frame(bench.rng))
            await bench.frame(sent[-1], pause=0.1)
        await bench.drain()
        counts.append(bench.check(sent))
    for before, after in zip([Counter(), *counts], counts, strict=False):
        assert after[OVERFLOW] > before[OVERFLOW] and after[OK] > before[OK] + 60


@cocotb.test()
async def the_smallest_frames_fill_all_of_the_buffer(dut: Any) -> None:
    bench = Bench(dut)
    await bench.reset()
    bench.data_ready = bench.meta_ready = lambda: False
    sent = [(bench.rng.randbytes(60), OK) for _ in range(BYTES // 64 + 8)]
    assert int(dut.fill.value) == 0
    for number, frame in enumerate(sent[: BYTES // 64], 1):
        await bench.frame(frame)
        await bench.idle(2)
        assert number - 4 <= int(dut.fill.value) <= number, "64 bytes a unit"
    for frame in sent[BYTES // 64 :]:
        await bench.frame(frame)
    assert BYTES // 64 - 4 <= int(dut.fill.value) <= BYTES // 64
    await bench.drain()
    assert int(dut.fill.value) == 0
    # The read registers hold rows and lengths more.
    assert BYTES // 64 <= bench.check(sent)[OK] <= BYTES // 64 + 2


@cocotb.test()
async def no_room_for_a_length_is_an_overflow_too(dut: Any) -> None:
    bench = Bench(dut)
    await bench.reset()
    metas = BYTES // 64
    sent: list[Frame] = []
    for held in range(3):
        bench.meta_ready = lambda: False
        for _ in range(metas + 20):  # shorter than any frame of the MAC: lengths run out first
            sent.append((bench.rng.randbytes(8 + held), OK))
            await bench.frame(sent[-1])
            await bench.idle(2)
        await bench.drain()
        assert bench.check(sent)[OVERFLOW] == 20 * (held + 1)


@cocotb.test()
async def one_byte_too_many_is_an_overflow_and_the_next_fits(dut: Any) -> None:
    bench = Bench(dut)
    await bench.reset()
    row = len(dut.m_axis_tkeep)
    bench.data_ready = lambda: False
    # Two rows leave for the read registers: this frame and those rows fill the buffer exactly.
    sent = [(bench.rng.randbytes(8192), OK), (bench.rng.randbytes(8192 + 2 * row), OK)]
    sent += [(bench.rng.randbytes(60), OK)]
    for frame in sent:
        await bench.frame(frame)
        await bench.idle(2)
    await bench.drain()
    sent += [(bench.rng.randbytes(BYTES - 9000), OK), (bench.rng.randbytes(BYTES + 1), OK)]
    bench.data_ready = lambda: False
    for frame in sent[3:]:
        await bench.frame(frame)
    await bench.drain()
    sent.append((bench.rng.randbytes(9018), OK))
    await bench.frame(sent[-1])
    await bench.drain()
    bench.check(sent)
    assert [verdict for verdict, _ in bench.events] == [OK, OK, OVERFLOW, OK, OVERFLOW, OK]


@cocotb.test()
async def line_rate_never_overflows_a_ready_host(dut: Any) -> None:
    bench = Bench(dut)
    await bench.reset()
    sent = []
    for length in range(60, 190):
        sent += [(bench.rng.randbytes(length), OK)] * 3
    gap = 0
    for frame in sent:
        await bench.frame(frame)
        gap += (8 + 12 + 4 + len(frame[0])) - 8 * -(-len(frame[0]) // 8)
        await bench.idle(gap // 8)
        gap %= 8
    # The host keeps up: what is left at the end is what the last frame had under way.
    assert len(bench.received) >= len(sent) - 2
    await bench.drain()
    assert bench.check(sent) == {OK: len(sent)}


@cocotb.test()
async def disabled_it_ignores_new_frames_and_finishes_the_one_under_way(dut: Any) -> None:
    bench = Bench(dut)
    await bench.reset()
    sent: list[Frame] = []

    async def switch(start: int, end: int, verdict: int) -> None:
        """A frame during which enable goes from `start` to `end`."""
        dut.enable.value = start
        data = bench.rng.randbytes(200)
        for index, beat in enumerate(beats(data, user=verdict)):
            if index == 5:
                dut.enable.value = end
            await bench.clock(beat)
        if start:
            sent.append((data, verdict))

    def patterns() -> Iterator[tuple[int, int, int]]:
        for verdict in (OK, BAD_FCS):
            yield from ((1, 0, verdict), (0, 0, verdict), (0, 1, verdict), (1, 1, verdict))

    for pattern in patterns():
        await switch(*pattern)
    await bench.drain()
    assert bench.check(sent) == {OK: 2, BAD_FCS: 2}


@cocotb.test()
async def a_reset_of_one_clock_empties_it_and_forgets_the_frame(dut: Any) -> None:
    bench = Bench(dut)
    await bench.reset()
    bench.data_ready = bench.meta_ready = lambda: False
    data = bench.rng.randbytes(100)
    parts = [*beats(data, user=OK)] * 2
    for clocks in range(1, len(parts) + 1):  # the last of them is the reset's
        for beat in parts[: clocks - 1]:
            await bench.clock(beat)
        bench.events.clear()
        bench.stalled = bench.stalled_meta = None
        await Timer(1, "ns")
        dut.rst.value = 1
        await bench.clock(parts[clocks - 1])
        dut.rst.value = dut.s_axis_tvalid.value = 0
        await Timer(1, "ns")
        outputs = (dut.ev_valid, dut.m_meta_valid, dut.m_axis_tvalid, dut.busy)
        assert [int(output.value) for output in outputs] == [0, 0, 0, 0], clocks
        bench = Bench(dut)
        await bench.idle(1)
        await bench.frame((data, OK))
        await bench.drain()
        bench.check([(data, OK)])
        bench.data_ready = bench.meta_ready = lambda: False


@pytest.mark.parametrize("width", (64, 128, 256, 512))
@pytest.mark.parametrize("sim", SIMS)
def test_rx_buffer(sim: str, width: int) -> None:
    design = Design("rx_buffer", nic_sources(), {"Bytes": BYTES, "DataW": width})
    simulate(design, __name__, sim=sim, seed=SEED).check()
