"""The AXI4 slave on host memory: what the NIC's DMA master talks to.

Writes reach memory when they are answered, reads see memory when their first beat is presented:
the latest moments AXI allows, so that a NIC which does not wait for an answer it needs is caught.
Answers of one ID keep their order; those of different IDs do too unless `reorder` is set.
"""

from __future__ import annotations

import random
from collections import deque
from typing import Any

from tb.bus import OnDma
from tb.gpi import Pin
from tb.host_port import HostPort
from tb.pins.axi_checker import Burst, burst_problem, strobe_problem
from tb.pins.flags import Flag, edge_ns
from tb.reports import Reports
from tb.settings import BusSettings, Resp

AW, W, B, AR, R = (int(flag) for flag in (Flag.AW, Flag.W, Flag.B, Flag.AR, Flag.R))


class _Channel:
    """What both directions share: address beats, the choice of the next answer, stalls."""

    def __init__(
        self,
        dut: Any,
        prefix: str,
        host: HostPort,
        reports: Reports,
        settings: BusSettings,
        seed: object,
    ) -> None:
        """`prefix` is "m_axi_aw" or "m_axi_ar"."""
        self.host = host
        self.reports = reports
        self.settings = settings
        self.on_dma: OnDma | None = None
        self.busy = False
        self.width = Pin(dut.m_axi_wdata).width // 8
        self._rng = random.Random(f"{prefix}/{seed}")
        self._id = Pin(getattr(dut, f"{prefix}id"))
        self._addr = Pin(getattr(dut, f"{prefix}addr"))
        self._len = Pin(getattr(dut, f"{prefix}len"))
        self._size = Pin(getattr(dut, f"{prefix}size"))
        self._burst = Pin(getattr(dut, f"{prefix}burst"))

    def _take_address(self, slot: int, name: str) -> Burst:
        burst = Burst(
            self._id.get_int(),
            int(self._addr.get_bits(), 2),
            self._len.get_int() + 1,
            1 << self._size.get_int(),
            self._burst.get_int(),
            slot,
        )
        problem = burst_problem(burst, self.width)
        if problem is not None:
            self.reports.add("axi", f"{name} at {burst.addr:#x}: {problem}")
        return burst

    def _paused(self, probability: float) -> bool:
        return probability > 0 and self._rng.random() < probability

    def _next(self, pending: deque[tuple[int, Any]], slot: int) -> Any:
        """Take the next answer that is due out of `pending` = (due slot, answer), or None."""
        if not self.settings.reorder:
            if pending and pending[0][0] <= slot:
                return pending.popleft()[1]
            return None
        first: dict[int, int] = {}
        for index, (_, answer) in enumerate(pending):
            first.setdefault(answer[0].id, index)
        due = [index for index in first.values() if pending[index][0] <= slot]
        if not due:
            return None
        index = self._rng.choice(due)
        answer = pending[index][1]
        del pending[index]
        return answer


class AxiWriteMemory(_Channel):
    """Channels AW, W and B."""

    mask = AW | W | B

    def __init__(
        self, dut: Any, host: HostPort, reports: Reports, settings: BusSettings, seed: object
    ) -> None:
        super().__init__(dut, "m_axi_aw", host, reports, settings, seed)
        stalls = settings.stalls
        self.restless = stalls.aw > 0 or stalls.w > 0
        self._awready, self._wready = Pin(dut.m_axi_awready), Pin(dut.m_axi_wready)
        self._wdata, self._wstrb = Pin(dut.m_axi_wdata), Pin(dut.m_axi_wstrb)
        self._wlast = Pin(dut.m_axi_wlast)
        self._bvalid, self._bid = Pin(dut.m_axi_bvalid), Pin(dut.m_axi_bid)
        self._bresp = Pin(dut.m_axi_bresp)
        self.reset()

    def reset(self) -> None:
        self._addresses: deque[Burst] = deque()
        self._data: list[str] = []  # of the burst that is coming in, a string a beat
        self._strobes: list[str] = []
        self._bursts: deque[tuple[list[str], list[str]]] = deque()  # data ahead of its address
        self._pending: deque[tuple[int, tuple[Burst, list[str], list[str]]]] = deque()
        self._answering: tuple[Burst, bool] | None = None
        self.busy = False
        self._awready.set_int(1)
        self._wready.set_int(1)
        self._bvalid.set_int(0)
        self._bid.set_int(0)
        self._bresp.set_int(0)

    def tick(self, flags: int, slot: int) -> None:
        if flags & W:
            self._data.append(self._wdata.get_bits())
            self._strobes.append(self._wstrb.get_bits())
            if self._wlast.get_int():
                self._bursts.append((self._data, self._strobes))
                self._data, self._strobes = [], []
        if flags & AW:
            self._addresses.append(self._take_address(slot, "write"))
        while self._bursts and self._addresses:
            due = slot + self._rng.choice(self.settings.write_latency)
            self._pending.append((due, (self._addresses.popleft(), *self._bursts.popleft())))
        if flags & B:
            self._answered(slot)
        if self._pending and self._answering is None and not self._paused(self.settings.stalls.b):
            self._answer(slot)
        self.busy = bool(self._pending) and self._answering is None
        if self.restless:
            self._awready.set_int(not self._paused(self.settings.stalls.aw))
            self._wready.set_int(not self._paused(self.settings.stalls.w))

    def active(self) -> bool:
        return bool(self._pending or self._answering or self._addresses or self._data)

    def _answer(self, slot: int) -> None:
        chosen = self._next(self._pending, slot)
        if chosen is None:
            return
        burst, data, strobes = chosen
        resp = self._commit(burst, data, strobes)
        self._bid.set_int(burst.id)
        self._bresp.set_int(resp)
        self._bvalid.set_int(1)
        self._answering = (burst, resp is Resp.OKAY)

    def _answered(self, slot: int) -> None:
        assert self._answering is not None
        (burst, ok), self._answering = self._answering, None
        self._bvalid.set_int(0)
        self.busy = bool(self._pending)
        if self.on_dma is not None:
            length = burst.end - burst.addr
            self.on_dma("write", burst.addr, length, edge_ns(burst.slot), edge_ns(slot), ok)

    def _commit(self, burst: Burst, data: list[str], strobes: list[str]) -> Resp:
        """Check the burst's data beats and hand them to memory."""
        if len(data) != burst.beats:
            self.reports.add(
                "axi", f"write at {burst.addr:#x}: WLAST at beat {len(data)} of {burst.beats}"
            )
            return Resp.SLVERR
        try:
            mask = int("".join(reversed(strobes)), 2)
        except ValueError:
            self.reports.add("axi", f"write at {burst.addr:#x}: unknown strobe bits")
            return Resp.SLVERR
        self._check_strobes(burst, strobes)
        if burst.size != self.width:
            return self._commit_narrow(burst, data, strobes)
        runs = _runs(mask)
        return self.host.write(burst.first, self._bytes(burst, data, mask), runs)

    def _check_strobes(self, burst: Burst, strobes: list[str]) -> None:
        wide = burst.size == self.width
        # Of a full-width burst only an unaligned first beat has lanes it may not use.
        checked = (0,) if wide and burst.addr != burst.first else range(0 if wide else len(strobes))
        for index in checked:
            problem = strobe_problem(burst, self.width, index, int(strobes[index], 2))
            if problem is not None:
                self.reports.add("axi", f"write at {burst.addr:#x}: {problem}")

    def _bytes(self, burst: Burst, data: list[str], mask: int) -> bytes:
        """The beats as bytes; an unknown bit is an error where its byte is strobed, else 0."""
        bits = "".join(reversed(data))
        try:
            value = int(bits, 2)
        except ValueError:
            total = len(bits) // 8
            for index in range(total):
                byte = bits[8 * (total - 1 - index) : 8 * (total - index)]
                if mask >> index & 1 and not byte.isdecimal():
                    self.reports.add("axi", f"write of unknown bits {byte} to {burst.addr:#x}+")
                    break
            known = bits.translate(str.maketrans("xzXZuU-wWlhLH", "0" * 13))
            value = int(known, 2)
        return value.to_bytes(len(bits) // 8, "little")

    def _commit_narrow(self, burst: Burst, data: list[str], strobes: list[str]) -> Resp:
        """Beats narrower than the bus: each on the lanes its address names."""
        worst = Resp.OKAY
        for index, (bits, strobe) in enumerate(zip(data, strobes, strict=True)):
            addr = burst.first + index * burst.size
            mask = int(strobe, 2)
            word = self._bytes(burst, [bits], mask)
            worst = max(worst, self.host.write(addr - addr % self.width, word, _runs(mask)))
        return worst


class AxiReadMemory(_Channel):
    """Channels AR and R."""

    mask = AR | R

    def __init__(
        self, dut: Any, host: HostPort, reports: Reports, settings: BusSettings, seed: object
    ) -> None:
        super().__init__(dut, "m_axi_ar", host, reports, settings, seed)
        self.restless = settings.stalls.ar > 0
        self._arready = Pin(dut.m_axi_arready)
        self._rvalid, self._rid = Pin(dut.m_axi_rvalid), Pin(dut.m_axi_rid)
        self._rdata, self._rresp = Pin(dut.m_axi_rdata), Pin(dut.m_axi_rresp)
        self._rlast = Pin(dut.m_axi_rlast)
        self.reset()

    def reset(self) -> None:
        self._pending: deque[tuple[int, tuple[Burst]]] = deque()
        self._current: tuple[Burst, bool] | None = None
        self._beats: list[str] = []  # still to present, the next one last
        self._presented = False
        self.busy = False
        self._arready.set_int(1)
        self._rvalid.set_int(0)
        self._rlast.set_int(0)
        self._rid.set_int(0)
        self._rresp.set_int(0)
        self._rdata.set(0)

    def tick(self, flags: int, slot: int) -> None:
        if flags & AR:
            due = slot + self._rng.choice(self.settings.read_latency)
            self._pending.append((due, (self._take_address(slot, "read"),)))
        was = self._presented
        if flags & R:
            self._presented = False
            if not self._beats:
                self._finished(slot)
        if not self._presented:
            if self._current is None:
                self._fetch(slot)
            if self._beats and not self._paused(self.settings.stalls.r):
                self._present(was)
            elif was:
                self._rvalid.set_int(0)
        self.busy = not self._presented and bool(self._beats or self._pending)
        if self.restless:
            self._arready.set_int(not self._paused(self.settings.stalls.ar))

    def active(self) -> bool:
        return bool(self._pending or self._current)

    def _present(self, was_valid: bool) -> None:
        self._rdata.set_bits(self._beats.pop())
        if not self._beats:
            self._rlast.set_int(1)
        if not was_valid:
            self._rvalid.set_int(1)
        self._presented = True

    def _fetch(self, slot: int) -> None:
        """Begin the next burst that is due."""
        chosen = self._next(self._pending, slot)
        if chosen is None:
            return
        burst: Burst = chosen[0]
        data, resp = self.host.read(burst.addr, burst.end, burst.size)
        self._current = (burst, resp is Resp.OKAY)
        self._rid.set_int(burst.id)
        self._rresp.set_int(resp)
        self._rlast.set_int(0)
        if burst.size == self.width:
            self._beats = bit_words(data, self.width)[::-1]
        else:
            self._beats = self._narrow(burst, data)

    def _finished(self, slot: int) -> None:
        assert self._current is not None
        (burst, ok), self._current = self._current, None
        if self.on_dma is not None:
            length = burst.end - burst.addr
            self.on_dma("read", burst.addr, length, edge_ns(burst.slot), edge_ns(slot), ok)

    def _narrow(self, burst: Burst, data: bytes) -> list[str]:
        beats = []
        for index in range(burst.beats):
            lane = (burst.first + index * burst.size) % self.width
            piece = bytes(lane) + data[index * burst.size : (index + 1) * burst.size]
            beats += bit_words(piece.ljust(self.width, b"\0"), self.width)
        return beats[::-1]


def bit_words(data: bytes, width: int) -> list[str]:
    """`data` as bit strings of `width` bytes each, little endian, in order."""
    bits = f"{int.from_bytes(data, 'little'):0{8 * len(data)}b}"
    step = 8 * width
    return [bits[end - step : end] for end in range(len(bits), 0, -step)]


def _runs(mask: int) -> list[tuple[int, int]]:
    """(offset, length) of the runs of ones in `mask`."""
    runs = []
    offset = 0
    while mask:
        skip = (mask & -mask).bit_length() - 1
        mask >>= skip
        length = (~mask & (mask + 1)).bit_length() - 1
        runs.append((offset + skip, length))
        mask >>= length
        offset += skip + length
    return runs
