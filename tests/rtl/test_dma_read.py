"""dma_read: jobs of any alignment and length come out as lane-0 packets, in order, intact."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cocotb
import pytest
from axi_memory_common import CLOCK_PS, DECERR, OKAY, SLVERR, Manners, ReadSlave
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
    length: int
    tag: int = 0


@dataclass
class Packet:
    client: int
    tag: int
    data: bytes
    resps: list[int]  # of each beat
    job_resp: int


class Bench:
    """The DUT with a slave on random memory, a driver for its jobs and a reader of its stream."""

    def __init__(self, dut: Any, manners: Manners, stall: float = 0.0) -> None:
        rng = random.Random(manners.seed)
        self.dut, self.stall, self._rng = dut, stall, rng
        self.memory = bytearray(rng.randbytes(MEMORY))
        self.slave = ReadSlave(dut, self.memory, manners)
        self.width = len(dut.m_axis_tdata) // 8
        self.problems: list[str] = []
        self.packets: list[Packet] = []
        self.pending: list[list[Job]] = [[] for _ in range(CLIENTS)]
        self.taken: list[Job] = []
        self.busy_when_done = 0

    async def start(self) -> None:
        self._offer()
        self.dut.m_axis_tready.value = 0
        self.dut.rst.value = 1
        self.slave.start()
        Clock(self.dut.clk, CLOCK_PS, "ps").start()
        for _ in range(4):
            await FallingEdge(self.dut.clk)
        self.dut.rst.value = 0
        cocotb.start_soon(self._run())

    def _offer(self) -> None:
        valid = addr = length = tag = 0
        for client, jobs in enumerate(self.pending):
            if jobs:
                valid |= 1 << client
                addr |= jobs[0].addr << (64 * client)
                length |= jobs[0].length << (16 * client)
                tag |= jobs[0].tag << (4 * client)
        self.dut.job_valid.value = valid
        self.dut.job_addr.value = addr
        self.dut.job_len.value = length
        self.dut.job_tag.value = tag

    async def _run(self) -> None:
        dut, held = self.dut, None
        data, resps = b"", []
        while True:
            await FallingEdge(dut.clk)
            self._offer()
            dut.m_axis_tready.value = int(self._rng.random() >= self.stall)
            await ReadOnly()
            ready = int(dut.job_ready.value)
            for client in range(CLIENTS):
                if ready >> client & 1:
                    self.taken.append(self.pending[client].pop(0))
            if not int(dut.m_axis_tvalid.value):
                if held is not None:
                    self.problems.append("tvalid fell before tready")
                continue
            beat = self._beat()
            if held is not None and beat != held:
                self.problems.append("a stalled beat changed")
            held = None if int(dut.m_axis_tready.value) else beat
            if held is None:
                keep, word, last, client, tag, resp, job_resp = beat
                count = keep.bit_length()
                if keep != (1 << count) - 1 or (not last and count != self.width):
                    self.problems.append(f"tkeep {keep:#x}")
                data += word.to_bytes(self.width, "little")[:count]
                resps.append(resp)
                if last:
                    self.packets.append(Packet(client, tag, data, resps, job_resp))
                    data, resps = b"", []

    def _beat(self) -> tuple[int, ...]:
        names = ("tkeep", "tdata", "tlast", "tclient", "ttag", "tresp", "tresp_job")
        return tuple(int(getattr(self.dut, f"m_axis_{n}").value) for n in names)

    async def do(self, jobs: Sequence[Job]) -> list[Packet]:
        """Hand in `jobs` and wait for all their packets, which must be those jobs' bytes."""
        for job in jobs:
            self.pending[job.client].append(job)
        self.packets.clear()
        self.taken.clear()
        while len(self.packets) < len(jobs):
            await FallingEdge(self.dut.clk)
        await FallingEdge(self.dut.clk)
        assert not int(self.dut.busy.value), "busy with nothing to do"
        assert self.problems + self.slave.problems == []
        for job, packet in zip(self.taken, self.packets, strict=True):
            expected = bytes(self.memory[job.addr : job.addr + job.length])
            assert (packet.client, packet.tag, packet.data) == (job.client, job.tag, expected), job
        return self.packets


def sweep(width: int, rng: random.Random) -> list[Job]:
    """Every offset, with lengths around one, two and three beats and around 4 KiB."""
    jobs = []
    for offset in range(width):
        lengths = [1, 2, width - 1, width, width + 1, 2 * width, 2 * width + 1, rng.randint(1, 200)]
        jobs += [
            Job(rng.randrange(CLIENTS), 0x1000 + offset, n, rng.randrange(16)) for n in lengths
        ]
        end = 0x2000 + rng.choice((-1, 0, 1, width, -width))
        start = end - rng.randint(1, 3 * width)
        jobs.append(Job(rng.randrange(CLIENTS), start, rng.randint(1, 6 * width), 1))
    for length in (1514, 9018, 16383):
        jobs.append(Job(2, 0x3000 + rng.randrange(4096), length, 5))
    return jobs


async def timed(coroutine: Any) -> Any:
    return await with_timeout(coroutine, 4, "ms")


@cocotb.test()
async def every_offset_and_length_arrives_intact(dut: Any) -> None:
    bench = Bench(dut, Manners(seed=SEED))
    await bench.start()
    await timed(bench.do(sweep(bench.width, random.Random(SEED))))


@cocotb.test()
async def random_stalls_change_nothing(dut: Any) -> None:
    bench = Bench(dut, Manners(stall=0.4, latency=9, seed=SEED), stall=0.3)
    await bench.start()
    rng = random.Random(SEED)
    jobs = [
        Job(rng.randrange(CLIENTS), rng.randrange(0x8000), rng.randint(1, 700), rng.randrange(16))
        for _ in range(60)
    ]
    await timed(bench.do(jobs))


@cocotb.test()
async def bursts_overlap_and_the_bus_stays_full(dut: Any) -> None:
    bench = Bench(dut, Manners(latency=20, seed=SEED))
    await bench.start()
    start = bench.slave.cycle
    await timed(bench.do([Job(2, 0x1000 + 0x600 * i, 1514) for i in range(8)]))
    beats = 8 * -(-1514 // bench.width)
    assert bench.slave.outstanding_max > 2
    assert bench.slave.cycle - start < 1.25 * beats + 60


@cocotb.test()
async def bus_errors_are_told_per_beat_and_worst_per_job(dut: Any) -> None:
    bad = {0x1100: SLVERR, 0x2207: DECERR, 0x3000: SLVERR, 0x3040: DECERR}
    bench = Bench(dut, Manners(fault=lambda addr: bad.get(addr, OKAY), seed=SEED))
    await bench.start()
    width = bench.width
    jobs = [
        Job(0, 0x1000, 0x100),  # up to the byte before the bad one
        Job(0, 0x1000, 0x100 + 1),
        Job(0, 0x2200, width),
        Job(0, 0x3000, 0x60),
        Job(0, 0x4000, 100),
    ]
    packets = await timed(bench.do(jobs))
    assert [p.job_resp for p in packets] == [OKAY, SLVERR, DECERR, DECERR, OKAY]
    assert packets[1].resps == [OKAY] * (0x100 // width) + [SLVERR]
    expected = [
        max(bad.get(a, OKAY) for a in range(0x3000 + i, 0x3000 + i + width))
        for i in range(0, 0x60, width)
    ]
    assert packets[3].resps == expected


@cocotb.test()
async def a_reset_takes_back_what_the_bus_has_not_taken(dut: Any) -> None:
    zeros = ("arready", "rvalid", "rid", "rdata", "rresp", "rlast")
    idle = {f"m_axi_{name}": 0 for name in zeros} | {"job_valid": 0, "m_axis_tready": 0}
    await start_clock_and_reset(dut, **idle, job_addr=0x1000, job_len=8, job_tag=0)
    await FallingEdge(dut.clk)
    dut.job_valid.value = 1
    while not int(dut.m_axi_arvalid.value):
        await FallingEdge(dut.clk)
    dut.rst.value, dut.job_valid.value = 1, 0
    for _ in range(2):
        await FallingEdge(dut.clk)
    dut.rst.value = 0
    for _ in range(9):
        outputs = (dut.m_axi_arvalid, dut.m_axis_tvalid, dut.busy)
        assert [int(output.value) for output in outputs] == [0, 0, 0]
        await FallingEdge(dut.clk)


@pytest.mark.parametrize("data_w", [64, 128, 512])
@pytest.mark.parametrize("sim", SIMS)
def test_dma_read(sim: str, data_w: int) -> None:
    design = Design("dma_read", nic_sources(), {"DataW": data_w})
    simulate(design, __name__, sim=sim, seed=SEED).check()
