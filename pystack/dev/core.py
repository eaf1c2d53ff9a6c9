"""The device layer's core (`net/core/dev.c`): packets in from drivers, out to drivers.

Receive: driver -> `receive_skb` -> taps -> link layer (registered by it).
Send: link layer -> `queue_xmit` -> qdisc -> driver.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

from pystack.core.drop import Drop
from pystack.core.kernel import Kernel
from pystack.core.skb import CHECKSUM_PARTIAL, SkBuff
from pystack.dev.gso import segments, validate_xmit
from pystack.dev.netdev import NetDevice, TxQueue
from pystack.dev.softnet import Softnet

Tap = Callable[[NetDevice, SkBuff, bool], None]
"""`tap(dev, skb, outgoing)` sees the whole frame; it must copy what it keeps."""


class NetdevEvent(enum.Enum):
    """What happens to a device (`NETDEV_*` of linux/netdevice.h)."""

    REGISTER = enum.auto()
    UP = enum.auto()
    DOWN = enum.auto()
    CHANGE = enum.auto()  # the link came or went
    FEAT_CHANGE = enum.auto()


class NetCore:
    """The devices of one network namespace.  `softnet` is that of the machine, made here for its
    first namespace.  `notifiers` are told of every event of a device
    (`register_netdevice_notifier`)."""

    def __init__(self, kernel: Kernel, softnet: Softnet | None = None) -> None:
        self.kernel = kernel
        self.softnet = Softnet(kernel) if softnet is None else softnet
        self.devices: dict[str, NetDevice] = {}
        self.notifiers: list[Callable[[NetdevEvent, NetDevice], None]] = []
        self.taps: list[Tap] = []
        self._link_receive: Callable[[SkBuff], None] | None = None
        self._tp_receive = kernel.trace.point("netif_receive_skb", "packet_id", "dev", "length")
        self._tp_xmit = kernel.trace.point("net_dev_start_xmit", "packet_id", "dev", "length")

    def register(self, dev: NetDevice) -> None:
        """Give the device its ifindex and a place in the table (`register_netdevice`)."""
        if dev.name in self.devices:
            raise ValueError(f"device {dev.name} exists")
        dev.core = self
        dev.ifindex = len(self.devices) + 1
        self.devices[dev.name] = dev
        self._notify(NetdevEvent.REGISTER, dev)

    def _notify(self, event: NetdevEvent, dev: NetDevice) -> None:
        for notifier in self.notifiers:
            notifier(event, dev)

    def features_changed(self, dev: NetDevice) -> None:
        """`netdev_features_change`"""
        self._notify(NetdevEvent.FEAT_CHANGE, dev)

    def set_carrier(self, dev: NetDevice, up: bool) -> None:
        """The link came or went (`netif_carrier_on`)."""
        if dev.carrier != up:
            dev.carrier = up
            self.kernel.log(6, f"{dev.name}: Link is {'Up' if up else 'Down'}")
            self._notify(NetdevEvent.CHANGE, dev)

    def register_link(self, receive: Callable[[SkBuff], None]) -> None:
        """The link layer names its receive function."""
        self._link_receive = receive

    def open(self, dev: NetDevice) -> None:
        """`ip link set up`; must run in a task."""
        if not dev.up:
            dev.ops.open()
            dev.up = True
            self._notify(NetdevEvent.UP, dev)

    def stop(self, dev: NetDevice) -> None:
        """`ip link set down`: queued packets are dropped, the driver gives everything back."""
        if dev.up:
            dev.up = False
            dev.ops.stop()
            for queue in dev.tx_queues:
                queue.stopped = False
                queue.purge(Drop.DEV_DOWN)
            self._notify(NetdevEvent.DOWN, dev)

    # -- receive ---------------------------------------------------------------------------

    def receive_skb(self, skb: SkBuff) -> None:
        """A frame that GRO shall not see (`netif_receive_skb`); `skb.dev` is set."""
        self.count_received(skb)
        self.deliver(skb)

    def count_received(self, skb: SkBuff) -> None:
        """Books and taps; they see each frame as it came, before GRO."""
        dev: NetDevice = skb.dev
        length = skb.end - skb.off + skb.data_len  # GRO may have merged it below a VLAN
        stats = dev.stats
        stats.rx_packets += 1
        stats.rx_bytes += length
        if self._tp_receive.enabled:
            self._tp_receive(skb.packet_id, dev.name, length)
        for tap in self.taps:
            tap(dev, skb, False)

    def deliver(self, skb: SkBuff) -> None:
        """Up to the link layer, on the CPU that RPS names."""
        rps = skb.dev.rps
        if rps is None or not rps.steer(skb):
            self.deliver_here(skb)

    def deliver_here(self, skb: SkBuff) -> None:
        """Up to the link layer, unless the device belongs to another (`rx_handler`)."""
        cpu = self.kernel.this_cpu or self.kernel.cpu
        self.softnet.data[cpu.index].processed += 1
        for taken in skb.dev.rx_handlers:
            if taken(skb):
                return
        assert self._link_receive is not None, "no link layer registered"
        self._link_receive(skb)

    def netif_rx(self, skb: SkBuff) -> None:
        """For devices without NAPI: onto this CPU's backlog, or where RPS says (`netif_rx`)."""
        self.count_received(skb)
        rps = skb.dev.rps
        if rps is None or not rps.steer(skb):
            self.softnet.enqueue(skb, self.kernel.cpu.index)

    # -- transmit --------------------------------------------------------------------------

    def queue_xmit(self, skb: SkBuff) -> bool:
        """A whole frame for `skb.dev`, into queue `skb.queue` (`dev_queue_xmit`).

        False if the device's queue is full: congestion within the host.
        """
        dev: NetDevice = skb.dev
        if not dev.up:
            self.kernel.drop(skb, Drop.DEV_DOWN)
            return True
        if skb.ip_summed == CHECKSUM_PARTIAL or skb.frags is not None or skb.vlan_tci >= 0:
            parts = validate_xmit(skb, dev.features)
            return all([self._enqueue(dev, part) for part in parts])
        return self._enqueue(dev, skb)

    def _enqueue(self, dev: NetDevice, skb: SkBuff) -> bool:
        queues = dev.tx_queues
        queue = queues[0] if len(queues) == 1 else queues[dev.pick_tx(skb)]
        if not queue.qdisc.enqueue(skb):
            return False
        cpu = self.kernel.cpu
        cpu.local_bh_disable()
        self.qdisc_run(dev, queue)
        cpu.local_bh_enable()
        return True

    def xmit_direct(self, dev: NetDevice, queue: int, skbs: list[SkBuff]) -> None:
        """Frames past the queueing discipline, from softirq; lost if the ring is full."""
        tx = dev.tx_queues[queue % len(dev.tx_queues)]
        room = dev.up and not tx.stopped
        for skb in skbs:
            skb.dev = dev
            if room:
                tx.requeued.append(skb)
            else:
                dev.stats.tx_dropped += 1
                self.kernel.drop(skb, Drop.XDP_TX_FULL if dev.up else Drop.DEV_DOWN)
        self.qdisc_run(dev, tx)

    def wake_queue(self, dev: NetDevice, queue: int) -> None:
        """The driver's ring has room again (`netif_tx_wake_queue`)."""
        tx = dev.tx_queues[queue]
        if tx.stopped:
            tx.stopped = False
            self.softnet.wake_tx(dev, tx)

    def tx_completed(self, dev: NetDevice, queue: int, length: int) -> None:
        """The driver's ring has let go of `length` bytes (`netdev_tx_completed_queue`)."""
        tx = dev.tx_queues[queue]
        if tx.dql is not None and tx.dql.completed(length, self.kernel.now):
            self.softnet.wake_tx(dev, tx)

    def qdisc_run(self, dev: NetDevice, queue: TxQueue) -> None:
        """Give the driver what may leave now, as long as it takes it (`__qdisc_run`)."""
        if queue.running:  # another CPU, or the code we interrupted, is at it
            return
        queue.running = True
        requeued, qdisc = queue.requeued, queue.qdisc
        skb = requeued.popleft() if requeued else qdisc.dequeue()
        dql = queue.dql
        while skb is not None and not queue.stopped and dev.up and (dql is None or not dql.full):
            following = requeued.popleft() if requeued else qdisc.dequeue()
            if not self._start_xmit(dev, queue, skb, following is not None):
                queue.stopped = True
                qdisc.stats.requeues += 1
                if following is not None:
                    requeued.appendleft(following)
                break
            skb = following
        if skb is not None:
            requeued.appendleft(skb)
        elif (when := qdisc.next_time()) is not None:
            self._watch(dev, queue, when)
        queue.running = False

    def _start_xmit(self, dev: NetDevice, queue: TxQueue, skb: SkBuff, more: bool) -> bool:
        length, packets = len(skb), 1
        if skb.gso_size:
            packets, length = segments(skb)
        if self._tp_xmit.enabled:
            self._tp_xmit(skb.packet_id, dev.name, length)
        for tap in self.taps:
            tap(dev, skb, True)
        if skb.tx_software is not None:
            skb.tx_software(self.kernel.now)
            skb.tx_software = None
        if not dev.ops.start_xmit(skb, queue.index, more):
            return False
        stats = queue.qdisc.stats
        stats.packets += packets
        stats.bytes += length
        dev.stats.tx_packets += packets
        dev.stats.tx_bytes += length
        return True

    def _watch(self, dev: NetDevice, queue: TxQueue, when: int) -> None:
        """`qdisc_watchdog_schedule_ns`"""
        if queue.watchdog is None:
            queue.watchdog = self.kernel.timer(lambda: self.qdisc_run(dev, queue))
        queue.watchdog.mod(when)
