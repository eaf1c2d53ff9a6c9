"""desc_fetch, tx_whole and nic_reset: what the rings' indices and the reset's phases rest on."""

from __future__ import annotations

import os
import random
from collections import deque
from typing import Any

import cocotb
import pytest
from cocotb.triggers import FallingEdge, ReadOnly, Timer
from conftest import SEED, SIMS
from wire_side_common import start_clock_and_reset

from pystack.dev.drivers import w2a_regs as regs
from wire2app.simulator import Design, nic_sources, simulate

TOP = os.environ.get("FETCH_TOP", "")
WIDTH = int(os.environ.get("FETCH_WIDTH", "128"))
BEAT, DESC = WIDTH // 8, 16
QUEUES, PREFETCH, ENTRIES = 3, 16, 64
BASES = (0x7_0000_0000, 0x2000, 0x4_0000)


def of_module(top: str) -> Any:
    return cocotb.test(skip=top != TOP)


def spread(values: list[int], width: int) -> int:
    return sum(value << width * q for q, value in enumerate(values))


# ---------------------------------------------------------------- desc_fetch


class Fetcher:
    """The block between rings that want fetches and a memory that answers a job at a time."""

    def __init__(self, dut: Any) -> None:
        self.dut, self.rng = dut, random.Random(SEED)
        self.memory = [[self.rng.getrandbits(128) for _ in range(ENTRIES)] for _ in range(QUEUES)]
        self.issued, self.fetched = [0] * QUEUES, [0] * QUEUES
        self.consumed = [0] * QUEUES
        self.wanted = [0] * QUEUES
        self.coming = [0] * QUEUES
        self.resps: list[deque[int]] = [deque() for _ in range(QUEUES)]
        self.jobs: deque[tuple[int, int, int]] = deque()
        self.beats: deque[tuple[int, int, int, int, int]] = deque()  # data, keep, last, tag, resp
        self.hold, self.begun = 0.3, [0] * QUEUES

    async def start(self) -> None:
        await start_clock_and_reset(
            self.dut, desc_base=spread(list(BASES), 64), fetch_wanted=0, fetch_count=0,
            fetch_entry=0, fetched=0, running=0, pop=0, job_ready=0, s_axis_tdata=0, s_axis_tkeep=0,
            s_axis_tvalid=0, s_axis_tlast=0, s_axis_ttag=0, s_axis_tresp=0, head_queue=0,
        )  # fmt: skip

    def want(self) -> None:
        for q in range(QUEUES):
            room = PREFETCH - (self.issued[q] - self.consumed[q])
            room = min(room, ENTRIES - self.issued[q] % ENTRIES)
            if not self.wanted[q] and not self.coming[q] and room and self.rng.random() < 0.3:
                self.wanted[q] = self.rng.randint(1, room)

    def answer(self, addr: int, length: int, queue: int) -> None:
        """The beats of a job; each has a response of its own."""
        first = (addr - BASES[queue]) // DESC
        data = b"".join(
            self.memory[queue][entry].to_bytes(DESC, "little")
            for entry in range(first, first + length // DESC)
        )
        for at in range(0, length, BEAT):
            part = data[at : at + BEAT]
            resp = self.rng.choice((0, 0, 0, 0, 2, 3))
            beat = (int.from_bytes(part, "little"), (1 << len(part)) - 1, int(at + BEAT >= length))
            self.beats.append((*beat, queue, resp))
            for _ in range(len(part) // DESC):
                self.resps[queue].append(resp)
            if BEAT < DESC:  # the worse of the two beats of a descriptor
                if at % DESC:
                    self.resps[queue][-1] = max(self.resps[queue][-1], resp)
                else:
                    self.resps[queue].append(resp)

    async def clock(self) -> None:
        dut, rng = self.dut, self.rng
        await FallingEdge(dut.clk)
        self.want()
        valid = bool(self.beats) and rng.random() >= self.hold
        dut.fetch_wanted.value = spread([int(count > 0) for count in self.wanted], 1)
        dut.fetch_count.value = spread(self.wanted, 5)
        dut.fetch_entry.value = spread([at % ENTRIES for at in self.issued], 16)
        dut.fetched.value = spread(self.fetched, 16)
        dut.running.value = (1 << QUEUES) - 1
        dut.job_ready.value = int(rng.random() >= self.hold)
        dut.s_axis_tvalid.value = int(valid)
        if valid:
            data, keep, last, tag, resp = self.beats[0]
            dut.s_axis_tdata.value, dut.s_axis_tkeep.value = data, keep
            dut.s_axis_tlast.value, dut.s_axis_ttag.value = last, tag
            dut.s_axis_tresp.value = resp
        head = rng.randrange(QUEUES)
        dut.head_queue.value = head
        shown = int(dut.ready.value) >> head & 1
        pop = shown and rng.random() < 0.7
        dut.pop.value = pop << head
        await ReadOnly()
        if shown:
            self.check_head(head)
            self.consumed[head] += pop
        assert int(dut.busy.value) == int(bool(self.jobs) or valid)
        self.begin()
        if int(dut.job_valid.value) and int(dut.job_ready.value):
            job = (int(dut.job_addr.value), int(dut.job_len.value), int(dut.job_tag.value))
            self.answer(*job)
            assert self.jobs.popleft() == job
        if valid:
            self.take()

    def begin(self) -> None:
        """A fetch that begins is one that is wanted; its job comes a clock later."""
        begin = int(self.dut.fetch_begin.value)
        if begin:
            queue = begin.bit_length() - 1
            count = self.wanted[queue]
            assert begin == 1 << queue and count
            entry = self.issued[queue] % ENTRIES
            self.jobs.append((BASES[queue] + DESC * entry, DESC * count, queue))
            self.begun[queue] += 1
            self.issued[queue] += count
            self.coming[queue], self.wanted[queue] = count, 0

    def take(self) -> None:
        dut = self.dut
        push, end = int(dut.fetch_push.value), int(dut.fetch_end.value)
        queue = self.beats[0][3]
        if push:
            assert push == 1 << queue
            at, resp = self.fetched[queue], self.resps[queue][self.fetched[queue]]
            desc = self.memory[queue][at % ENTRIES]
            last = desc >> 80 & 1 | resp >> 1
            assert int(dut.push_last.value) == last
            self.fetched[queue] += 1
            self.coming[queue] -= 1
        assert end == (push if self.coming[queue] == 0 else 0)
        if int(dut.s_axis_tready.value):
            self.beats.popleft()

    def check_head(self, queue: int) -> None:
        """The next descriptor of the queue that is looked at."""
        at = self.consumed[queue]
        assert at < self.fetched[queue], "a descriptor that is not here"
        assert int(self.dut.head_desc.value) == self.memory[queue][at % ENTRIES]
        assert int(self.dut.head_resp.value) == self.resps[queue][at]


@of_module("desc_fetch")
async def each_descriptor_arrives_in_its_ring_with_its_response(dut: Any) -> None:
    assert regs.TX_DESC_LAST == 1, "the bit looked at"
    bench = Fetcher(dut)
    await bench.start()
    for bench.hold in (0.0, 0.3, 0.7):
        for _ in range(700):
            await bench.clock()
    assert min(bench.consumed) > 3 * ENTRIES
    assert min(bench.begun) > 0.7 * max(bench.begun), "queues in turn"


# ---------------------------------------------------------------- tx_whole


@of_module("tx_whole")
async def a_queue_is_whole_with_the_end_of_a_frame_or_no_room_for_it(dut: Any) -> None:
    rng = random.Random(SEED)
    await start_clock_and_reset(
        dut, running=0, log2_entries=0, fetched=0, consumed=0, fetch_push=0, fetch_last=0,
        pop=0, pop_last=0,
    )  # fmt: skip
    rings: list[list[int]] = [[] for _ in range(QUEUES)]  # whether each one held ends a frame
    popped, running, logs = [0xFFF0] * QUEUES, [1] * QUEUES, [2, 5, 6]
    seen = [set[int]() for _ in range(QUEUES)]
    before = [deque([0, 0], maxlen=2) for _ in range(QUEUES)]  # had it no room, two clocks long
    for number in range(3000):
        await FallingEdge(dut.clk)
        into, ends = rng.randrange(QUEUES), int(rng.random() < 0.1)
        push = running[into] and len(rings[into]) < min(1 << logs[into], 32) and rng.random() < 0.9
        outs = [bool(ring) and rng.random() < 0.3 * (number // 200 % 2) for ring in rings]
        out = outs.index(True) if True in outs else -1
        running = [run if rng.random() < 0.997 else 1 - run for run in running]
        rings = [ring if run else [] for ring, run in zip(rings, running, strict=True)]
        push, out = push and running[into], out if out >= 0 and rings[out] else -1
        dut.running.value, dut.log2_entries.value = spread(running, 1), spread(logs, 4)
        dut.consumed.value = spread(popped, 16)
        held = [at + len(ring) & 0xFFFF for at, ring in zip(popped, rings, strict=True)]
        dut.fetched.value = spread(held, 16)
        dut.fetch_push.value, dut.fetch_last.value = push << into, ends
        dut.pop.value = 1 << out if out >= 0 else 0
        dut.pop_last.value = rings[out][0] if out >= 0 else 0
        await ReadOnly()
        for q, ring in enumerate(rings):
            if not running[q]:
                before[q].extend((0, 0))
            assert int(dut.whole.value) >> q & 1 == (any(ring) or before[q][0]), (q, ring)
            before[q].append(len(ring) > 24 or len(ring) == 1 << logs[q])
            seen[q].add(len(ring))
        if out >= 0:
            rings[out].pop(0)
            popped[out] = popped[out] + 1 & 0xFFFF
        if push:
            rings[into].append(ends)
    assert max(seen[0]) == 4 and max(seen[1]) == max(seen[2]) == 32


# ---------------------------------------------------------------- nic_reset


@of_module("nic_reset")
async def it_resets_after_four_quiet_clocks_and_for_four(dut: Any) -> None:
    await start_clock_and_reset(dut, request=0, quiet=1)
    await Timer(1, "ns")

    async def clock(request: int = 0, quiet: int = 1) -> tuple[int, int]:
        await FallingEdge(dut.clk)
        dut.request.value, dut.quiet.value = request, quiet
        await ReadOnly()
        return int(dut.halt.value), int(dut.core_rst.value)

    for noise in ((), (0,), (0, 0, 0), (1, 0), (1, 1, 1, 0), (1, 1, 0, 1, 0, 1, 1, 1, 0)):
        for _ in range(9):
            assert await clock() == (0, 0)
        assert await clock(request=1) == (0, 0)
        for quiet in noise:
            assert await clock(quiet=quiet) == (1, 0), "not before all is quiet"
        phases = [await clock() for _ in range(12)]
        assert phases == [(1, 0)] * 4 + [(1, 1)] * 4 + [(0, 0)] * 4, noise
    for early in (1, 3, 6):
        await clock(request=1)
        for _ in range(early):
            await clock()
        await FallingEdge(dut.clk)
        dut.rst.value = 1
        await FallingEdge(dut.clk)
        dut.rst.value = 0
        assert [await clock() for _ in range(12)] == [(0, 0)] * 12, "reset from outside ends it"


@pytest.mark.parametrize("width", [64, 128, 512])
def test_desc_fetch(width: int) -> None:
    design = Design("desc_fetch", nic_sources(), {"Queues": QUEUES, "DataW": width})
    env = {"FETCH_TOP": "desc_fetch", "FETCH_WIDTH": str(width)}
    simulate(design, __name__, sim=SIMS[-1], seed=SEED, env=env).check()


def test_tx_whole() -> None:
    design = Design("tx_whole", nic_sources(), {"Queues": QUEUES, "Prefetch": 32})
    simulate(design, __name__, sim=SIMS[-1], seed=SEED, env={"FETCH_TOP": "tx_whole"}).check()


def test_nic_reset() -> None:
    design = Design("nic_reset", nic_sources())
    simulate(design, __name__, sim=SIMS[-1], seed=SEED, env={"FETCH_TOP": "nic_reset"}).check()
