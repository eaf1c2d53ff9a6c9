"""ARP and its neighbour table (RFC 826; states of `net/core/neighbour.c`, RFC 4861 7.3.2).

Called by Ethernet for received ARP packets and by IP (`send`) for every packet on a link; calls
`Ethernet.send` once the link address is known, and `unreachable` for packets it gives up on.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable

from pystack.core.drop import Drop
from pystack.core.headers.arp import ARPOP_REPLY, ARPOP_REQUEST, ArpPacket
from pystack.core.headers.ethernet import ETH_BROADCAST, ETH_P_ARP, ETH_P_IP, is_multicast
from pystack.core.skb import SkBuff
from pystack.dev.netdev import NetDevice
from pystack.link.ethernet import Ethernet

MS = 1_000_000
SYSCTL = "net.ipv4.neigh.default."


class NudState(enum.Enum):
    INCOMPLETE = "INCOMPLETE"  # asked, no answer yet
    REACHABLE = "REACHABLE"  # confirmed lately
    STALE = "STALE"  # known, not confirmed lately
    DELAY = "DELAY"  # stale and in use: give the upper layer a chance to confirm
    PROBE = "PROBE"  # asking again, by unicast
    FAILED = "FAILED"


class Neighbour:
    """One entry of the table; `queue` holds packets that wait for the address."""

    def __init__(self, table: Arp, dev: NetDevice, ip: bytes) -> None:
        self.dev = dev
        self.ip = ip
        self.mac = b""
        self.state = NudState.INCOMPLETE
        self.queue: deque[SkBuff] = deque()
        self.probes = 0
        self.used = table.kernel.now
        self.timer = table.kernel.timer(lambda: table.timer_expired(self))


class Arp:
    """`is_local(dev, ip)` tells whether to answer; `unreachable(skb)` hears of a packet that
    found no neighbour, and must not free it."""

    def __init__(self, ethernet: Ethernet) -> None:
        self.ethernet = ethernet
        self.kernel = ethernet.kernel
        self.is_local: Callable[[NetDevice, bytes], bool] = lambda dev, ip: False
        self.source_for: Callable[[NetDevice, bytes], bytes] = lambda dev, ip: bytes(4)
        self.unreachable: Callable[[SkBuff], None] = lambda skb: None
        self.table: dict[tuple[str, bytes], Neighbour] = {}
        ethernet.register(ETH_P_ARP, self.receive)

    def send(self, skb: SkBuff, dev: NetDevice, next_hop: bytes) -> bool:
        """Send an IPv4 packet to the neighbour `next_hop` on `dev`; takes ownership.

        False if the device's queue is full; a packet may be lost otherwise, too.
        """
        neigh = self.table.get((dev.name, next_hop))
        if neigh is None:
            neigh = self._create(dev, next_hop)
            if neigh is None:
                self.kernel.drop(skb, Drop.NEIGH_QUEUE_FULL)
                return True
        neigh.used = self.kernel.now
        if neigh.state is NudState.FAILED:
            neigh.state = NudState.INCOMPLETE
            neigh.probes = 0
        if neigh.state is NudState.INCOMPLETE:
            if len(neigh.queue) >= self.kernel.sysctl[SYSCTL + "unres_qlen"]:
                self.kernel.drop(neigh.queue.popleft(), Drop.NEIGH_QUEUE_FULL)
            neigh.queue.append(skb)
            if not neigh.timer.pending:
                self._solicit(neigh)
            return True
        if neigh.state is NudState.STALE:
            neigh.state = NudState.DELAY
            delay = self.kernel.sysctl[SYSCTL + "delay_first_probe_time"]
            neigh.timer.mod(self.kernel.now + delay * 1000 * MS)
        return self.ethernet.send(skb, dev, neigh.mac, ETH_P_IP)

    def confirm(self, dev: NetDevice, ip: bytes) -> None:
        """TCP made progress through this neighbour: it is reachable (`dst_confirm`)."""
        neigh = self.table.get((dev.name, ip))
        if neigh is not None and neigh.mac:
            self._reachable(neigh)

    def receive(self, skb: SkBuff) -> None:
        packet = ArpPacket.parse(skb.data)
        if (
            packet is None
            or packet.op not in (ARPOP_REQUEST, ARPOP_REPLY)
            or is_multicast(packet.sender_mac)
        ):
            self.kernel.drop(skb, Drop.ARP_MALFORMED)
            return
        dev: NetDevice = skb.dev
        for_us = self.is_local(dev, packet.target_ip)
        if self.is_local(dev, packet.sender_ip):
            skb.free()  # somebody claims our address: never learn it
            return
        self._learn(dev, packet, for_us)
        if packet.op == ARPOP_REQUEST and for_us:
            self._transmit(dev, ARPOP_REPLY, packet.target_ip, packet.sender_mac, packet.sender_ip)
        skb.free()

    def timer_expired(self, neigh: Neighbour) -> None:
        now = self.kernel.now
        if neigh.state is NudState.REACHABLE:
            neigh.state = NudState.STALE
        elif neigh.state is NudState.DELAY:
            neigh.state = NudState.PROBE
            neigh.probes = 0
            self._solicit(neigh)
        elif neigh.state in (NudState.INCOMPLETE, NudState.PROBE):
            unicast = neigh.state is NudState.PROBE
            limit = "ucast_solicit" if unicast else "mcast_solicit"
            if neigh.probes < self.kernel.sysctl[SYSCTL + limit]:
                self._solicit(neigh)
            else:
                self._fail(neigh)
        neigh.used = max(neigh.used, now)

    def flush(self, dev: NetDevice) -> None:
        """Forget everything about `dev`, which goes down."""
        for key in [key for key in self.table if key[0] == dev.name]:
            neigh = self.table.pop(key)
            neigh.timer.delete()
            while neigh.queue:
                self.kernel.drop(neigh.queue.popleft(), Drop.DEV_DOWN)

    # -- inside ----------------------------------------------------------------------------

    def _create(self, dev: NetDevice, ip: bytes) -> Neighbour | None:
        if len(self.table) >= self.kernel.sysctl[SYSCTL + "gc_thresh3"]:
            victims = [
                n for n in self.table.values() if n.state in (NudState.STALE, NudState.FAILED)
            ]
            if not victims:
                return None
            oldest = min(victims, key=lambda n: n.used)
            oldest.timer.delete()
            del self.table[oldest.dev.name, oldest.ip]
        neigh = self.table[dev.name, ip] = Neighbour(self, dev, ip)
        return neigh

    def _learn(self, dev: NetDevice, packet: ArpPacket, for_us: bool) -> None:
        """Update a known sender; create an entry only for one who talks to us (RFC 826)."""
        neigh = self.table.get((dev.name, packet.sender_ip))
        if neigh is None:
            if not (for_us and packet.op == ARPOP_REQUEST) or packet.sender_ip == bytes(4):
                return
            neigh = self._create(dev, packet.sender_ip)
            if neigh is None:
                return
        solicited = packet.op == ARPOP_REPLY and for_us
        changed = neigh.mac != packet.sender_mac
        neigh.mac = packet.sender_mac
        if solicited:
            self._reachable(neigh)
        elif changed or neigh.state in (NudState.INCOMPLETE, NudState.FAILED):
            neigh.state = NudState.STALE
            neigh.timer.delete()
        while neigh.queue:
            self.ethernet.send(neigh.queue.popleft(), dev, neigh.mac, ETH_P_IP)

    def _reachable(self, neigh: Neighbour) -> None:
        neigh.state = NudState.REACHABLE
        base = self.kernel.sysctl[SYSCTL + "base_reachable_time_ms"]
        neigh.timer.mod(self.kernel.now + base * MS)

    def _solicit(self, neigh: Neighbour) -> None:
        neigh.probes += 1
        neigh.timer.mod(self.kernel.now + self.kernel.sysctl[SYSCTL + "retrans_time_ms"] * MS)
        target = neigh.mac if neigh.state is NudState.PROBE else b""
        source = self.source_for(neigh.dev, neigh.ip)
        self._transmit(neigh.dev, ARPOP_REQUEST, source, target, neigh.ip)

    def _fail(self, neigh: Neighbour) -> None:
        neigh.state = NudState.FAILED
        neigh.mac = b""
        while neigh.queue:
            skb = neigh.queue.popleft()
            self.unreachable(skb)
            self.kernel.drop(skb, Drop.NEIGH_FAILED)

    def _transmit(
        self, dev: NetDevice, op: int, source: bytes, target_mac: bytes, target_ip: bytes
    ) -> None:
        packet = ArpPacket(op, dev.mac, source, target_mac or bytes(6), target_ip)
        skb = SkBuff(self.kernel)
        skb.push(packet.pack())
        self.ethernet.send(skb, dev, target_mac or ETH_BROADCAST, ETH_P_ARP)
