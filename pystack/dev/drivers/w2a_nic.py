"""The driver of the wire2app NIC: the device as a whole (`hdl/nic.rdl`, docs/rings.md).

Called by `NetCore` (open, stop, start_xmit); calls the registers and its queue pairs
(`w2a_queue.py`).  `w2a_ethtool.py` changes its settings while it runs.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from typing import TYPE_CHECKING

from pystack.core.drop import Drop
from pystack.core.headers.ethernet import ETH_HLEN, VLAN_HLEN
from pystack.core.skb import SkBuff
from pystack.core.wait import Mutex
from pystack.dev.driver import DeviceResources
from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.drivers.w2a_clock import NicClock
from pystack.dev.drivers.w2a_ethtool import W2aEthtool
from pystack.dev.drivers.w2a_filters import Filters
from pystack.dev.drivers.w2a_queue import NAPI, QueuePair, free_queues
from pystack.dev.netdev import NetDevice

if TYPE_CHECKING:
    from pystack.dev.core import NetCore
    from pystack.dev.drivers.w2a_poll import PollQueue

QUIESCE_NS = 10_000_000
CYCLE_PS = 6400
PAGE_BUFFER, HALF_PAGE = 4096, 2048
_BY_FEATURE = {
    regs.FEATURES_RX_OFFLOAD: ("rx", "rxhash", "rxvlan"),
    regs.FEATURES_TX_CHECKSUM: ("tx", "sg"),
    regs.FEATURES_TX_SEGMENT: ("tso", "tso6"),
    regs.FEATURES_TX_VLAN: ("txvlan",),
}


class W2aNic:
    """`W2aNic(core, "eth0", mac, resources)` registers a device; `NetCore.open` brings it up.

    `ring_entries`: power of two from 2 to 32768.  `moderation_cycles`, `moderation_count`: see
    `irq_moderation` in hdl/nic.rdl.  `pool_limit`: most RX buffers a queue may hold, in the ring
    and in sockets together.  `irq_mode`: "napi", or "naive" for an interrupt a frame without NAPI.
    """

    def __init__(
        self,
        core: NetCore,
        name: str,
        mac: bytes,
        resources: DeviceResources,
        *,
        queues: int = 1,
        ring_entries: int = 256,
        moderation_cycles: int = 0,
        moderation_count: int = 1,
        pool_limit: int = 4096,
        irq_mode: str = NAPI,
    ) -> None:
        if ring_entries not in (1 << n for n in range(1, 16)):
            raise ValueError(f"ring_entries {ring_entries} is not a power of two from 2 to 32768")
        self.core = core
        self.kernel = core.kernel
        self.resources = resources
        self.registers = resources.registers
        self.tx_queues = queues
        self.max_queues = queues
        self.rx_entries = self.tx_entries = ring_entries
        self.moderation_cycles = moderation_cycles
        self.moderation_count = moderation_count
        self.adaptive_rx = False
        self.pool_limit = pool_limit
        self.irq_mode = irq_mode
        self.cycles_per_usec = 1_000_000 // CYCLE_PS
        self.hw_errors: Counter[str] = Counter()
        self.resets = 0
        self.alloc_failed = Counter(rx=0, tx=0)  # no host memory: buffers, frames
        # Frames: rx_reset and tx_reset with a queue that was stopped, tx_segments beyond the first
        # of what could not be sent.
        self.lost: Counter[str] = Counter()
        trace = core.kernel.trace
        self.tp_irq = trace.point("irq_handler_entry", "line")
        self.tp_rx = trace.point("nic_rx", "packet_id", "addr", "length", "completion")
        self.tp_tx = trace.point("nic_tx", "packet_id", "addr", "length", "descriptor")
        self.dev = NetDevice(name, mac, self)
        self.dev.ethtool = self.ethtool = W2aEthtool(self)
        self.dev.change_mtu = self.ethtool.change_mtu
        self.clock = NicClock(self.kernel, self.registers, self.write32)
        self.filters = Filters(self)
        self.device_features = 0
        self.stamps = False
        self.queues: list[QueuePair] = []
        self.lent: dict[int, PollQueue] = {}  # queues in poll mode, in the order of their opening
        self._resetting: set[QueuePair] = set()
        self.lock = Mutex(core.kernel)  # who starts and stops queues; it waits meanwhile
        core.register(self.dev)

    @property
    def max_frame(self) -> int:
        return self.dev.mtu + ETH_HLEN + VLAN_HLEN

    @property
    def rx_buffer(self) -> int:
        """A longer frame takes several."""
        return HALF_PAGE if self.max_frame <= HALF_PAGE else PAGE_BUFFER

    def write32(self, offset: int, value: int) -> None:
        """A posted write: what was charged so far happens before the device sees it."""
        self.kernel.charge(self.kernel.costs.doorbell)
        self.kernel.cpu.flush()
        self.registers.write32(offset, value)

    # -- NetDeviceOps ----------------------------------------------------------------------

    def open(self) -> None:
        """Reset, program the rings, let frames in.  OSError if the device is not ours."""
        with self.lock:
            if not self.dev.up:  # nobody has opened it meanwhile
                self._open()

    def _open(self) -> None:
        if self.registers.read32(regs.ID) != regs.ID_MAGIC_RESET:
            raise OSError(errno.ENODEV, "no wire2app NIC answers at register 0")
        self.device_features = self.registers.read32(regs.FEATURES)
        self.max_queues = self.device_features & regs.FEATURES_QUEUES
        if self.max_queues < self.tx_queues:
            raise OSError(errno.EINVAL, f"device has fewer than {self.tx_queues} queues")
        queues = self.alloc_queues(self.rx_entries, self.tx_entries, self.tx_queues)
        try:
            self._begin(queues)
        except OSError:
            free_queues(queues)
            raise

    def _begin(self, queues: list[QueuePair]) -> None:
        self.write32(regs.CTRL, regs.CTRL_SOFT_RESET)
        self.wait_clear(regs.CTRL, regs.CTRL_SOFT_RESET)
        mac = self.dev.mac
        self.write32(regs.MAC_LO, int.from_bytes(mac[:4], "little"))
        self.write32(regs.MAC_HI, int.from_bytes(mac[4:], "little"))
        self.write32(regs.MAX_FRAME, regs.MAX_FRAME_BYTES)  # what it takes at most
        self.longest_frame = self.registers.read32(regs.MAX_FRAME)
        self.write32(regs.MAX_FRAME, self.max_frame)
        self._probe_features()
        self.stamps = bool(self.device_features & regs.FEATURES_CLOCK)
        if self.stamps:
            self.clock.settime(self.kernel.now)
        self.queues = queues
        self.start_queues()
        for queue in self.lent.values():
            queue.start()
        self._start_events()
        self.set_rx_mode()

    def _probe_features(self) -> None:
        """Offer what the device has been built with; at first all of it is on."""
        dev = self.dev
        known: set[str] = set()
        for bit, names in _BY_FEATURE.items():
            if self.device_features & bit:
                known.update(names)
        for name in known - dev.hw_features:
            dev.features[name] = True
        dev.hw_features = dev.hw_features | known
        self.core.features_changed(dev)

    def alloc_queues(self, rx_entries: int, tx_entries: int, count: int) -> list[QueuePair]:
        """Queues that have their memory but are not the device's yet; OSError(ENOMEM)."""
        queues = [QueuePair(self, index, rx_entries, tx_entries) for index in range(count)]
        try:
            for queue in queues:
                queue.alloc()
        except MemoryError:
            free_queues(queues)
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)) from None
        return queues

    def start_queues(self) -> None:
        self.dev.set_tx_queues(self.tx_queues)
        for tx in self.dev.tx_queues:
            cpus = range(tx.index, len(self.kernel.cpus), self.tx_queues)
            tx.xps = tuple(cpus) if self.tx_queues > 1 else ()
        self.ethtool.apply()
        for queue in self.queues:
            queue.start()

    def stop_queues(self) -> None:
        for queue in self.queues:
            if queue.running:
                queue.stop()

    def set_rx_mode(self) -> None:
        """Single addresses while there are filters for them, then the hash, then everything."""
        self.write32(regs.CTRL, self.filters.mode())

    def stop(self) -> None:
        with self.lock:
            self.write32(regs.CTRL, regs.CTRL_TX_ENABLE)  # no new frames in; those inside leave
            for queue in self.lent.values():
                queue.stop()
            self.stop_queues()
            free_queues(self.queues)
            self._stop_events()
            self.write32(regs.CTRL, 0)
            self.registers.read32(regs.CTRL)  # the writes have arrived

    def start_xmit(self, skb: SkBuff, queue: int, more: bool) -> bool:
        """Post the frame's pieces, ring the doorbell."""
        pair = self.queues[queue]
        ring = pair.tx
        if not pair.running:
            return False
        length = len(skb)
        if length > self.max_frame and not skb.gso_size:
            self.kernel.drop(skb, Drop.DEV_TOO_LONG)
            if not more:
                pair.doorbell(regs.Q_TX_DOORBELL, ring)
            return True
        pieces = ring.pieces(skb, self.dev.features["sg"])
        if ring.room < len(pieces):
            pair.doorbell(regs.Q_TX_DOORBELL, ring)
            return False
        self.kernel.charge(self.kernel.costs.tx_packet)
        try:
            addr = ring.post(skb, pieces)
        except MemoryError:  # as when nothing can be mapped for DMA
            self._no_memory(skb)
            if not more:
                pair.doorbell(regs.Q_TX_DOORBELL, ring)
            return True
        dql = self.dev.tx_queues[queue].dql
        if dql is not None:
            dql.sent(length)
        if self.tp_tx.enabled:
            self.tp_tx(skb.packet_id, addr, length, ring.last_descriptor)
        if not more or not ring.room or (dql is not None and dql.inflight > dql.limit):
            pair.doorbell(regs.Q_TX_DOORBELL, ring)
        return True

    def _no_memory(self, skb: SkBuff) -> None:
        self.alloc_failed["tx"] += 1
        self.dev.stats.tx_dropped += 1
        self.kernel.drop(skb, Drop.DEV_NO_MEMORY)

    def get_stats(self) -> dict[str, int]:
        """All counters of the device and of its queues (`ethtool -S`); must run in a task."""
        stats = {c.name: self._counter(c.offset) for c in regs.COUNTERS}
        for queue in self.queues:
            for c in regs.QUEUE_COUNTERS:
                stats[f"queue{queue.index}_{c.name}"] = self._counter(queue.base + c.offset)
            stats[f"queue{queue.index}_interrupts"] = queue.interrupts
            stats[f"queue{queue.index}_polls"] = queue.napi.polls
        stats.update({f"{name}_alloc_failed": n for name, n in self.alloc_failed.items()})
        stats.update({f"error_{name.lower()}": n for name, n in self.hw_errors.items()})
        stats.update({f"lost_{name}": n for name, n in self.lost.items() if n})
        return stats

    # -- events of the device --------------------------------------------------------------

    def _start_events(self) -> None:
        """Of a ring's error its own line tells, too."""
        if not self.stamps:
            return
        self.resources.request_irq(self.max_queues, self._event, self.kernel.cpus[0])
        self.write32(regs.EVENT_STATUS, regs.EVENT_STATUS_LINK_CHANGE)
        self.write32(regs.EVENT_MASK, regs.EVENT_MASK_RING_ERROR)
        self._look_at_link()

    def _stop_events(self) -> None:
        if not self.stamps:
            return
        self.write32(regs.EVENT_MASK, regs.EVENT_MASK_RING_ERROR | regs.EVENT_MASK_LINK_CHANGE)
        self.resources.free_irq(self.max_queues)

    def _event(self) -> None:
        """Hardirq; what there is to do waits for the device, so a task does it."""
        self.kernel.spawn(self._handle_event, name=f"{self.dev.name}-event")

    def _handle_event(self) -> None:
        status = self.registers.read32(regs.EVENT_STATUS)
        self.write32(regs.EVENT_STATUS, status)
        if status & regs.EVENT_STATUS_LINK_CHANGE:
            self._look_at_link()

    def _look_at_link(self) -> None:
        up = bool(self.registers.read32(regs.STATUS) & regs.STATUS_LINK_UP)
        self.core.set_carrier(self.dev, up)

    # -- inside ----------------------------------------------------------------------------

    def _counter(self, offset: int) -> int:
        low = self.registers.read32(offset)
        return self.registers.read32(offset + 4) << 32 | low

    def wait_clear(self, offset: int, mask: int) -> None:
        """Poll a register until the bits in `mask` are 0; OSError(ETIMEDOUT) after 10 ms."""
        deadline = self.kernel.now + QUIESCE_NS
        while self.registers.read32(offset) & mask:
            if self.kernel.now > deadline:
                raise OSError(errno.ETIMEDOUT, f"device did not clear {mask:#x} at {offset:#x}")

    def quiesce(self, base: int) -> None:
        """Disable both rings of a queue and wait until the device has left them.  A pause that the
        peer has asked for ends: a ring stays active while what it has given waits."""
        if self.device_features & regs.FEATURES_PAUSE:
            self.write32(regs.PAUSE, 0)
        for block in (regs.Q_RX, regs.Q_TX):
            self.write32(base + block + regs.RING_CTRL, 0)
        for block in (regs.Q_RX, regs.Q_TX):
            self.wait_clear(base + block + regs.RING_STATUS, regs.RING_STATUS_ACTIVE)
        self.ethtool.write_pause()

    def tx_drop_reason(self, status: int) -> Drop:
        bad_length = status == regs.CplStatus.BAD_LENGTH
        return Drop.NIC_TX_BAD_LENGTH if bad_length else Drop.NIC_TX_BUS_ERROR

    def schedule_reset(self, queue: QueuePair) -> None:
        """A queue has stopped itself: restart it, and no other, from a task, since that waits."""
        if queue in self._resetting:
            return
        self._resetting.add(queue)

        def reset() -> None:
            with self.lock:
                self._resetting.discard(queue)
                if not queue.running:  # stopped by another meanwhile
                    return
                self.resets += 1
                self.dev.tx_queues[queue.index].stopped = True
                queue.stop()
                queue.start()
                self.core.wake_queue(self.dev, queue.index)

        self.kernel.spawn(reset, name=f"{self.dev.name}-reset", cpu=queue.cpu.index)
