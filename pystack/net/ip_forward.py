"""Packets that are for somebody else (`net/ipv4/ip_forward.c`).

Called by input when the route leads on; calls the hook FORWARD and `Output`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.core.drop import Drop
from pystack.core.headers import frame
from pystack.core.headers.icmp import (
    ICMP_DEST_UNREACH,
    ICMP_EXC_TTL,
    ICMP_FRAG_NEEDED,
    ICMP_REDIR_HOST,
    ICMP_REDIRECT,
    ICMP_TIME_EXCEEDED,
)
from pystack.core.headers.ipv4 import IP_DF
from pystack.core.skb import SkBuff
from pystack.dev.gso import longest
from pystack.net.hooks import Change, Hook, Sum, read, rewrite

if TYPE_CHECKING:
    from pystack.net.ipv4 import Ipv4
    from pystack.net.route import Route

_TTL, _CHECKSUM = 8, 10
_NUMBER = 9  # net.ipv4.route.redirect_number
_LOAD = 20_000_000  # ns; redirect_load, doubled each time
_SILENCE = _LOAD << _NUMBER + 1  # redirect_silence
_SENDERS = 1024


class Forward:
    def __init__(self, ipv4: Ipv4) -> None:
        self._ipv4 = ipv4
        self._kernel = ipv4.kernel
        self.redirects = Redirects(ipv4)

    def ip_forward(self, skb: SkBuff) -> None:
        """One router on the way of a packet (RFC 1812, 5.2.1)."""
        ipv4, kernel = self._ipv4, self._kernel
        route: Route = skb.dst
        if skb.headers[0][0] & 1:  # broadcast on the link: not meant for a router (5.3.4)
            kernel.drop(skb, Drop.IP_NOT_FORWARDED)
            return
        ttl = read(skb, _TTL, 1)[0]
        if ttl <= 1:
            kernel.mib["IpInHdrErrors"] += 1
            ipv4.icmp_send(skb, ICMP_TIME_EXCEEDED, ICMP_EXC_TTL, 0)
            kernel.drop(skb, Drop.IP_TTL_EXCEEDED)
            return
        kernel.mib["IpForwDatagrams"] += 1
        mtu = ipv4.forward_mtu(route)
        if longest(skb) > mtu and skb.headers[frame.FRAGMENT] & IP_DF:
            kernel.mib["IpFragFails"] += 1
            ipv4.icmp_send(skb, ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED, mtu)
            kernel.drop(skb, Drop.IP_TOO_BIG)
            return
        if route.dev is skb.dev and self._same_link(skb, route):
            self.redirects.send(skb, route)
        word = bytes((ttl - 1, skb.protocol))
        rewrite(skb, [Change(_TTL, word, (Sum(_CHECKSUM),))])
        if ipv4.hooks.active[Hook.FORWARD]:
            ipv4.hooks.run(Hook.FORWARD, skb, skb.dev, route.dev, self.ip_forward_finish)
        else:
            self.ip_forward_finish(skb)

    def _same_link(self, skb: SkBuff, route: Route) -> bool:
        """Could the sender have reached the next hop itself (`__mkroute_input`)?"""
        if self._ipv4.routing.conf_any("shared_media", skb.dev):
            return True
        return self._ipv4.devinet.on_link(skb.dev, skb.saddr, route.gateway or skb.daddr)

    def ip_forward_finish(self, skb: SkBuff) -> int:
        return self._ipv4.output.ip_output(skb)


class Redirects:
    """`ip_rt_send_redirect`: a sender that takes a detour through us is told of the better router,
    less and less often, and after nine times not at all."""

    def __init__(self, ipv4: Ipv4) -> None:
        self._ipv4 = ipv4
        self._kernel = ipv4.kernel
        self._senders: dict[bytes, tuple[int, int]] = {}  # told how often, and when last

    def send(self, skb: SkBuff, route: Route) -> None:
        now = self._kernel.now
        if not self._ipv4.routing.conf_any("send_redirects", skb.dev):
            return
        told, last = self._senders.get(skb.saddr, (0, 0))
        if now - last > _SILENCE:
            told = 0
        if told >= _NUMBER:
            self._senders[skb.saddr] = told, now
            return
        if told and now - last <= _LOAD << told:
            return
        if len(self._senders) >= _SENDERS:
            self._senders.clear()
        self._senders[skb.saddr] = told + 1, now
        gateway = int.from_bytes(route.gateway or skb.daddr, "big")
        self._ipv4.icmp_send(skb, ICMP_REDIRECT, ICMP_REDIR_HOST, gateway)
