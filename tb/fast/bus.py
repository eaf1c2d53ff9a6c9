"""BUS=fast put together: work goes to the models in C, what happened comes back as events."""

from __future__ import annotations

import ctypes
import hashlib
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

import cocotb
from cocotb.triggers import Event as CocotbEvent

from pystack.core.dma import Direction, DmaFault
from tb import gpi
from tb.bus import BusContext, Done, OnDma
from tb.fast import library
from tb.fast.library import FOREVER, Kind, Rule
from tb.fast.wire import FastWire
from tb.gpi import Pin
from tb.host_port import Served
from tb.pins.axi_checker import violation_texts
from tb.pins.flags import PERIOD_PS, PHASE_PS, edge_ns
from tb.settings import BusSettings, Resp

EVENT = struct.Struct(library.EVENT_FORMAT)
EVENTS_AT = library.Shared.events.offset
HEAP_AT = library.Shared.heap.offset
CERTAIN = 1 << 32  # probabilities are scaled to it


class FastBus:
    """`fast_top` and the models behind it."""

    def __init__(self, context: BusContext) -> None:
        dut = context.dut
        self._context = context
        self._host = context.host
        self._reports = context.reports
        self._rise = context.rise
        self._levels = 0
        self._rst = Pin(dut.rst)
        self._rst.set_int(1)
        self._kick_pin = Pin(dut.kick)
        self._parked = Pin(dut.parked)
        self._cycles = Pin(dut.cycles)
        self._attention = dut.attention
        self._callback: gpi.ChangeCallback | None = None
        self._kick = self._first_slot = self._first_cycle = 0
        self._reads: deque[Done] = deque()
        self._writes: deque[Done] = deque()
        self._on_dma: OnDma | None = None
        self._lib = library.load()
        self._shared = self._open(context)
        view = memoryview(self._shared).cast("B")
        self._events = view[EVENTS_AT:HEAP_AT]
        self._heap = view[HEAP_AT:]
        self.wire = FastWire(self._lib, self._shared, self._woken)
        self._rules: list[Any] = []
        self._host.served = cast(Served, self._shared)
        self._host.on_rules = self._load_rules
        self._load_rules()
        self._handlers = self._event_handlers()

    def _open(self, context: BusContext) -> library.Shared:
        settings, host = context.settings, context.host
        rights = None if host.mapper is None else host.mapper.rights.ctypes.data
        shared: library.Shared = self._lib.bus_open(
            host.memory.array.ctypes.data,
            rights,
            host.memory.size,
            _seeds(context.seed),
            _stalls(settings),
            settings.reorder,
            context.idle_skip,
        ).contents
        self.set_latency(read=settings.read_latency, write=settings.write_latency)
        return shared

    def _event_handlers(self) -> list[Callable[[int, int, int, int, int], None]]:
        handlers = {
            Kind.IRQ: self._irq,
            Kind.READ: self._read_answered,
            Kind.WRITE: self._write_answered,
            Kind.FRAME: self._frame,
            Kind.SENT: self._sent,
            Kind.DMA: self._dma,
            Kind.FAULT: self._fault,
            Kind.RULE: lambda *_: None,  # counted before all others
            Kind.REPORT: self._report,
            Kind.VIOLATION: self._violation,
        }
        return [handlers[kind] for kind in Kind]

    # -- life ------------------------------------------------------------------------------

    def start(self) -> None:
        self._kick = self._parked.get_int()
        self._kick_pin.set_int(self._kick)
        self._first_slot = _slot_now()
        self._first_cycle = self._cycles.get()
        self._callback = gpi.ChangeCallback(self._attention, self._at_attention)
        self._lib.bus_request()
        self._flip()  # whatever the models were asked before: the clock stands
        cocotb.start_soon(self._close_at_end())

    async def _close_at_end(self) -> None:
        try:
            await CocotbEvent().wait()  # cocotb cancels what still waits when the test ends
        finally:
            self.close()

    def close(self) -> None:
        if self._callback is None:
            return
        self._callback.close()
        self._callback = None
        if self._shared.running:
            self._shared.running = 0
            self._flip()

    def set_reset(self, level: int) -> None:
        self._rst.set_int(level)
        if level:
            self._levels = 0
            self.wire.reset()
        self._woken(self._lib.bus_reset(level))
        self._drain()  # of the access that the reset ended

    def _woken(self, was_running: int) -> None:
        """The models have work: let the clock run if it stands, while somebody hears of it."""
        if not was_running and self._callback is not None:
            self._flip()

    def _flip(self) -> None:
        self._kick ^= 1
        self._kick_pin.set_int(self._kick)

    # -- registers -------------------------------------------------------------------------

    def read(self, offset: int, done: Done) -> None:
        self._reads.append(done)
        self._woken(self._lib.bus_read(offset))

    def write(self, offset: int, value: int, done: Done | None = None) -> None:
        if done is not None:
            self._writes.append(done)
        self._woken(self._lib.bus_write(offset, value & 0xFFFFFFFF, done is not None))

    def _read_answered(self, resp: int, value: int, offset: int, d: int, e: int) -> None:
        self._reads.popleft()(value, Resp(resp))

    def _write_answered(self, resp: int, wanted: int, offset: int, d: int, e: int) -> None:
        if wanted:
            self._writes.popleft()(0, Resp(resp))
        else:
            self._reports.add("axil", f"{Resp(resp).name} on a write to {offset:#x}")

    # -- events ----------------------------------------------------------------------------

    def _at_attention(self) -> None:
        try:
            self._drain()
        except BaseException as error:  # pytest.fail is none of the others
            self.close()
            self._context.on_error(error)

    def _drain(self) -> None:
        """Hand out what has happened since the last time."""
        shared = self._shared
        count, shared.event_count = shared.event_count, 0
        if not count:
            return
        handlers = self._handlers
        records = bytes(self._events[: count * EVENT.size])
        if self._rules:  # first, for whoever hears of an event may change the rules
            for kind, index, hit, *_ in EVENT.iter_unpack(records):
                if kind == Kind.RULE:
                    self._rule_hit(index, hit)
        for kind, a, b, c, d, e in EVENT.iter_unpack(records):
            handlers[kind](a, b, c, d, e)
        shared.heap_used = 0

    def _irq(self, levels: int, b: int, c: int, d: int, e: int) -> None:
        risen = levels & ~self._levels
        self._levels = levels
        while risen:
            low = risen & -risen
            risen ^= low
            self._rise(low.bit_length() - 1)

    def _frame(self, length: int, at: int, start: int, end: int, e: int) -> None:
        receive = self.wire.receive
        if receive is not None:
            receive(bytes(self._heap[at : at + length]), edge_ns(start - 1), edge_ns(end))

    def _sent(self, a: int, b: int, c: int, d: int, e: int) -> None:
        self.wire.sent()

    def _dma(self, what: int, addr: int, length: int, start: int, end: int) -> None:
        if self._on_dma is not None:
            kind = "write" if what & 1 else "read"
            self._on_dma(kind, addr, length, edge_ns(start), edge_ns(end), bool(what & 2))

    def _fault(self, access: int, addr: int, length: int, d: int, e: int) -> None:
        """The models refused an access: the mapper says why."""
        mapper = self._host.mapper
        if mapper is not None:
            try:
                mapper.check(addr, length, Direction(access))
            except DmaFault:
                return
            raise RuntimeError(f"the IOMMU in C refused [{addr:#x}, +{length}), the mapper did not")

    def _report(self, kind: int, at: int, length: int, d: int, e: int) -> None:
        self._reports.add(library.REPORTS[kind], bytes(self._heap[at : at + length]).decode())

    def _violation(self, bits: int, b: int, c: int, d: int, e: int) -> None:
        for kind, text in violation_texts(bits):
            self._reports.add(kind, text)

    # -- error rules -----------------------------------------------------------------------

    def _load_rules(self) -> None:
        self._rules = list(self._host.rules)
        packed = (Rule * len(self._rules))()
        for slot, rule in zip(packed, self._rules, strict=True):
            left = FOREVER if rule.times is None else max(0, rule.times - rule.hits)
            last = min(rule.end - 1, FOREVER)
            slot.start, slot.last, slot.times = rule.start, last, left
            slot.skip = rule.skip - rule.skipped
            slot.probability, slot.min_length = round(rule.probability * CERTAIN), rule.min_length
            slot.kind, slot.resp = int(rule.kind == "write"), rule.resp
        if self._lib.bus_rules(packed, len(packed)):
            raise ValueError(f"{len(packed)} error rules are more than BUS=fast can hold")

    def _rule_hit(self, index: int, hit: int) -> None:
        if hit:
            self._rules[index].hits += 1
        else:
            self._rules[index].skipped += 1

    # -- observation and settings ----------------------------------------------------------

    def set_latency(
        self, *, read: Sequence[int] | None = None, write: Sequence[int] | None = None
    ) -> None:
        """ValueError if there is no value to draw, or one that is not a number of cycles."""
        for is_write, values in enumerate((read, write)):
            if values is not None:
                if not values or min(values) < 0 or max(values) >= 1 << 32:
                    raise ValueError(f"a latency is drawn from numbers of cycles, not {values}")
                packed = (ctypes.c_uint32 * len(values))(*values)
                self._lib.bus_latency(is_write, packed, len(values))

    def listen_dma(self, on_dma: OnDma | None) -> None:
        self._on_dma = on_dma
        self._shared.dma_events = on_dma is not None

    def profile(self, on: bool) -> None:
        self._shared.profile = on

    def spent_ns(self) -> tuple[int, int]:
        return int(self._shared.transactor_ns), 0

    @property
    def quiet(self) -> bool:
        return not self._shared.running

    @property
    def cycles(self) -> int:
        return self._cycles.get() - self._first_cycle

    @property
    def ticks(self) -> int:
        """Clock cycles in which a model had something to do."""
        return int(self._shared.ticks)

    @property
    def skipped_ns(self) -> int:
        slots = _slot_now() - self._first_slot
        return max(0, slots - self.cycles) * PERIOD_PS // 1000

    @property
    def period_ps(self) -> int:
        return PERIOD_PS


def _slot_now() -> int:
    return (gpi.time_ps() - PHASE_PS) // PERIOD_PS


def _seeds(seed: int) -> ctypes.Array[ctypes.c_uint64]:
    """A word that is not 0 for each model that draws."""
    words = [
        int.from_bytes(hashlib.sha256(f"{name}/{seed}".encode()).digest()[:8], "little") | 1
        for name in ("write", "read", "axil", "rules")
    ]
    return (ctypes.c_uint64 * len(words))(*words)


def _stalls(settings: BusSettings) -> ctypes.Array[ctypes.c_uint64]:
    """Probabilities in the order of the enumeration in C, scaled to 2**32.

    ValueError if one is not a probability, or register accesses would wait forever.
    """
    s = settings.stalls
    scaled = [round(p * CERTAIN) for p in (s.aw, s.w, s.b, s.ar, s.r, s.axil)]
    if not all(0 <= p <= CERTAIN for p in scaled) or scaled[-1] == CERTAIN:
        raise ValueError(f"{s}: from 0 to 1, axil below 1")
    return (ctypes.c_uint64 * len(scaled))(*scaled)
