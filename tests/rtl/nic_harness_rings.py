"""Rings and queues of `nic_harness.Nic`: what a driver keeps of each, and its handler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from cocotb.triggers import Event

from pystack.core.dma import Direction
from pystack.core.memory import PAGE_SIZE
from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.drivers.w2a_regs import CplStatus, QueueError
from tb import coverage

if TYPE_CHECKING:
    from nic_harness import Nic


@dataclass(frozen=True)
class Done:
    """A completion.  `data` is what then stood in the buffer, up to its end."""

    index: int
    length: int
    status: int
    data: bytes
    flags: int = 0
    hash: int = 0
    vlan_tci: int = 0
    timestamp: int = 0


def ok(*frames: bytes) -> list[tuple[CplStatus, bytes]]:
    """What `Ring.outcome` gives when all of these went well."""
    return [(CplStatus.OK, frame) for frame in frames]


class Ring:
    """One direction of one queue: descriptor ring, completion ring, and what came of them."""

    def __init__(self, nic: Nic, queue: int, offset: int, entries: int) -> None:
        """`offset` is Q_RX or Q_TX."""
        self.nic = nic
        self.queue = queue
        self.block = regs.queue_block(queue) + offset
        self.name = f"{'rx' if offset == regs.Q_RX else 'tx'}{queue}"
        self.is_rx = offset == regs.Q_RX
        self.entries = entries
        self.desc_base, self.cpl_base = self._place(), self._place()
        self.done: list[Done] = []
        self.producer = self.consumer = 0  # counted from the start of the queue, not modulo 2^16
        self._running = False
        self._buffers: dict[int, tuple[int, int]] = {}  # index -> address, length
        self.map()

    def _place(self) -> int:
        """A ring between guard bytes."""
        size = 16 * self.entries
        addr = self.nic.bench.memory.alloc_pages(-(-3 * size // PAGE_SIZE)) + size
        return addr + -addr % size

    def map(self) -> None:
        """Let the device at the rings, each for one direction only."""
        size, map_single = 16 * self.entries, self.nic.bench.dma.map_single
        map_single(self.desc_base, size, Direction.TO_DEVICE, f"{self.name} descriptors")
        map_single(self.cpl_base, size, Direction.FROM_DEVICE, f"{self.name} completions")

    async def start(self, run_on: bool = False) -> None:
        """Clear the completion ring, tell the NIC all, enable; `run_on`: in spite of errors that
        a completion tells of."""
        self.producer = self.consumer = 0
        self._watch = coverage.RingWatch(self.is_rx, self.queue, self.nic.settings.stalls)
        for base in (self.desc_base, self.cpl_base):
            self.nic.poke(base, bytes(16 * self.entries))
        for register, addr in (
            (regs.RING_DESC_BASE_LO, self.desc_base),
            (regs.RING_CPL_BASE_LO, self.cpl_base),
        ):
            await self.write(register, addr & 0xFFFFFFFF)
            await self.write(register + 4, addr >> 32)
        await self.write(regs.RING_SIZE, self.entries.bit_length() - 1)
        ctrl = regs.RING_CTRL_RUN_ON if run_on else 0
        await self.write(regs.RING_CTRL, regs.RING_CTRL_ENABLE | ctrl)
        self._running = True

    async def disable(self) -> None:
        """Disable and wait until `active` falls; take the completions that came meanwhile."""
        await self.write(regs.RING_CTRL, 0)
        for _ in range(4000):
            if not await self.read(regs.RING_STATUS) & regs.RING_STATUS_ACTIVE:
                self.poll()
                self._running = False
                return
        raise AssertionError(f"{self.name} stays active after it was disabled")

    def forget(self) -> None:
        """Take back the buffers that were posted and not completed; the queue must be stopped."""
        for index, (_, room) in list(self._buffers.items()):
            self._release(index, room)
        self._running = False
        self.producer = self.consumer = 0

    def unmap(self) -> None:
        """From now on any access to the rings is an IOMMU fault."""
        self.nic.bench.dma.unmap_single(self.desc_base)
        self.nic.bench.dma.unmap_single(self.cpl_base)

    async def write(self, register: int, value: int) -> None:
        await self.nic.bench.write32(self.block + register, value)

    async def read(self, register: int) -> int:
        return await self.nic.bench.read32(self.block + register)

    async def error(self) -> QueueError:
        status = await self.read(regs.RING_STATUS)
        return QueueError((status & regs.RING_STATUS_ERROR) >> regs.RING_STATUS_ERROR_SHIFT)

    @property
    def free(self) -> int:
        return self.entries - (self.producer - self.consumer)

    def post_raw(
        self, addr: int, length: int, last: bool = True, words: tuple[int, int, int] = (0, 0, 0)
    ) -> None:
        """A descriptor as it is; its buffer is nobody's.  `words` are the last three of TX_DESC."""
        assert self.free > 0, "the harness overran its ring"
        slot = self.producer % self.entries
        if self.is_rx:
            entry = regs.RX_DESC.pack(addr, length)
        else:
            end = regs.TX_DESC_LAST if last else 0
            entry = regs.TX_DESC.pack(addr, length, words[0] | end, *words[1:])
        self.nic.poke(self.desc_base + 16 * slot, entry)
        self.producer += 1

    def post(self, length: int, position: int = 0) -> int:
        """Post a receive buffer; `position` is that of its first byte from a 4 KiB boundary."""
        addr = self.nic.buffer(length, position, Direction.FROM_DEVICE, self.name)
        self._buffers[self.producer] = (addr, length)
        self.post_raw(addr, length)
        return addr

    def post_frame(
        self,
        frame: bytes,
        position: int = 0,
        last: bool = True,
        words: tuple[int, int, int] = (0, 0, 0),
    ) -> int:
        """Post a frame to send, or a fragment of one."""
        addr = self.nic.buffer(len(frame), position, Direction.TO_DEVICE, self.name)
        self.nic.poke(addr, frame)
        self._buffers[self.producer] = (addr, len(frame))
        self.post_raw(addr, len(frame), last, words)
        return addr

    def post_fragments(
        self, parts: Sequence[bytes], words: tuple[int, int, int], positions: Sequence[int] = (0,)
    ) -> list[int]:
        """Post a frame in fragments; the addresses."""
        addrs = []
        for number, part in enumerate(parts):
            position = positions[number % len(positions)]
            last = number == len(parts) - 1
            addrs.append(self.post_frame(part, position, last, words if not number else (0, 0, 0)))
        return addrs

    async def doorbell(self) -> None:
        await self.write(regs.RING_DOORBELL, self.producer & 0xFFFF)

    def poll(self) -> None:
        """Take the completions that are there, by the phase bit and nothing else."""
        while self._running:
            addr = self.cpl_base + self.consumer % self.entries * 16
            entry = self.nic.bench.memory.read(addr, 16)
            index, length, code, flags, hash_, vlan_tci, stamp = regs.RX_CPL.unpack(entry)
            phase = regs.RX_CPL_PHASE if not self.consumer // self.entries & 1 else 0
            if stamp & regs.RX_CPL_PHASE != phase:
                return
            assert self.consumer < self.producer, f"{self.name} completes what was never posted"
            due = (self.consumer & 0xFFFF, self.queue)
            found = (index, code >> regs.RX_CPL_QUEUE_ID_SHIFT)
            assert found == due, f"{self.name} completion of {found}, not {due}"
            self.nic.expected[addr : addr + 16] = np.frombuffer(entry, np.uint8)
            status = code & regs.RX_CPL_STATUS
            data = self._release(self.consumer, length, status)
            stamp &= regs.RX_CPL_TIMESTAMP
            done = Done(index, length, status, data, flags, hash_, vlan_tci, stamp)
            if coverage.FOLDER:  # the descriptor is still in the ring
                at = self.desc_base + self.consumer % self.entries * 16
                self._watch.note(self.nic.bench.memory.read(at, 16), entry)
            self.done.append(done)
            self.consumer += 1

    def _release(self, index: int, length: int = 0, status: int = CplStatus.OK) -> bytes:
        """The buffer's bytes that the device may have written; then it is nobody's."""
        if index not in self._buffers:
            return b""
        addr, room = self._buffers.pop(index)
        length = min(length, room)
        data = self.nic.bench.memory.read(addr, length)
        untouched = (CplStatus.DESC_SLVERR, CplStatus.DESC_DECERR, CplStatus.BAD_LENGTH)
        if self.is_rx and status not in untouched:
            self.nic.expected[addr : addr + length] = np.frombuffer(data, np.uint8)
        self.nic.release(addr)
        return data

    def outcome(self, start: int = 0) -> list[tuple[CplStatus, bytes]]:
        """(status, data) of the completions from number `start` on."""
        for done in self.done[start:]:
            assert done.length == len(done.data) or done.status != CplStatus.OK
        return [(CplStatus(done.status), done.data) for done in self.done[start:]]

    async def counter(self, name: str) -> int:
        return await self.nic.queue_counter(self.queue, f"{'rx' if self.is_rx else 'tx'}_{name}")


class Queue:
    """A queue pair and its interrupt handler, which may be `paused`."""

    def __init__(self, nic: Nic, number: int, entries: int) -> None:
        self.nic = nic
        self.number = number
        self.block = regs.queue_block(number)
        self.rx = Ring(nic, number, regs.Q_RX, entries)
        self.tx = Ring(nic, number, regs.Q_TX, entries)
        self.interrupts = 0
        self.paused = False
        self._rose = Event()

    async def start(self, run_on: bool = False) -> None:
        await self.rx.start(run_on)
        await self.tx.start(run_on)
        await self.nic.bench.write32(self.block + regs.Q_IRQ_MASK, 0)

    def rose(self) -> None:
        self.interrupts += 1
        self._rose.set()
        if self.paused:
            self.nic.changed.set()

    async def arm(self) -> None:
        """Acknowledge with what has been consumed."""
        value = (self.tx.consumer & 0xFFFF) << regs.Q_IRQ_ARM_TX_CONSUMER_SHIFT
        value |= self.rx.consumer & 0xFFFF
        await self.nic.bench.write32(self.block + regs.Q_IRQ_ARM, value)

    async def handle(self) -> None:
        """The handler: poll both rings, re-arm."""
        self._rose.clear()
        while True:
            await self._rose.wait()
            self._rose.clear()
            if not self.paused:
                self.rx.poll()
                self.tx.poll()
                self.nic.changed.set()
                await self.arm()
