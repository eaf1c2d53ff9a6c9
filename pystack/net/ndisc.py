"""Neighbour discovery (RFC 4861; `net/ipv6/ndisc.c`): the neighbours of IPv6.

The states are `NeighbourTable`'s; here are the messages.  Called by `ip6_output` (`send`), by
ICMPv6 for received messages and by `addrconf` for addresses on trial.  Router advertisements go on
to `ra`, redirects to `redirect6`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.core.drop import Drop
from pystack.core.headers.ethernet import ETH_P_IPV6
from pystack.core.headers.icmpv6 import (
    ND_NA_OVERRIDE,
    ND_NA_ROUTER,
    ND_NA_SOLICITED,
    ND_OPT_SOURCE_LL_ADDR,
    ND_OPT_TARGET_LL_ADDR,
    NDISC_NEIGHBOUR_ADVERTISEMENT,
    NDISC_NEIGHBOUR_SOLICITATION,
    NDISC_REDIRECT,
    NDISC_ROUTER_ADVERTISEMENT,
    NDISC_ROUTER_SOLICITATION,
    Icmpv6Header,
    link_address_option,
    pack_message,
    parse_options,
)
from pystack.core.headers.ipv6 import (
    ALL_NODES,
    ANY,
    IPPROTO_ICMPV6,
    Ipv6Header,
    is_multicast,
    solicited_node,
)
from pystack.core.skb import SkBuff
from pystack.dev.netdev import NetDevice
from pystack.link.neighbour import Neighbour, NeighbourTable
from pystack.net import ip6_output
from pystack.net.redirect6 import Options, Redirects, usable_mac
from pystack.net.route import Route

if TYPE_CHECKING:
    from pystack.net.ipv6 import Ipv6

HOP_LIMIT = 255  # proves that a message comes from the link
TARGET = slice(8, 24)
_COUNTERS = {
    NDISC_ROUTER_SOLICITATION: "RouterSolicits",
    NDISC_ROUTER_ADVERTISEMENT: "RouterAdvertisements",
    NDISC_NEIGHBOUR_SOLICITATION: "NeighborSolicits",
    NDISC_NEIGHBOUR_ADVERTISEMENT: "NeighborAdvertisements",
    NDISC_REDIRECT: "Redirects",
}
_FIXED = {NDISC_ROUTER_SOLICITATION: 8, NDISC_ROUTER_ADVERTISEMENT: 16, NDISC_REDIRECT: 40}


class Ndisc(NeighbourTable):
    def __init__(self, ip: Ipv6) -> None:
        super().__init__(ip.ethernet, ETH_P_IPV6)
        self.ip = ip
        self.unreachable = ip.icmp.neighbour_failed
        self.redirects = Redirects(ip, self)
        for icmp_type in _COUNTERS:
            ip.icmp.register(icmp_type, self.receive)

    def setting(self, dev: str, name: str) -> int:
        return self.kernel.sysctl[f"net.ipv6.neigh.{dev}.{name}"]

    # -- receive ---------------------------------------------------------------------------

    def receive(self, skb: SkBuff, header: Icmpv6Header) -> None:
        """RFC 4861, 7.1 and 6.1: only from the link, and well formed (`ndisc_rcv`)."""
        self.kernel.mib["Icmp6In" + _COUNTERS[header.type]] += 1
        message = bytes(skb.data)
        hop_limit = skb.buf[skb.network_header + 7]
        fixed = _FIXED.get(header.type, 24)
        options = parse_options(message[fixed:]) if len(message) >= fixed else None
        if hop_limit != HOP_LIMIT or header.code or options is None:
            self.kernel.drop(skb, Drop.NDISC_MALFORMED)
            return
        first: Options = {}
        for kind, value in options:
            first.setdefault(kind, value)
        if header.type == NDISC_NEIGHBOUR_SOLICITATION:
            good = self._solicited(skb, message[TARGET], first)
        elif header.type == NDISC_NEIGHBOUR_ADVERTISEMENT:
            good = self._advertised(skb, message[TARGET], header.word >> 24, first)
        elif header.type == NDISC_ROUTER_ADVERTISEMENT:
            good = self.ip.addrconf.routers.receive(skb, message, first, options)
        elif header.type == NDISC_REDIRECT:
            good = self.redirects.receive(skb, message[TARGET], message[24:40], first)
        else:
            good = True  # RS: we are no router that advertises
        if good:
            skb.free()
        else:
            self.kernel.drop(skb, Drop.NDISC_MALFORMED)

    def _solicited(self, skb: SkBuff, target: bytes, options: Options) -> bool:
        """Somebody asks for an address, or wants to have it (RFC 4861, 7.2.3; RFC 4862, 5.4.3)."""
        dev: NetDevice = skb.dev
        mac = options.get(ND_OPT_SOURCE_LL_ADDR)
        dad = not any(skb.saddr)
        if is_multicast(target) or (dad and (mac or skb.daddr != solicited_node(target))):
            return False
        address = self.ip.addrconf.find(target, dev)
        if address is None:
            return True
        if address.tentative:
            if dad:
                self.ip.addrconf.dad_failed(address)
            return True
        if dad:
            self._advertise(dev, target, ALL_NODES, 0)
            return True
        if usable_mac(mac):
            self.update(dev, skb.saddr, mac or b"", create=True)
        elif is_multicast(skb.daddr):
            return False
        self._advertise(dev, target, skb.saddr, ND_NA_SOLICITED)
        return True

    def _advertised(self, skb: SkBuff, target: bytes, flags: int, options: Options) -> bool:
        """RFC 4861, 7.2.5."""
        dev: NetDevice = skb.dev
        if is_multicast(target) or (is_multicast(skb.daddr) and flags & ND_NA_SOLICITED):
            return False
        address = self.ip.addrconf.find(target, dev)
        if address is not None:
            if address.tentative:
                self.ip.addrconf.dad_failed(address)
            return True  # else somebody claims what is ours: we know better
        neigh = self.table.get((dev.name, target))
        mac = options.get(ND_OPT_TARGET_LL_ADDR)
        if neigh is None or not (usable_mac(mac) or (mac is None and neigh.mac)):
            return True
        solicited, override = bool(flags & ND_NA_SOLICITED), bool(flags & ND_NA_OVERRIDE)
        self.update(dev, target, mac or neigh.mac, reachable=solicited, override=override)
        was_router, neigh.is_router = neigh.is_router, bool(flags & ND_NA_ROUTER)
        if was_router and not neigh.is_router:
            self.ip.addrconf.routers.forget(dev, target)
        return True

    # -- send ------------------------------------------------------------------------------

    def solicit(self, neigh: Neighbour, mac: bytes) -> None:
        """From the address of the packet that waits, if it is ours (RFC 4861, 7.2.2)."""
        dev = neigh.dev
        source = bytes(neigh.queue[0])[8:24] if neigh.queue else b""
        if not source or self.ip.addrconf.usable(source, dev) is None:
            source = self.ip.addrconf.source_for(dev, neigh.ip) or b""
        if source:
            body = neigh.ip + link_address_option(ND_OPT_SOURCE_LL_ADDR, dev.mac)
            daddr = neigh.ip if mac else solicited_node(neigh.ip)
            self.transmit(dev, source, daddr, NDISC_NEIGHBOUR_SOLICITATION, 0, body)

    def solicit_duplicate(self, dev: NetDevice, target: bytes) -> None:
        """Has anybody this address, which we want? (RFC 4862, 5.4.2)"""
        self.transmit(dev, ANY, solicited_node(target), NDISC_NEIGHBOUR_SOLICITATION, 0, target)

    def _advertise(self, dev: NetDevice, target: bytes, daddr: bytes, flags: int) -> None:
        flags |= ND_NA_OVERRIDE | (ND_NA_ROUTER if self.ip.forwarding else 0)
        body = target + link_address_option(ND_OPT_TARGET_LL_ADDR, dev.mac)
        self.transmit(dev, target, daddr, NDISC_NEIGHBOUR_ADVERTISEMENT, flags << 24, body)

    def transmit(
        self, dev: NetDevice, saddr: bytes, daddr: bytes, icmp_type: int, word: int, body: bytes
    ) -> None:
        message = pack_message(saddr, daddr, icmp_type, 0, word, body)
        mib = self.kernel.mib
        mib["Icmp6OutMsgs"] += 1
        mib[f"Icmp6OutType{icmp_type}"] += 1
        mib["Icmp6Out" + _COUNTERS[icmp_type]] += 1
        skb = SkBuff(self.kernel, memoryview(message))
        header = Ipv6Header(len(message), IPPROTO_ICMPV6, saddr, daddr, HOP_LIMIT)
        ip6_output.send(self.ip, skb, Route(dev, saddr, b"", dev.mtu), header, True)
