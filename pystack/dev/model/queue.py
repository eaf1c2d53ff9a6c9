"""One queue pair of the model: two rings, an interrupt, its counters."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.model.interrupt import Interrupt
from pystack.dev.model.ring import ModelRing

if TYPE_CHECKING:
    from pystack.dev.model.nic import ModelNic

_COUNTERS = {c.offset: c.name for c in regs.QUEUE_COUNTERS}
_RING_BYTES = regs.Q_TX - regs.Q_RX


class ModelQueue:
    def __init__(self, nic: ModelNic, index: int) -> None:
        self._nic = nic
        self.index = index
        self._counters: Counter[str] = Counter()
        self.rx = ModelRing(nic.bus, self._rx_changed, self._completed)
        self.tx = ModelRing(nic.bus, self._tx_changed, self._completed)
        self._rx_consumer = self._tx_consumer = 0
        self.irq = Interrupt(nic.engine, self._unconsumed, self._failed, lambda: nic.rise(index))

    def reset(self) -> None:
        self.rx.reset()
        self.tx.reset()
        self.irq.reset()
        self._counters.clear()
        self._rx_consumer = self._tx_consumer = 0
        self._error = False

    def count(self, name: str, step: int = 1) -> None:
        self._counters[name] += step

    # -- registers -------------------------------------------------------------------------

    def read(self, offset: int) -> int:
        irq = self.irq
        if offset < 2 * _RING_BYTES:
            ring = self.rx if offset < regs.Q_TX else self.tx
            return ring.read(offset % _RING_BYTES)
        if offset in _COUNTERS:
            return self._nic.latch(self._counters[_COUNTERS[offset]])
        if offset - 4 in _COUNTERS:
            return self._nic.latched
        if offset == regs.Q_IRQ_MASK:
            return irq.masked | irq.auto_mask * regs.Q_IRQ_MASK_AUTO_MASK
        if offset == regs.Q_IRQ_ARM:
            return self._rx_consumer | self._tx_consumer << regs.Q_IRQ_ARM_TX_CONSUMER_SHIFT
        if offset == regs.Q_IRQ_MODERATION:
            return irq.cycles | irq.count << regs.Q_IRQ_MODERATION_COUNT_SHIFT
        return irq.armed * regs.Q_IRQ_STATUS_ARMED | irq.fired * regs.Q_IRQ_STATUS_FIRED

    def write(self, offset: int, value: int) -> bool:
        """False: refused."""
        if offset < regs.Q_TX:
            return self.rx.write(offset, value)
        if offset < 2 * _RING_BYTES:
            return self.tx.write(offset - regs.Q_TX, value)
        irq = self.irq
        if offset == regs.Q_IRQ_MASK:
            irq.auto_mask = bool(value & regs.Q_IRQ_MASK_AUTO_MASK)
            irq.mask(bool(value & regs.Q_IRQ_MASK_MASK))
        elif offset == regs.Q_IRQ_ARM:
            self._rx_consumer = value & regs.Q_IRQ_ARM_RX_CONSUMER
            self._tx_consumer = value >> regs.Q_IRQ_ARM_TX_CONSUMER_SHIFT
            irq.arm()
        elif offset == regs.Q_IRQ_MODERATION:
            cycles = value & regs.Q_IRQ_MODERATION_CYCLES
            irq.moderate(cycles, value >> regs.Q_IRQ_MODERATION_COUNT_SHIFT)
        return True

    # -- what happens ----------------------------------------------------------------------

    def _rx_changed(self) -> None:
        if self.rx.running and not self.rx.producer:
            self._rx_consumer = 0
        self._ring_changed()

    def _tx_changed(self) -> None:
        if self.tx.running and not self.tx.producer:
            self._tx_consumer = 0
        self._ring_changed()
        self._nic.transmitter.serve()

    def _ring_changed(self) -> None:
        failed, before = self._failed(), self._error
        self._error = failed
        if failed:
            if not before:
                self._nic.event(regs.EVENT_STATUS_RING_ERROR)
            self.irq.changed()

    def _completed(self) -> None:
        self.irq.changed()

    def _failed(self) -> bool:
        return self.rx.failed or self.tx.failed

    def _unconsumed(self) -> int:
        return _ahead(self.rx.completed, self._rx_consumer) + _ahead(
            self.tx.completed, self._tx_consumer
        )


def _ahead(completed: int, consumer: int) -> int:
    """A driver that is faster than the bus's answer has consumed everything."""
    difference = (completed - consumer) & 0xFFFF
    return 0 if difference > 0x8000 else difference
