"""The NIC of docs/registers.md and docs/rings.md, a transaction at a time, on a `Port`.

Built by `Host.add_nic` and by the scoreboard; `resources()` is what `W2aNic`, the same driver as
of the RTL, is given.  Whatever the device does it does at once: a frame is in memory when its last
byte is there, and a doorbell is answered while the driver writes it.  Cycles are not modelled.
"""

from __future__ import annotations

import errno
import os
from collections import Counter, defaultdict
from collections.abc import Callable

from pystack.core.cpu import Cpu
from pystack.core.dma import DmaMapper
from pystack.core.engine import Engine
from pystack.dev.driver import DeviceResources
from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.model.bus import HostBus, MappedMemory
from pystack.dev.model.clock import DeviceClock
from pystack.dev.model.queue import ModelQueue
from pystack.dev.model.receive import Receiver
from pystack.dev.model.transmit import Transmitter
from pystack.dev.wire import Port

AXI_BYTES = 8
_COUNTERS = {c.offset: c.name for c in regs.COUNTERS}
_CLOCK = (regs.CLOCK_LO, regs.CLOCK_HI, regs.CLOCK_INCREMENT, regs.CLOCK_ADJUST)
_RESETS = {
    regs.ID: regs.ID_MAGIC_RESET,
    regs.MAX_FRAME: regs.MAX_FRAME_BYTES_RESET,
    regs.PAUSE: regs.PAUSE_QUANTA_RESET << regs.PAUSE_QUANTA_SHIFT,
    regs.PAUSE_THRESHOLD: regs.PAUSE_THRESHOLD_XOFF_RESET,
    regs.EVENT_MASK: regs.EVENT_MASK_LINK_CHANGE | regs.EVENT_MASK_RING_ERROR,
    regs.CLOCK_ADJUST: 0,
}
_READ_ONLY = (regs.ID, regs.FEATURES, regs.STATUS, regs.EVENT_RINGS)
_PLAIN = (
    *(regs.CTRL, regs.MAC_LO, regs.MAC_HI, regs.MAX_FRAME, regs.RX_STEERING, regs.RSS_CTRL),
    *(regs.RX_OFFLOAD, regs.MULTICAST_HASH_LO, regs.MULTICAST_HASH_HI, regs.PAUSE),
    *(regs.PAUSE_THRESHOLD, regs.EVENT_STATUS, regs.EVENT_MASK),
    *range(regs.RSS_KEY, regs.RSS_KEY + 4 * regs.RSS_KEY_COUNT, 4),
    *range(regs.RSS_TABLE, regs.RSS_TABLE + 4 * regs.RSS_TABLE_COUNT, 4),
    *range(regs.MAC_FILTER_LO, regs.MAC_FILTER_LO + 4 * regs.MAC_FILTER_LO_COUNT, 4),
    *range(regs.MAC_FILTER_HI, regs.MAC_FILTER_HI + 4 * regs.MAC_FILTER_HI_COUNT, 4),
)
# Bits that are there, where not all are.
_FIELDS = {
    regs.CTRL: regs.CTRL_RX_ENABLE
    | regs.CTRL_TX_ENABLE
    | regs.CTRL_PROMISCUOUS
    | regs.CTRL_ALL_MULTICAST,
    regs.MAC_HI: regs.MAC_HI_VALUE,
    regs.MAX_FRAME: regs.MAX_FRAME_BYTES,
    regs.RX_STEERING: regs.RX_STEERING_DEFAULT_QUEUE,
    regs.RSS_CTRL: regs.RSS_CTRL_IPV4
    | regs.RSS_CTRL_IPV4_TCP
    | regs.RSS_CTRL_IPV4_UDP
    | regs.RSS_CTRL_IPV6
    | regs.RSS_CTRL_IPV6_TCP
    | regs.RSS_CTRL_IPV6_UDP,
    regs.RX_OFFLOAD: regs.RX_OFFLOAD_VLAN_STRIP | regs.RX_OFFLOAD_HEADER_SPLIT,
    regs.PAUSE: regs.PAUSE_QUANTA | regs.PAUSE_RX_ENABLE | regs.PAUSE_TX_ENABLE,
    regs.EVENT_MASK: regs.EVENT_MASK_LINK_CHANGE | regs.EVENT_MASK_RING_ERROR,
}
_QUEUES = (
    regs.RSS_TABLE_ENTRY0 | regs.RSS_TABLE_ENTRY1 | regs.RSS_TABLE_ENTRY2 | regs.RSS_TABLE_ENTRY3
)
_FIELDS.update((regs.RSS_TABLE + 4 * n, _QUEUES) for n in range(regs.RSS_TABLE_COUNT))
_FIELDS.update(
    (regs.MAC_FILTER_HI + 4 * n, regs.MAC_FILTER_HI_VALID | regs.MAC_FILTER_HI_VALUE)
    for n in range(regs.MAC_FILTER_HI_COUNT)
)
FEATURES = (
    regs.FEATURES_RX_OFFLOAD
    | regs.FEATURES_RX_FILTERS
    | regs.FEATURES_CLOCK
    | regs.FEATURES_TX_CHECKSUM
    | regs.FEATURES_TX_SEGMENT
    | regs.FEATURES_TX_VLAN
    | regs.FEATURES_TX_TIMESTAMP
    | regs.FEATURES_PAUSE
)


class ModelNic:
    """`bus`: how it reaches memory, by default through `dma`.  `max_frame` as the RTL's MaxFrame,
    `features` which of its offloads it has been built with.

    `on_irq(line)` sees every rising edge, for tests without a driver.
    """

    def __init__(
        self,
        engine: Engine,
        dma: DmaMapper,
        port: Port,
        *,
        queues: int = 1,
        max_frame: int = 9018,
        features: int = FEATURES,
        bus: HostBus | None = None,
        gbit: int = 10,
    ) -> None:
        self.engine = engine
        self.dma = dma
        self.port = port
        self.gbit = gbit
        self.features = features
        self.max_frame = max_frame
        self.bus: HostBus = MappedMemory(dma) if bus is None else bus
        self.clock = DeviceClock(engine)
        self.registers: dict[int, int] = defaultdict(int)
        self.counters: Counter[str] = Counter()
        self.on_irq: Callable[[int], None] | None = None
        self._handlers: dict[int, tuple[Callable[[], None], Cpu]] = {}
        self._latched = 0
        self._link_up = True
        self._event_line = False
        self.queues = [ModelQueue(self, index) for index in range(queues)]
        self.receiver = Receiver(self)
        self.transmitter = Transmitter(self)
        self.reset()
        port.on_receive(self.receiver.arrived)

    def reset(self) -> None:
        """All but the AXI-Lite port."""
        self.registers.clear()
        self.registers.update(_RESETS)
        self.counters.clear()
        self.clock.reset()
        for queue in self.queues:
            queue.reset()
        self.transmitter.reset()
        self.receiver.key_changed()
        self._event_line = False

    def resources(self) -> DeviceResources:
        """What the driver is given."""
        return DeviceResources(self, self.dma, self.request_irq, self.free_irq)

    def count(self, name: str, step: int = 1) -> None:
        self.counters[name] += step

    # -- registers -------------------------------------------------------------------------

    def read32(self, offset: int) -> int:
        """OSError(EIO) where there is no register."""
        queue, inside = self._queue(offset)
        if queue is not None:
            value = queue.read(inside)
        elif offset in _CLOCK:
            value = self.clock.read(offset)
        elif offset in _COUNTERS:
            value = self.latch(self.counters[_COUNTERS[offset]])
        elif offset - 4 in _COUNTERS:
            value = self._latched
        elif offset in _PLAIN or offset in _READ_ONLY:
            value = self._read_device(offset)
        else:
            raise OSError(errno.EIO, f"{os.strerror(errno.EIO)}: DECERR at {offset:#x}")
        return value

    def latch(self, value: int) -> int:
        """The low word of a counter; its high word can be read next."""
        self._latched = value >> 32
        return value & 0xFFFFFFFF

    @property
    def latched(self) -> int:
        return self._latched

    def _queue(self, offset: int) -> tuple[ModelQueue | None, int]:
        number, inside = divmod(offset - regs.QUEUE_BASE, regs.QUEUE_STRIDE)
        return (self.queues[number], inside) if 0 <= number < len(self.queues) else (None, 0)

    def _read_device(self, offset: int) -> int:
        if offset == regs.FEATURES:
            return len(self.queues) | AXI_BYTES << regs.FEATURES_AXI_BYTES_SHIFT | self.features
        if offset == regs.STATUS:
            return self._link_up * regs.STATUS_LINK_UP | self.transmitter.idle * regs.STATUS_IDLE
        if offset == regs.EVENT_RINGS:
            rings = 0
            for queue in self.queues:
                rings |= queue.rx.failed << queue.index
                rings |= queue.tx.failed << queue.index + regs.EVENT_RINGS_TX_SHIFT
            return rings
        return self.registers[offset]

    def write32(self, offset: int, value: int) -> None:
        """What is refused is counted, as a posted write has nobody to tell."""
        queue, inside = self._queue(offset)
        if queue is not None:
            if not queue.write(inside, value):
                self.count("doorbell_errors")
        elif offset in _CLOCK:
            self.clock.write(offset, value)
        elif offset in _PLAIN:
            self._write_device(offset, value)
        elif offset not in _READ_ONLY:
            self.count("doorbell_errors")

    def _write_device(self, offset: int, value: int) -> None:
        if offset == regs.CTRL and value & regs.CTRL_SOFT_RESET:
            self.reset()
            return
        if offset == regs.EVENT_STATUS:
            value = self.registers[offset] & ~value
        value &= _FIELDS.get(offset, 0xFFFFFFFF)
        if offset == regs.MAX_FRAME:
            value = min(value, self.max_frame)
        self.registers[offset] = value
        if regs.RSS_KEY <= offset < regs.RSS_KEY + 4 * regs.RSS_KEY_COUNT:
            self.receiver.key_changed()
        elif offset in (regs.EVENT_STATUS, regs.EVENT_MASK):
            self._event_changed()
        elif offset == regs.CTRL and value & regs.CTRL_TX_ENABLE:
            self.transmitter.enable()
        elif offset == regs.PAUSE and not value & regs.PAUSE_RX_ENABLE:
            self.transmitter.pause(0)

    # -- interrupts ------------------------------------------------------------------------

    def request_irq(self, line: int, handler: Callable[[], None], cpu: Cpu) -> None:
        """`pystack.dev.driver.DeviceResources.request_irq`"""
        if line in self._handlers:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        self._handlers[line] = handler, cpu

    def free_irq(self, line: int) -> None:
        del self._handlers[line]

    def rise(self, line: int) -> None:
        if self.on_irq is not None:
            self.on_irq(line)
        if line in self._handlers:
            handler, cpu = self._handlers[line]
            cpu.raise_irq(handler)

    def set_link(self, up: bool) -> None:
        """The far end appears or goes (`status.link_up`)."""
        if up != self._link_up:
            self._link_up = up
            self.event(regs.EVENT_STATUS_LINK_CHANGE)

    def event(self, bit: int) -> None:
        self.registers[regs.EVENT_STATUS] |= bit
        self._event_changed()

    def _event_changed(self) -> None:
        before = self._event_line
        self._event_line = bool(
            self.registers[regs.EVENT_STATUS] & ~self.registers[regs.EVENT_MASK]
        )
        if self._event_line and not before:
            self.rise(len(self.queues))
