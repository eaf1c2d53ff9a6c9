"""tx_buffer: whole frames in, whole frames out, with the checksums that came after them."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any

import cocotb
import pytest
from cocotb.triggers import FallingEdge, ReadOnly
from conftest import SEED, SIMS
from tx_stream import Word, words
from wire_side_common import beat_bytes, start_clock_and_reset

from wire2app.simulator import Design, nic_sources, simulate

BYTES = 16384
DELAY = 5  # clocks from a frame's last word to its checksum, as of tx_checksum


class Bench:
    """Both sides of the buffer, clock by clock, and a unit that answers with checksums."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.rng = random.Random(SEED)
        self.ready: Callable[[], bool] = lambda: True
        self.received: list[tuple[bytes, int]] = []  # with the wish for a stamp
        self.partial = bytearray()
        self.stalled: tuple[int, ...] | None = None
        self.clocks = 0
        self.flush = 0
        self.told = self.lost = 0  # stamps
        self.answers: deque[tuple[int, int]] = deque()  # clock, checksum
        self.sums: deque[int] = deque()  # of the frames that are waited for, in order

    async def reset(self) -> None:
        await start_clock_and_reset(
            self.dut, flush=0, s_data=0, s_bytes=8, s_last=0, s_discard=0, s_stamp=0, s_checksum=0,
            s_csum_at=0, s_valid=0, csum_soon=0, csum_done=0, csum=0, m_axis_tready=0,
        )  # fmt: skip

    async def clock(self, word: Word | None = None) -> bool:
        """One clock; whether the word was taken."""
        dut = self.dut
        await FallingEdge(dut.clk)
        dut.flush.value = self.flush
        dut.s_valid.value = int(word is not None)
        for name, value in (word or {}).items():
            getattr(dut, f"s_{name}").value = value
        due = bool(self.answers) and self.answers[0][0] <= self.clocks
        dut.csum_done.value = int(due)
        dut.csum.value = self.answers.popleft()[1] if due else 0xDEAD
        dut.csum_soon.value = int(bool(self.answers) and self.answers[0][0] == self.clocks + 1)
        ready = self.ready()
        dut.m_axis_tready.value = int(ready)
        await ReadOnly()
        taken = word is not None and bool(int(dut.s_ready.value))
        if int(dut.csum_wanted.value):
            checksum = self.sums[-1] if word is not None and word["checksum"] else 0xBEEF
            self.answers.append((self.clocks + DELAY, checksum))
        if int(dut.stamp_told.value):
            self.told += 1
            self.lost += int(dut.stamp_lost.value)
        self.sample(ready)
        self.clocks += 1
        return taken

    def sample(self, ready: bool) -> None:
        """Take the beat if there is one; a stalled beat stays, a begun frame does not pause."""
        dut = self.dut
        if not int(dut.m_axis_tvalid.value):
            assert self.stalled is None, "tvalid fell without tready"
            assert not self.partial, "tvalid fell inside a frame"
            return
        names = ("tdata", "tkeep", "tlast", "tuser")
        beat = tuple(int(getattr(dut, f"m_axis_{name}").value) for name in names)
        assert int(dut.busy.value)
        assert self.stalled in (None, beat), "a stalled beat changed"
        self.stalled = None if ready else beat
        if not ready:
            return
        data, keep, last, stamp = beat
        assert last or keep == 0xFF
        self.partial += beat_bytes(data, keep)
        if last:
            self.received.append((bytes(self.partial), stamp))
            self.partial.clear()

    async def frame(
        self, data: bytes, at: int = -1, *, discard: bool = False, stamp: int = 0, pause: float = 0
    ) -> tuple[bytes, int]:
        """Write a frame, with a checksum to come at byte `at` unless that is below 0; what is to
        come out of it."""
        asked = at >= 0
        if asked:
            self.sums.append(self.rng.getrandbits(16))
        side = {"discard": int(discard), "stamp": stamp, "checksum": int(asked)}
        for word in words(data, csum_at=max(at, 0) // 2, **side):
            while self.rng.random() < pause:
                await self.clock()
            while not await self.clock(word):
                assert self.clocks < 500_000, "held up for ever"
        if asked:
            data = data[:at] + self.sums[-1].to_bytes(2, "little") + data[at + 2 :]
        return data, stamp

    async def drain(self) -> list[tuple[bytes, int]]:
        """Everything out; the buffer then says that it is empty."""
        self.ready = lambda: True
        for _ in range(2 * BYTES // 8):
            await self.clock()
            if not int(self.dut.busy.value):
                break
        assert not int(self.dut.busy.value) and not self.partial
        return self.received


def mostly(rng: random.Random, share: float) -> Callable[[], bool]:
    return lambda: rng.random() < share


@cocotb.test()
async def every_length_comes_out_as_it_went_in(dut: Any) -> None:
    bench = Bench(dut)
    await bench.reset()
    lengths = (*range(1, 200), 1514, 9018, 9017, 60)
    sent = [await bench.frame(bench.rng.randbytes(length), stamp=length & 1) for length in lengths]
    assert await bench.drain() == sent


@cocotb.test()
async def checksums_stand_in_their_places(dut: Any) -> None:
    bench = Bench(dut)
    await bench.reset()
    sent = []
    for at in range(0, 60, 2):
        for more in (2, 3, 20):
            sent.append(await bench.frame(bench.rng.randbytes(at + more), at))
    for at in (254, 284):
        sent.append(await bench.frame(bench.rng.randbytes(300), at))
    assert await bench.drain() == sent


@cocotb.test()
async def random_stalls_and_discards_keep_the_rest_whole(dut: Any) -> None:
    bench = Bench(dut)
    await bench.reset()
    sent = []
    for share, pause in ((1.0, 0.5), (0.4, 0.0), (0.8, 0.1), (0.9, 0.8)):
        bench.ready = mostly(bench.rng, share)
        for _ in range(120):
            data = bench.rng.randbytes(bench.rng.choice((2, 9, bench.rng.randrange(1, 600))))
            at = bench.rng.choice((-1, bench.rng.randrange(0, min(len(data), 400), 2)))
            at = -1 if at + 2 > len(data) else at
            discard = bench.rng.random() < 0.3
            frame = await bench.frame(data, at, discard=discard, pause=pause)
            if not discard:
                sent.append(frame)
    assert await bench.drain() == sent


@cocotb.test()
async def discarded_frames_leave_no_bytes(dut: Any) -> None:
    """Together they are more than the buffer."""
    bench = Bench(dut)
    await bench.reset()
    sent = []
    bench.ready = lambda: False
    for length in (1, 8, 9, 64, 65, 9000, 15000) * 3:
        before = bench.clocks
        await bench.frame(bench.rng.randbytes(length), discard=True)
        assert bench.clocks - before == -(-length // 8), "held up"
        if length < 100:
            sent.append(await bench.frame(bench.rng.randbytes(length)))
    assert await bench.drain() == sent


@cocotb.test()
async def a_frame_is_offered_only_when_whole_and_summed(dut: Any) -> None:
    bench = Bench(dut)
    await bench.reset()
    data = bench.rng.randbytes(2000)
    side = {"discard": 0, "stamp": 0, "checksum": 0, "csum_at": 0}
    for word in words(data, **side)[:-1]:
        assert await bench.clock(word) and not int(dut.m_axis_tvalid.value)
    for _ in range(20):
        await bench.clock()
        assert not int(dut.m_axis_tvalid.value) and int(dut.busy.value)
    await bench.clock(words(data, **side)[-1])
    assert await bench.drain() == [(data, 0)]
    frame = await bench.frame(data[:60], 30)
    for _ in range(DELAY):
        await bench.clock()
        assert not int(dut.m_axis_tvalid.value), "offered before its checksum is there"
    assert await bench.drain() == [(data, 0), frame]


@cocotb.test()
async def short_frames_leave_a_clock_after_their_end_and_without_a_gap(dut: Any) -> None:
    """Those of two words a clock later: the second has to be read."""
    bench = Bench(dut)
    await bench.reset()
    for length in (*range(9, 80, 8), 1500):
        for pause in (0.0, 0.7):
            before = len(bench.received)
            frame = await bench.frame(bench.rng.randbytes(length), pause=pause)
            count = -(-length // 8)
            for _ in range(count + (1 if count > 6 else 3)):
                await bench.clock()
            assert bench.received[before:] == [frame], (length, pause)
            await bench.frame(bench.rng.randbytes(length), discard=True)


@cocotb.test()
async def a_full_buffer_takes_no_more_and_loses_nothing(dut: Any) -> None:
    bench = Bench(dut)
    await bench.reset()
    bench.ready = lambda: False
    half = bench.rng.randbytes(BYTES // 2 - 40)
    sent = [await bench.frame(half), await bench.frame(half)]
    extra = words(b"x", discard=0, stamp=0, checksum=0, csum_at=0)[0]
    taken = [await bench.clock(extra) for _ in range(20)]
    assert taken == sorted(taken, reverse=True) and 5 < sum(taken) < 15
    assert await bench.drain() == [*sent, *[(b"x", 0)] * sum(taken)]


@cocotb.test()
async def a_flush_swallows_only_what_has_no_room(dut: Any) -> None:
    """Whole frames: also the rest of one when the flush is over."""
    bench = Bench(dut)
    await bench.reset()
    bench.ready = lambda: False
    sent = [await bench.frame(bench.rng.randbytes(BYTES // 2 - 100))]
    bench.flush = 1
    sent.append(await bench.frame(bench.rng.randbytes(BYTES // 2 - 100)))
    await bench.frame(bench.rng.randbytes(3000), 30)
    side = {"discard": 0, "stamp": 0, "checksum": 0, "csum_at": 0}
    lost = words(bench.rng.randbytes(1000), **side)
    for number, word in enumerate(lost):
        assert await bench.clock(word)
        if number == 60:  # of which 25 or so had room
            bench.flush = 0
    bench.ready = lambda: True
    for _ in range(100):
        await bench.clock()
    sent.append(await bench.frame(bench.rng.randbytes(500), 20))
    assert await bench.drain() == sent


@cocotb.test()
async def a_swallowed_frame_says_that_its_stamp_is_lost(dut: Any) -> None:
    bench = Bench(dut)
    await bench.reset()
    bench.ready, bench.flush = lambda: False, 1
    await bench.frame(bench.rng.randbytes(BYTES - 100), stamp=1)
    assert (bench.told, bench.lost) == (1, 0)
    for stamp in (1, 0, 1):
        await bench.frame(bench.rng.randbytes(500), stamp=stamp)
    await bench.frame(bench.rng.randbytes(500), stamp=1, discard=True)
    assert (bench.told, bench.lost) == (3, 2)


@cocotb.test()
async def the_wire_side_gets_a_beat_every_clock(dut: Any) -> None:
    bench = Bench(dut)
    await bench.reset()
    bench.ready = lambda: False
    sent = []
    for length in (60, 61, 64, 65, 1514, 1, 130):
        sent.append(await bench.frame(bench.rng.randbytes(length)))
    for _ in range(3):
        await bench.clock()
    bench.ready = lambda: True
    before = bench.clocks
    while len(bench.received) < len(sent):
        await bench.clock()
    assert bench.clocks - before == sum(-(-len(data) // 8) for data, _ in sent)
    assert await bench.drain() == sent


@pytest.mark.parametrize("sim", SIMS)
def test_tx_buffer(sim: str) -> None:
    design = Design("tx_buffer", nic_sources(), {"Bytes": BYTES})
    simulate(design, __name__, sim=sim, seed=SEED).check()
