"""The yardstick of `make bench`: the NIC on cocotbext's own models, as most benches are built.

Just enough of `tb.bench.Bench` for `tb.counting`: AxiRam on the host's memory, AxiLiteMaster,
XgmiiSource and XgmiiSink, cocotb's clock.  No IOMMU, no rules, no kernel.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, ValueChange
from cocotb.utils import get_sim_time
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiRam
from cocotbext.eth import XgmiiFrame, XgmiiSink, XgmiiSource

from pystack.core.dma import DmaMapper
from pystack.core.memory import HostMemory
from tb.pins.flags import PERIOD_PS

MEMORY = 16 << 20


class _Wire:
    def __init__(self, dut: Any) -> None:
        self._source = XgmiiSource(dut.xgmii_rxd, dut.xgmii_rxc, dut.clk, dut.rst)

    def send(self, frame: bytes, on_sent: Callable[[], None] | None = None) -> None:
        done = None if on_sent is None else lambda _: on_sent()
        self._source.send_nowait(XgmiiFrame.from_payload(frame, tx_complete=done))


class _Registers:
    def __init__(self, dut: Any) -> None:
        self.wire = _Wire(dut)
        self.master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)

    def write(self, offset: int, value: int) -> None:
        """Posted."""
        cocotb.start_soon(self.master.write_dword(offset, value))


class CocotbextBench:
    """Of `nic_top` itself."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        shared = mmap.mmap(-1, MEMORY)
        self.memory = HostMemory(array=np.frombuffer(shared, np.uint8))
        self.dma = DmaMapper(self.memory, "nic0")
        self.bus = _Registers(dut)
        self.on_irq: Callable[[int], None] | None = None
        self.frames_received = 0
        self._ram = AxiRam(
            AxiBus.from_prefix(dut, "m_axi"), dut.clk, dut.rst, size=MEMORY, mem=shared
        )
        self._sink = XgmiiSink(dut.xgmii_txd, dut.xgmii_txc, dut.clk, dut.rst)

    async def start(self) -> None:
        self.dut.rst.value = 1
        Clock(self.dut.clk, PERIOD_PS, "ps").start()
        await ClockCycles(self.dut.clk, 16)
        self.dut.rst.value = 0
        await ClockCycles(self.dut.clk, 2)
        cocotb.start_soon(self._interrupts())
        cocotb.start_soon(self._receive())

    async def _interrupts(self) -> None:
        line = 0  # of the queue; that of device events is masked
        while True:
            await ValueChange(self.dut.irq)
            before, line = line, int(self.dut.irq.value) & 1
            if line > before and self.on_irq is not None:
                self.on_irq(0)

    async def _receive(self) -> None:
        while True:
            await self._sink.recv()
            self.frames_received += 1

    async def write32(self, offset: int, value: int) -> None:
        await self.bus.master.write_dword(offset, value)

    @property
    def cycles(self) -> int:
        return int(get_sim_time("ps")) // PERIOD_PS
