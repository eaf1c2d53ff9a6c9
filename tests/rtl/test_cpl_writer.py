"""cpl_writer with cpl_batch: every completion reaches its slot, and retires, once and in order.

Memory is written when the bus answers OKAY; what is retired and counted follows from docs/rings.md.
"""

from __future__ import annotations

import os
import random
from collections import deque
from dataclasses import dataclass
from typing import Any

import cocotb
import pytest
from cocotb.triggers import FallingEdge, ReadOnly
from conftest import SEED, SIMS
from wire_side_common import start_clock_and_reset

from pystack.dev.drivers.w2a_regs import RX_CPL, RX_CPL_LAST, RX_CPL_PHASE, CplStatus, QueueError
from wire2app.simulator import Design, nic_sources, simulate

WIDTH = int(os.environ.get("CPL_WIDTH", "128"))
QUEUES, BATCH, ENTRY = 3, 4, 16
LOG2 = (2, 5, 1)
QUEUE_BITS = (QUEUES - 1).bit_length()
BASES = (0x1_0000_1000, 0x2000, 0x3000)
OKAY, SLVERR, DECERR = 0, 2, 3
HASH, TCI = 0xABCD1234, 77
KINDS = ("frame", "length", "bus_error")
STOPS = {
    CplStatus.DATA_SLVERR: QueueError.DATA_SLVERR,
    CplStatus.DATA_DECERR: QueueError.DATA_DECERR,
    CplStatus.DESC_SLVERR: QueueError.DESC_SLVERR,
    CplStatus.DESC_DECERR: QueueError.DESC_DECERR,
}


@dataclass
class Cpl:
    """A completion as the engine hands it on; `resp` is that to its data, None: it has none."""

    queue: int
    index: int
    length: int
    status: CplStatus
    first: bool
    last: bool
    resp: int | None

    def entry(self, status: CplStatus, queue: int = 0, phase: bool = False) -> bytes:
        flags = RX_CPL_LAST if self.last else 0
        stamp = 99 | (RX_CPL_PHASE if phase else 0)
        return RX_CPL.pack(self.index, self.length, status | queue << 4, flags, HASH, TCI, stamp)

    def bits(self) -> int:
        """As the engine gives it: without queue and phase."""
        return int.from_bytes(self.entry(self.status), "little")

    def written(self, status: CplStatus) -> bytes:
        """As it stands in its slot."""
        return self.entry(status, self.queue, not self.index >> LOG2[self.queue] & 1)

    @property
    def slot(self) -> int:
        return self.index & (1 << LOG2[self.queue]) - 1

    @property
    def addr(self) -> int:
        return BASES[self.queue] + ENTRY * self.slot


def told(cpls: list[Cpl]) -> list[CplStatus]:
    """What each completion says: an error in one is repeated in those behind it of the frame."""
    found: list[CplStatus] = []
    for cpl in cpls:
        status = cpl.status
        if cpl.resp in (SLVERR, DECERR):
            status = CplStatus.DATA_DECERR if cpl.resp == DECERR else CplStatus.DATA_SLVERR
        if not cpl.first and found[-1] != CplStatus.OK:
            status = found[-1]
        found.append(status)
    return found


def kind_of(status: CplStatus) -> str:
    if status is CplStatus.OK:
        return "frame"
    return "length" if status in (CplStatus.BAD_LENGTH, CplStatus.TRUNCATED) else "bus_error"


def some_completions(rng: random.Random, frames: int, next_index: list[int]) -> list[Cpl]:
    found = []
    queue = 0
    for _ in range(frames):
        queue = rng.choice((queue, queue, rng.randrange(QUEUES)))
        count = rng.choice((1, 1, 1, 2, 5))
        for part in range(count):
            odd = rng.random() < 0.15
            status = rng.choice(list(CplStatus)) if odd else CplStatus.OK
            resp = rng.choice((OKAY, OKAY, OKAY, OKAY, OKAY, SLVERR, DECERR))
            has_data = status in (CplStatus.OK, CplStatus.TRUNCATED) and rng.random() < 0.8
            place = (queue, next_index[queue], rng.getrandbits(16))
            ends = (part == 0, part == count - 1)
            found.append(Cpl(*place, status, *ends, resp if has_data else None))
            next_index[queue] = next_index[queue] + 1 & 0xFFFF
    return found


class WriterBench:
    """The block between an engine that pushes and a DMA that takes jobs and answers later."""

    def __init__(self, dut: Any) -> None:
        self.dut, self.rng = dut, random.Random(SEED)
        self.hold = 0.3  # chance that something waits another clock
        self.hold_jobs = self.hold_beats = 0.3
        self.next_index = [0, 0xFFF0, 0xFFFF]
        self.bad_write = -1  # the number of the job that is answered with an error
        self.sizes: list[int] = []  # of jobs
        self.beats: list[int] = []
        self.jobs: deque[tuple[int, int, int]] = deque()  # (address, entries, queue)
        self.data_resps: deque[int] = deque()
        self.answers: deque[tuple[int, int]] = deque()  # (queue, response)
        self.broken = 0
        self.before = -1, False  # queue of what retired last, and whether it was lost
        self.clear()

    def clear(self) -> None:
        self.pushed: list[Cpl] = []
        self.written = [0] * QUEUES
        self.lost_from = [1 << 30] * QUEUES  # the completion of the queue that was lost first
        self.retired: list[int] = []
        self.counted: list[tuple[int, str]] = []
        self.stops: list[tuple[int, int]] = []  # queue, error

    async def start(self) -> None:
        await start_clock_and_reset(
            self.dut, cpl_base=sum(base << 64 * q for q, base in enumerate(BASES)),
            log2_entries=sum(log2 << 4 * q for q, log2 in enumerate(LOG2)),
            mask=sum(((1 << log2) - 1) << 16 * q for q, log2 in enumerate(LOG2)),
            broken=0, push=0, push_queue=0, push_entry=0, push_first=0, push_last=0,
            push_has_data=0, data_done=0, data_resp=0, job_ready=0, m_axis_tready=0,
            done_valid=0, done_tag=0, done_resp=0,
        )  # fmt: skip

    def waits(self) -> bool:
        return self.rng.random() < self.hold

    def drive(self, **values: int) -> None:
        for name, value in values.items():
            getattr(self.dut, name).value = value

    def get(self, name: str) -> int:
        return int(getattr(self.dut, name).value)

    def of(self, queue: int) -> list[Cpl]:
        return [cpl for cpl in self.pushed if cpl.queue == queue]

    async def clock(self, push: Cpl | None = None) -> bool:
        """A clock; whether `push` was taken."""
        await FallingEdge(self.dut.clk)
        under_way = len(self.pushed) > len(self.retired)
        here = push is not None and not self.get("push_full") and not self.waits()
        data = bool(self.data_resps) and not self.waits()
        answer = bool(self.answers) and not self.waits()
        self.drive(push=int(here), data_done=int(data), done_valid=int(answer), broken=self.broken)
        self.drive(job_ready=int(self.rng.random() >= self.hold_jobs))
        self.drive(m_axis_tready=int(self.rng.random() >= self.hold_beats))
        if data:
            self.drive(data_resp=self.data_resps.popleft())
        if answer:
            tag, resp = self.answers.popleft()
            self.drive(done_tag=tag, done_resp=resp)
        if here and push is not None:
            self.hand_on(push)
        await ReadOnly()
        assert self.get("busy") or not under_way
        self.take()
        self.count()
        return here

    def hand_on(self, push: Cpl) -> None:
        self.drive(
            push_queue=push.queue, push_entry=push.bits(), push_first=int(push.first),
            push_last=int(push.last), push_has_data=int(push.resp is not None),
        )  # fmt: skip
        if push.resp is not None:
            self.data_resps.append(push.resp)
        self.pushed.append(push)

    def take(self) -> None:
        """What goes to memory: the job first, or in the same clock as its first data."""
        if self.get("job_valid") and self.get("job_ready"):
            count, rest = divmod(self.get("job_len"), ENTRY)
            assert not rest and 1 <= count <= BATCH
            tag = self.get("job_tag")
            assert tag >> QUEUE_BITS == count, "the tag brings back how many retire"
            self.jobs.append((self.get("job_addr"), count, tag))
        if self.get("m_axis_tvalid") and self.get("m_axis_tready"):
            assert self.jobs, "data of no job"
            shown = str(self.dut.m_axis_tdata.value)  # behind the last entry it may be anything
            self.beats.append(int(shown.replace("X", "0"), 2))
            if len(self.beats) * WIDTH // 8 >= ENTRY * self.jobs[0][1]:
                self.write(*self.jobs.popleft())

    def write(self, addr: int, count: int, tag: int) -> None:
        """Each entry of the job is its queue's next, in its slot."""
        queue = tag & (1 << QUEUE_BITS) - 1
        data = b"".join(beat.to_bytes(WIDTH // 8, "little") for beat in self.beats)
        self.beats = []
        resp = OKAY
        if len(self.sizes) == self.bad_write:
            resp = self.rng.choice((SLVERR, DECERR))
            self.lost_from[queue] = self.written[queue]
        self.sizes.append(count)
        self.answers.append((tag, resp))
        cpls = self.of(queue)
        for number in range(count):
            at = self.written[queue]
            assert addr + ENTRY * number == cpls[at].addr
            entry = data[ENTRY * number : ENTRY * (number + 1)]
            assert entry == cpls[at].written(told(cpls)[at])
            self.written[queue] += 1

    def count(self) -> None:
        retire, told_of = self.get("retire"), self.get("told")
        if told_of:
            queue, lost = self.before
            assert told_of == 1 << queue, "a clock after it retired"
            self.stops += [] if lost else [(queue, self.get("told_error"))]
        for kind in KINDS:
            events = self.get(f"ev_{kind}")
            assert not events or events == retire, "counted when it retires"
            if events:
                self.counted.append((events.bit_length() - 1, kind))
        if retire:
            queue = retire.bit_length() - 1
            self.before = queue, bool(self.get("retire_resp") & 2 or self.broken >> queue & 1)
            assert retire == 1 << queue, "two at a time"
            self.retired.append(queue)
            lost = self.of(queue)[: self.retired.count(queue)]
            if len(lost) > self.lost_from[queue] and not self.broken >> queue & 1:
                assert self.get("retire_resp") & 2
                self.broken |= 1 << queue
            elif not self.broken >> queue & 1:
                assert self.get("retire_resp") == OKAY

    def has_room(self, queue: int) -> bool:
        return len(self.of(queue)) - self.retired.count(queue) < 1 << LOG2[queue]

    async def run(self, cpls: list[Cpl]) -> None:
        """All of `cpls`, until the last has retired."""
        self.clear()
        for cpl in cpls:
            for _ in range(500):
                if await self.clock(cpl if self.has_room(cpl.queue) else None):
                    break
            else:
                raise AssertionError("a completion is not taken")
        for _ in range(500):
            if len(self.retired) == len(cpls):
                break
            await self.clock()
        for _ in range(10):
            await self.clock()
        assert not self.get("busy")
        assert self.retired == [cpl.queue for cpl in cpls]
        self.check_counters()

    def check_counters(self) -> None:
        due, stops = [], []
        for queue in range(QUEUES):
            cpls = self.of(queue)
            for at, (cpl, status) in enumerate(zip(cpls, told(cpls), strict=True)):
                written = at < self.lost_from[queue]
                kind = kind_of(status) if written else "bus_error"
                due += [(queue, kind)] if cpl.last else []
                stops += [(queue, STOPS[status])] if written and status in STOPS else []
        assert sorted(self.counted) == sorted(due)
        assert sorted(self.stops) == sorted(stops)


@cocotb.test()
async def each_completion_reaches_its_slot_and_retires_once(dut: Any) -> None:
    bench = WriterBench(dut)
    await bench.start()
    for holds in ((0.0, 0.0, 0.0), (0.3, 0.3, 0.3), (0.7, 0.5, 0.7), (0.1, 0.9, 0.1)):
        bench.hold, bench.hold_jobs, bench.hold_beats = holds
        await bench.run(some_completions(bench.rng, 60, bench.next_index))
    assert set(bench.sizes) == {1, 2, 3, 4}


@cocotb.test()
async def a_bus_that_takes_jobs_and_no_data_loses_none(dut: Any) -> None:
    """All that it has room for waits for it, and no more is taken."""
    bench = WriterBench(dut)
    await bench.start()
    bench.hold = bench.hold_jobs = 0.0
    waiting = deque(Cpl(1, at, 60, CplStatus.OK, True, True, OKAY) for at in range(40))
    for bench.hold_beats in (1.0, 0.0):
        assert waiting, "it took more than it has room for"
        for _ in range(150):
            if await bench.clock(waiting[0] if waiting else None):
                waiting.popleft()
    assert bench.retired == [1] * 40 and not bench.get("busy")


@cocotb.test()
async def what_comes_alone_is_written_at_once(dut: Any) -> None:
    bench = WriterBench(dut)
    await bench.start()
    bench.hold = bench.hold_jobs = bench.hold_beats = 0.0
    for index in range(8):
        bench.clear()
        await bench.clock(Cpl(1, index, 60, CplStatus.OK, True, True, OKAY))
        clocks = 0
        while not bench.retired:
            await bench.clock()
            clocks += 1
        assert clocks <= 6 + max(1, 128 // WIDTH), "a few clocks, and those of the data"


@cocotb.test()
async def completions_of_a_broken_ring_are_dropped_but_retire(dut: Any) -> None:
    bench = WriterBench(dut)
    await bench.start()
    dropped = 0
    for _ in range(12):
        bench.hold = bench.hold_jobs = bench.hold_beats = bench.rng.choice((0.0, 0.3, 0.7))
        bench.bad_write = len(bench.sizes) + bench.rng.randrange(10)
        await bench.run(some_completions(bench.rng, 25, bench.next_index))
        assert bench.broken
        dropped += len(bench.pushed) - sum(bench.written)
        queue = bench.broken.bit_length() - 1
        bench.next_index[queue] = 0  # the ring starts again
        bench.broken = 0
    assert dropped > 20, "few were dropped"


@pytest.mark.parametrize("width", [64, 128, 512])
def test_cpl_writer(width: int) -> None:
    design = Design("cpl_writer", nic_sources(), {"Queues": QUEUES, "DataW": width})
    env = {"CPL_WIDTH": str(width)}
    simulate(design, __name__, sim=SIMS[-1], seed=SEED, env=env).check()
