"""The driver's side of the rings: descriptors out, completions in (docs/rings.md).

Indices run free modulo 2^16; an entry is `index & (entries - 1)`.  A completion is new while its
phase bit equals the lap's: 1 on the first lap, then alternating.
"""

from __future__ import annotations

from pystack.core.dma import Direction, DmaMapper
from pystack.core.skb import SkBuff
from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.page_pool import PagePool

ENTRY = 16


class Ring:
    """A descriptor ring and its completion ring of `entries` each, in coherent memory."""

    def __init__(self, dma: DmaMapper, entries: int, name: str) -> None:
        self.dma = dma
        self.view = dma.memory.view
        self.entries = entries
        self.name = name
        self.producer = 0
        self.consumer = 0
        self.descriptors = 0
        self.completions = 0

    def _alloc(self) -> None:
        self.producer = self.consumer = 0
        size = self.entries * ENTRY
        self.descriptors = self.dma.alloc_coherent(size, f"{self.name} descriptors")
        self.completions = self.dma.alloc_coherent(size, f"{self.name} completions")

    def _free(self) -> None:
        self.dma.free_coherent(self.descriptors)
        self.dma.free_coherent(self.completions)

    @property
    def last_completion(self) -> int:
        """Address of the completion reaped last, for tracepoints."""
        return self.completions + ((self.consumer - 1) & (self.entries - 1)) * ENTRY

    @property
    def last_descriptor(self) -> int:
        """Address of the descriptor posted last, for tracepoints."""
        return self.descriptors + ((self.producer - 1) & (self.entries - 1)) * ENTRY

    def _next(self) -> tuple[int, int, int] | None:
        """(slot, length, status) of the next completion, or None while there is none."""
        slot = self.consumer & (self.entries - 1)
        at = self.completions + slot * ENTRY
        lap = self.consumer // self.entries & 1
        if self.view[at + ENTRY - 1] >> 7 == lap:
            return None
        index, length, status, *_ = regs.RX_CPL.unpack_from(self.view, at)  # TX alike so far
        if index != self.consumer:
            raise RuntimeError(f"{self.name}: completion of {index}, expected {self.consumer}")
        self.consumer = (self.consumer + 1) & 0xFFFF
        return slot, length, status & regs.RX_CPL_STATUS


class RxRing(Ring):
    """Free buffers out, frames in."""

    pool: PagePool

    def start(self, pool: PagePool) -> None:
        self._alloc()
        self.pool = pool
        self._buffers: list[int] = [0] * self.entries

    def stop(self) -> None:
        """Device quiet: buffers that never saw a frame go back to the pool, which ends."""
        for index in range((self.producer - self.consumer) & 0xFFFF):
            slot = (self.consumer + index) & (self.entries - 1)
            self.pool.put(self._buffers[slot], cpu_owned=False)
        self.pool.destroy()
        self._free()

    def refill(self) -> int:
        """Post buffers until the ring or the pool is at its end; returns the producer index."""
        mask = self.entries - 1
        while (self.producer - self.consumer) & 0xFFFF < self.entries:
            addr = self.pool.alloc()
            if addr is None:
                break
            slot = self.producer & mask
            self._buffers[slot] = addr
            at = self.descriptors + slot * ENTRY
            regs.RX_DESC.pack_into(self.view, at, addr, self.pool.size)
            self.producer = (self.producer + 1) & 0xFFFF
        return self.producer

    def next_completion(self) -> tuple[int, int, int] | None:
        """(buffer address, frame length, status)."""
        found = self._next()
        return None if found is None else (self._buffers[found[0]], found[1], found[2])


class TxRing(Ring):
    """Frames out; each is copied into its slot's buffer, mapped until it is completed."""

    def start(self, buffer_size: int) -> None:
        self._alloc()
        self._size = buffer_size
        pages = -(-self.entries * buffer_size // 4096)
        self._buffers = self.dma.memory.alloc_pages(pages)
        self._skbs: list[SkBuff | None] = [None] * self.entries

    def stop(self) -> list[SkBuff]:
        """Device quiet: the frames it never sent, unmapped, for the caller to drop."""
        left = []
        while self.consumer != self.producer:
            left.append(self._take(self.consumer & (self.entries - 1)))
            self.consumer = (self.consumer + 1) & 0xFFFF
        self.dma.memory.free_pages(self._buffers)
        self._free()
        return left

    @property
    def room(self) -> int:
        return self.entries - ((self.producer - self.consumer) & 0xFFFF)

    def post(self, skb: SkBuff) -> int:
        """Write buffer and descriptor; the caller rings the doorbell.  Returns the address."""
        slot = self.producer & (self.entries - 1)
        addr = self._buffers + slot * self._size
        head, body = skb.head, skb.buf[skb.off : skb.end]
        middle = addr + len(head)
        length = len(head) + len(body)
        self.view[addr:middle] = head
        self.view[middle : addr + length] = body
        self.dma.map_single(addr, length, Direction.TO_DEVICE, f"{self.name} frame {skb.packet_id}")
        at = self.descriptors + slot * ENTRY
        regs.TX_DESC.pack_into(self.view, at, addr, length, regs.TX_DESC_LAST, 0, 0)
        self._skbs[slot] = skb
        self.producer = (self.producer + 1) & 0xFFFF
        return addr

    def next_completion(self) -> tuple[SkBuff, int] | None:
        """(frame, status)."""
        found = self._next()
        return None if found is None else (self._take(found[0]), found[2])

    def _take(self, slot: int) -> SkBuff:
        skb = self._skbs[slot]
        assert skb is not None, f"{self.name}: slot {slot} completed twice"
        self._skbs[slot] = None
        self.dma.unmap_single(self._buffers + slot * self._size)
        return skb
