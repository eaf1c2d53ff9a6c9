"""One direction of one queue of the model: its registers, its indices, its entries in memory."""

from __future__ import annotations

from collections.abc import Callable

from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.drivers.w2a_regs import CplStatus, QueueError
from pystack.dev.model.bus import DECERR, HostBus

ENTRY = 16
_MASK = 0xFFFF
STOPS = {  # what a completion tells of, and with that a ring stops
    int(CplStatus.DATA_SLVERR): QueueError.DATA_SLVERR,
    int(CplStatus.DATA_DECERR): QueueError.DATA_DECERR,
    int(CplStatus.DESC_SLVERR): QueueError.DESC_SLVERR,
    int(CplStatus.DESC_DECERR): QueueError.DESC_DECERR,
}


class ModelRing:
    """`on_change` is called when a ring starts, stops or gets descriptors, and `on_completion`
    after each completion that has reached memory, or failed to."""

    def __init__(
        self, bus: HostBus, on_change: Callable[[], None], on_completion: Callable[[], None]
    ) -> None:
        self._bus = bus
        self._on_change = on_change
        self._on_completion = on_completion
        self.reset()

    def reset(self) -> None:
        self._registers: dict[int, int] = {}
        self.enabled = self.halted = self.run_on = False
        self.error = QueueError.NONE
        self._indices_to_zero()

    def _indices_to_zero(self) -> None:
        self.producer = self.consumed = self.completed = 0

    @property
    def running(self) -> bool:
        return self.enabled and not self.halted

    @property
    def failed(self) -> bool:
        return self.enabled and self.error is not QueueError.NONE

    @property
    def broken(self) -> bool:
        """Completions can no longer be written."""
        return self.error in (QueueError.CPL_SLVERR, QueueError.CPL_DECERR)

    @property
    def entries(self) -> int:
        return 1 << (self._registers.get(regs.RING_SIZE, 0) & regs.RING_SIZE_LOG2_ENTRIES)

    @property
    def posted(self) -> int:
        """Descriptors not taken yet."""
        return (self.producer - self.consumed) & _MASK if self.running else 0

    # -- registers -------------------------------------------------------------------------

    def read(self, offset: int) -> int:
        if offset == regs.RING_CTRL:
            return self.enabled | self.run_on * regs.RING_CTRL_RUN_ON
        if offset == regs.RING_STATUS:
            active = self.running or (self.consumed != self.completed and not self.broken)
            return int(active) | self.error << regs.RING_STATUS_ERROR_SHIFT
        if offset == regs.RING_DOORBELL:
            return self.producer
        if offset == regs.RING_PROGRESS:
            return self.producer | self.completed << regs.RING_PROGRESS_COMPLETED_SHIFT
        return self._registers.get(offset, 0)

    def write(self, offset: int, value: int) -> bool:
        """False: a doorbell that was refused."""
        if offset == regs.RING_DOORBELL:
            return self._doorbell(value & _MASK)
        if offset == regs.RING_CTRL:
            self.run_on = bool(value & regs.RING_CTRL_RUN_ON)
            self._enable(bool(value & regs.RING_CTRL_ENABLE))
        elif offset == regs.RING_SIZE:
            self._registers[offset] = value & regs.RING_SIZE_LOG2_ENTRIES
        elif offset not in (regs.RING_STATUS, regs.RING_PROGRESS):
            self._registers[offset] = value
        return True

    def _enable(self, enable: bool) -> None:
        before, self.enabled = self.enabled, enable
        if not enable:
            self.halted = False
        elif not before:
            self.error = QueueError.NONE
            self._indices_to_zero()
        self._on_change()

    def _doorbell(self, producer: int) -> bool:
        if not self.running:
            return False
        ahead = (producer - self.consumed) & _MASK
        if ahead > self.entries or ahead < (self.producer - self.consumed) & _MASK:
            self.stop(QueueError.BAD_DOORBELL)
            return False
        self.producer = producer
        self._on_change()
        return True

    def stop(self, error: QueueError) -> None:
        """Until it is disabled and enabled again."""
        self.error, self.halted = error, True
        self._on_change()

    # -- entries ---------------------------------------------------------------------------

    def descriptor(self, ahead: int = 0) -> tuple[bytes, int]:
        """The descriptor `ahead` behind the next one, and the bus's response."""
        slot = (self.consumed + ahead) & (self.entries - 1)
        return self._bus.read(self._base(regs.RING_DESC_BASE_LO) + slot * ENTRY, ENTRY)

    def take(self) -> int:
        """The index of the next descriptor, which is taken now."""
        index, self.consumed = self.consumed, (self.consumed + 1) & _MASK
        return index

    def complete(self, index: int, entry: bytes) -> None:
        """Write a completion whose phase bit is 0 so far; lost if the ring is broken.  The first
        to tell of a bus error stops a ring that does not run on."""
        if self.broken:
            return
        phase = ~(index // self.entries) & 1
        data = entry[:15] + bytes((entry[15] | phase << 7,))
        slot = index & (self.entries - 1)
        resp = self._bus.write(self._base(regs.RING_CPL_BASE_LO) + slot * ENTRY, data)
        if resp:
            self.stop(QueueError.CPL_DECERR if resp == DECERR else QueueError.CPL_SLVERR)
        else:
            self.completed = (index + 1) & _MASK
            error = STOPS.get(data[4] & regs.RX_CPL_STATUS)
            if error and self.running and not self.run_on:
                self.stop(error)
        self._on_completion()

    def _base(self, low: int) -> int:
        return self._registers.get(low, 0) | self._registers.get(low + 4, 0) << 32


def descriptor_status(resp: int) -> CplStatus:
    """What a response to a descriptor fetch means for its completion."""
    if not resp:
        return CplStatus.OK
    return CplStatus.DESC_DECERR if resp == DECERR else CplStatus.DESC_SLVERR


def data_status(resp: int) -> CplStatus:
    """What a response to the frame's data means for its completion."""
    if not resp:
        return CplStatus.OK
    return CplStatus.DATA_DECERR if resp == DECERR else CplStatus.DATA_SLVERR
