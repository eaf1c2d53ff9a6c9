"""The bench: a NIC's toplevel joined to host memory, a wire and the kernel's time.

The toplevel decides how the NIC is met.  `hdl/sim/bench_top.sv` has its pins for the models of
tb/pins; `hdl/sim/fast_top.sv` is that with the models in C beside it, which tb/fast talks to.
Another NIC takes the place of `nic_top` in the former.  Nothing here knows a register.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cocotb.triggers import Event, Timer

from pystack.core.cpu import Cpu
from pystack.core.dma import DmaMapper
from pystack.core.memory import HostMemory
from tb import gpi
from tb.bus import Bus, BusContext, BusWire
from tb.engine import SimEngine
from tb.fast.bus import FastBus
from tb.host_port import HostPort
from tb.pins.bus import PinBus
from tb.reports import BenchError, Reports
from tb.settings import BusSettings, Resp

if TYPE_CHECKING:
    from pystack.core.kernel import Kernel
    from pystack.dev.driver import DeviceResources

RESET_CYCLES = 16
BUSES: dict[str, Callable[[BusContext], Bus]] = {"fast_top": FastBus, "bench_top": PinBus}
"""The bus that goes with a toplevel."""


class WirePort:
    """The far end of the wire as a `pystack.dev.wire.Port`; callbacks run in the engine's hub."""

    def __init__(self, engine: SimEngine, wire: BusWire) -> None:
        self._engine = engine
        self._wire = wire

    def send(self, frame: bytes, on_sent: Callable[[], None] | None = None) -> None:
        """Queue a frame (without FCS) for the NIC; `on_sent` when its last byte has left."""
        done = None if on_sent is None else lambda: self._engine.post(on_sent)
        self._wire.send(frame, done)

    def on_receive(self, receive: Callable[[bytes, int, int], None]) -> None:
        """`receive(frame, start_ns, end_ns)` gets every good frame the NIC sends."""
        self._wire.listen(lambda *args: self._engine.post(receive, *args))


class Mmio:
    """The device's register space as the kernel sees it (`pystack.dev.driver.Registers`)."""

    def __init__(self, kernel: Kernel, bench: Bench) -> None:
        self._kernel = kernel
        self._bench = bench

    def read32(self, offset: int) -> int:
        """Stalls the CPU until the bus answers; OSError(EIO) on a bus error."""

        def start(done: Callable[[tuple[int, Resp]], None]) -> None:
            post = self._bench.engine.post
            self._bench.bus.read(offset, lambda value, resp: post(done, (value, resp)))

        value, resp = self._kernel.cpu.stall(start)
        if resp is not Resp.OKAY:
            raise OSError(errno.EIO, f"{os.strerror(errno.EIO)}: {resp.name} at {offset:#x}")
        return value

    def write32(self, offset: int, value: int) -> None:
        """Posted; a bus error on it is reported as "axil"."""
        self._kernel.cpu.flush()
        self._bench.bus.write(offset, value)


class Bench:
    """Everything round the NIC.  Build it first thing in a test, then `await bench.start()`.

    `iommu` False lets the device touch all of memory.  Reports other than those in
    `reports.expected` come out of `engine.run`, and of `check`.
    """

    def __init__(
        self,
        dut: Any,
        *,
        seed: int = 1,
        settings: BusSettings | None = None,
        memory: HostMemory | None = None,
        iommu: bool = True,
        idle_skip: bool = True,
        name: str = "nic0",
    ) -> None:
        self.dut = dut
        self.engine = SimEngine()
        self.memory = HostMemory() if memory is None else memory
        self.dma = DmaMapper(self.memory, name)
        self.host = HostPort(self.memory, self.dma if iommu else None, seed)
        self.reports = Reports(self._now)
        self.reports.context = self._wire_context
        self.reports.on_error = self.engine.fail
        self.dma.on_fault = lambda text: self.reports.add("iommu", text)
        self._handlers: dict[int, tuple[Callable[[], None], Cpu]] = {}
        self._waiting: list[Event] = []
        self._dead: BaseException | None = None
        self.on_irq: Callable[[int], None] | None = None  # sees every rising edge, for traces
        self.bus: Bus = BUSES[dut._name](
            BusContext(
                dut=dut,
                host=self.host,
                reports=self.reports,
                settings=BusSettings() if settings is None else settings,
                seed=seed,
                idle_skip=idle_skip,
                rise=self._irq_rose,
                on_error=self._crashed,
            )
        )
        self.wire = WirePort(self.engine, self.bus.wire)

    # -- life ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the clock and reset the NIC; the bench ends with the cocotb test."""
        # Initial blocks run, and Icarus forgets what was written to pins before time 0; the
        # reset writes every input again.
        await Timer(1, "ps")
        self.bus.start()
        await self.reset()

    async def reset(self, cycles: int = RESET_CYCLES) -> None:
        """Pulse `rst`; the models forget what is under way."""
        self.bus.set_reset(1)
        await Timer(cycles * self.bus.period_ps, "ps")
        self.bus.set_reset(0)
        await Timer(2 * self.bus.period_ps, "ps")
        self.engine.sync()

    def check(self) -> None:
        """BenchError if anything was reported that was not expected."""
        self.reports.check()

    # -- for the kernel --------------------------------------------------------------------

    def resources(self, kernel: Kernel) -> DeviceResources:
        """What the driver of this device is given; `kernel.memory` must be the bench's."""
        from pystack.dev.driver import DeviceResources

        if kernel.memory is not self.memory:
            raise ValueError("the kernel must be built on the bench's memory: Kernel(memory=...)")
        return DeviceResources(Mmio(kernel, self), self.dma, self.request_irq, self.free_irq)

    def request_irq(self, line: int, handler: Callable[[], None], cpu: Cpu) -> None:
        """Call `handler` in hardirq context of `cpu` on each rising edge of `line`."""
        if line in self._handlers:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        self._handlers[line] = (handler, cpu)

    def free_irq(self, line: int) -> None:
        del self._handlers[line]

    def _crashed(self, error: BaseException) -> None:
        """A bus model raised: whoever waits for the bus hears of it, now or later."""
        self._dead = error
        self.engine.fail(error)
        for event in self._waiting:
            event.set()

    def _irq_rose(self, line: int) -> None:
        if self.on_irq is not None:
            self.on_irq(line)
        if line in self._handlers:
            handler, cpu = self._handlers[line]
            self.engine.post(cpu.raise_irq, handler)

    # -- for tests without a kernel --------------------------------------------------------

    async def read32(self, offset: int) -> int:
        """One register read; OSError(EIO) on a bus error."""
        answer, resp = await self._access(lambda done: self.bus.read(offset, done))
        if resp is not Resp.OKAY:
            raise OSError(errno.EIO, f"{resp.name} at {offset:#x}")
        return answer

    async def write32(self, offset: int, value: int) -> None:
        """One register write, waited for; OSError(EIO) on a bus error."""
        _, resp = await self._access(lambda done: self.bus.write(offset, value, done))
        if resp is not Resp.OKAY:
            raise OSError(errno.EIO, f"{resp.name} at {offset:#x}")

    async def _access(
        self, begin: Callable[[Callable[[int, Resp], None]], None]
    ) -> tuple[int, Resp]:
        if self._dead is not None:
            raise BenchError("the bus has ended") from self._dead
        answered = Event()
        answers: list[tuple[int, Resp]] = []

        def done(value: int, resp: Resp) -> None:
            answers.append((value, resp))
            answered.set()

        self._waiting.append(answered)
        begin(done)
        await answered.wait()
        self._waiting.remove(answered)
        self.engine.sync()
        if not answers:
            await self.engine.run(stop=lambda: True)  # raises what ended the bus
            raise BenchError("the bus has ended")
        return answers[0]

    # -- observation -----------------------------------------------------------------------

    def on_dma(self, listener: Callable[[str, int, int, int, int, bool], None] | None) -> None:
        """`listener(kind, addr, length, start_ns, end_ns, ok)` after each burst; None ends it."""
        self.bus.listen_dma(listener)

    def profile(self, on: bool) -> None:
        """Measure what `spent_ns` tells, which costs a few percent."""
        gpi.entries.timed = on
        self.bus.profile(on)

    def spent_ns(self) -> tuple[int, int]:
        """Wall time while profiled: of Python above the bus, of the bus and wire models."""
        models, in_python = self.bus.spent_ns()
        return gpi.entries.total_ns - in_python, models

    @property
    def quiet(self) -> bool:
        """Nothing is under way between wire and bus: the clock stands."""
        return self.bus.quiet

    @property
    def cycles(self) -> int:
        """Clock cycles simulated since `start`."""
        return self.bus.cycles

    @property
    def skipped_ns(self) -> int:
        """Time since `start` that passed with the clock standing."""
        return self.bus.skipped_ns

    def _now(self) -> int:
        self.engine.sync()
        return self.engine.now

    def _wire_context(self) -> str:
        wire = self.bus.wire
        return f"after frame {wire.frames_sent} to the NIC and {wire.frames_received} from it"
