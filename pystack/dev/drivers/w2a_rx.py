"""The receive side of a queue pair: completions in, packets up."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pystack.core.drop import Drop
from pystack.core.skb import CHECKSUM_UNNECESSARY, SkBuff
from pystack.dev.drivers import w2a_regs as regs

if TYPE_CHECKING:
    from pystack.dev.drivers.w2a_queue import QueuePair

_OK = regs.CplStatus.OK
_LAST, _L4_OK, _STRIPPED = regs.RX_CPL_LAST, regs.RX_CPL_L4_CSUM_OK, regs.RX_CPL_VLAN_STRIPPED


class Receive:
    """`packets` and `bytes` count what went up.  A frame of several buffers is put together in
    memory of its own; `_parts` are the buffers of one that is not whole yet."""

    def __init__(self, queue: QueuePair) -> None:
        self._queue = queue
        self._nic = queue.nic
        self._ring = queue.rx
        self.packets = self.bytes = 0
        self._parts: list[tuple[int, int]] = []  # address, length
        self._status = 0

    def reset(self) -> None:
        """The ring has stopped: what it has received and nobody has seen goes no further, nor does
        the frame that it stopped in."""
        nic, ring = self._nic, self._ring
        while (at := ring.next_completion()) is not None:
            index, _, who, flags, *_ = regs.RX_CPL.unpack_from(ring.view, at)
            ring.pool.put(ring.buffers[ring.reaped(index)], False)
            self._status = self._status or who & regs.RX_CPL_STATUS
            if flags & _LAST:
                nic.lost["rx_reset"] += self._status == _OK
                nic.kernel.drops[Drop.DEV_RESET] += self._status == _OK
                self._status = _OK
        self._release()

    def _release(self) -> None:
        for addr, _ in self._parts:
            self._ring.pool.put(addr, False)
        self._parts = []
        self._status = 0

    def clean(self, budget: int) -> int:
        """At most `budget` frames; returns how many there were."""
        nic, ring, kernel = self._nic, self._ring, self._nic.kernel
        view, unpack_from = ring.view, regs.RX_CPL.unpack_from
        xdp = nic.dev.xdp
        cost = kernel.costs.rx_packet
        work = 0
        while work < budget and (at := ring.next_completion()) is not None:
            index, length, who, flags, hash_, tci, stamp = unpack_from(view, at)
            addr = ring.buffers[ring.reaped(index)]
            status = who & regs.RX_CPL_STATUS
            if not flags & _LAST or self._parts:
                self._parts.append((addr, length))
                self._status = self._status or status
                if not flags & _LAST:
                    self._queue.look_after(status)  # the frame's last may never come
                    continue
            work += 1
            kernel.charge(cost)
            if status or self._status:
                self._refused(addr, status or self._status)
                continue
            if self._parts:
                frame, release = self._gather(), None
            else:
                nic.resources.dma.sync_for_cpu(addr)
                frame, release = view[addr : addr + length], partial(ring.pool.put, addr)
            self.packets += 1
            self.bytes += len(frame)
            if xdp is None:
                skb = SkBuff(kernel, frame, release)
                skb.dev = nic.dev
            else:
                passed = xdp.receive(frame, self._queue.index, release)
                if passed is None:
                    continue
                skb = passed
            self._describe(skb, flags, hash_, tci, stamp)
            if nic.tp_rx.enabled:
                nic.tp_rx(skb.packet_id, addr, length, ring.last_completion)
            self._queue.napi.gro_receive(skb)
        if xdp is not None:
            xdp.flush()
        return work

    def _describe(self, skb: SkBuff, flags: int, hash_: int, tci: int, stamp: int) -> None:
        """What the device has found out."""
        nic = self._nic
        features = nic.dev.features
        skb.queue = self._queue.index
        skb.tstamp = nic.kernel.now
        if flags & _L4_OK and features["rx"]:
            skb.ip_summed = CHECKSUM_UNNECESSARY
        if features["rxhash"]:
            skb.hash = hash_
        if flags & _STRIPPED:
            skb.vlan_tci = tci
        if nic.stamps:
            skb.hwtstamp = nic.clock.extend(stamp & regs.RX_CPL_TIMESTAMP)

    def _refused(self, addr: int, status: int) -> None:
        self._queue.told_of(status)
        if self._parts:
            self._release()
        else:
            self._ring.pool.put(addr, False)

    def _gather(self) -> memoryview:
        """A frame of several buffers, which go back."""
        nic, view = self._nic, self._ring.view
        pieces = []
        for addr, length in self._parts:
            nic.resources.dma.sync_for_cpu(addr)
            pieces.append(bytes(view[addr : addr + length]))
            self._ring.pool.put(addr)
        self._parts = []
        self._status = _OK
        frame = bytearray().join(pieces)
        nic.kernel.cpu.charge_copy(len(frame))
        return memoryview(frame)
