"""One queue pair of the wire2app NIC: its rings, its interrupt, its NAPI poll.

Called by the interrupt and by NAPI; calls the rings, the registers and `Napi.gro_receive`.
The hot path reads no register: completions carry a phase bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pystack.core.drop import Drop
from pystack.dev.dql import ByteQueueLimit
from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.drivers.dim import Dim
from pystack.dev.drivers.w2a_rings import Ring, RxRing
from pystack.dev.drivers.w2a_rx import Receive
from pystack.dev.drivers.w2a_tx import TxRing
from pystack.dev.gso import segments
from pystack.dev.napi import Napi
from pystack.dev.page_pool import PagePool

if TYPE_CHECKING:
    from pystack.core.skb import SkBuff
    from pystack.dev.drivers.w2a_nic import W2aNic

NAPI, NAIVE = "napi", "naive"
_UNREAD = (regs.CplStatus.DESC_SLVERR, regs.CplStatus.DESC_DECERR)
_STOPS = (
    regs.CplStatus.DATA_SLVERR,
    regs.CplStatus.DATA_DECERR,
    *_UNREAD,
)
_REFILL_AGAIN = 100_000_000  # ns until memory is asked for again
_MOMENT = 1000  # ns between two looks at something that is to end


class QueuePair:
    """One RX and TX ring pair, its interrupt line and its poller."""

    def __init__(self, nic: W2aNic, index: int, rx_entries: int, tx_entries: int) -> None:
        self.nic = nic
        self.index = index
        self.base = regs.queue_block(index)
        kernel = nic.kernel
        self.cpu = kernel.cpus[index % len(kernel.cpus)]
        self.napi = Napi(nic.core.softnet, f"{nic.dev.name}-{index}", self.poll, self.cpu)
        self.interrupts = 0
        self.running = False
        self._empty_polls = True  # no completion since the interrupt
        self._open_status = 0  # of the frame of which not all is completed
        self._told = False  # a completion since the last look has told of a bus error
        self.rx = RxRing(nic.resources.dma, rx_entries, f"{nic.dev.name} rx{index}")
        self.tx = TxRing(nic.resources.dma, tx_entries, f"{nic.dev.name} tx{index}")
        self.receive = Receive(self)
        self._refill_timer = kernel.timer(self._pool_refilled, self.cpu.index)
        self.dim = Dim(kernel.now)
        self.reaped_packets = self.reaped_bytes = 0  # since the interrupt, by which DIM goes

    def write32(self, offset: int, value: int) -> None:
        self.nic.write32(self.base + offset, value)

    def read32(self, offset: int) -> int:
        return self.nic.registers.read32(self.base + offset)

    # -- up and down -----------------------------------------------------------------------

    def alloc(self) -> None:
        """Memory for the rings, which stays theirs over stops and starts.  MemoryError."""
        self.rx.alloc()
        self.tx.alloc()

    def free(self) -> None:
        self.rx.free()
        self.tx.free()

    def start(self) -> None:
        nic = self.nic
        dma, name = nic.resources.dma, self.rx.name
        pool = PagePool(dma, nic.rx_buffer, nic.pool_limit, name, self._pool_refilled)
        self.rx.start(pool)
        self.tx.start()
        self.running = True
        self._program(regs.Q_RX, self.rx)
        self._program(regs.Q_TX, self.tx)
        self.set_moderation(nic.moderation_cycles, nic.moderation_count)
        self.napi.enable()
        name = f"{nic.dev.name}-TxRx-{self.index}"
        self.irq = nic.kernel.irqs.request(name, self.interrupt)
        nic.resources.request_irq(self.index, self.irq, self.cpu)
        self.write32(regs.Q_RX_DOORBELL, self._refill())
        self.write32(regs.Q_IRQ_ARM, 0)
        self.write32(regs.Q_IRQ_MASK, 0)
        tx_queue = nic.dev.tx_queues[self.index]
        if tx_queue.dql is None:
            tx_queue.dql = ByteQueueLimit()
        tx_queue.dql.reset()

    def _program(self, block: int, ring: Ring) -> None:
        """Set one ring's registers and enable it; `block` is Q_RX or Q_TX."""
        self.write32(block + regs.RING_SIZE, ring.entries.bit_length() - 1)
        self.write32(block + regs.RING_DESC_BASE_LO, ring.descriptors & 0xFFFFFFFF)
        self.write32(block + regs.RING_DESC_BASE_HI, ring.descriptors >> 32)
        self.write32(block + regs.RING_CPL_BASE_LO, ring.completions & 0xFFFFFFFF)
        self.write32(block + regs.RING_CPL_BASE_HI, ring.completions >> 32)
        self.write32(block + regs.RING_CTRL, regs.RING_CTRL_ENABLE)

    def set_moderation(self, cycles: int, count: int) -> None:
        self.write32(regs.Q_IRQ_MODERATION, count << regs.Q_IRQ_MODERATION_COUNT_SHIFT | cycles)

    def stop(self) -> None:
        """Quiesce the device's side, then take every buffer back."""
        self.running = False
        self._refill_timer.delete()
        kernel, tx_queue = self.nic.kernel, self.nic.dev.tx_queues[self.index]
        while tx_queue.running:  # another CPU is sending
            kernel.charge(_MOMENT)
            kernel.cpu.flush()
        self.write32(regs.Q_IRQ_MASK, 1)
        self.napi.disable()
        self.nic.quiesce(self.base)
        self.nic.resources.free_irq(self.index)
        self.nic.kernel.irqs.free(self.irq)
        self.receive.reset()
        self.rx.stop()
        self._reap_tx()
        left = self.tx.stop()
        if left and self._open_status in _UNREAD:  # the device has counted it
            self._sent(left.pop(0), self._open_status, 0, 0)
        self._open_status = 0
        for skb in left:
            self.nic.lost["tx_reset"] += segments(skb)[0] if skb.gso_size else 1
            self.nic.kernel.drop(skb, Drop.DEV_RESET)

    # -- interrupt and poll ----------------------------------------------------------------

    def interrupt(self) -> None:
        """Hardirq.  The device has disarmed itself; the poll re-arms."""
        self.interrupts += 1
        self._empty_polls = True
        if self.nic.tp_irq.enabled:
            self.nic.tp_irq(self.index)
        if self.nic.irq_mode is NAIVE:
            self._naive()
        else:
            self.napi.schedule()

    def poll(self, budget: int) -> int:
        """NAPI: reap TX, receive at most `budget` frames, refill, re-arm."""
        reaped = self._clean_tx()
        work = self.receive.clean(budget)
        if work or reaped:
            self._empty_polls = False
        if work:
            self._post_rx()
        if work < budget and self.napi.complete():
            if self._may_have_failed() and self._failed():
                self.nic.schedule_reset(self)  # which arms the interrupt again
                return work
            if self.nic.adaptive_rx:
                self._adapt()
            self.arm()
        return work

    def arm(self) -> None:
        """Tell what has been consumed; what came since raises the line at once."""
        self._tell(
            regs.Q_IRQ_ARM,
            lambda: self.rx.consumer | self.tx.consumer << regs.Q_IRQ_ARM_TX_CONSUMER_SHIFT,
        )

    def doorbell(self, offset: int, ring: Ring) -> None:
        """Tell what has been posted."""
        self._tell(offset, lambda: ring.producer)

    def _tell(self, offset: int, value: Callable[[], int]) -> None:
        """Write what `value` gives when the write is done: meanwhile other CPUs go on, and may
        have stopped the queue, or even started it again."""
        kernel = self.nic.kernel
        kernel.charge(kernel.costs.doorbell)
        kernel.cpu.flush()
        if self.running:
            self.nic.registers.write32(self.base + offset, value())

    def _naive(self) -> None:
        """One interrupt a frame, all work in hardirq, as before NAPI: to be compared with."""
        reaped, work = self._clean_tx(), self.receive.clean(1)
        if work:
            self._post_rx()
        self.napi.gro.flush()
        self._empty_polls = not work and not reaped
        if self._may_have_failed() and self._failed():
            self.nic.schedule_reset(self)
            return
        self.arm()

    def _adapt(self) -> None:
        """Let the moderation follow the load (`net_dim`)."""
        stats = self.receive
        choice = self.dim.sample(self.nic.kernel.now, self.interrupts, stats.packets, stats.bytes)
        if choice is not None:
            self.set_moderation(choice.usecs * self.nic.cycles_per_usec, choice.frames)

    def _post_rx(self) -> None:
        before = self.rx.producer
        if self._refill() != before:
            self.doorbell(regs.Q_RX_DOORBELL, self.rx)

    def _refill(self) -> int:
        """As `RxRing.refill`; without memory once more later, since an empty ring gets no frame
        after which it would be refilled (`refill_work` of drivers/net/virtio_net.c)."""
        pool = self.rx.pool
        failed = pool.alloc_failed
        producer = self.rx.refill()
        if pool.alloc_failed != failed:
            self.nic.alloc_failed["rx"] += 1
            self._refill_timer.mod(self.nic.kernel.now + _REFILL_AGAIN)
        return producer

    def _pool_refilled(self) -> None:
        """A buffer came back while the ring could not be filled, or memory may have."""
        if self.running:
            self._post_rx()

    def _clean_tx(self) -> int:
        """Frames the device is done with; returns the completions seen."""
        nic = self.nic
        reaped, length = self._reap_tx()
        if reaped:
            nic.core.tx_completed(nic.dev, self.index, length)
            nic.core.wake_queue(nic.dev, self.index)
        return reaped

    def _reap_tx(self) -> tuple[int, int]:
        """Look at the completions; how many there were, and the bytes of their frames."""
        ring = self.tx
        reaped = length = 0
        status = self._open_status
        while (at := ring.next_completion()) is not None:
            index, size, who, flags, stamp = regs.TX_CPL.unpack_from(ring.view, at)
            reaped += 1
            if told := who & regs.TX_CPL_STATUS:
                status = status or told
                self.look_after(told)  # the frame's last may never come
            length += size
            skb = ring.take(ring.reaped(index))
            if skb is not None:
                self._sent(skb, status, flags, stamp)
                status = 0
        self._open_status = status
        return reaped, length

    def _sent(self, skb: SkBuff, status: int, flags: int, stamp: int) -> None:
        nic = self.nic
        if status != regs.CplStatus.OK:
            self.told_of(status)
            nic.lost["tx_segments"] += segments(skb)[0] - 1 if skb.gso_size else 0
            nic.kernel.drop(skb, nic.tx_drop_reason(status))
            return
        if skb.tx_stamped is not None and flags & regs.TX_CPL_TIMESTAMP_VALID:
            skb.tx_stamped(nic.clock.extend(stamp & regs.TX_CPL_TIMESTAMP))
        skb.free()

    def told_of(self, status: int) -> None:
        """A frame's completion says that something went wrong."""
        self.nic.hw_errors[regs.CplStatus(status).name] += 1
        self.look_after(status)

    def look_after(self, status: int) -> None:
        """A completion's status may be that of a ring that has stopped."""
        self._told = self._told or status in _STOPS

    def _may_have_failed(self) -> bool:
        """A ring that stops interrupts: with a completion that tells of it, or with none."""
        told, self._told = self._told, False
        return told or self._empty_polls

    def _failed(self) -> bool:
        """Has a ring stopped itself?"""
        rx = self.read32(regs.Q_RX_STATUS) & regs.RING_STATUS_ERROR
        tx = self.read32(regs.Q_TX_STATUS) & regs.RING_STATUS_ERROR
        for ring, error in (("RX", rx), ("TX", tx)):
            if error:
                code = regs.QueueError(error >> regs.RING_STATUS_ERROR_SHIFT)
                self.nic.hw_errors[f"{ring}_{code.name}"] += 1
        return bool(rx or tx)


def free_queues(queues: list[QueuePair]) -> None:
    for queue in queues:
        queue.free()
