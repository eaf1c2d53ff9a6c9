"""queue_ring against what its indices mean: random doorbells, fetches, pops and completions.

The rest of the NIC is played: whoever wants a fetch gets it late, what is ready is popped now and
then, what was popped completes now and then, and each life of the ring ends in another way.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb
import pytest
from cocotb.triggers import FallingEdge, ReadOnly
from conftest import SEED, SIMS
from wire_side_common import start_clock_and_reset

from pystack.dev.drivers.w2a_regs import QueueError
from wire2app.simulator import Design, nic_sources, simulate

PREFETCH, BATCH = 16, 8
SOON = 6  # clocks within which the ring has seen what was done to it
OUTPUTS = (
    "doorbell_refused", "active", "error", "producer", "fetched", "completed", "fetch_wanted",
    "running", "posted", "posted_more", "consumed", "broken", "start", "failed", "busy",
)  # fmt: skip
EVENTS = (
    "doorbell", "fetch_begin", "fetch_push", "fetch_end", "pop", "desc_failed", "retire", "told",
)  # fmt: skip
ENDS = {
    "disable": QueueError.NONE,
    "doorbell": QueueError.BAD_DOORBELL,
    "desc_slverr": QueueError.DESC_SLVERR,
    "desc_decerr": QueueError.DESC_DECERR,
    "cpl_slverr": QueueError.CPL_SLVERR,
    "cpl_decerr": QueueError.CPL_DECERR,
    "told_slverr": QueueError.DATA_SLVERR,
    "told_decerr": QueueError.DATA_DECERR,
}


class RingBench:
    """The ring, its neighbours, and the indices as they ought to be."""

    def __init__(self, dut: Any) -> None:
        self.dut, self.rng = dut, random.Random(SEED)
        self.log2 = 3
        self.enable = self.popping = self.retiring = True
        self.seen: dict[str, int] = {}
        self.quiet = False  # nothing was done in the last clock, and the ring was not busy
        self.refused = self.starts = self.fetches = 0
        self.reset_model()

    def reset_model(self) -> None:
        self.producer = self.issued = self.fetched = self.consumed = self.completed = 0
        self.coming = self.under_way = 0

    @property
    def running(self) -> bool:
        return bool(int(self.dut.running.value))

    @property
    def held(self) -> int:
        return self.fetched - self.consumed

    @property
    def entries(self) -> int:
        return 1 << self.log2

    async def start(self) -> None:
        inputs = dict.fromkeys((*EVENTS, "enable", "doorbell_producer"), 0)
        await start_clock_and_reset(
            self.dut,
            log2_entries=3,
            run_on=0,
            desc_decerr=0,
            retire_resp=0,
            told_error=0,
            **inputs,
        )

    async def clock(self, **inputs: int) -> None:
        """A clock in which the neighbours do what they may, and `inputs` besides."""
        dut = self.dut
        await FallingEdge(dut.clk)
        values = dict.fromkeys(EVENTS, 0)
        values |= {"enable": int(self.enable), "log2_entries": self.log2, "retire_resp": 0}
        values |= self.neighbours() | inputs
        for name, value in values.items():
            getattr(dut, name).value = value
        await ReadOnly()
        seen = {name: int(getattr(dut, name).value) for name in OUTPUTS}
        if self.quiet and not any(values[name] for name in EVENTS) and self.enable_as_before:
            assert seen == self.seen, "something moves though the ring was not busy"
        self.check(seen)
        self.advance(values, seen)
        self.quiet = not seen["busy"] and not any(values[name] for name in EVENTS)
        self.enable_before, self.seen = self.enable, seen

    @property
    def enable_as_before(self) -> bool:
        return self.enable == self.enable_before

    def neighbours(self) -> dict[str, int]:
        dut, rng, values = self.dut, self.rng, {}
        if int(dut.fetch_wanted.value) and rng.random() < 0.5:
            count = int(dut.fetch_count.value)
            self.check_fetch(count, int(dut.fetch_entry.value))
            values["fetch_begin"] = 1
        elif self.coming and rng.random() < 0.6:
            values["fetch_push"], values["fetch_end"] = 1, int(self.coming == 1)
        if self.running and self.held and self.popping and rng.random() < 0.4:
            values["pop"] = 1
        if self.under_way and self.retiring and rng.random() < 0.4:
            values["retire"] = 1
        return values

    def check_fetch(self, count: int, entry: int) -> None:
        """As many as are posted, have room and follow each other in memory; not a few of many."""
        waiting = self.producer - self.issued
        room = PREFETCH - (self.issued - self.consumed)
        to_end = min(PREFETCH, self.entries) - self.issued % min(PREFETCH, self.entries)
        assert not self.coming, "two fetches at a time"
        assert 1 <= count <= min(waiting, room, to_end)
        assert entry == self.issued % self.entries
        assert room >= BATCH or count in (waiting, to_end) or waiting - count < SOON * 8
        self.fetches += 1
        self.issued += count
        self.coming = count

    def check(self, seen: dict[str, int]) -> None:
        if seen["running"]:
            for name in ("fetched", "consumed", "completed"):
                assert seen[name] == getattr(self, name) & 0xFFFF, name
        else:
            assert not seen["fetch_wanted"]
        if self.coming or self.under_way:
            assert seen["active"], "it stops before what is under way has ended"

    def advance(self, values: dict[str, int], seen: dict[str, int]) -> None:
        self.refused += seen["doorbell_refused"]
        if seen["start"]:
            self.starts += 1
            self.reset_model()
            return
        if values["fetch_push"]:
            self.coming -= 1
            self.fetched += seen["running"]
        self.consumed += values["pop"]
        ok = not values["retire_resp"] & 2 and not seen["broken"]
        self.completed += values["retire"] and ok
        self.under_way += values["pop"] - values["retire"]

    async def reset(self) -> None:
        await FallingEdge(self.dut.clk)
        for name in EVENTS:
            getattr(self.dut, name).value = 0
        self.dut.rst.value = 1
        self.quiet = False
        self.reset_model()
        await self.clock(rst=0)

    async def clocks(self, count: int) -> None:
        for _ in range(count):
            await self.clock()

    async def ring(self, producer: int) -> None:
        """A doorbell, and what it says when it was judged."""
        await self.clock(doorbell=1, doorbell_producer=producer & 0xFFFF)
        await self.clocks(self.rng.randrange(1, 4))

    async def post(self, count: int) -> None:
        self.producer += count
        await self.ring(self.producer)
        await self.clocks(SOON)
        assert self.seen["producer"] == self.producer & 0xFFFF

    async def settle(self) -> None:
        """Until all that may happen has happened."""
        silent = stuck = 0
        while silent < 20:
            moved = self.consumed, self.completed
            await self.clock()
            silent = silent + 1 if self.quiet else 0
            stuck = stuck + 1 if moved == (self.consumed, self.completed) else 0
            assert stuck < 3000, "the ring never rests"

    def check_resting(self) -> None:
        """What an enabled ring says when nothing moves."""
        posted = self.producer - self.consumed
        assert self.seen["posted"] == (posted > 0)
        assert not posted or self.seen["posted_more"] == (posted > 1)
        assert self.seen["active"] and self.seen["running"] and not self.seen["failed"]

    async def begin(self, log2: int) -> None:
        self.log2, self.enable = log2, True
        starts = self.starts
        await self.clocks(SOON)
        assert self.starts == starts + 1
        assert self.seen["active"] and self.seen["error"] == QueueError.NONE
        assert self.seen["producer"] == self.seen["fetched"] == self.seen["consumed"] == 0
        assert self.seen["completed"] == 0

    async def traffic(self, doorbells: int) -> None:
        for _ in range(doorbells):
            self.popping = self.rng.random() < 0.7
            self.retiring = self.popping
            room = min(self.entries - (self.producer - self.consumed), 1000)
            await self.post(self.rng.choice((0, min(1, room), room, self.rng.randint(0, room))))
            await self.clocks(self.rng.choice((0, 3, 40)))
        self.popping = self.retiring = True

    async def end(self, way: str) -> None:
        """End the ring's life; neighbours finish what they had begun, and nothing more."""
        if way == "disable":
            self.enable = False
        elif way == "doorbell":
            refused = self.refused
            worse = self.rng.choice((self.producer - 1, self.producer + self.entries + 99))
            await self.ring(worse)
            await self.clocks(SOON)
            assert self.refused == refused + 1
            assert self.seen["producer"] == self.producer & 0xFFFF
        elif way.startswith("desc"):
            await self.clock(desc_failed=1, desc_decerr=int(way == "desc_decerr"))
        elif way.startswith("told"):
            for run_on in (1, 0):  # an error that only the completion tells of, and one that stops
                assert self.seen["running"]
                while not self.under_way:
                    await self.clock(retire=0)
                await self.clock(retire=1)
                await self.clock(run_on=run_on, told=1, told_error=ENDS[way], retire=0)
                await self.clock(run_on=0, retire=0)
        else:
            while not self.under_way:
                await self.clock(retire=0)
            bad = {"retire": 1, "retire_resp": 3 if way == "cpl_decerr" else 2}
            await self.clock(**bad)

    async def check_end(self, way: str) -> None:
        error = ENDS[way]
        self.popping = self.retiring = False
        await self.clocks(SOON)
        assert not self.seen["running"] and not self.seen["posted"] and not self.seen["posted_more"]
        assert self.seen["active"] == (self.under_way > 0 or self.coming > 0)
        completed = self.completed
        while self.under_way:  # further errors do not hide the first
            odd = self.rng.choice((0, 2, 3)) if way.startswith("cpl") else 0
            await self.clock(retire=1, retire_resp=odd)
        await self.settle()
        assert self.seen["error"] == error and self.seen["failed"] == (error != QueueError.NONE)
        assert self.seen["broken"] == way.startswith("cpl")
        assert not self.seen["active"]
        assert self.seen["completed"] == self.completed & 0xFFFF
        assert self.completed == completed or not way.startswith("cpl")
        refused = self.refused
        await self.ring(self.producer)
        await self.clocks(SOON)
        assert self.refused == refused + 1, "a doorbell of a ring that is stopped"
        assert self.seen["error"] == error
        starts = self.starts
        self.enable = False
        await self.clocks(SOON)
        assert self.seen["error"] == error and not self.seen["failed"]
        assert self.starts == starts and not self.seen["busy"]


@cocotb.test()
async def indices_keep_their_order_however_a_ring_ends(dut: Any) -> None:
    bench = RingBench(dut)
    bench.enable = bench.enable_before = False
    await bench.start()
    await bench.clocks(SOON)
    for way in (*ENDS, *ENDS):
        await bench.begin(bench.rng.choice((1, 2, 3, 4, 6, 15)))
        await bench.traffic(12)
        await bench.settle()
        assert bench.consumed == bench.completed == bench.producer
        bench.check_resting()
        if way != "disable":
            await bench.post(bench.rng.choice((2, bench.entries // 2 + 1)))
        await bench.end(way)
        await bench.check_end(way)
    assert bench.starts == 2 * len(ENDS)


@cocotb.test()
async def fetches_come_in_batches(dut: Any) -> None:
    bench = RingBench(dut)
    bench.enable = bench.enable_before = False
    await bench.start()
    await bench.begin(15)
    bench.popping = bench.retiring = False
    await bench.post(20000)
    await bench.settle()
    assert (bench.fetched, bench.fetches) == (PREFETCH, 1), "as many as fit at once"
    for popped in range(1, BATCH + 1):
        await bench.clock(pop=1)
        await bench.clocks(SOON)
        assert bench.fetches == 1 + (popped == BATCH), "a fetch waits for room for a batch"
    await bench.settle()
    bench.popping = bench.retiring = True
    while bench.producer - bench.consumed > 19000:
        await bench.clock()
    bench.popping = False
    await bench.settle()
    assert bench.fetches >= (bench.consumed - BATCH) // PREFETCH
    fetches = bench.fetches
    bench.enable = False
    await bench.settle()
    await bench.begin(4)
    await bench.post(3)
    await bench.settle()
    assert (bench.fetches, bench.fetched) == (fetches + 1, 3), "all there is, though no batch"


@cocotb.test()
async def a_doorbell_from_before_the_start_means_nothing(dut: Any) -> None:
    bench = RingBench(dut)
    bench.enable = bench.enable_before = False
    await bench.start()
    await bench.clocks(SOON)
    for before in range(4):
        await bench.clock(doorbell=1, doorbell_producer=5)
        for _ in range(before):
            await bench.clock()
        await bench.begin(3)
        assert not bench.seen["posted"]
        bench.enable = False
        await bench.settle()


@cocotb.test()
async def a_doorbell_is_taken_or_counted_in_every_clock_round_the_start(dut: Any) -> None:
    bench = RingBench(dut)
    bench.enable = bench.enable_before = False
    await bench.start()
    await bench.clocks(SOON)
    for behind in range(-3, 4):  # clocks behind that of the start
        refused = bench.refused
        for at in range(-3, 4):
            bench.enable = at >= 0
            bench.producer = 3 if behind > 0 and at >= behind else 0
            await bench.clock(doorbell=int(at == behind), doorbell_producer=3)
            assert bench.seen["start"] == (at == 0)
        await bench.clocks(SOON)
        assert bench.refused == refused + (behind <= 0)
        assert bench.seen["producer"] == (3 if behind > 0 else 0)
        await bench.settle()
        assert bench.consumed == bench.completed == (3 if behind > 0 else 0)
        assert bench.seen["error"] == QueueError.NONE
        bench.enable = False
        await bench.settle()


@cocotb.test()
async def reset_ends_what_a_ring_was_at(dut: Any) -> None:
    """A ring that an error stopped, and one with descriptors on the way; enable stays."""
    bench = RingBench(dut)
    bench.enable = bench.enable_before = False
    await bench.start()
    for way in ("doorbell", "disable"):
        await bench.begin(4)
        bench.popping = bench.retiring = False
        await bench.post(9)
        if way == "doorbell":
            await bench.end(way)
        starts = bench.starts
        await bench.reset()
        await bench.clocks(2 * SOON)
        assert bench.starts == starts + 1 and bench.seen["error"] == QueueError.NONE
        assert not bench.seen["posted"] and not bench.fetched
        bench.enable = False
        await bench.settle()


@pytest.mark.parametrize("sim", SIMS[-1:])
def test_queue_ring(sim: str) -> None:
    design = Design("queue_ring", nic_sources(), {"Prefetch": PREFETCH, "Batch": BATCH})
    simulate(design, __name__, sim=sim, seed=SEED).check()


@pytest.mark.parametrize("prefetch, batch", [(8, 16), (12, 8), (16, 0)])
def test_a_batch_that_never_has_room_is_refused(prefetch: int, batch: int) -> None:
    design = Design("queue_ring", nic_sources(), {"Prefetch": prefetch, "Batch": batch})
    result = simulate(design, __name__, sim="icarus", seed=SEED)
    assert f"Batch={batch} is not in 1..Prefetch={prefetch}" in result.log.read_text()
