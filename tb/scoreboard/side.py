"""One device of the scoreboard as a driver without a kernel sees it: rings, buffers, registers.

Both sides allocate alike, so an address is the same in both memories.
"""

from __future__ import annotations

from typing import Protocol

from pystack.core.dma import Direction, DmaMapper
from pystack.core.memory import PAGE_SIZE, HostMemory
from pystack.dev.drivers import w2a_regs as regs
from tb.host_port import ErrorRule, HostPort
from tb.scoreboard.traffic import OWN, Buffer, Round, TxFrame
from tb.settings import Resp

ENTRY = 16
MEMORY = 8 << 20
GUARD = 0xEE
SLOT = 4 * PAGE_SIZE  # round a buffer; positions count from its second page


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

    async def start(self) -> None:
        write = self.device.write32
        await write(self.block + regs.RING_SIZE, self.entries.bit_length() - 1)
        await write(self.block + regs.RING_DESC_BASE_LO, self.desc)
        await write(self.block + regs.RING_CPL_BASE_LO, self.cpl)
        await write(self.block + regs.RING_CTRL, regs.RING_CTRL_ENABLE)

    @property
    def room(self) -> int:
        return self.entries - (self.producer - self.consumer)

    def post(self, entry: bytes) -> None:
        at = self.desc + self.producer % self.entries * ENTRY
        self.device.memory.write(at, entry)
        self.producer += 1

    async def doorbell(self) -> None:
        await self.device.write32(self.block + regs.RING_DOORBELL, self.producer & 0xFFFF)

    async def reap(self) -> None:
        """What has been completed can be posted again."""
        progress = await self.device.read32(self.block + regs.RING_PROGRESS)
        completed = progress >> regs.RING_PROGRESS_COMPLETED_SHIFT
        self.consumer += (completed - self.consumer) & 0xFFFF


class Side:
    """Runs rounds on a device.  `blurred` are the ranges of memory that a fault leaves open."""

    def __init__(self, device: Device, queues: int, entries: int) -> None:
        self.device = device
        device.memory.array[:] = GUARD
        self.rings = [
            (Ring(device, n, regs.Q_RX, entries), Ring(device, n, regs.Q_TX, entries))
            for n in range(queues)
        ]
        self._slots: list[int] = []  # free
        self._posted: list[tuple[Ring, int, int]] = []  # with index and address
        self.blurred: list[tuple[int, int]] = []

    async def start(self, max_frame: int) -> None:
        write = self.device.write32
        await write(regs.MAC_LO, int.from_bytes(OWN[:4], "little"))
        await write(regs.MAC_HI, int.from_bytes(OWN[4:], "little"))
        await write(regs.MAX_FRAME, max_frame)
        for pair in self.rings:
            for ring in pair:
                await ring.start()

    async def run(self, round_: Round) -> None:
        """One round: everything is posted, everything happens, everything is taken back."""
        self._slots += self._completed_slots()
        used = []
        self.blurred = []
        for offset, value in round_.writes:
            await self.device.write32(offset, value)
        rules = []
        for number, buffer in enumerate(round_.buffers):
            ring = self.rings[buffer.queue][0]
            if ring.room:
                addr = self._post_buffer(ring, buffer)
                used.append(ring)
                if number in round_.faults:
                    rules.append(self._fail(addr, buffer.length))
        for ring in dict.fromkeys(used):
            await ring.doorbell()
        for frame in round_.frames:
            self.device.send(frame)
        await self._send(round_.sends)
        await self.device.settle()
        for rule in rules:
            self.device.host.forgive(rule)
        for pair in self.rings:
            for ring in pair:
                await ring.reap()

    def _completed_slots(self) -> list[int]:
        """Slots whose descriptor has been completed come back; those of posted ones do not."""
        free: list[int] = []
        kept: list[tuple[Ring, int, int]] = []
        for ring, index, addr in self._posted:
            if index < ring.consumer:
                self.device.dma.unmap_single(addr)
                free.append(addr - addr % SLOT)
            else:
                kept.append((ring, index, addr))
        self._posted = kept
        return free

    def _place(self, ring: Ring, length: int, position: int, direction: Direction) -> int:
        if not self._slots:
            self._slots.append(self.device.memory.alloc_pages(SLOT // PAGE_SIZE))
        slot = self._slots.pop()
        self.device.memory.array[slot : slot + SLOT] = GUARD
        addr = slot + PAGE_SIZE + position
        self.device.dma.map_single(addr, max(length, 1), direction, "buffer")
        self._posted.append((ring, ring.producer, addr))
        return addr

    def _post_buffer(self, ring: Ring, buffer: Buffer) -> int:
        addr = self._place(ring, buffer.length, buffer.position, Direction.FROM_DEVICE)
        ring.post(regs.RX_DESC.pack(addr, buffer.length))
        return addr

    def _fail(self, addr: int, length: int) -> ErrorRule:
        self.blurred.append((addr, addr + length))
        return self.device.host.fail("write", addr, addr + length, Resp.SLVERR)

    async def _send(self, sends: list[TxFrame]) -> None:
        rung = []
        for frame in sends:
            ring = self.rings[frame.queue][1]
            if ring.room < len(frame.pieces):
                continue
            what, tci, mss = frame.what, frame.tci, frame.mss
            for number, (piece, position) in enumerate(frame.pieces):
                addr = self._place(ring, len(piece), position, Direction.TO_DEVICE)
                self.device.memory.write(addr, piece)
                if number == len(frame.pieces) - 1:
                    what |= regs.TX_DESC_LAST
                ring.post(regs.TX_DESC.pack(addr, len(piece), what, tci, mss))
                what = tci = mss = 0
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

    def image(self) -> bytes:
        """Memory without time stamps, and what a fault has left open."""
        array = self.device.memory.array.copy()
        for start, end in self.blurred:
            array[start:end] = 0
        for pair in self.rings:
            for ring in pair:
                view = array[ring.cpl : ring.cpl + ring.entries * ENTRY].reshape(-1, ENTRY)
                view[:, 12:15] = 0
                view[:, 15] &= 0x80
        return array.tobytes()

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
