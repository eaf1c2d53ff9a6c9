"""The driver of the wire2app NIC: the device as a whole (`hdl/nic.rdl`, docs/rings.md).

Called by `NetCore` (open, stop, start_xmit); calls the registers and its queue pairs, which
receive (`w2a_queue.py`).
"""

from __future__ import annotations

import errno
from collections import Counter
from typing import TYPE_CHECKING

from pystack.core.drop import Drop
from pystack.core.headers.ethernet import ETH_HLEN, VLAN_HLEN
from pystack.core.skb import SkBuff
from pystack.dev.driver import DeviceResources
from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.drivers.w2a_queue import TX_BUFFER, QueuePair
from pystack.dev.netdev import NetDevice

if TYPE_CHECKING:
    from pystack.dev.core import NetCore

QUIESCE_NS = 10_000_000


class W2aNic:
    """`W2aNic(core, "eth0", mac, resources)` registers a device; `NetCore.open` brings it up.

    `ring_entries`: power of two from 2 to 32768.  `moderation_cycles`, `moderation_count`: see
    `irq_moderation` in hdl/nic.rdl.  `pool_limit`: most RX buffers a queue may hold, in the ring
    and in sockets together.
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
    ) -> None:
        if ring_entries not in (1 << n for n in range(1, 16)):
            raise ValueError(f"ring_entries {ring_entries} is not a power of two from 2 to 32768")
        self.core = core
        self.kernel = core.kernel
        self.resources = resources
        self.registers = resources.registers
        self.tx_queues = queues
        self.ring_entries = ring_entries
        self.moderation_cycles = moderation_cycles
        self.moderation_count = moderation_count
        self.pool_limit = pool_limit
        self.hw_errors: Counter[str] = Counter()
        self.resets = 0
        trace = core.kernel.trace
        self.tp_irq = trace.point("irq_handler_entry", "line")
        self.tp_rx = trace.point("nic_rx", "packet_id", "addr", "length", "completion")
        self.tp_tx = trace.point("nic_tx", "packet_id", "addr", "length", "descriptor")
        self.dev = NetDevice(name, mac, self)
        self.queues = [QueuePair(self, index) for index in range(queues)]
        self._reset_pending = False
        core.register(self.dev)

    def write32(self, offset: int, value: int) -> None:
        """A posted write: what was charged so far happens before the device sees it."""
        self.kernel.charge(self.kernel.costs.doorbell)
        self.kernel.cpu.flush()
        self.registers.write32(offset, value)

    # -- NetDeviceOps ----------------------------------------------------------------------

    def open(self) -> None:
        """Reset, program the rings, let frames in.  OSError if the device is not ours."""
        if self.registers.read32(regs.ID) != regs.ID_MAGIC_RESET:
            raise OSError(errno.ENODEV, "no wire2app NIC answers at register 0")
        features = self.registers.read32(regs.FEATURES)
        if features & regs.FEATURES_QUEUES < self.tx_queues:
            raise OSError(errno.EINVAL, f"device has fewer than {self.tx_queues} queues")
        self.write32(regs.CTRL, regs.CTRL_SOFT_RESET)
        self.wait_clear(regs.CTRL, regs.CTRL_SOFT_RESET)
        mac = self.dev.mac
        self.write32(regs.MAC_LO, int.from_bytes(mac[:4], "little"))
        self.write32(regs.MAC_HI, int.from_bytes(mac[4:], "little"))
        self.write32(regs.MAX_FRAME, self.dev.mtu + ETH_HLEN + VLAN_HLEN)
        for queue in self.queues:
            queue.start()
        self.set_rx_mode()

    def set_rx_mode(self) -> None:
        """The device filters no single groups: all multicast if any is wanted."""
        mode = regs.CTRL_RX_ENABLE | regs.CTRL_TX_ENABLE
        if self.dev.mc_list:
            mode |= regs.CTRL_ALL_MULTICAST
        if self.dev.promiscuity:
            mode |= regs.CTRL_PROMISCUOUS
        self.write32(regs.CTRL, mode)

    def stop(self) -> None:
        self.write32(regs.CTRL, regs.CTRL_TX_ENABLE)  # no new frames in; those inside leave
        for queue in self.queues:
            queue.stop()
        self.write32(regs.CTRL, 0)
        self.registers.read32(regs.CTRL)  # the writes have arrived

    def start_xmit(self, skb: SkBuff, queue: int, more: bool) -> bool:
        """Copy the frame into a mapped buffer, post its descriptor, ring the doorbell."""
        pair = self.queues[queue]
        ring = pair.tx
        if not ring.room:
            pair.write32(regs.Q_TX_DOORBELL, ring.producer)
            return False
        length = len(skb)
        if length > self.dev.mtu + ETH_HLEN + VLAN_HLEN or length > TX_BUFFER:
            self.kernel.drop(skb, Drop.DEV_TOO_LONG)
            if not more:
                pair.write32(regs.Q_TX_DOORBELL, ring.producer)
            return True
        self.kernel.charge(self.kernel.costs.tx_packet)
        addr = ring.post(skb)
        if self.tp_tx.enabled:
            self.tp_tx(skb.packet_id, addr, length, ring.last_descriptor)
        if not more or not ring.room:
            pair.write32(regs.Q_TX_DOORBELL, ring.producer)
        return True

    def get_stats(self) -> dict[str, int]:
        """All counters of the device and of its queues (`ethtool -S`); must run in a task."""
        stats = {c.name: self._counter(c.offset) for c in regs.COUNTERS}
        for queue in self.queues:
            for c in regs.QUEUE_COUNTERS:
                stats[f"queue{queue.index}_{c.name}"] = self._counter(queue.base + c.offset)
            stats[f"queue{queue.index}_interrupts"] = queue.interrupts
            stats[f"queue{queue.index}_polls"] = queue.napi.polls
        stats.update({f"error_{name.lower()}": n for name, n in self.hw_errors.items()})
        return stats

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

    def tx_drop_reason(self, status: int) -> Drop:
        bad_length = status == regs.CplStatus.BAD_LENGTH
        return Drop.NIC_TX_BAD_LENGTH if bad_length else Drop.NIC_TX_BUS_ERROR

    def schedule_reset(self, queue: QueuePair) -> None:
        """A queue has stopped itself: restart it from a task, since that waits for the device."""
        if self._reset_pending:
            return
        self._reset_pending = True

        def reset() -> None:
            self.resets += 1
            self.dev.tx_queues[queue.index].stopped = True
            queue.stop()
            queue.start()
            self._reset_pending = False
            self.core.wake_queue(self.dev, queue.index)

        self.kernel.spawn(reset, name=f"{self.dev.name}-reset", cpu=queue.cpu.index)
