"""Network devices and their transmit queues (`struct net_device`).

Called by the link layer (`NetCore.queue_xmit`); calls the driver's `start_xmit`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pystack.core.drop import Drop
from pystack.core.flow import flow_hash
from pystack.core.skb import SkBuff
from pystack.core.timer import Timer
from pystack.dev.dql import ByteQueueLimit
from pystack.dev.driver import NetDeviceOps
from pystack.dev.ethtool import EthtoolOps
from pystack.dev.qdisc import PfifoFast, Qdisc
from pystack.dev.xdp import Xdp, XdpProgram

if TYPE_CHECKING:
    from pystack.dev.core import NetCore
    from pystack.dev.rps import Rps

# `netdev_fix_features`: the first goes only with the second.
_NEEDS = (("sg", "tx"), ("tso", "tx"), ("tso6", "tx"), ("tso", "sg"), ("tso6", "sg"))
TX_QUEUE_LEN = 1000  # DEFAULT_TX_QUEUE_LEN
SOFTWARE_FEATURES = frozenset(("gro", "gso"))
FEATURES = (
    *("rx", "tx", "sg", "tso", "tso6", "gso", "gro", "rxvlan", "txvlan", "ntuple", "rxhash"),
)
"""NETIF_F_*, by the short names of `ethtool -K`; `tso6` is tx-tcp6-segmentation."""


@dataclass
class DeviceStats:
    """`ip -s link`; what a drop's reason was is in `Kernel.drops`.

    `rx_missed`: the ring was full; the dropped ones found no room in the host, or nobody.
    """

    rx_packets: int = 0
    rx_bytes: int = 0
    rx_dropped: int = 0
    rx_missed: int = 0
    tx_packets: int = 0
    tx_bytes: int = 0
    tx_dropped: int = 0


@dataclass
class TxQueue:
    """What stands before one hardware ring.  `stopped` while the ring is full.

    `requeued` are packets that have left the discipline and were not taken by the driver yet;
    `watchdog` runs the queue when the discipline lets the next packet go.  `dql` bounds what
    waits in the ring, if the driver tells what it has sent (`netdev_tx_completed_queue`).
    `xps` are the CPUs that send through this queue.
    """

    index: int
    qdisc: Qdisc
    requeued: deque[SkBuff] = field(default_factory=deque)
    watchdog: Timer | None = None
    dql: ByteQueueLimit | None = None
    xps: tuple[int, ...] = ()
    stopped: bool = False
    running: bool = False

    def purge(self, reason: Drop) -> None:
        if self.watchdog is not None:
            self.watchdog.delete()
        while self.requeued:
            skb = self.requeued.popleft()
            skb.kernel.drop(skb, reason)
        self.qdisc.purge(reason)


class NetDevice:
    """One interface.  `mtu` counts bytes behind the Ethernet header."""

    def __init__(self, name: str, mac: bytes, ops: NetDeviceOps, mtu: int = 1500) -> None:
        self.name = name
        self.mac = mac
        self.unicast: list[bytes] = []  # addresses it answers to beside its own
        self.ops = ops
        self.mtu = mtu
        self.core: NetCore  # whose table it is in, and
        self.ifindex = 0  # given by NetCore.register
        self.up = False
        self.loopback = False
        self.tx_queue_len = TX_QUEUE_LEN
        self.features = dict.fromkeys(FEATURES, False)  # `ethtool -k`
        self.features["gro"] = self.features["gso"] = True
        self.wanted_features: dict[str, bool] = {}  # what was asked for, if it cannot be
        self.hw_features: frozenset[str] = SOFTWARE_FEATURES  # those that can be switched
        self.carrier = True  # the link is up
        self.ethtool: EthtoolOps | None = None
        self.change_mtu: Callable[[int], None] = self._set_mtu
        self.mc_list: dict[bytes, int] = {}  # multicast addresses wanted, and how often
        self.promiscuity = 0  # how many want every frame
        # Who may take a received frame before the link layer sees it, and then returns True.
        self.rx_handlers: list[Callable[[SkBuff], bool]] = []
        self.xdp: Xdp | None = None
        self.rps: Rps | None = None  # None: packets stay where they come in
        self.stats = DeviceStats()
        self.tx_queues = [TxQueue(i, PfifoFast(self)) for i in range(ops.tx_queues)]

    def set_tx_queues(self, count: int) -> None:
        """`netif_set_real_num_tx_queues`; what waits in queues that go is dropped."""
        for queue in self.tx_queues[count:]:
            queue.purge(Drop.QDISC_REPLACED)
        del self.tx_queues[count:]
        self.tx_queues += [TxQueue(i, PfifoFast(self)) for i in range(len(self.tx_queues), count)]

    def pick_tx(self, skb: SkBuff) -> int:
        """The queue of a packet: its sender's CPU says, else the queue it came by, else its flow
        (`netdev_pick_tx`)."""
        count = len(self.tx_queues)
        cpu = skb.kernel.this_cpu
        if cpu is not None:
            for queue in self.tx_queues:
                if cpu.index in queue.xps:
                    return queue.index
        if skb.queue:
            return skb.queue % count
        return (skb.hash or flow_hash(skb)) * count >> 32

    def _set_mtu(self, mtu: int) -> None:
        """`ip link set mtu` of a device that does not mind."""
        self.mtu = mtu

    def set_features(self, wanted: dict[str, bool]) -> None:
        """Switch offloads (`netdev_update_features`); what needs another one follows it off, and
        on again.  Must run in a task, for the driver may have to tell the device."""
        features = {**self.features, **self.wanted_features, **wanted}
        self.wanted_features = {}
        for name, needs in _NEEDS:
            if features[name] and not features[needs]:
                self.wanted_features[name] = True
                features[name] = False
        self.features.update(features)
        if self.ethtool is not None:
            self.ethtool.set_features(wanted)
        self.core.features_changed(self)

    @property
    def qdisc(self) -> str:
        """Kind of the queueing discipline, the same for every queue."""
        return self.tx_queues[0].qdisc.kind

    def set_qdisc(self, create: Callable[[NetDevice], Qdisc]) -> None:
        """`tc qdisc replace dev ... root`; what waits is dropped (`qdisc_graft`)."""
        for queue in self.tx_queues:
            queue.purge(Drop.QDISC_REPLACED)
            queue.qdisc = create(self)

    def set_xdp(self, program: XdpProgram | None, queue: int | None = None) -> None:
        """`ip link set dev ... xdp`, for all queues or for one; None takes it off again."""
        xdp = Xdp(self) if self.xdp is None else self.xdp
        self.xdp = xdp if xdp.attach(program, queue) else None

    def mc_add(self, mac: bytes) -> None:
        """Receive the multicast address `mac`, too, as often as asked (`dev_mc_add`)."""
        self.mc_list[mac] = self.mc_list.get(mac, 0) + 1
        if self.mc_list[mac] == 1 and self.up:
            self.ops.set_rx_mode()

    def mc_del(self, mac: bytes) -> None:
        """Once for every `mc_add`."""
        self.mc_list[mac] -= 1
        if not self.mc_list[mac]:
            del self.mc_list[mac]
            if self.up:
                self.ops.set_rx_mode()

    def set_promiscuity(self, change: int) -> None:
        """`change` is +1 or, once for each of those, -1 (`dev_set_promiscuity`)."""
        before, self.promiscuity = self.promiscuity, self.promiscuity + change
        if self.up and bool(before) != bool(self.promiscuity):
            self.ops.set_rx_mode()

    def __repr__(self) -> str:
        return f"<NetDevice {self.name}{'' if self.up else ' down'}>"
