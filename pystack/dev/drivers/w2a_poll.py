"""Poll mode: a queue of the NIC in an application's hands, without interrupt and kernel stack.

The application maps rings and buffers itself, as a poll-mode driver over VFIO does, and looks at
the completion ring in a loop: `rx_burst`, `tx_burst`.  A buffer that was received can be sent as it
stands.  The kernel keeps the queues before this one, and what is not steered away from them.

Called by the application and, when the device goes down and comes up, by `w2a_nic.py`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from pystack.core.dma import Direction
from pystack.core.drop import Drop
from pystack.core.memory import PAGE_SIZE
from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.drivers.w2a_ethtool import MAX_ENTRIES
from pystack.dev.drivers.w2a_nic import QUIESCE_NS, W2aNic
from pystack.dev.drivers.w2a_rings import ENTRY, Ring

BUFFER = 2048
BURST = 32


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@dataclass(slots=True)
class PollPacket:
    """A buffer and the frame in it: `data` may be changed in place.  The application owns it until
    it is given to `tx_burst` or to `free`.  `vlan_tci`: of a tag that is not in `data`, or -1; the
    device took it out, and puts it in."""

    addr: int
    length: int
    data: memoryview
    hash: int = 0
    vlan_tci: int = -1


class PollQueue:
    """Queue `index` of `nic`, which is up and has more queues than the kernel uses; a context
    manager.  EBUSY for a queue of the kernel's or a second owner, EINVAL for one that is not there,
    ENOMEM.  `entries` of each ring: a power of two from 2 to 32768, and no more than `buffers`.

    `steal`: frames that would go to the kernel's queues come here, those without a flow excepted
    if the device hashes; several such queues share the flows, or the last one opened has all.
    A frame longer than a buffer, as the kernel's MTU may allow, is refused.

    While the device is down, bursts raise ENETDOWN; when it is up again the queue goes on.  Packets
    the application has stay its own; what the rings held is counted in `nic.lost`.
    """

    def __init__(
        self,
        nic: W2aNic,
        index: int,
        entries: int = 256,
        buffers: int = 1024,
        *,
        steal: bool = True,
    ) -> None:
        sized = 1 < entries <= MAX_ENTRIES and not entries & (entries - 1) and entries <= buffers
        if not sized or not 0 <= index < nic.max_queues:
            raise _error(errno.EINVAL)
        self._nic = nic
        self._base = regs.queue_block(index)
        self._kernel = nic.kernel
        self.steals = steal
        self.index = index
        self.received = self.sent = self.refused = 0
        self.running = False
        dma, name = nic.resources.dma, f"{nic.dev.name} poll{index}"
        self._rx, self._tx = Ring(dma, entries, f"{name} rx"), Ring(dma, entries, f"{name} tx")
        self._posted = [0] * entries
        self._sending: list[PollPacket | None] = [None] * entries
        self._view = dma.memory.view
        with nic.lock:
            if not nic.dev.up:
                raise _error(errno.ENETDOWN)
            if index < nic.tx_queues or index in nic.lent:
                raise _error(errno.EBUSY)
            self._alloc(buffers * BUFFER, name)
            nic.lent[index] = self
            self.start()
            nic.ethtool.steer()

    def _alloc(self, size: int, name: str) -> None:
        """Rings, and buffers of `size` bytes together; `_memory` gives them back."""
        dma, self._size = self._nic.resources.dma, size
        memory = dma.memory
        try:
            with ExitStack() as undo:
                self._pages = memory.alloc_pages(-(-size // PAGE_SIZE))
                undo.callback(memory.free_pages, self._pages)
                dma.map_single(self._pages, size, Direction.BIDIRECTIONAL, f"{name} buffers")
                undo.callback(dma.unmap_single, self._pages)
                for ring in (self._rx, self._tx):
                    ring.alloc()
                    undo.callback(ring.free)
                self._memory = undo.pop_all()
        except MemoryError:
            raise _error(errno.ENOMEM) from None
        self._free = list(range(self._pages, self._pages + size, BUFFER))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- up and down: with `nic.lock` ------------------------------------------------------

    def _write(self, offset: int, value: int) -> None:
        self._nic.write32(self._base + offset, value)

    def start(self) -> None:
        """Program the rings; the device has been reset, or this queue has been stopped."""
        for block, ring in ((regs.Q_RX, self._rx), (regs.Q_TX, self._tx)):
            self._write(block + regs.RING_SIZE, ring.entries.bit_length() - 1)
            self._write(block + regs.RING_DESC_BASE_LO, ring.descriptors & 0xFFFFFFFF)
            self._write(block + regs.RING_DESC_BASE_HI, ring.descriptors >> 32)
            self._write(block + regs.RING_CPL_BASE_LO, ring.completions & 0xFFFFFFFF)
            self._write(block + regs.RING_CPL_BASE_HI, ring.completions >> 32)
            # Nobody is told of a ring that stops: what the bus refuses is counted instead.
            self._write(block + regs.RING_CTRL, regs.RING_CTRL_ENABLE | regs.RING_CTRL_RUN_ON)
        self._write(regs.Q_IRQ_MASK, 1)
        self._in_frame = False  # the last buffer did not end it
        self.running = True
        self._refill()

    def stop(self) -> None:
        """Quiesce the device's side, then take back and count what it had."""
        self.running = False
        self._nic.quiesce(self._base)
        received = self._receive(self._rx.entries)
        self._free += [packet.addr for packet in received]
        self._free += [self._posted[slot] for slot in self._rx.left()]
        self._reap()
        unsent = [packet.addr for slot in self._tx.left() if (packet := self._sending[slot])]
        self._free += unsent
        for what, count in (("rx_reset", len(received)), ("tx_reset", len(unsent))):
            if count:
                self._nic.lost[what] += count
                self._kernel.drops[Drop.DEV_RESET] += count
        for ring in (self._rx, self._tx):
            ring.reset()

    def close(self) -> None:
        """Stop the queue and give everything back, once; the application's packets end with it."""
        nic = self._nic
        with nic.lock:
            if not self._lent:
                return
            self.steals = False
            if nic.dev.up:
                nic.ethtool.steer()
            self.stop()
            self._memory.close()
            del nic.lent[self.index]

    @property
    def _lent(self) -> bool:
        return self._nic.lent.get(self.index) is self

    def _check(self) -> None:
        if not self.running:
            raise _error(errno.ENETDOWN if self._lent else errno.EBADF)

    def _doorbell(self, offset: int, ring: Ring) -> None:
        """Tell what has been posted.  Until the write is done another CPU may have stopped the
        queue, or even started it again."""
        self._kernel.charge(self._kernel.costs.doorbell)
        self._kernel.cpu.flush()
        if self.running:
            self._nic.registers.write32(self._base + offset, ring.producer)

    # -- packets ---------------------------------------------------------------------------

    def rx_burst(self, count: int = BURST) -> list[PollPacket]:
        """At most `count` frames that are there; an empty look costs time, too."""
        self._check()
        kernel, ring = self._kernel, self._rx
        kernel.charge(kernel.costs.poll)
        before = ring.consumer
        packets = self._receive(count)
        self.received += len(packets)
        if ring.consumer != before:
            self._refill()
        else:
            kernel.cpu.flush()
        return packets

    def _receive(self, count: int) -> list[PollPacket]:
        kernel, ring, view = self._kernel, self._rx, self._view
        packets: list[PollPacket] = []
        while len(packets) < count and (at := ring.next_completion()) is not None:
            index, length, who, flags, hash_, tci, _ = regs.RX_CPL.unpack_from(view, at)
            addr = self._posted[ring.reaped(index)]
            kernel.charge(kernel.costs.poll_packet)
            last = flags & regs.RX_CPL_LAST
            if who & regs.RX_CPL_STATUS or self._in_frame or not last:
                self.refused += not self._in_frame
                self._in_frame = not last
                self._free.append(addr)
                continue
            tci = tci if flags & regs.RX_CPL_VLAN_STRIPPED else -1
            packets.append(PollPacket(addr, length, view[addr : addr + length], hash_, tci))
        return packets

    def _refill(self) -> None:
        ring, free = self._rx, self._free
        before = ring.producer
        while ring.room and free:
            slot = ring.producer & (ring.entries - 1)
            self._posted[slot] = addr = free.pop()
            regs.RX_DESC.pack_into(self._view, ring.descriptors + slot * ENTRY, addr, BUFFER)
            ring.producer = (ring.producer + 1) & 0xFFFF
        if ring.producer != before:
            self._doorbell(regs.Q_RX_DOORBELL, ring)

    def alloc(self, length: int) -> PollPacket | None:
        """An empty packet of `length` bytes to be filled; None while all buffers are in use.
        EMSGSIZE for more than a buffer holds."""
        if not 0 < length <= BUFFER:
            raise _error(errno.EMSGSIZE if length > 0 else errno.EINVAL)
        if not self._lent:
            raise _error(errno.EBADF)
        if not self._free:
            return None
        addr = self._free.pop()
        return PollPacket(addr, length, self._view[addr : addr + length])

    def free(self, packet: PollPacket) -> None:
        self._free.append(packet.addr)

    def tx_burst(self, packets: Sequence[PollPacket]) -> int:
        """Send from the first on; returns how many the ring took.  The others stay the caller's."""
        self._check()
        kernel, ring, view = self._kernel, self._tx, self._view
        self._reap()
        taken = min(len(packets), ring.room)
        for packet in packets[:taken]:
            kernel.charge(kernel.costs.poll_packet)
            slot = ring.producer & (ring.entries - 1)
            at = ring.descriptors + slot * ENTRY
            what, tci = regs.TX_DESC_LAST, max(packet.vlan_tci, 0)
            what |= regs.TX_DESC_VLAN_INSERT if packet.vlan_tci >= 0 else 0
            regs.TX_DESC.pack_into(view, at, packet.addr, packet.length, what, tci, 0)
            self._sending[slot] = packet
            ring.producer = (ring.producer + 1) & 0xFFFF
        if taken:
            self._doorbell(regs.Q_TX_DOORBELL, ring)
        return taken

    def _reap(self) -> None:
        ring = self._tx
        while (at := ring.next_completion()) is not None:
            index, _, who, _, _ = regs.TX_CPL.unpack_from(self._view, at)
            slot = ring.reaped(index)
            packet, self._sending[slot] = self._sending[slot], None
            assert packet is not None, "a slot completed twice"
            self._free.append(packet.addr)
            if who & regs.TX_CPL_STATUS:
                self.refused += 1
            else:
                self.sent += 1

    def drain(self, timeout: int = QUIESCE_NS) -> None:
        """Wait until all that was sent has left the buffers; OSError(EIO) if the ring has stopped
        before, which a descriptor or a completion that the bus refuses makes it do.  ETIMEDOUT when
        nothing has left for `timeout` ns, as while the peer pauses."""
        status, kernel = self._base + regs.Q_TX_STATUS, self._kernel
        seen, since = self._tx.consumer, kernel.now
        while True:
            self._check()
            if self._tx.consumer == self._tx.producer:
                return
            kernel.charge(kernel.costs.poll)
            kernel.cpu.flush()
            stopped = not self._nic.registers.read32(status) & regs.RING_STATUS_ACTIVE
            self._reap()
            if stopped and self._tx.consumer != self._tx.producer:
                raise _error(errno.EIO)
            if self._tx.consumer != seen:
                seen, since = self._tx.consumer, kernel.now
            elif kernel.now - since > timeout:
                raise _error(errno.ETIMEDOUT)
