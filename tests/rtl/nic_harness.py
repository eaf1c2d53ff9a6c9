"""The NIC on its bench, driven at the level of its rings: no kernel, no driver of ours.

It shares only the register constants with the driver.  Completions are looked for when the
interrupt rises and at no other time, so a lost interrupt is a timeout.  `expected` is a second
copy of host memory, moved along with what the device may have written: every byte of the two is
compared, so every byte of memory that is not a frame or a completion is a guard byte.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import cocotb
import numpy as np
import pytest
from cocotb.triggers import Event, SimTimeoutError, Timer, with_timeout
from conftest import SEED as SEED
from conftest import SIMS as SIMS
from nic_harness_rings import Queue, ok

from pystack.core.dma import Direction
from pystack.core.memory import HostMemory
from pystack.dev.drivers import w2a_regs as regs
from tb import coverage, gpi
from tb.bench import Bench
from tb.pins.xgmii_code import SOUND, Defect
from tb.settings import BusSettings
from wire2app.simulator import BUSES as BUSES
from wire2app.simulator import SimResult, bench_design, simulate

OWN = bytes.fromhex("02a1b2c3d4e5")
PEER = bytes.fromhex("020102030405")
GUARD = 0xEE
PAGE = 4096
SLOT = 4 * PAGE  # room round a buffer; its second page boundary is where positions are counted from
MEMORY = 8 << 20
CYCLE_PS = 6400
PLAIN = (regs.RX_CPL_LAST, 0, 0)  # flags, hash, TCI of a frame in one buffer, without IP

BUILDS: dict[str, dict[str, int]] = {
    "default": {},
    "queues": {"Queues": 3},
    "narrow": {"AxiDataW": 64},
    "wide": {"AxiDataW": 256},
    "plain": {"RxOffload": 0, "Queues": 2},
}


def first_quick(sims: Sequence[str]) -> list[Any]:
    """Parameters of a slow test: the first simulator always, the others in `make regress`."""
    return [*sims[:1], *(pytest.param(sim, marks=pytest.mark.regress) for sim in sims[1:])]


TestFunction = Callable[[Any], Coroutine[Any, Any, None]]


def nic_test(build: str = "default", icarus: bool = True) -> Callable[[TestFunction], object]:
    """A cocotb test for one of BUILDS; it is skipped in simulations of the others."""
    here = os.environ.get("NIC_BUILD", "default") == build
    on_icarus = getattr(cocotb, "SIM_NAME", "").startswith("Icarus")
    return cocotb.test(skip=not here or (on_icarus and not icarus))


def run_nic_tests(module: str, sim: str, build: str = "default", bus: str = "fast") -> SimResult:
    """Simulate one build of the NIC with the tests of `module` that are made for it."""
    result = simulate(
        bench_design(bus, **BUILDS[build]),
        module,
        sim=sim,
        seed=SEED,
        env={"NIC_BUILD": build},
        timeout_seconds=300,
    )
    result.check()
    return result


class Nic:
    """The bench with a NIC that is set up; `queues` pairs of rings of `entries`."""

    def __init__(
        self,
        dut: Any,
        *,
        entries: int = 32,
        queues: int = 1,
        settings: BusSettings | None = None,
        idle_skip: bool = True,
    ) -> None:
        self.dut = dut
        memory = HostMemory(MEMORY)
        memory.array[:] = GUARD
        self.rng = random.Random(SEED)
        self.settings = settings or BusSettings()
        self.bench = Bench(
            dut, seed=SEED, settings=self.settings, memory=memory, idle_skip=idle_skip
        )
        self.expected = memory.array.copy()
        self.changed = Event()
        self.sent: list[bytes] = []  # by the NIC, on the wire
        self._slots: list[int] = []
        self._handlers: list[cocotb.task.Task[None]] = []
        self.queues = [Queue(self, number, entries) for number in range(queues)]
        self.rx, self.tx = self.queues[0].rx, self.queues[0].tx

    async def start(self, max_frame: int = 1518, run_on: bool = False) -> None:
        self.bench.on_irq = lambda line: self.queues[line].rose()
        self.bench.bus.wire.listen(self._sent)
        await self.bench.start()
        await self.set_up(max_frame, run_on)

    def let_go(self) -> None:
        """Stop the interrupt handlers, as before a reset; `set_up` starts them again."""
        for handler in self._handlers:
            handler.cancel()
        self._handlers.clear()

    async def set_up(self, max_frame: int = 1518, run_on: bool = False) -> None:
        """Program everything, as after a reset."""
        self._handlers = [cocotb.start_soon(queue.handle()) for queue in self.queues]
        write = self.bench.write32
        assert await self.bench.read32(regs.ID) == regs.ID_MAGIC_RESET
        await write(regs.MAC_LO, int.from_bytes(OWN[:4], "little"))
        await write(regs.MAC_HI, int.from_bytes(OWN[4:], "little"))
        await write(regs.MAX_FRAME, max_frame)
        for queue in self.queues:
            await queue.start(run_on)
        await write(regs.CTRL, regs.CTRL_RX_ENABLE | regs.CTRL_TX_ENABLE)

    # -- memory ----------------------------------------------------------------------------

    def poke(self, addr: int, data: bytes) -> None:
        """The CPU writes."""
        self.bench.memory.write(addr, data)
        self.expected[addr : addr + len(data)] = np.frombuffer(data, np.uint8)

    def next_buffer(self, position: int) -> int:
        """Where the next buffer with this position will be."""
        if not self._slots:
            self._slots.append(self.bench.memory.alloc_pages(SLOT // PAGE))
        return self._slots[-1] + PAGE + position

    def buffer(self, length: int, position: int, direction: Direction, name: str) -> int:
        """A fresh buffer between guard bytes, mapped to the byte (to one byte if empty)."""
        addr = self.next_buffer(position)
        slot = self._slots.pop()
        self.bench.memory.array[slot : slot + SLOT] = GUARD
        self.expected[slot : slot + SLOT] = GUARD
        return self.bench.dma.map_single(addr, max(length, 1), direction, f"{name} buffer")

    def release(self, addr: int) -> None:
        """Unmap a buffer after a look at all bytes round it."""
        slot = addr - addr % SLOT
        self._compare(slot, slot + SLOT)
        self.bench.dma.unmap_single(addr)
        self._slots.append(slot)

    def _compare(self, start: int, end: int) -> None:
        got, due = self.bench.memory.array[start:end], self.expected[start:end]
        if not np.array_equal(got, due):
            first = int((got != due).argmax())
            raise AssertionError(
                f"{start + first:#x}: {got[first : first + 32].tobytes().hex()} in memory, "
                f"not {due[first : first + 32].tobytes().hex()}"
            )

    # -- wire ------------------------------------------------------------------------------

    def frame(self, length: int, to: bytes = OWN) -> bytes:
        """A random frame without FCS."""
        head = (to + PEER + b"\x88\xb5")[:length]
        return head + self.rng.randbytes(length - len(head))

    def send(self, *frames: bytes, defect: Defect = SOUND) -> None:
        """Put frames on the wire to the NIC."""
        for frame in frames:
            self.bench.bus.wire.send(frame, None, defect)

    def _sent(self, frame: bytes, start_ns: int, end_ns: int) -> None:
        self.sent.append(frame)
        self.changed.set()

    # -- waiting ---------------------------------------------------------------------------

    async def until(self, done: Callable[[], bool], what: str, us: int = 200) -> None:
        """Wait until `done()`, looked at after each interrupt and each frame from the NIC."""
        try:
            await with_timeout(self._until(done), us, "us")
        except SimTimeoutError:
            self.bench.check()
            counts = [(r.name, r.producer, r.consumer) for q in self.queues for r in (q.rx, q.tx)]
            raise AssertionError(
                f"no {what} within {us} us; posted and completed: {counts}, "
                f"{len(self.sent)} frames on the wire"
            ) from None

    async def _until(self, done: Callable[[], bool]) -> None:
        while not done():
            self.changed.clear()
            await self.changed.wait()
            self.bench.check()

    async def cycles(self, count: int) -> None:
        if count > 0:
            await Timer(count * CYCLE_PS, "ps")

    @staticmethod
    def now() -> int:
        """The time in clock cycles, those included in which the clock stood."""
        return gpi.time_ps() // CYCLE_PS

    async def finish(self) -> None:
        """The end: the NIC is idle, no rule was broken, no byte of memory is wrong."""
        for _ in range(400):
            if int(self.dut.idle.value):
                break
            await self.cycles(1)
        else:
            raise AssertionError("the NIC does not become idle")
        await self.cycles(100)
        assert int(self.dut.idle.value), "the NIC is busy again with nothing to do"
        assert await self.bench.read32(regs.STATUS) & regs.STATUS_IDLE
        self.bench.check()
        self._compare(0, MEMORY)
        self.let_go()
        self.bench.bus.close()
        if coverage.FOLDER:
            coverage.export()

    # -- counters --------------------------------------------------------------------------

    async def counters(self) -> dict[str, int]:
        """The device's counters that are not zero."""
        found = {c.name: await self._counter(c.offset) for c in regs.COUNTERS}
        return {name: value for name, value in found.items() if value}

    async def queue_counters(self, queue: int = 0) -> dict[str, int]:
        base = regs.queue_block(queue)
        found = {c.name: await self._counter(base + c.offset) for c in regs.QUEUE_COUNTERS}
        return {name: value for name, value in found.items() if value}

    async def queue_counter(self, queue: int, name: str) -> int:
        return (await self.queue_counters(queue)).get(name, 0)

    async def _counter(self, offset: int) -> int:
        low = await self.bench.read32(offset)
        return low | await self.bench.read32(offset + 4) << 32

    # -- traffic ---------------------------------------------------------------------------

    async def receive(
        self, frames: Sequence[bytes], positions: Sequence[int] = (0,), queue: int = 0
    ) -> None:
        """Send frames to the NIC as fast as its ring allows; all arrive, exact and in order."""
        ring = self.queues[queue].rx
        first, given = len(ring.done), 0
        while len(ring.done) - first < len(frames):
            batch = min(ring.free, len(frames) - given)
            for number in range(given, given + batch):
                ring.post(len(frames[number]), positions[number % len(positions)])
            if batch:
                await ring.doorbell()
                self.send(*frames[given : given + batch])
                given += batch
            seen = len(ring.done)
            await self.until(lambda: len(ring.done) > seen, "received frame")  # noqa: B023
        assert all((d.flags, d.hash, d.vlan_tci) == PLAIN for d in ring.done[first:])
        for number, (got, due) in enumerate(zip(ring.outcome(first), ok(*frames), strict=True)):
            assert got == due, f"frame {number} of {len(frames[number])} bytes is not as sent"

    async def transmit(
        self, frames: Sequence[bytes], positions: Sequence[int] = (0,), queue: int = 0
    ) -> None:
        """Have the NIC send frames; all appear on the wire, padded, exact and in order."""
        ring = self.queues[queue].tx
        first, before, given = len(ring.done), len(self.sent), 0
        while len(ring.done) - first < len(frames):
            batch = min(ring.free, len(frames) - given)
            for number in range(given, given + batch):
                ring.post_frame(frames[number], positions[number % len(positions)])
            if batch:
                await ring.doorbell()
                given += batch
            seen = len(ring.done)
            await self.until(lambda: len(ring.done) > seen, "transmit completion")  # noqa: B023
        assert ring.outcome(first) == ok(*frames)
        await self.until(lambda: len(self.sent) - before >= len(frames), "frame on the wire")
        assert self.sent[before:] == [frame.ljust(60, b"\0") for frame in frames]
