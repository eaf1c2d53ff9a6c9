"""One device of the scoreboard as a driver without a kernel sees it: rings, buffers, registers.

Both sides allocate alike, so an address is the same in both memories.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pystack.core.dma import Direction, DmaMapper
from pystack.core.memory import PAGE_SIZE, HostMemory
from pystack.dev.drivers import w2a_regs as regs
from tb.host_port import HostPort
from tb.scoreboard.lengths import LONGEST_FRAME
from tb.scoreboard.traffic import OWN, Round, TxFrame
from tb.settings import Resp

ENTRY = 16
MEMORY = 16 << 20
GUARD = 0xEE
SLOTS = (4, 8)  # pages round a buffer; positions count from the second
REFUSED = 768  # pages that the bus refuses, for each response
BURST = 20000  # bytes to the device at once: it stores more, however slow memory is


class Device(Protocol):
    """What the two sides differ in."""

    memory: HostMemory
    dma: DmaMapper
    host: HostPort
    sent: list[bytes]  # by the device, on the wire

    async def read32(self, offset: int) -> int: ...

    async def write32(self, offset: int, value: int) -> None: ...

    def send(self, frame: bytes) -> None:
        """Put a frame on the wire to the device."""
        ...

    async def settle(self) -> None:
        """Until nothing is under way."""
        ...


class Ring:
    """Descriptors and completions of one direction of a queue; `taken` are its buffers."""

    def __init__(self, device: Device, queue: int, offset: int, entries: int) -> None:
        self.device = device
        self.queue = queue
        self.is_rx = offset == regs.Q_RX
        self.block = regs.queue_block(queue) + offset
        self.entries = entries
        name = f"{'rx' if self.is_rx else 'tx'}{queue}"
        pages = -(-entries * ENTRY // PAGE_SIZE)
        self.desc, self.cpl = (device.memory.alloc_pages(pages) for _ in range(2))
        for base, direction in (
            (self.desc, Direction.TO_DEVICE),
            (self.cpl, Direction.FROM_DEVICE),
        ):
            device.memory.array[base : base + entries * ENTRY] = 0
            device.dma.map_single(base, entries * ENTRY, direction, f"{name} {direction.name}")
        self.producer = self.consumer = 0

    async def start(self, run_on: bool) -> None:
        write = self.device.write32
        await write(self.block + regs.RING_SIZE, self.entries.bit_length() - 1)
        await write(self.block + regs.RING_DESC_BASE_LO, self.desc)
        await write(self.block + regs.RING_CPL_BASE_LO, self.cpl)
        ctrl = regs.RING_CTRL_ENABLE | (regs.RING_CTRL_RUN_ON if run_on else 0)
        await write(self.block + regs.RING_CTRL, ctrl)

    async def stop(self) -> None:
        """Disable it, wait until it stands, and clear its completions."""
        await self.device.write32(self.block + regs.RING_CTRL, 0)
        while await self.device.read32(self.block + regs.RING_STATUS) & regs.RING_STATUS_ACTIVE:
            await self.device.settle()
        self.device.memory.array[self.cpl : self.cpl + self.entries * ENTRY] = 0

    @property
    def room(self) -> int:
        return self.entries - (self.producer - self.consumer)

    def post(self, entry: bytes) -> None:
        at = self.desc + self.producer % self.entries * ENTRY
        self.device.memory.write(at, entry)
        self.producer += 1

    async def doorbell(self) -> None:
        await self.device.write32(self.block + regs.RING_DOORBELL, self.producer & 0xFFFF)

    async def reap(self) -> list[tuple[bytes, bytes]]:
        """Descriptor and completion of what has been completed; it can be posted again."""
        progress = await self.device.read32(self.block + regs.RING_PROGRESS)
        completed = progress >> regs.RING_PROGRESS_COMPLETED_SHIFT
        first, self.consumer = self.consumer, self.consumer + ((completed - self.consumer) & 0xFFFF)
        read, size = self.device.memory.read, ENTRY
        slots = (index % self.entries * size for index in range(first, self.consumer))
        return [(read(self.desc + at, size), read(self.cpl + at, size)) for at in slots]


@dataclass(frozen=True)
class Slot:
    start: int
    pages: int
    resp: Resp


class Slots:
    """Room for buffers, told by what the bus answers there."""

    def __init__(self, device: Device) -> None:
        self._memory = device.memory
        self._free: dict[tuple[Resp, int], list[int]] = {}
        self._refused = {}  # the next page never used
        for resp in (Resp.SLVERR, Resp.DECERR):
            start = device.memory.alloc_pages(REFUSED)
            end = start + REFUSED * PAGE_SIZE
            device.host.fail("read", start, end, resp)
            device.host.fail("write", start, end, resp)
            self._refused[resp] = start

    def take(self, length: int, resp: Resp) -> Slot:
        """All its bytes are guard bytes."""
        pages = SLOTS[length > LONGEST_FRAME]
        free = self._free.setdefault((resp, pages), [])
        if free:
            start = free.pop()
        elif resp:
            start = self._refused[resp]
            self._refused[resp] += pages * PAGE_SIZE
        else:
            start = self._memory.alloc_pages(pages)
        self._memory.array[start : start + pages * PAGE_SIZE] = GUARD
        return Slot(start, pages, resp)

    def give_back(self, slot: Slot) -> None:
        self._free[slot.resp, slot.pages].append(slot.start)


class Side:
    """Runs rounds on a device."""

    def __init__(self, device: Device, queues: int, entries: int) -> None:
        self.device = device
        device.memory.array[:] = GUARD
        self.rings = [
            (Ring(device, n, regs.Q_RX, entries), Ring(device, n, regs.Q_TX, entries))
            for n in range(queues)
        ]
        self._slots = Slots(device)
        self._posted: list[tuple[Ring, int, int, Slot]] = []  # with index and address
        self.taken: list[tuple[Ring, bytes, bytes]] = []  # of the last round, in each ring's order

    async def start(self, max_frame: int, run_on: bool) -> None:
        """`run_on`: the rings do, after errors on data and RX descriptors."""
        write = self.device.write32
        await write(regs.MAC_LO, int.from_bytes(OWN[:4], "little"))
        await write(regs.MAC_HI, int.from_bytes(OWN[4:], "little"))
        await write(regs.MAX_FRAME, max_frame)
        for pair in self.rings:
            for ring in pair:
                await ring.start(run_on)

    def ring(self, at: tuple[int, bool]) -> Ring:
        """By queue, and whether to receive."""
        return self.rings[at[0]][0 if at[1] else 1]

    async def restart(self, at: tuple[int, bool], run_on: bool) -> None:
        """Stop a ring, take back all that was posted, start it again."""
        ring = self.ring(at)
        await ring.stop()
        ring.consumer = ring.producer
        self._give_back()
        ring.producer = ring.consumer = 0
        await ring.start(run_on)

    async def run(self, round_: Round) -> None:
        """One round: everything is posted, everything happens, everything is taken back."""
        self._give_back()
        for offset, value in round_.writes:
            await self.device.write32(offset, value)
        used = []
        for buffer in round_.buffers:
            ring = self.rings[buffer.queue][0]
            if ring.room:
                addr = self._place(
                    ring, buffer.length, buffer.position, buffer.resp, Direction.FROM_DEVICE
                )
                ring.post(regs.RX_DESC.pack(addr, buffer.length))
                used.append(ring)
        for ring in dict.fromkeys(used):
            await ring.doorbell()
        await self._send(round_.sends)
        await self._receive(round_.frames)
        self.taken = [
            (ring, *entries)
            for pair in self.rings
            for ring in pair
            for entries in await ring.reap()
        ]

    async def _receive(self, frames: list[bytes]) -> None:
        """As fast as the wire is, but no more at once than the device can store."""
        room = BURST
        for frame in frames:
            if len(frame) > room:
                await self.device.settle()
                room = BURST
            self.device.send(frame)
            room -= len(frame)
        await self.device.settle()

    def _give_back(self) -> None:
        """The slots of descriptors that have been completed."""
        kept = []
        for posted in self._posted:
            ring, index, addr, slot = posted
            if index < ring.consumer:
                self.device.dma.unmap_single(addr)
                self._slots.give_back(slot)
            else:
                kept.append(posted)
        self._posted = kept

    def _place(
        self, ring: Ring, length: int, position: int, resp: Resp, direction: Direction
    ) -> int:
        slot = self._slots.take(length, resp)
        addr = slot.start + PAGE_SIZE + position
        self.device.dma.map_single(addr, max(length, 1), direction, "buffer")
        self._posted.append((ring, ring.producer, addr, slot))
        return addr

    async def _send(self, sends: list[TxFrame]) -> None:
        rung = []
        for frame in sends:
            ring = self.rings[frame.queue][1]
            if ring.room < len(frame.pieces):
                continue
            what, tci, mss = frame.what, frame.tci, frame.mss
            for number, (piece, position) in enumerate(frame.pieces):
                addr = self._place(ring, len(piece), position, frame.resp, Direction.TO_DEVICE)
                self.device.memory.write(addr, piece)
                if number == len(frame.pieces) - 1:
                    what |= regs.TX_DESC_LAST
                ring.post(regs.TX_DESC.pack(addr, len(piece), what, tci, mss))
                what, tci, mss = frame.rest  # heeded in the first only
            rung.append(ring)
        for ring in dict.fromkeys(rung):
            await ring.doorbell()

    # -- what came of it -------------------------------------------------------------------

    async def counters(self) -> dict[str, int]:
        """All that are not 0."""
        found = {c.name: await self._counter(c.offset) for c in regs.COUNTERS}
        for number in range(len(self.rings)):
            for c in regs.QUEUE_COUNTERS:
                offset = regs.queue_block(number) + c.offset
                found[f"queue{number}_{c.name}"] = await self._counter(offset)
        return {name: value for name, value in found.items() if value}

    async def _counter(self, offset: int) -> int:
        low = await self.device.read32(offset)
        return low | await self.device.read32(offset + 4) << 32

    def by_queue(self) -> dict[int, list[bytes]]:
        """The frames on the wire, in each queue's order; each names its queue."""
        frames: dict[int, list[bytes]] = {}
        for frame in self.device.sent:
            frames.setdefault(frame[11], []).append(frame)
        return frames

    def image(self) -> npt.NDArray[np.uint8]:
        """Memory without time stamps."""
        array = self.device.memory.array.copy()
        for pair in self.rings:
            for ring in pair:
                view = array[ring.cpl : ring.cpl + ring.entries * ENTRY].reshape(-1, ENTRY)
                view[:, 12:15] = 0
                view[:, 15] &= 0x80
        return array

    def completions(self) -> list[str]:
        """The rings in words, for a difference to be read."""
        lines = []
        for pair in self.rings:
            for ring in pair:
                for slot in range(ring.entries):
                    entry = self.device.memory.read(ring.cpl + slot * ENTRY, ENTRY)
                    way = "rx" if ring.is_rx else "tx"
                    lines.append(f"{way}{ring.queue}[{slot}] {entry[:12].hex(' ')}")
        return lines
