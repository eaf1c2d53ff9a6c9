"""Received IPv4 packets: checked, routed, delivered (`net/ipv4/ip_input.c`).

Called by Ethernet; calls the hooks PRE_ROUTING and LOCAL_IN, the protocol registered with `Ipv4`,
or `Forward`.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from pystack.core.checksum import ones_sum
from pystack.core.drop import Drop
from pystack.core.headers import frame
from pystack.core.headers.ethernet import ETH_P_IP
from pystack.core.headers.icmp import (
    ICMP_DEST_UNREACH,
    ICMP_HOST_UNREACH,
    ICMP_NET_UNREACH,
    ICMP_PARAMETERPROB,
    ICMP_PKT_FILTERED,
    ICMP_PROT_UNREACH,
)
from pystack.core.headers.ipv4 import ECN_MASK, IP_HLEN, IP_MF, IP_OFFSET_MASK
from pystack.core.skb import SkBuff
from pystack.net.devinet import SCOPE_GLOBAL
from pystack.net.fib import RouteType
from pystack.net.hooks import Change, Hook, Sum, read, rewrite
from pystack.net.inet_fragment import DefragUser
from pystack.net.ip_options import OptionError, compile_options
from pystack.net.martians import Martians
from pystack.net.route import Route

if TYPE_CHECKING:
    from pystack.net.ipv4 import Ipv4

_ECN_COUNTERS = ("IpExtInNoECTPkts", "IpExtInECT1Pkts", "IpExtInECT0Pkts", "IpExtInCEPkts")
_PRE_ROUTING, _LOCAL_IN = Hook.PRE_ROUTING, Hook.LOCAL_IN
_COUNTERS = {
    Drop.IP_TOO_SHORT: "IpInHdrErrors",
    Drop.IP_BAD_HEADER: "IpInHdrErrors",
    Drop.IP_BAD_CHECKSUM: "IpExtInCsumErrors",
    Drop.IP_TRUNCATED: "IpExtInTruncatedPkts",
    Drop.IP_OTHER_ADDRESS: "IpInAddrErrors",
}
_TO_ONE = {RouteType.LOCAL, RouteType.UNICAST, RouteType.UNREACHABLE}
_REFUSALS = {
    errno.EHOSTUNREACH: ICMP_HOST_UNREACH,
    errno.ENETUNREACH: ICMP_NET_UNREACH,
    errno.EACCES: ICMP_PKT_FILTERED,
}


class Input:
    def __init__(self, ipv4: Ipv4) -> None:
        self._ipv4 = ipv4
        self._kernel = ipv4.kernel
        self._active = ipv4.hooks.active
        self._routing = ipv4.routing
        self._martians = Martians(ipv4.kernel, ipv4.routing)
        self._tp_rcv = self._kernel.trace.point("ip_rcv", "packet_id", "length")
        ipv4.ethernet.register(ETH_P_IP, self.ip_rcv)

    def ip_rcv(self, skb: SkBuff) -> None:
        """A packet from a link; `skb.off` is at its header, and stays there for the hooks."""
        kernel, mib = self._kernel, self._kernel.mib
        kernel.charge(kernel.costs.ip_packet)
        mib["IpInReceives"] += 1
        mib["IpExtInOctets"] += skb.end - skb.off + skb.data_len
        mib[_ECN_COUNTERS[skb.headers[frame.TOS] & ECN_MASK]] += 1
        if self._tp_rcv.enabled:
            for part in skb.parts():
                self._tp_rcv(part.packet_id, len(part))
        reason = _parse(skb)
        if reason is not None:
            self._drop(skb, reason)
        elif self._active[_PRE_ROUTING]:
            self._ipv4.hooks.run(_PRE_ROUTING, skb, skb.dev, None, self.ip_rcv_finish)
        else:
            self.ip_rcv_finish(skb)

    def _drop(self, skb: SkBuff, reason: Drop) -> None:
        counter = _COUNTERS.get(reason)
        if counter is not None:
            self._kernel.mib[counter] += 1
        self._kernel.drop(skb, reason)

    def ip_rcv_finish(self, skb: SkBuff) -> int:
        """Find out where it goes."""
        route = skb.dst or self._routing.inputs.get((skb.saddr, skb.daddr, skb.dev))
        if route is None:
            found = self._ipv4.route_input.resolve(skb)
            if isinstance(found, Drop):
                self._martians.log(skb, found)
                self._drop(skb, found)
                return 0
            route = found
        skb.dst = route
        if skb.headers[0][0] & 1 and route.kind in _TO_ONE and self._unicast_only(skb):
            self._kernel.drop(skb, Drop.IP_UNICAST_IN_L2_MULTICAST)
            return 0
        if skb.transport_header - skb.off > IP_HLEN and not self.ip_rcv_options(skb, route):
            return 0
        assert route.input is not None, "a route for sending only"
        route.input(skb)
        return 0

    def _unicast_only(self, skb: SkBuff) -> bool:
        """Is what a frame brings to everybody to have such an address, too (RFC 1122, 3.3.6)?"""
        return self._routing.conf_any("drop_unicast_in_l2_multicast", skb.dev)

    def ip_rcv_options(self, skb: SkBuff, route: Route) -> bool:
        """Fill in what options ask for; False if they were the packet's end (RFC 7126)."""
        ipv4 = self._ipv4
        options = read(skb, IP_HLEN, skb.transport_header - skb.off - IP_HLEN)
        if route.kind is RouteType.UNICAST:
            nexthop = route.gateway or skb.daddr
            address = ipv4.devinet.select(route.dev, nexthop, SCOPE_GLOBAL) or bytes(4)
        else:
            address = ipv4.specific_destination(skb)
        try:
            new, source_route = compile_options(options, ipv4.recorder(address))
        except OptionError as error:
            self._kernel.mib["IpInHdrErrors"] += 1
            ipv4.icmp_send(skb, ICMP_PARAMETERPROB, 0, error.pointer << 24)
            self._kernel.drop(skb, Drop.IP_BAD_OPTION)
            return False
        if source_route:  # the sender has no business choosing the way
            self._kernel.drop(skb, Drop.IP_SOURCE_ROUTE)
            return False
        if new != options:
            rewrite(skb, [Change(IP_HLEN, new, (Sum(10),))])
        return True

    # -- for us ----------------------------------------------------------------------------

    def ip_local_deliver(self, skb: SkBuff) -> None:
        """To a socket here, put together first if it is a fragment."""
        if skb.headers[frame.FRAGMENT] & (IP_MF | IP_OFFSET_MASK):
            whole = self._ipv4.reassembly.ip_defrag(skb, DefragUser.LOCAL_DELIVER)
            if whole is None:
                return
            skb = whole
        if self._active[_LOCAL_IN]:
            self._ipv4.hooks.run(_LOCAL_IN, skb, skb.dev, None, self.ip_local_deliver_finish)
        else:
            self.ip_local_deliver_finish(skb)

    def ip_local_deliver_finish(self, skb: SkBuff) -> int:
        """Raw sockets see it first, and none complains if they did (`ip_protocol_deliver_rcu`)."""
        ipv4, kernel = self._ipv4, self._kernel
        skb.off = skb.transport_header
        raw = ipv4.raw_deliver is not None and ipv4.raw_deliver(skb)
        handler = ipv4.handlers.get(skb.protocol)
        if handler is not None:
            kernel.mib["IpInDelivers"] += 1
            handler(skb)
        elif raw:
            kernel.mib["IpInDelivers"] += 1
            skb.free()
        else:
            kernel.mib["IpInUnknownProtos"] += 1
            ipv4.icmp_send(skb, ICMP_DEST_UNREACH, ICMP_PROT_UNREACH, 0)
            kernel.drop(skb, Drop.IP_UNKNOWN_PROTOCOL)
        return 0

    def ip_error(self, skb: SkBuff) -> None:
        """A route refuses it: tell the sender, or not (`ip_error`)."""
        code = _REFUSALS.get(skb.dst.error)
        if code == ICMP_NET_UNREACH:
            self._kernel.mib["IpExtInNoRoutes"] += 1
        if code is not None:
            self._ipv4.icmp_send(skb, ICMP_DEST_UNREACH, code, 0)
        self._kernel.drop(skb, Drop.IP_NO_ROUTE)


def _parse(skb: SkBuff) -> Drop | None:
    """RFC 1122, 3.2.1: header, checksum, length; the fields go into `skb`, padding is cut off."""
    off = skb.off
    length = skb.end - off
    if length < IP_HLEN:
        return Drop.IP_TOO_SHORT
    first, skb.tos, total, _, _, _, protocol, _, src, dst = skb.headers[frame.IPV4]
    hlen = (first & 15) << 2
    if first >> 4 != 4 or hlen < IP_HLEN:
        return Drop.IP_BAD_HEADER
    if length < total or length < hlen:
        return Drop.IP_TRUNCATED
    if total < hlen:
        return Drop.IP_BAD_HEADER
    if ones_sum(skb.buf[off : off + hlen]) != 0xFFFF:
        return Drop.IP_BAD_CHECKSUM
    skb.protocol = protocol
    skb.saddr, skb.daddr = src, dst
    skb.network_header = off
    skb.transport_header = off + hlen
    skb.end = off + total
    return None
