"""Redirects of IPv6 (RFC 4861, 8; `ndisc_send_redirect`, `rt6_do_redirect`).

Called by `ip6_output` when a packet leaves by the link it came on, and by `ndisc` for messages;
tells `route6` of better routers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.core.headers.ethernet import is_multicast as is_group_mac
from pystack.core.headers.icmpv6 import (
    ICMPV6_HLEN,
    ND_OPT_REDIRECT_HDR,
    ND_OPT_TARGET_LL_ADDR,
    NDISC_REDIRECT,
    link_address_option,
)
from pystack.core.headers.ipv6 import (
    ALL_NODES,
    IPV6_HLEN,
    IPV6_MIN_MTU,
    is_linklocal,
    is_multicast,
)
from pystack.core.skb import SkBuff
from pystack.dev.netdev import NetDevice

if TYPE_CHECKING:
    from pystack.net.ipv6 import Ipv6
    from pystack.net.ndisc import Ndisc

INTERVAL = 1000  # ms; one to a source and about a destination, in bursts of six
_FIXED = ICMPV6_HLEN + 32

Options = dict[int, bytes]
"""Those of a message of neighbour discovery, the first of each type."""


class Redirects:
    def __init__(self, ip: Ipv6, ndisc: Ndisc) -> None:
        self._ip = ip
        self._ndisc = ndisc

    def send(self, skb: SkBuff, target: bytes) -> None:
        """Tell the source of a packet to be forwarded that `target`, on its link, is nearer.

        Only a source on the link, and of another router only its link-local address."""
        dev: NetDevice = skb.dev
        saddr = self._ip.addrconf.source_for(dev, ALL_NODES) or b""
        if not is_linklocal(saddr) or not (target == skb.daddr or is_linklocal(target)):
            return
        limits = self._ip.icmp.limits
        if not limits.xrlim_allow(skb.daddr, INTERVAL) or not self._neighbour(dev, skb.saddr):
            return
        if not limits.xrlim_allow(skb.saddr, INTERVAL):
            return
        neigh = self._ndisc.table.get((dev.name, target))
        mac = neigh.mac if neigh is not None else b""
        body = target + skb.daddr
        if mac:
            body += link_address_option(ND_OPT_TARGET_LL_ADDR, mac)
        room = (IPV6_MIN_MTU - IPV6_HLEN - ICMPV6_HLEN - len(body)) & ~7
        length = min(room, (skb.end - skb.off + 8) & ~7)
        body += bytes((ND_OPT_REDIRECT_HDR, length >> 3)) + bytes(6)
        body += bytes(skb.buf[skb.off : skb.off + length - 8])
        self._ndisc.transmit(dev, saddr, skb.saddr, NDISC_REDIRECT, 0, body)

    def _neighbour(self, dev: NetDevice, address: bytes) -> bool:
        if is_linklocal(address):
            return True
        entry = self._ip.routing.fib.lookup(address)
        return entry is not None and entry.dev is dev and not entry.gateway

    def receive(self, skb: SkBuff, target: bytes, daddr: bytes, options: Options) -> bool:
        """False if it is malformed (RFC 4861, 8.1); a router, and who does not accept any, only
        looks at it."""
        dev: NetDevice = skb.dev
        mac = options.get(ND_OPT_TARGET_LL_ADDR)
        on_link = target == daddr
        if not is_linklocal(skb.saddr) or is_multicast(daddr):
            return False
        if not (on_link or is_linklocal(target)) or not (mac is None or usable_mac(mac)):
            return False
        if self._ip.forwarding or not self._ip.addrconf.conf(dev, "accept_redirects"):
            return True
        if not self._ip.routing.redirect(dev, daddr, skb.saddr, b"" if on_link else target):
            return True
        self._ndisc.confirm(dev, skb.saddr)  # it has forwarded a packet of ours
        if mac is not None:
            neigh = self._ndisc.update(dev, target, mac, create=True)
            if neigh is not None and not on_link:
                neigh.is_router = True
        return True


def usable_mac(mac: bytes | None) -> bool:
    return mac is not None and len(mac) == 6 and not is_group_mac(mac)
