"""The bench's AXI memory, driven by cocotbext-axi's master: an independent reading of AXI4."""

from __future__ import annotations

import logging
import random
from typing import Any

import cocotb
import pytest
from cocotb.triggers import RisingEdge, Timer
from cocotbext.axi import AxiBus, AxiMaster, AxiResp
from conftest import SEED, SIMS

from pystack.core.dma import Direction, DmaMapper
from pystack.core.memory import HostMemory
from tb.gpi import Pin, time_ps
from tb.host_port import POISON, HostPort
from tb.pins.axi_memory import AxiReadMemory, AxiWriteMemory
from tb.pins.clock import PinClock
from tb.reports import Reports
from tb.settings import BusSettings, Resp, Stalls
from wire2app.simulator import ROOT, Design, simulate

GUARD = 0x5C


class MemoryBench:
    """Clock, memory models and a cocotbext-axi master on `axi_loop_top`."""

    def __init__(
        self, dut: Any, settings: BusSettings | None = None, mapper: DmaMapper | None = None
    ) -> None:
        settings = BusSettings() if settings is None else settings
        self.dut = dut
        self.memory = HostMemory(1 << 20) if mapper is None else mapper.memory
        self.memory.array[:] = GUARD
        self.host = HostPort(self.memory, mapper)
        self.reports = Reports(lambda: time_ps() // 1000)
        self.errors: list[BaseException] = []
        self._rst = Pin(dut.rst)
        self._rst.set_int(1)
        self.clock = PinClock(dut, idle_skip=False)
        self.clock.on_error = self.errors.append
        writer = AxiWriteMemory(dut, self.host, self.reports, settings, 1)
        reader = AxiReadMemory(dut, self.host, self.reports, settings, 1)
        self.dma: list[tuple[str, int, int, bool]] = []
        writer.on_dma = reader.on_dma = self._on_dma
        self.clock.agents = [writer, reader]
        logging.getLogger(f"cocotb.{dut._name}.s_axi").setLevel(logging.WARNING)
        self.master = AxiMaster(AxiBus.from_prefix(dut, "s_axi"), dut.sample, dut.rst)

    def _on_dma(self, kind: str, addr: int, length: int, start: int, end: int, ok: bool) -> None:
        assert start < end
        self.dma.append((kind, addr, length, ok))

    @classmethod
    async def start(
        cls, dut: Any, settings: BusSettings | None = None, mapper: DmaMapper | None = None
    ) -> MemoryBench:
        await Timer(1, "ps")  # Icarus forgets what is written to pins before time 0
        self = cls(dut, settings, mapper)
        self.clock.start()
        for _ in range(4):
            await RisingEdge(self.dut.sample)
        self._rst.set_int(0)
        for _ in range(4):
            await RisingEdge(self.dut.sample)
        return self

    def done(self) -> None:
        self.clock.close()
        if self.errors:
            raise self.errors[0]
        self.reports.check()


def guarded(memory: HostMemory, addr: int, data: bytes) -> bool:
    """Whether memory holds `data` at `addr` and guard bytes for a page around it."""
    low, high = addr - 4096, addr + len(data) + 4096
    return memory.read(low, high - low) == bytes([GUARD] * 4096) + data + bytes([GUARD] * 4096)


@cocotb.test()
async def writes_land_byte_exact_at_every_alignment_round_4k(dut: Any) -> None:
    bench = await MemoryBench.start(dut)
    rng = random.Random(1)
    for offset in (*range(4096 - 17, 4096 + 2), 4096 - 300):
        for length in (1, 2, 15, 16, 17, 33, 300):
            addr = 0x10000 + offset
            data = rng.randbytes(length)
            await bench.master.write(addr, data)
            assert guarded(bench.memory, addr, data), f"{length} bytes at {addr:#x}"
            assert (await bench.master.read(addr, length)).data == data
            bench.memory.array[addr : addr + length] = GUARD
    bench.done()


@cocotb.test()
async def stalls_latency_and_reorder_change_no_byte(dut: Any) -> None:
    settings = BusSettings(Stalls.everywhere(0.4), range(0, 30), range(0, 30), reorder=True)
    bench = await MemoryBench.start(dut, settings)
    rng = random.Random(2)

    async def worker(base: int) -> None:
        for _ in range(12):
            data = rng.randbytes(rng.randrange(1, 1500))
            addr = base + rng.randrange(4096)
            await bench.master.write(addr, data)
            assert (await bench.master.read(addr, len(data))).data == data

    workers = [cocotb.start_soon(worker(0x10000 + 0x4000 * i)) for i in range(4)]
    for task in workers:
        await task
    bench.done()


@cocotb.test()
async def narrow_bursts_use_their_lanes(dut: Any) -> None:
    bench = await MemoryBench.start(dut)
    data = bytes(range(1, 61))
    for size in range((len(dut.m_axi_wdata) // 8).bit_length()):
        addr = 0x20003
        await bench.master.write(addr, data, size=size)
        assert guarded(bench.memory, addr, data), f"beats of {1 << size} bytes"
        assert (await bench.master.read(addr, len(data), size=size)).data == data
        bench.memory.array[addr : addr + len(data)] = GUARD
    bench.done()


@cocotb.test()
async def error_rules_answer_slverr_and_decerr_and_leave_memory_alone(dut: Any) -> None:
    bench = await MemoryBench.start(dut)
    rule = bench.host.fail("write", 0x10010, 0x10020, Resp.DECERR, times=1)
    assert (await bench.master.write(0x10000, bytes(16))).resp is AxiResp.OKAY
    assert (await bench.master.write(0x10018, bytes(4))).resp is AxiResp.DECERR
    assert bench.memory.read(0x10018, 4) == bytes([GUARD] * 4)
    assert (await bench.master.write(0x10018, bytes(4))).resp is AxiResp.OKAY
    assert rule.hits == 1
    bench.host.fail("read", resp=Resp.SLVERR, min_length=128)
    assert (await bench.master.read(0x10000, 16)).resp is AxiResp.OKAY
    answer = await bench.master.read(0x10000, 128)
    assert (answer.resp, answer.data) == (AxiResp.SLVERR, bytes(128))
    assert (await bench.master.write(0x10000, bytes(128))).resp is AxiResp.OKAY
    beyond = bench.memory.size
    assert (await bench.master.write(beyond, b"x")).resp is AxiResp.DECERR
    assert (await bench.master.read(beyond, 1)).resp is AxiResp.DECERR
    await RisingEdge(dut.sample)
    assert [ok for _, _, _, ok in bench.dma] == [True, False, True, True, False, True, False, False]
    bench.done()


@cocotb.test()
async def iommu_refuses_unmapped_bytes_and_the_wrong_direction(dut: Any) -> None:
    memory = HostMemory(1 << 20)
    mapper = DmaMapper(memory, "nic0")
    bench = await MemoryBench.start(dut, mapper=mapper)
    mapper.map_single(0x10003, 100, Direction.FROM_DEVICE, "rx page 7")
    mapper.map_single(0x12005, 100, Direction.TO_DEVICE, "tx frame 3")
    master = bench.master
    assert (await master.write(0x10003, bytes(100))).resp is AxiResp.OKAY
    for addr, length in ((0x10002, 4), (0x10003, 101), (0x12005, 1)):
        before = memory.read(addr, length)
        assert (await master.write(addr, bytes(length))).resp is AxiResp.SLVERR
        assert memory.read(addr, length) == before
    assert "bytes behind rx page 7 [0x10003, 0x10067) FROM_DEVICE" in mapper.faults[1]
    assert "refused at 0x12005: tx frame 3 [0x12005, 0x12069) TO_DEVICE" in mapper.faults[2]
    answer = await master.read(0x12005, 100)
    assert (answer.resp, answer.data) == (AxiResp.OKAY, bytes([GUARD] * 100))
    assert (await master.read(0x12004, 1)).data == bytes([POISON])
    assert (await master.read(0x12005, 200)).resp is AxiResp.SLVERR
    assert (await master.read(0x10003, 16)).resp is AxiResp.SLVERR
    assert len(mapper.faults) == 5
    bench.done()


SOURCES = (ROOT / "hdl/sim/bench_clock.sv", ROOT / "tests/rtl/hdl/axi_loop_top.sv")


@pytest.mark.parametrize("width", [64, 128, 512])
@pytest.mark.parametrize("sim", SIMS)
def test_axi_memory_agrees_with_cocotbext_axi(sim: str, width: int) -> None:
    design = Design("axi_loop_top", SOURCES, {"AxiDataW": width})
    simulate(design, __name__, sim=sim, seed=SEED, timeout_seconds=60).check()


def test_of_two_equal_error_rules_the_one_that_is_meant_is_forgiven() -> None:
    host = HostPort(HostMemory(4096), None)
    first, second = (host.fail("read", 0, 64) for _ in range(2))
    host.forgive(second)
    assert host.read(0, 16, 16)[1] is Resp.SLVERR
    assert (first.hits, second.hits) == (1, 0)
    host.forgive(first)
    assert host.read(0, 16, 16)[1] is Resp.OKAY
