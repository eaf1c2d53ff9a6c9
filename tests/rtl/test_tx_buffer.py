"""tx_buffer: whole frames in, whole frames out, and free_bytes keeps its promise."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import cocotb
import pytest
from cocotb.triggers import RisingEdge
from conftest import SEED, SIMS
from wire_side_common import Beat, beat_bytes, beats, start_clock_and_reset

from wire2app.simulator import Design, nic_sources, simulate

BYTES = 16384


class Bench:
    """Both sides of the buffer, clock by clock."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.rng = random.Random(cocotb.RANDOM_SEED)
        self.ready: Callable[[], bool] = lambda: True
        self.received: list[bytes] = []
        self.partial = bytearray()
        self.stalled: tuple[int, ...] | None = None
        self.clocks = 0
        self.row = len(dut.s_axis_tkeep)

    async def reset(self) -> None:
        await start_clock_and_reset(
            self.dut,
            s_axis_tdata=0,
            s_axis_tkeep=0,
            s_axis_tvalid=0,
            s_axis_tlast=0,
            s_axis_tuser=0,
            m_axis_tready=0,
        )

    async def clock(self, beat: Beat | None = None) -> bool:
        """One clock; whether the beat was taken."""
        dut = self.dut
        dut.s_axis_tvalid.value = int(beat is not None)
        if beat is not None:
            dut.s_axis_tdata.value = beat.data
            dut.s_axis_tkeep.value = beat.keep
            dut.s_axis_tlast.value = int(beat.last)
            dut.s_axis_tuser.value = beat.user
        ready = self.ready()
        dut.m_axis_tready.value = int(ready)
        await RisingEdge(dut.clk)
        self.clocks += 1
        self.sample(ready)
        return bool(dut.s_axis_tready.value == 1)

    def sample(self, ready: bool) -> None:
        """Take the beat if there is one; a stalled beat stays, a begun frame does not pause."""
        dut = self.dut
        if dut.m_axis_tvalid.value != 1:
            assert self.stalled is None, "tvalid fell without tready"
            assert not self.partial, "tvalid fell inside a frame"
            return
        beat = tuple(int(s.value) for s in (dut.m_axis_tdata, dut.m_axis_tkeep, dut.m_axis_tlast))
        assert dut.busy.value == 1
        assert self.stalled in (None, beat), "a stalled beat changed"
        self.stalled = None if ready else beat
        if not ready:
            return
        data, keep, last = beat
        assert last or keep == 0xFF
        self.partial += beat_bytes(data, keep)
        if last:
            self.received.append(bytes(self.partial))
            self.partial.clear()

    async def frame(self, data: bytes, discard: bool = False, pause: float = 0.0) -> int:
        """Write a frame; the clocks it was held up by tready."""
        held = 0
        for beat in beats(data, self.row, user=int(discard)):
            while self.rng.random() < pause:
                await self.clock()
            while not await self.clock(beat):
                held += 1
        return held

    async def free_bytes(self) -> int:
        """What the buffer says once the head of a new frame is in the read register."""
        for _ in range(3):
            await self.clock()
        return int(self.dut.free_bytes.value)

    async def drain(self) -> list[bytes]:
        """Everything out; the buffer then says that it is empty."""
        self.ready = lambda: True
        for _ in range(2 * BYTES // 8):
            if self.dut.busy.value == 0:
                break
            await self.clock()
        assert await self.free_bytes() == BYTES
        assert self.dut.busy.value == 0 and not self.partial
        return self.received


def mostly(rng: random.Random, share: float) -> Callable[[], bool]:
    return lambda: rng.random() < share


@cocotb.test()
async def every_length_comes_out_as_it_went_in(dut: Any) -> None:
    bench = Bench(dut)
    await bench.reset()
    sent = [bench.rng.randbytes(length) for length in (*range(1, 200), 1514, 9018, 9017, 60)]
    for data in sent:
        await bench.frame(data)
    assert await bench.drain() == sent


@cocotb.test()
async def random_stalls_and_discards_keep_the_rest_whole(dut: Any) -> None:
    bench = Bench(dut)
    await bench.reset()
    sent = []
    for share, pause in ((1.0, 0.5), (0.4, 0.0), (0.8, 0.1), (0.9, 0.8)):
        bench.ready = mostly(bench.rng, share)
        for _ in range(80):
            data, discard = bench.rng.randbytes(bench.rng.randrange(1, 600)), bench.rng.random()
            await bench.frame(data, discard < 0.3, pause)
            if discard >= 0.3:
                sent.append(data)
    assert await bench.drain() == sent


@cocotb.test()
async def discarded_frames_leave_no_bytes(dut: Any) -> None:
    bench = Bench(dut)
    await bench.reset()
    sent = []
    bench.ready = lambda: False
    for length in (1, 8, 9, 64, 65, 9000, 16000) * 3:  # together more than the buffer
        before = await bench.free_bytes()
        assert await bench.frame(bench.rng.randbytes(min(length, before)), discard=True) == 0
        assert await bench.free_bytes() == before
        if length < 100:
            sent.append(bench.rng.randbytes(length))
            await bench.frame(sent[-1])
    assert await bench.drain() == sent


@cocotb.test()
async def a_frame_is_offered_only_when_whole(dut: Any) -> None:
    bench = Bench(dut)
    await bench.reset()
    data = bench.rng.randbytes(2000)
    for beat in beats(data, bench.row)[:-1]:
        assert await bench.clock(beat) and dut.m_axis_tvalid.value == 0
    for _ in range(20):
        await bench.clock()
        assert dut.m_axis_tvalid.value == 0 and dut.busy.value == 1
    await bench.clock(beats(data, bench.row)[-1])
    assert await bench.drain() == [data]


@cocotb.test()
async def what_free_bytes_promises_fits_and_no_more_is_taken(dut: Any) -> None:
    bench = Bench(dut)
    await bench.reset()
    sent = []
    for _ in range(6):
        bench.ready = lambda: False
        while free := await bench.free_bytes():
            assert free % bench.row == 0
            sent.append(bench.rng.randbytes(min(free, bench.rng.randrange(1, 4000))))
            assert await bench.frame(sent[-1]) == 0, "held up though it fits"
        for _ in range(5):
            assert not await bench.clock(beats(b"x", bench.row)[0]), "taken though full"
        await bench.clock()
        bench.ready = lambda: True
        for _ in range(bench.rng.randrange(500, 1500)):
            await bench.clock()
    assert await bench.drain() == sent


@cocotb.test()
async def free_bytes_counts_the_frame_being_written(dut: Any) -> None:
    bench = Bench(dut)
    await bench.reset()
    data = bench.rng.randbytes(1000)
    for count, beat in enumerate(beats(data, bench.row)):
        assert await bench.free_bytes() == BYTES - count * bench.row
        await bench.clock(beat)
    assert await bench.drain() == [data]


@cocotb.test()
async def the_wire_side_gets_a_beat_every_clock(dut: Any) -> None:
    bench = Bench(dut)
    await bench.reset()
    bench.ready = lambda: False
    sent = [bench.rng.randbytes(length) for length in (60, 61, 64, 65, 1514, 1, 130)]
    for data in sent:
        await bench.frame(data)
    await bench.clock()
    bench.ready = lambda: True
    before = bench.clocks
    while len(bench.received) < len(sent):
        await bench.clock()
    assert bench.clocks - before == sum(-(-len(data) // 8) for data in sent)
    await bench.drain()


@pytest.mark.parametrize("width", (64, 128, 256, 512))
@pytest.mark.parametrize("sim", SIMS)
def test_tx_buffer(sim: str, width: int) -> None:
    design = Design("tx_buffer", nic_sources(), {"Bytes": BYTES, "DataW": width})
    simulate(design, __name__, sim=sim, seed=SEED).check()
