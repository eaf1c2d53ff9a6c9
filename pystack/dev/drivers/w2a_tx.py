"""The transmit ring: frames out in pieces, each mapped until its completion (docs/rings.md).

A piece that stands in host memory is read by the device where it is; any other (a header, what a
socket sent) is copied into the slot's own buffer, or into pages of its own if it is longer.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from pystack.core.dma import Direction, DmaMapper
from pystack.core.memory import PAGE_SIZE
from pystack.core.skb import CHECKSUM_PARTIAL, SkBuff
from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.drivers.w2a_rings import ENTRY, Ring

SLOT = 2048
COPYBREAK = 256  # bytes: a shorter frame is not worth a second descriptor
MAX_LENGTH = 0xFFFF  # of one piece
MAX_PIECES = 18  # MAX_SKB_FRAGS + 1: what the device takes at least


class TxRing(Ring):
    def __init__(self, dma: DmaMapper, entries: int, name: str) -> None:
        super().__init__(dma, entries, name)
        self.max_pieces = min(MAX_PIECES, entries)
        self._buffers = 0

    def alloc(self) -> None:
        super().alloc()
        self._buffers = self.dma.memory.alloc_pages(-(-self.entries * SLOT // PAGE_SIZE))

    def free(self) -> None:
        super().free()
        if self._buffers:
            self.dma.memory.free_pages(self._buffers)
            self._buffers = 0

    def start(self) -> None:
        self.rewind()
        self._skbs: list[SkBuff | None] = [None] * self.entries
        self._mapped: list[int] = [0] * self.entries  # bus address of each slot's piece
        self._pages: list[int] = [0] * self.entries  # that were taken for it

    def stop(self) -> list[SkBuff]:
        """Device quiet: the frames it never sent, unmapped, for the caller to drop."""
        left = [skb for slot in self.left() if (skb := self.take(slot)) is not None]
        return left

    def pieces(self, skb: SkBuff, scatter: bool) -> list[bytes | memoryview]:
        """What to post of a frame: one piece if it is short, or the device cannot gather it."""
        pieces = skb.pieces()
        if len(pieces) == 1 or (scatter and len(skb) > COPYBREAK and self._gathers(pieces)):
            return pieces
        whole = b"".join(pieces)
        return [whole] if len(whole) <= MAX_LENGTH else [whole[:SLOT], whole[SLOT:]]

    def _gathers(self, pieces: list[bytes | memoryview]) -> bool:
        return len(pieces) <= self.max_pieces

    def post(self, skb: SkBuff, pieces: list[bytes | memoryview]) -> int:
        """Write buffers and descriptors; the caller has looked for room and rings the doorbell.
        Returns the first address.  After a MemoryError none of the frame is posted."""
        what, tci, mss = _order(skb)
        mask, view = self.entries - 1, self.view
        first, before = 0, self.producer
        for left in range(len(pieces) - 1, -1, -1):
            piece = pieces[-1 - left]
            slot = self.producer & mask
            try:
                addr = self._map(slot, piece, skb)
            except MemoryError:
                while self.producer != before:
                    self.producer = (self.producer - 1) & 0xFFFF
                    self.take(self.producer & mask)
                raise
            first = first or addr
            self._skbs[slot] = None if left else skb
            at = self.descriptors + slot * ENTRY
            word = what | (0 if left else regs.TX_DESC_LAST)
            regs.TX_DESC.pack_into(view, at, addr, len(piece), word, tci, mss)
            self.producer = (self.producer + 1) & 0xFFFF
            what = tci = mss = 0
        return first

    def _map(self, slot: int, piece: bytes | memoryview, skb: SkBuff) -> int:
        length, memory = len(piece), self.dma.memory
        addr = -1
        if type(piece) is memoryview and cast(object, piece.obj) is memory.array:
            addr = np.frombuffer(piece, np.uint8).__array_interface__["data"][0] - memory.base
        if addr < 0 or addr in self.dma.mappings:  # the whole of an RX buffer stays mapped
            if length <= SLOT:
                addr = self._buffers + slot * SLOT
            else:
                addr = self._pages[slot] = memory.alloc_pages(-(-length // PAGE_SIZE))
            self.view[addr : addr + length] = piece
        name = f"{self.name} frame {skb.packet_id}"
        self._mapped[slot] = self.dma.map_single(addr, length, Direction.TO_DEVICE, name)
        return addr

    def take(self, slot: int) -> SkBuff | None:
        """A completed piece is unmapped; with the last one the frame comes back."""
        self.dma.unmap_single(self._mapped[slot])
        if self._pages[slot]:
            self.dma.memory.free_pages(self._pages[slot])
            self._pages[slot] = 0
        skb, self._skbs[slot] = self._skbs[slot], None
        return skb


def _order(skb: SkBuff) -> tuple[int, int, int]:
    """What the words of a frame's first descriptor say of offloads: flags, VLAN tag, segments."""
    what = tci = mss = 0
    if skb.ip_summed == CHECKSUM_PARTIAL:
        start = len(skb) - skb.csum_length
        what = start >> 1 << regs.TX_DESC_CSUM_START_SHIFT
        what |= skb.csum_offset >> 1 << regs.TX_DESC_CSUM_OFFSET_SHIFT
        if skb.gso_size:
            what |= regs.TX_DESC_SEGMENT
            mss = skb.gso_size
    if skb.vlan_tci >= 0:
        what |= regs.TX_DESC_VLAN_INSERT
        tci = skb.vlan_tci
    if skb.tx_stamped is not None:
        what |= regs.TX_DESC_TIMESTAMP
    return what, tci, mss
