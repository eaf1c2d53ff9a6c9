"""dma_write: streams land at any alignment and length, byte for byte, and nowhere else."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cocotb
import pytest
from axi_memory_common import CLOCK_PS, DECERR, OKAY, SLVERR, Manners, WriteSlave
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly, with_timeout
from conftest import SEED, SIMS
from wire_side_common import start_clock_and_reset

from wire2app.simulator import Design, nic_sources, simulate

MEMORY = 1 << 16
CLIENTS = 3


@dataclass(frozen=True)
class Job:
    client: int
    addr: int
    data: bytes
    tag: int = 0
    lane: int = 0  # of the first byte in the first word


@dataclass
class Client:
    """Jobs to offer, and the words of those that were taken."""

    jobs: deque[Job] = field(default_factory=deque)
    words: deque[int] = field(default_factory=deque)


class Bench:
    """The DUT with a slave on memory, and drivers for the jobs and streams of its clients."""

    def __init__(self, dut: Any, manners: Manners, stall: float = 0.0) -> None:
        self.dut, self.stall, self._rng = dut, stall, random.Random(manners.seed)
        self.memory = bytearray(self._rng.randbytes(MEMORY))
        self.model = bytearray(self.memory)
        self.slave = WriteSlave(dut, self.memory, manners)
        self.width = len(dut.m_axi_wstrb)
        self.clients = [Client() for _ in range(CLIENTS)]
        self.taken: list[Job] = []
        self.done: list[tuple[int, int, int]] = []  # (client, tag, resp)
        self._offered = [False] * CLIENTS

    async def start(self) -> None:
        self._offer()
        self.dut.rst.value = 1
        self.slave.start()
        Clock(self.dut.clk, CLOCK_PS, "ps").start()
        for _ in range(4):
            await FallingEdge(self.dut.clk)
        self.dut.rst.value = 0
        cocotb.start_soon(self._run())

    def _offer(self) -> None:
        valid = addr = length = tag = lane = words = words_valid = 0
        lane_bits = self.width.bit_length() - 1
        for index, client in enumerate(self.clients):
            if client.jobs:
                job = client.jobs[0]
                valid |= 1 << index
                addr |= job.addr << (64 * index)
                length |= len(job.data) << (16 * index)
                tag |= job.tag << (4 * index)
                lane |= job.lane << (lane_bits * index)
            if client.words and not self._offered[index]:
                self._offered[index] = self._rng.random() >= self.stall
            if self._offered[index]:
                words |= client.words[0] << (8 * self.width * index)
                words_valid |= 1 << index
        self.dut.job_valid.value = valid
        self.dut.job_addr.value = addr
        self.dut.job_len.value = length
        self.dut.job_tag.value = tag
        self.dut.job_lane.value = lane
        self.dut.s_axis_tdata.value = words
        self.dut.s_axis_tvalid.value = words_valid

    async def _run(self) -> None:
        dut = self.dut
        while True:
            await FallingEdge(dut.clk)
            self._offer()
            await ReadOnly()
            jobs, beats = int(dut.job_ready.value), int(dut.s_axis_tready.value)
            for index, client in enumerate(self.clients):
                if beats >> index & 1 and self._offered[index]:
                    client.words.popleft()
                    self._offered[index] = False
                if jobs >> index & 1:
                    self._take(client)
                if int(dut.done_valid.value) >> index & 1:
                    self.done.append((index, int(dut.done_tag.value), int(dut.done_resp.value)))

    def _take(self, client: Client) -> None:
        job = client.jobs.popleft()
        self.taken.append(job)
        data = self._rng.randbytes(job.lane) + job.data
        for i in range(0, len(data), self.width):
            # Lanes before the job and behind its end carry garbage: it must not reach memory.
            word = data[i : i + self.width]
            word += self._rng.randbytes(self.width - len(word))
            client.words.append(int.from_bytes(word, "little"))

    async def do(self, jobs: Sequence[Job], resps: Sequence[int] | None = None) -> None:
        """Hand in `jobs`, wait until they are done, compare all of memory and the responses."""
        self.taken.clear()
        self.done.clear()
        for job in jobs:
            self.clients[job.client].jobs.append(job)
        while len(self.done) < len(jobs):
            await FallingEdge(self.dut.clk)
        await FallingEdge(self.dut.clk)
        assert not int(self.dut.busy.value), "busy with nothing to do"
        assert self.slave.outstanding == 0, "done before the last response"
        assert self.slave.problems == []
        expected = [
            (job.client, job.tag, resp)
            for job, resp in zip(self.taken, resps or [OKAY] * len(jobs), strict=True)
        ]
        assert self.done == expected
        touched: set[int] = set()
        for job in self.taken:
            self.model[job.addr : job.addr + len(job.data)] = job.data
            touched.update(range(job.addr, job.addr + len(job.data)))
        assert self.memory == self.model
        assert self.slave.touched == touched, "strobes outside the jobs"
        self.slave.touched.clear()


def sweep(width: int, rng: random.Random) -> list[Job]:
    """Every offset, with lengths around one, two and three beats and around 4 KiB."""
    jobs = []
    for offset in range(width):
        lengths = [1, 2, width - 1, width, width + 1, 2 * width, 2 * width + 1, rng.randint(1, 200)]
        where = [(0x1000 + offset, n) for n in lengths]
        end = 0x2000 + rng.choice((-1, 0, 1, width, -width))
        where.append((end - rng.randint(1, 3 * width), rng.randint(1, 6 * width)))
        for addr, length in where:
            jobs.append(Job(rng.randrange(CLIENTS), addr, rng.randbytes(length), rng.randrange(16)))
    for length in (1514, 9018, 16383):
        jobs.append(Job(0, 0x3000 + rng.randrange(4096), rng.randbytes(length), 5))
    return jobs


async def timed(coroutine: Any) -> Any:
    return await with_timeout(coroutine, 4, "ms")


@cocotb.test()
async def every_offset_and_length_lands_intact(dut: Any) -> None:
    bench = Bench(dut, Manners(seed=SEED))
    await bench.start()
    await timed(bench.do(sweep(bench.width, random.Random(SEED))))


@cocotb.test()
async def jobs_one_by_one_touch_no_other_byte(dut: Any) -> None:
    """Alone on the bus, so that no later job repairs what an earlier one broke."""
    bench = Bench(dut, Manners(seed=SEED))
    await bench.start()
    rng = random.Random(SEED)
    for offset in range(0, bench.width, max(1, bench.width // 16)):
        for length in (1, bench.width, bench.width + 1, 3 * bench.width - 1):
            addr = 0x1000 - bench.width + offset
            await timed(bench.do([Job(rng.randrange(CLIENTS), addr, rng.randbytes(length))]))


@cocotb.test()
async def data_may_begin_in_any_lane(dut: Any) -> None:
    """Data that move up, down or not at all on their way to the bus, of one to three beats."""
    bench = Bench(dut, Manners(stall=0.2, seed=SEED), stall=0.2)
    await bench.start()
    rng, jobs, width = random.Random(SEED), [], bench.width
    step = max(1, width // 8)
    for lane in range(0, width, step):
        for offset in range(0, width, step):
            for length in (1, width - lane, width - lane + 1, width, rng.randint(1, 3 * width)):
                addr = 0x1000 + 0x100 * rng.randrange(0x80) - width + offset + rng.randrange(step)
                shift = min(lane + rng.randrange(step), width - 1)
                data = rng.randbytes(length)
                jobs.append(Job(rng.randrange(CLIENTS), addr, data, rng.randrange(16), shift))
    await timed(bench.do(jobs))


@cocotb.test()
async def random_stalls_change_nothing(dut: Any) -> None:
    bench = Bench(dut, Manners(stall=0.4, latency=9, seed=SEED), stall=0.3)
    await bench.start()
    rng = random.Random(SEED)
    jobs = [
        Job(rng.randrange(CLIENTS), 0x400 * i, rng.randbytes(rng.randint(1, 700)), i % 16, i % 8)
        for i in range(60)
    ]
    await timed(bench.do(jobs))


@cocotb.test()
async def a_slave_that_takes_addresses_only_with_data_is_served(dut: Any) -> None:
    bench = Bench(dut, Manners(stall=0.2, wait_for_data=True, seed=SEED))
    await bench.start()
    await timed(bench.do([Job(i % 3, 0x1003 + 0x800 * i, bytes(range(250))) for i in range(12)]))


@cocotb.test()
async def data_never_come_before_their_address(dut: Any) -> None:
    bench = Bench(dut, Manners(aw_stall=0.95, seed=SEED))
    await bench.start()
    await timed(bench.do([Job(i % 3, 0x1000 + 0x100 * i, bytes([i] * 40)) for i in range(30)]))


@cocotb.test()
async def bursts_overlap_and_the_bus_stays_full(dut: Any) -> None:
    bench = Bench(dut, Manners(latency=20, seed=SEED))
    await bench.start()
    start = bench.slave.cycle
    rng = random.Random(SEED)
    await timed(bench.do([Job(0, 0x1000 + 0x600 * i, rng.randbytes(1514)) for i in range(8)]))
    beats = 8 * -(-1514 // bench.width)
    assert bench.slave.outstanding_max > 2
    assert bench.slave.cycle - start < 1.25 * beats + 60


@cocotb.test()
async def the_worst_response_of_all_bursts_is_told(dut: Any) -> None:
    bad = {0x1100: SLVERR, 0x2C07: DECERR, 0x3000: SLVERR, 0x3A40: DECERR}
    bench = Bench(dut, Manners(fault=lambda addr: bad.get(addr, OKAY), seed=SEED))
    await bench.start()
    rng = random.Random(SEED)
    spans = [
        (0x1000, 0x100),  # up to the byte before a bad one
        (0x1000, 0x101),
        (0x2200, 0xA07),
        (0x2200, 0xA08),
        (0x3000, 0xA40),  # bad in the first of several bursts
        (0x3000, 0xA41),  # and worse in the last
        (0x4001, 9),
    ]
    jobs = [Job(1, addr, rng.randbytes(n), i) for i, (addr, n) in enumerate(spans)]
    await timed(bench.do(jobs, [OKAY, SLVERR, OKAY, DECERR, SLVERR, DECERR, OKAY]))


@cocotb.test()
async def a_reset_takes_back_what_the_bus_has_not_taken(dut: Any) -> None:
    zeros = ("awready", "wready", "bvalid", "bid", "bresp")
    idle = {f"m_axi_{name}": 0 for name in zeros} | {"job_valid": 0, "s_axis_tvalid": 0}
    job = {"job_addr": 0x1000, "job_len": 8, "job_tag": 0, "job_lane": 0, "s_axis_tdata": 0}
    await start_clock_and_reset(dut, **idle, **job)
    outputs = (dut.m_axi_awvalid, dut.m_axi_wvalid, dut.done_valid, dut.busy)
    await FallingEdge(dut.clk)
    dut.job_valid.value = dut.s_axis_tvalid.value = 1
    while not all(int(output.value) for output in outputs[:2]):
        await FallingEdge(dut.clk)
    dut.rst.value, dut.job_valid.value, dut.s_axis_tvalid.value = 1, 0, 0
    for _ in range(2):
        await FallingEdge(dut.clk)
    dut.rst.value = 0
    for _ in range(9):
        assert [int(output.value) for output in outputs] == [0, 0, 0, 0]
        await FallingEdge(dut.clk)


@pytest.mark.parametrize("data_w", [64, 128, 512])
@pytest.mark.parametrize("sim", SIMS)
def test_dma_write(sim: str, data_w: int) -> None:
    design = Design("dma_write", nic_sources(), {"DataW": data_w})
    simulate(design, __name__, sim=sim, seed=SEED).check()
