"""What the tests of nic_top share: its registers, its memory, and rings driven by hand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import cocotb
from axi_memory_common import CLOCK_PS, OKAY, Manners, ReadSlave, WriteSlave
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly
from wire_side_common import IDLE_WORD, XgmiiFrame, XgmiiLine, decode

from pystack.dev.drivers import w2a_regs as regs

MEMORY = 1 << 20
DESC_BYTES = 16


class AxiLite:
    """AXI4-Lite master at s_axil: one access at a time; the response is returned, not judged."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self._set(awvalid=0, awprot=0, wvalid=0, bready=0, arvalid=0, arprot=0, rready=0)

    def _set(self, **values: int) -> None:
        for name, value in values.items():
            getattr(self.dut, f"s_axil_{name}").value = value

    def _get(self, name: str) -> int:
        return int(getattr(self.dut, f"s_axil_{name}").value)

    async def _send(self, channel: str, delay: int, **payload: int) -> None:
        for _ in range(delay + 1):
            await FallingEdge(self.dut.clk)
        self._set(**payload, **{f"{channel}valid": 1})
        ready = 0
        while not ready:
            await ReadOnly()
            ready = self._get(f"{channel}ready")
            await FallingEdge(self.dut.clk)
        self._set(**{f"{channel}valid": 0})

    async def _take(self, channel: str, *names: str) -> tuple[int, ...]:
        self._set(**{f"{channel}ready": 1})
        while True:
            await ReadOnly()
            values = tuple(map(self._get, names)) if self._get(f"{channel}valid") else ()
            await FallingEdge(self.dut.clk)
            if values:
                self._set(**{f"{channel}ready": 0})
                return values

    async def write(self, addr: int, value: int, strobes: int = 0xF, lead: int = 0) -> int:
        """Response to a write.  lead: cycles by which the address comes before the data."""
        address = cocotb.start_soon(self._send("aw", max(0, -lead), awaddr=addr))
        data = cocotb.start_soon(self._send("w", max(0, lead), wdata=value, wstrb=strobes))
        await address
        await data
        return (await self._take("b", "bresp"))[0]

    async def read(self, addr: int) -> tuple[int, int]:
        """(data, response)."""
        await self._send("ar", 0, araddr=addr)
        data, resp = await self._take("r", "rdata", "rresp")
        return data, resp


class Completion(NamedTuple):
    index: int
    length: int
    status: int
    queue: int


class Ring:
    """One ring of one queue in memory: descriptors at `base`, completions behind them."""

    def __init__(self, nic: Nic, queue: int, block: int, base: int, log2: int) -> None:
        self.nic, self.queue, self.base, self.log2 = nic, queue, base, log2
        self.regs = regs.queue_block(queue) + block
        self.is_rx = block == regs.Q_RX
        self.entries = 1 << log2
        self.cpl_base = base + DESC_BYTES * self.entries
        self.producer = self.consumer = 0

    async def enable(self) -> None:
        self.producer = self.consumer = 0
        size = self.entries * regs.RX_CPL.size
        self.nic.memory[self.cpl_base : self.cpl_base + size] = bytes(size)
        for offset, value in (
            (regs.RING_SIZE, self.log2),
            (regs.RING_DESC_BASE_LO, self.base),
            (regs.RING_CPL_BASE_LO, self.cpl_base),
            (regs.RING_CTRL, regs.RING_CTRL_ENABLE),
        ):
            await self.nic.write(self.regs + offset, value)

    def post(self, addr: int, length: int) -> None:
        slot = self.producer % self.entries
        at = self.base + slot * DESC_BYTES
        if self.is_rx:
            regs.RX_DESC.pack_into(self.nic.memory, at, addr, length)
        else:
            regs.TX_DESC.pack_into(self.nic.memory, at, addr, length, regs.TX_DESC_LAST, 0, 0)
        self.producer = (self.producer + 1) & 0xFFFF

    async def ring(self) -> None:
        await self.nic.write(self.regs + regs.RING_DOORBELL, self.producer)

    def poll(self) -> Completion | None:
        slot = self.consumer % self.entries
        index, length, status, flags, _hash, _vlan, phase = regs.RX_CPL.unpack_from(
            self.nic.memory, self.cpl_base + slot * regs.RX_CPL.size
        )
        if bool(phase & regs.RX_CPL_PHASE) == bool(self.consumer >> self.log2 & 1):
            return None
        self.consumer = (self.consumer + 1) & 0xFFFF
        assert flags & regs.RX_CPL_LAST or not self.is_rx
        queue = status >> regs.RX_CPL_QUEUE_ID_SHIFT
        return Completion(index, length, status & regs.RX_CPL_STATUS, queue)

    async def completions(self, count: int, limit: int = 20000) -> list[Completion]:
        """The next `count` completions; AssertionError when `limit` clocks do not bring them."""
        found: list[Completion] = []
        for _ in range(limit):
            while len(found) < count and (completion := self.poll()) is not None:
                found.append(completion)
            if len(found) == count:
                return found
            await FallingEdge(self.nic.dut.clk)
        raise AssertionError(f"{len(found)} of {count} completions after {limit} clocks: {found}")


class Nic:
    """nic_top with 1 MiB of memory on its bus and an idle wire."""

    def __init__(self, dut: Any, manners: Manners | None = None) -> None:
        self.dut = dut
        self.memory = bytearray(MEMORY)
        self.reader = ReadSlave(dut, self.memory, manners)
        self.writer = WriteSlave(dut, self.memory, manners)
        self.axil = AxiLite(dut)
        self.sent: list[tuple[int, int]] = []  # XGMII words since reset
        self._line: list[tuple[int, int]] = []
        self._cycle = 0

    async def start(self) -> None:
        self.dut.rst.value = 1
        self.dut.xgmii_rxd.value, self.dut.xgmii_rxc.value = IDLE_WORD
        self.reader.start()
        self.writer.start()
        Clock(self.dut.clk, CLOCK_PS, "ps").start()
        await self.clocks(4)
        self.dut.rst.value = 0
        cocotb.start_soon(self._wire())

    async def _wire(self) -> None:
        while True:
            await FallingEdge(self.dut.clk)
            word = self._line.pop(0) if self._line else IDLE_WORD
            self.dut.xgmii_rxd.value, self.dut.xgmii_rxc.value = word
            self.sent.append((int(self.dut.xgmii_txd.value), int(self.dut.xgmii_txc.value)))

    async def clocks(self, count: int) -> None:
        for _ in range(count):
            await FallingEdge(self.dut.clk)

    async def write(self, addr: int, value: int) -> None:
        assert await self.axil.write(addr, value) == OKAY

    async def read(self, addr: int) -> int:
        data, resp = await self.axil.read(addr)
        assert resp == OKAY
        return data

    async def counter(self, name: str, queue: int | None = None) -> int:
        table = regs.COUNTERS if queue is None else regs.QUEUE_COUNTERS
        base = 0 if queue is None else regs.queue_block(queue)
        offset = base + next(c.offset for c in table if c.name == name)
        low = await self.read(offset)
        return low | await self.read(offset + 4) << 32

    def receive(self, frames: Iterable[bytes]) -> None:
        """Put frames on the wire towards the NIC, back to back."""
        line = XgmiiLine()
        for frame in frames:
            line.frame(frame)
        self._line += line.words()

    def transmitted(self) -> list[XgmiiFrame]:
        return decode(self.sent)

    async def idle(self, limit: int = 5000) -> None:
        for _ in range(limit):
            await FallingEdge(self.dut.clk)
            if int(self.dut.idle.value):
                return
        raise AssertionError(f"not idle after {limit} clocks")

    def check(self) -> None:
        assert self.reader.problems + self.writer.problems == []
