"""A driver that only counts: the device under load, with next to no host behind it.

One queue pair.  Descriptors are written once and reused as they are, a batch of completions costs
one look at the ring's phase bits and one doorbell.  What is measured with it is the RTL, the bus
and the wire.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from pystack.core.dma import Direction
from pystack.dev.drivers import w2a_regs as regs
from tb.bench import Bench

ENTRIES = 1024
BUFFER = 2048
ENTRY = 16
OWN = bytes.fromhex("020000000001")
PEER = bytes.fromhex("020000000002")


class CountingRing:
    """One direction: `entries` buffers of 2 KiB, posted over and over; `done` counts completions.

    `index` values run free, the registers get them modulo 2^16.
    """

    def __init__(self, bench: Bench, block: int, access: Direction, entries: int = ENTRIES) -> None:
        """`block` is Q_RX or Q_TX."""
        self.bench = bench
        self.block = regs.queue_block(0) + block
        self.is_rx = block == regs.Q_RX
        self.entries = entries
        self.posted = self.done = 0
        name = "rx" if self.is_rx else "tx"
        memory = bench.memory
        self.buffers = memory.alloc_pages(entries * BUFFER // 4096)
        bench.dma.map_single(self.buffers, entries * BUFFER, access, f"{name} buffers")
        self.descriptors = bench.dma.alloc_coherent(entries * ENTRY, f"{name} descriptors")
        self.completions = bench.dma.alloc_coherent(entries * ENTRY, f"{name} completions")
        end = self.completions + entries * ENTRY
        ring = memory.array[self.completions : end].reshape(entries, ENTRY)
        self._last_bytes = ring[:, ENTRY - 1]
        self._status = ring[:, 4]  # and the queue, which is 0

    def describe(self, length: int) -> None:
        """Every descriptor names its slot's buffer with `length` bytes."""
        for slot in range(self.entries):
            at = self.descriptors + slot * ENTRY
            addr = self.buffers + slot * BUFFER
            if self.is_rx:
                regs.RX_DESC.pack_into(self.bench.memory.view, at, addr, length)
            else:
                last = regs.TX_DESC_LAST
                regs.TX_DESC.pack_into(self.bench.memory.view, at, addr, length, last, 0, 0)

    async def start(self) -> None:
        write = self.bench.write32
        await write(self.block + regs.RING_SIZE, self.entries.bit_length() - 1)
        for register, addr in (
            (regs.RING_DESC_BASE_LO, self.descriptors),
            (regs.RING_CPL_BASE_LO, self.completions),
        ):
            await write(self.block + register, addr & 0xFFFFFFFF)
            await write(self.block + register + 4, addr >> 32)
        await write(self.block + regs.RING_CTRL, regs.RING_CTRL_ENABLE)

    def reap(self) -> int:
        """Count the completions that are new; RuntimeError if one is not OK."""
        total = 0
        while True:
            slot = self.done % self.entries
            lap = self.done // self.entries & 1
            new = self._last_bytes[slot:] >> 7 != lap
            count = len(new) if new.all() else int(new.argmin())
            if count == 0:
                return total
            if self._status[slot : slot + count].any():
                raise RuntimeError(f"a completion from {self.done} on is not OK")
            self.done += count
            total += count

    def post(self, count: int) -> None:
        """Hand `count` more descriptors to the device."""
        self.posted += count
        self.bench.bus.write(self.block + regs.RING_DOORBELL, self.posted & 0xFFFF)


class CountingDriver:
    """Posts all there is, and again whatever is completed; `on_reaped` after each interrupt."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.rx = CountingRing(bench, regs.Q_RX, Direction.FROM_DEVICE)
        self.tx = CountingRing(bench, regs.Q_TX, Direction.TO_DEVICE)
        self.interrupts = 0
        self.sending = False
        self.on_reaped: Callable[[], None] | None = None
        bench.on_irq = self._interrupt

    async def start(self, frame_bytes: int, moderation_count: int, moderation_cycles: int) -> None:
        """Program the device; receive at once, send when `send` is called."""
        write = self.bench.write32
        await write(regs.MAC_LO, int.from_bytes(OWN[:4], "little"))
        await write(regs.MAC_HI, int.from_bytes(OWN[4:], "little"))
        self.rx.describe(BUFFER)
        self.tx.describe(frame_bytes)
        self._fill_frames(frame_bytes)
        for ring in (self.rx, self.tx):
            await ring.start()
        base = regs.queue_block(0)
        moderation = moderation_count << regs.Q_IRQ_MODERATION_COUNT_SHIFT | moderation_cycles
        await write(base + regs.Q_IRQ_MODERATION, moderation)
        await write(base + regs.Q_IRQ_MASK, 0)
        self.rx.post(self.rx.entries)
        await write(regs.CTRL, regs.CTRL_RX_ENABLE | regs.CTRL_TX_ENABLE)
        self._arm()

    def _fill_frames(self, frame_bytes: int) -> None:
        for slot, frame in enumerate(frames(self.tx.entries, frame_bytes, PEER, OWN)):
            self.bench.memory.write(self.tx.buffers + slot * BUFFER, frame)

    def send(self) -> None:
        """Send frames without end."""
        self.sending = True
        self.tx.post(self.tx.entries)

    def _interrupt(self, line: int) -> None:
        self.interrupts += 1
        received, sent = self.rx.reap(), self.tx.reap()
        if received:
            self.rx.post(received)
        if sent and self.sending:
            self.tx.post(sent)
        self._arm()
        if self.on_reaped is not None:
            self.on_reaped()

    def _arm(self) -> None:
        value = (self.tx.done & 0xFFFF) << regs.Q_IRQ_ARM_TX_CONSUMER_SHIFT | self.rx.done & 0xFFFF
        self.bench.bus.write(regs.queue_block(0) + regs.Q_IRQ_ARM, value)


class WireLoad:
    """Keeps the wire towards the NIC busy with frames of one length, batch after batch."""

    BATCH = 64

    def __init__(self, bench: Bench, frame_bytes: int) -> None:
        self._wire: Any = bench.bus.wire
        self._frames = frames(self.BATCH, frame_bytes, OWN, PEER)
        self.stopped = False

    def start(self) -> None:
        """Two batches are queued at any time."""
        self._batch()
        self._batch()

    def _batch(self) -> None:
        if self.stopped:
            return
        for frame in self._frames[:-1]:
            self._wire.send(frame)
        self._wire.send(self._frames[-1], self._batch)


def frames(count: int, length: int, to: bytes, sender: bytes) -> list[bytes]:
    """Random frames of `length` bytes without FCS."""
    rng = random.Random(f"{count}/{length}")
    head = to + sender + b"\x88\xb5"
    return [head + rng.randbytes(length - len(head)) for _ in range(count)]
