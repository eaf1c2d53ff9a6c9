"""ARP (RFC 826): the neighbours of IPv4 on Ethernet (`net/ipv4/arp.c`).

Called by Ethernet for received ARP packets and by IPv4 (`send`) for every packet on a link.
"""

from __future__ import annotations

from collections.abc import Callable

from pystack.core.drop import Drop
from pystack.core.headers.arp import ARPOP_REPLY, ARPOP_REQUEST, ArpPacket
from pystack.core.headers.ethernet import ETH_BROADCAST, ETH_P_ARP, ETH_P_IP, is_multicast
from pystack.core.skb import SkBuff
from pystack.dev.netdev import NetDevice
from pystack.link.ethernet import Ethernet
from pystack.link.neighbour import Neighbour, NeighbourTable


class Arp(NeighbourTable):
    """`is_local(dev, ip)` tells whether to answer, `source_for(dev, ip)` who we are to `ip`,
    `accepts(dev)` whether announcements of strangers are believed."""

    def __init__(self, ethernet: Ethernet) -> None:
        super().__init__(ethernet, ETH_P_IP)
        self.is_local: Callable[[NetDevice, bytes], bool] = lambda dev, ip: False
        self.accepts: Callable[[NetDevice], bool] = lambda dev: False
        self.source_for: Callable[[NetDevice, bytes], bytes] = lambda dev, ip: bytes(4)
        ethernet.register(ETH_P_ARP, self.receive)

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
        request = packet.op == ARPOP_REQUEST
        # An entry is created only for one who talks to us (RFC 826), or where announcements may.
        self.update(
            dev,
            packet.sender_ip,
            packet.sender_mac,
            reachable=not request and for_us,
            create=any(packet.sender_ip) and (request if for_us else self._announced(dev, packet)),
        )
        if request and for_us:
            self._transmit(dev, ARPOP_REPLY, packet.target_ip, packet.sender_mac, packet.sender_ip)
        skb.free()

    def setting(self, dev: str, name: str) -> int:
        return self.kernel.sysctl[f"net.ipv4.neigh.{dev}.{name}"]

    def solicit(self, neigh: Neighbour, mac: bytes) -> None:
        source = self.source_for(neigh.dev, neigh.ip)
        self._transmit(neigh.dev, ARPOP_REQUEST, source, mac, neigh.ip)

    def announce(self, dev: NetDevice, ip: bytes) -> None:
        """Tell all that `ip` is here: a gratuitous ARP (RFC 5227, 3)."""
        self._transmit(dev, ARPOP_REQUEST, ip, b"", ip)

    def _announced(self, dev: NetDevice, packet: ArpPacket) -> bool:
        """Is it a gratuitous ARP, and does arp_accept let strangers in by that?"""
        return packet.sender_ip == packet.target_ip and self.accepts(dev)

    def _transmit(
        self, dev: NetDevice, op: int, source: bytes, target_mac: bytes, target_ip: bytes
    ) -> None:
        packet = ArpPacket(op, dev.mac, source, target_mac or bytes(6), target_ip)
        skb = SkBuff(self.kernel)
        skb.push(packet.pack())
        self.ethernet.send(skb, dev, target_mac or ETH_BROADCAST, ETH_P_ARP)
