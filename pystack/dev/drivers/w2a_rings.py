"""The driver's side of the rings: descriptors out, completions in (docs/rings.md).

Indices run free modulo 2^16; an entry is `index & (entries - 1)`.  A completion is new while its
phase bit equals the lap's: 1 on the first lap, then alternating.
"""

from __future__ import annotations

from collections.abc import Iterator

from pystack.core.dma import DmaMapper
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

    def alloc(self) -> None:
        """Both rings in memory of the device's; `free` gives it back, if there is any."""
        size = self.entries * ENTRY
        self.descriptors = self.dma.alloc_coherent(size, f"{self.name} descriptors")
        try:
            self.completions = self.dma.alloc_coherent(size, f"{self.name} completions")
        except MemoryError:
            self.free()
            raise

    def reset(self) -> None:
        """As after `alloc`; device quiet."""
        self.producer = self.consumer = 0
        end = self.completions + self.entries * ENTRY
        self.dma.memory.array[self.completions : end] = 0

    def free(self) -> None:
        for addr in filter(None, (self.descriptors, self.completions)):
            self.dma.free_coherent(addr)
        self.descriptors = self.completions = 0

    def rewind(self) -> None:
        """To the first lap, mapped anew, for a device that begins."""
        self.reset()
        for addr in (self.descriptors, self.completions):
            _, length, direction, name = self.dma.mappings[addr]
            self.dma.unmap_single(addr)
            self.dma.map_single(addr, length, direction, name)

    @property
    def room(self) -> int:
        """Descriptors that can be posted."""
        return self.entries - ((self.producer - self.consumer) & 0xFFFF)

    @property
    def last_completion(self) -> int:
        """Address of the completion reaped last, for tracepoints."""
        return self.completions + ((self.consumer - 1) & (self.entries - 1)) * ENTRY

    @property
    def last_descriptor(self) -> int:
        """Address of the descriptor posted last, for tracepoints."""
        return self.descriptors + ((self.producer - 1) & (self.entries - 1)) * ENTRY

    def next_completion(self) -> int | None:
        """Address of the next completion, or None while there is none; `reaped` goes on."""
        consumer = self.consumer
        at = self.completions + (consumer & (self.entries - 1)) * ENTRY
        if self.view[at + ENTRY - 1] >> 7 == consumer // self.entries & 1:
            return None
        return at

    def reaped(self, index: int) -> int:
        """The slot of the completion just read, which names descriptor `index`."""
        consumer = self.consumer
        if index != consumer:
            raise RuntimeError(f"{self.name}: completion of {index}, expected {consumer}")
        self.consumer = (consumer + 1) & 0xFFFF
        return consumer & (self.entries - 1)

    def left(self) -> Iterator[int]:
        """Device quiet: the slots of what it has not completed, which are taken back."""
        while self.consumer != self.producer:
            yield self.consumer & (self.entries - 1)
            self.consumer = (self.consumer + 1) & 0xFFFF


class RxRing(Ring):
    """Free buffers out, frames in."""

    pool: PagePool

    def start(self, pool: PagePool) -> None:
        self.rewind()
        self.pool = pool
        self.buffers: list[int] = [0] * self.entries

    def stop(self) -> None:
        """Device quiet: buffers that never saw a frame go back to the pool, which ends."""
        for slot in self.left():
            self.pool.put(self.buffers[slot], cpu_owned=False)
        self.pool.destroy()

    def refill(self) -> int:
        """Post buffers until the ring or the pool is at its end; returns the producer index."""
        mask = self.entries - 1
        while self.room:
            addr = self.pool.alloc()
            if addr is None:
                break
            slot = self.producer & mask
            self.buffers[slot] = addr
            at = self.descriptors + slot * ENTRY
            regs.RX_DESC.pack_into(self.view, at, addr, self.pool.size)
            self.producer = (self.producer + 1) & 0xFFFF
        return self.producer
