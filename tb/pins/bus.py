"""BUS=pins put together: the models, in the order a tick visits them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from tb.bus import BusContext, Done, OnDma
from tb.gpi import Pin
from tb.pins.axi_checker import ViolationWatch
from tb.pins.axi_memory import AxiReadMemory, AxiWriteMemory
from tb.pins.axil import AxilMaster
from tb.pins.clock import Agent, PinClock
from tb.pins.flags import PERIOD_PS
from tb.pins.interrupts import InterruptLines
from tb.pins.xgmii import XgmiiSink, XgmiiSource
from tb.pins.xgmii_code import SOUND, Defect


class PinWire:
    """The wire's far end: `XgmiiSource` and `XgmiiSink` as one port."""

    def __init__(self, source: XgmiiSource, sink: XgmiiSink) -> None:
        self.source = source
        self.sink = sink

    @property
    def frames_sent(self) -> int:
        return self.source.frames_sent

    @property
    def frames_received(self) -> int:
        return self.sink.frames_received

    def listen(self, receive: Callable[[bytes, int, int], None]) -> None:
        self.sink.receive = receive

    def send(
        self, frame: bytes, on_sent: Callable[[], None] | None = None, defect: Defect = SOUND
    ) -> None:
        """`defect` makes it a bad frame."""
        self.source.send(frame, on_sent, defect)

    def send_columns(
        self, columns: Iterable[tuple[int, int]], on_sent: Callable[[], None] | None = None
    ) -> None:
        """Queue raw (data, control) columns, whatever they mean."""
        self.source.send_columns(columns, on_sent)

    @property
    def ordered_sets(self) -> int:
        """Columns from the NIC that tell of a fault."""
        return self.sink.ordered_sets

    @property
    def ifg(self) -> int:
        """The inter-frame gap that is kept on average, in bytes."""
        return self.source.gap.ifg

    @ifg.setter
    def ifg(self, lanes: int) -> None:
        self.source.gap.ifg = lanes


class PinBus:
    """Drives every input of `bench_top` at once, so that the clock may start at any time."""

    def __init__(self, context: BusContext) -> None:
        dut, settings, seed = context.dut, context.settings, context.seed
        self._rst = Pin(dut.rst)
        self._rst.set_int(1)
        self.clock = clock = PinClock(dut, idle_skip=context.idle_skip)
        clock.on_error = context.on_error
        self.write_memory = AxiWriteMemory(dut, context.host, context.reports, settings, seed)
        self.read_memory = AxiReadMemory(dut, context.host, context.reports, settings, seed)
        self.axil = AxilMaster(dut, clock.request, context.reports, settings.stalls.axil, seed)
        source = XgmiiSource(dut, clock.request)
        sink = XgmiiSink(dut, context.reports)
        self.wire = PinWire(source, sink)
        watch = ViolationWatch(dut, context.reports)
        interrupts = InterruptLines(dut, context.rise)
        self._agents: list[Agent] = [
            watch,
            sink,
            source,
            self.write_memory,
            self.read_memory,
            interrupts,
            self.axil,
        ]
        clock.agents = self._agents

    def start(self) -> None:
        self.clock.start()

    def close(self) -> None:
        self.clock.close()

    def set_reset(self, level: int) -> None:
        self._rst.set_int(level)
        if level:
            for agent in self._agents:
                agent.reset()
        self.clock.held = bool(level)
        self.clock.request()

    def read(self, offset: int, done: Done) -> None:
        self.axil.read(offset, done)

    def write(self, offset: int, value: int, done: Done | None = None) -> None:
        self.axil.write(offset, value, done)

    def set_latency(
        self, *, read: Sequence[int] | None = None, write: Sequence[int] | None = None
    ) -> None:
        if read is not None:
            self.read_memory.settings = replace(self.read_memory.settings, read_latency=read)
        if write is not None:
            self.write_memory.settings = replace(self.write_memory.settings, write_latency=write)

    def listen_dma(self, on_dma: OnDma | None) -> None:
        self.write_memory.on_dma = self.read_memory.on_dma = on_dma

    @property
    def quiet(self) -> bool:
        return not self.clock.running

    @property
    def cycles(self) -> int:
        return self.clock.cycles

    def profile(self, on: bool) -> None:
        self.clock.timed = on

    def spent_ns(self) -> tuple[int, int]:
        spent = self.clock.total_ns
        return spent, spent

    @property
    def ticks(self) -> int:
        return self.clock.ticks

    @property
    def skipped_ns(self) -> int:
        return self.clock.skipped_ns

    @property
    def period_ps(self) -> int:
        return PERIOD_PS
