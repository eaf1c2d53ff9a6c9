"""One queue pair of the wire2app NIC: its rings, its interrupt, its NAPI poll.

Called by the interrupt and by NAPI; calls the rings, the registers and `Napi.gro_receive`.
The hot path reads no register: completions carry a phase bit.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pystack.core.drop import Drop
from pystack.core.skb import SkBuff
from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.drivers.w2a_rings import Ring, RxRing, TxRing
from pystack.dev.napi import Napi
from pystack.dev.page_pool import PagePool

if TYPE_CHECKING:
    from pystack.dev.drivers.w2a_nic import W2aNic

RX_BUFFER = 2048
TX_BUFFER = 2048


class QueuePair:
    """One RX and TX ring pair, its interrupt line and its poller."""

    def __init__(self, nic: W2aNic, index: int) -> None:
        self.nic = nic
        self.index = index
        self.base = regs.queue_block(index)
        kernel = nic.kernel
        self.cpu = kernel.cpus[index % len(kernel.cpus)]
        self.napi = Napi(nic.core.softnet, f"{nic.dev.name}-{index}", self.poll, self.cpu)
        self.interrupts = 0
        self._empty_polls = True  # no completion since the interrupt
        self.rx = RxRing(nic.resources.dma, nic.ring_entries, f"{nic.dev.name} rx{index}")
        self.tx = TxRing(nic.resources.dma, nic.ring_entries, f"{nic.dev.name} tx{index}")

    def write32(self, offset: int, value: int) -> None:
        self.nic.write32(self.base + offset, value)

    def read32(self, offset: int) -> int:
        return self.nic.registers.read32(self.base + offset)

    # -- up and down -----------------------------------------------------------------------

    def start(self) -> None:
        nic = self.nic
        self.rx.start(
            PagePool(
                nic.resources.dma,
                RX_BUFFER,
                nic.pool_limit,
                self.rx.name,
                on_put=self._pool_refilled,
            )
        )
        self.tx.start(TX_BUFFER)
        self._program(regs.Q_RX, self.rx)
        self._program(regs.Q_TX, self.tx)
        self.write32(
            regs.Q_IRQ_MODERATION,
            nic.moderation_count << regs.Q_IRQ_MODERATION_COUNT_SHIFT | nic.moderation_cycles,
        )
        self.napi.enable()
        nic.resources.request_irq(self.index, self.interrupt, self.cpu)
        self.write32(regs.Q_RX_DOORBELL, self.rx.refill())
        self.write32(regs.Q_IRQ_ARM, 0)
        self.write32(regs.Q_IRQ_MASK, 0)

    def _program(self, block: int, ring: Ring) -> None:
        """Set one ring's registers and enable it; `block` is Q_RX or Q_TX."""
        self.write32(block + regs.RING_SIZE, ring.entries.bit_length() - 1)
        self.write32(block + regs.RING_DESC_BASE_LO, ring.descriptors & 0xFFFFFFFF)
        self.write32(block + regs.RING_DESC_BASE_HI, ring.descriptors >> 32)
        self.write32(block + regs.RING_CPL_BASE_LO, ring.completions & 0xFFFFFFFF)
        self.write32(block + regs.RING_CPL_BASE_HI, ring.completions >> 32)
        self.write32(block + regs.RING_CTRL, regs.RING_CTRL_ENABLE)

    def stop(self) -> None:
        """Quiesce the device's side, then take every buffer back."""
        self.write32(regs.Q_IRQ_MASK, 1)
        self.napi.disable()
        self.write32(regs.Q_RX_CTRL, 0)
        self.write32(regs.Q_TX_CTRL, 0)
        self.nic.wait_clear(self.base + regs.Q_RX_STATUS, regs.RING_STATUS_ACTIVE)
        self.nic.wait_clear(self.base + regs.Q_TX_STATUS, regs.RING_STATUS_ACTIVE)
        self.nic.resources.free_irq(self.index)
        self.rx.stop()
        for skb in self.tx.stop():
            self.nic.kernel.drop(skb, Drop.DEV_RESET)

    # -- interrupt and poll ----------------------------------------------------------------

    def interrupt(self) -> None:
        """Hardirq.  The device has disarmed itself; the poll re-arms."""
        self.interrupts += 1
        self._empty_polls = True
        if self.nic.tp_irq.enabled:
            self.nic.tp_irq(self.index)
        self.napi.schedule()

    def poll(self, budget: int) -> int:
        """NAPI: reap TX, receive at most `budget` frames, refill, re-arm."""
        reaped = self._clean_tx()
        work = self._clean_rx(budget)
        if work or reaped:
            self._empty_polls = False
        if work:
            self._post_rx()
        if work < budget and self.napi.complete():
            if self._empty_polls and self._failed():
                self.nic.schedule_reset(self)  # which arms the interrupt again
                return work
            self.write32(
                regs.Q_IRQ_ARM,
                self.rx.consumer | self.tx.consumer << regs.Q_IRQ_ARM_TX_CONSUMER_SHIFT,
            )
        return work

    def _clean_rx(self, budget: int) -> int:
        nic, kernel, ring = self.nic, self.nic.kernel, self.rx
        xdp = nic.dev.xdp
        view = nic.resources.dma.memory.view
        put = ring.pool.put
        work = 0
        while work < budget:
            completion = ring.next_completion()
            if completion is None:
                break
            addr, length, status = completion
            work += 1
            kernel.charge(kernel.costs.rx_packet)
            if status != regs.CplStatus.OK:
                nic.hw_errors[regs.CplStatus(status).name] += 1
                put(addr, False)
                continue
            nic.resources.dma.sync_for_cpu(addr)
            frame = view[addr : addr + length]
            if xdp is None:
                skb = SkBuff(kernel, frame, partial(put, addr))
                skb.dev = nic.dev
                skb.queue = self.index
            else:
                passed = xdp.receive(frame, self.index, partial(put, addr))
                if passed is None:
                    continue
                skb = passed
            skb.tstamp = kernel.now
            if nic.tp_rx.enabled:
                nic.tp_rx(skb.packet_id, addr, length, ring.last_completion)
            self.napi.gro_receive(skb)
        if xdp is not None:
            xdp.flush()
        return work

    def _post_rx(self) -> None:
        before = self.rx.producer
        if self.rx.refill() != before:
            self.write32(regs.Q_RX_DOORBELL, self.rx.producer)

    def _pool_refilled(self) -> None:
        """A buffer came back while the ring could not be filled: poll, which refills."""
        if self.nic.dev.up:
            self._post_rx()

    def _clean_tx(self) -> int:
        reaped = 0
        nic = self.nic
        while True:
            completion = self.tx.next_completion()
            if completion is None:
                break
            skb, status = completion
            reaped += 1
            if status != regs.CplStatus.OK:
                nic.hw_errors[regs.CplStatus(status).name] += 1
                nic.core.kernel.drop(skb, nic.tx_drop_reason(status))
            else:
                skb.free()
        if reaped and self.tx.room:
            nic.core.wake_queue(nic.dev, self.index)
        return reaped

    def _failed(self) -> bool:
        """An interrupt without a completion: has a ring stopped itself?"""
        rx = self.read32(regs.Q_RX_STATUS) & regs.RING_STATUS_ERROR
        tx = self.read32(regs.Q_TX_STATUS) & regs.RING_STATUS_ERROR
        for ring, error in (("RX", rx), ("TX", tx)):
            if error:
                code = regs.QueueError(error >> regs.RING_STATUS_ERROR_SHIFT)
                self.nic.hw_errors[f"{ring}_{code.name}"] += 1
        return bool(rx or tx)
