"""IPv4 packets on their way out (`net/ipv4/ip_output.c`).

Called by transports through `Ipv4.send`, and by forwarding; calls the hooks LOCAL_OUT and
POST_ROUTING, then the neighbour table, or Ethernet where no neighbour has to be found.
"""

from __future__ import annotations

import errno
from functools import partial
from typing import TYPE_CHECKING

from pystack.core.drop import Drop
from pystack.core.headers.ethernet import ETH_BROADCAST, ETH_P_IP
from pystack.core.headers.ethernet import pack_header as pack_ethernet
from pystack.core.headers.icmp import ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED
from pystack.core.headers.ipv4 import IP_DF, IP_HLEN, Ipv4Header, pack_header
from pystack.core.skb import CHECKSUM_UNNECESSARY, SkBuff
from pystack.dev.gso import longest, segment
from pystack.net.fib import RouteType
from pystack.net.hooks import Hook, read
from pystack.net.ip_fragments import Identifications, fragment
from pystack.net.route import Route

if TYPE_CHECKING:
    from pystack.net.ipv4 import Ipv4

_LOCAL_OUT, _POST_ROUTING = Hook.LOCAL_OUT, Hook.POST_ROUTING
_AT_TTL = 8
_TTL = "net.ipv4.ip_default_ttl"


class Output:
    def __init__(self, ipv4: Ipv4) -> None:
        self._ipv4 = ipv4
        self._kernel = ipv4.kernel
        self._hooks = ipv4.hooks
        self._active = ipv4.hooks.active
        self.identifications = Identifications(self._kernel)

    def send(
        self,
        skb: SkBuff,
        route: Route,
        saddr: bytes,
        daddr: bytes,
        protocol: int,
        *,
        ttl: int | None = None,
        tos: int = 0,
        dont_fragment: bool = True,
        identification: int | None = None,
        options: bytes = b"",
    ) -> int:
        """Give a transport's packet its header (`ip_queue_xmit`); takes ownership.

        `options` are padded to whole words.  0, or why it has not left the host, as `Inet.send`.
        """
        kernel = self._kernel
        if identification is None:
            identification = self.identifications.next(saddr, daddr, protocol, dont_fragment)
        length = IP_HLEN + len(options) + len(skb)
        skb.head = (
            pack_header(
                length,
                protocol,
                saddr,
                daddr,
                kernel.sysctl[_TTL] if ttl is None else ttl,
                identification,
                IP_DF if dont_fragment else 0,
                tos,
                options,
            )
            + skb.head
        )
        skb.saddr, skb.daddr = saddr, daddr
        skb.protocol = protocol
        skb.dst = route
        return self.ip_local_out(skb)

    def ip_local_out(self, skb: SkBuff) -> int:
        """A packet made here, with its header in `head` and its route in `dst`."""
        kernel = self._kernel
        kernel.charge(kernel.costs.ip_packet)
        kernel.mib["IpOutRequests"] += 1
        if self._active[_LOCAL_OUT]:
            finish = partial(self._local_out_finish, _routed_by(skb))
            return self._hooks.run(_LOCAL_OUT, skb, None, skb.dst.dev, finish)
        return self.ip_output(skb)

    def _local_out_finish(self, before: tuple[bytes, int], skb: SkBuff) -> int:
        error = self.ip_route_me_harder(skb) if _routed_by(skb) != before else 0
        if error:
            self._kernel.drop(skb, Drop.IP_NO_ROUTE)
            return error
        return self.ip_output(skb)

    def ip_route_me_harder(self, skb: SkBuff) -> int:
        """A hook has changed where it goes: find the route again; the errno if there is none."""
        header = Ipv4Header.parse(read(skb, 0, IP_HLEN))
        skb.saddr, skb.daddr = header.src, header.dst
        try:
            saddr = header.src if self._ipv4.is_local(header.src) else b""
            skb.dst = self._ipv4.route(header.dst, saddr)
        except OSError as exc:
            return exc.errno or errno.EHOSTUNREACH
        return 0

    def ip_output(self, skb: SkBuff) -> int:
        """By `skb.dst`, past the last hook."""
        if self._active[_POST_ROUTING]:
            dev = skb.dst.dev
            return self._hooks.run(_POST_ROUTING, skb, None, dev, self.ip_finish_output)
        return self.ip_finish_output(skb)

    def ip_finish_output(self, skb: SkBuff) -> int:
        """Fit it to the link."""
        route: Route = skb.dst
        mtu = route.mtu
        if (len(skb) <= mtu and not skb.frag_max_size) or (skb.gso_size and longest(skb) <= mtu):
            return self.ip_finish_output2(skb)
        if skb.head == b"":  # forwarded
            mtu = self._ipv4.forward_mtu(route)
        return _first_error([self._fragment(part, mtu) for part in segment(skb, 0)])

    def _fragment(self, skb: SkBuff, mtu: int) -> int:
        """`ip_fragment`; connection tracking may have put together what came in pieces."""
        came_as = skb.frag_max_size
        length = len(skb)
        if length <= mtu and not came_as:
            return self.ip_finish_output2(skb)
        forbidden = int.from_bytes(read(skb, 6, 2), "big") & IP_DF and not came_as
        if forbidden or came_as > mtu:
            self._kernel.mib["IpFragFails"] += 1
            self._ipv4.icmp_send(skb, ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED, mtu)
            self._kernel.drop(skb, Drop.IP_TOO_BIG)
            return errno.EMSGSIZE
        fragments = fragment(skb, min(mtu, came_as) if came_as else mtu)
        self._kernel.mib["IpFragCreates"] += len(fragments)
        self._kernel.mib["IpFragOKs"] += 1
        return _first_error([self.ip_finish_output2(part) for part in fragments])

    def ip_finish_output2(self, skb: SkBuff) -> int:
        """Onto the link, to the next hop; ENOBUFS if its queue is full."""
        ipv4, mib = self._ipv4, self._kernel.mib
        mib["IpOutTransmits"] += 1
        mib["IpExtOutOctets"] += len(skb)
        route: Route = skb.dst
        dev = route.dev
        kind = route.kind
        if kind is RouteType.UNICAST:
            taken = ipv4.arp.send(skb, dev, route.gateway or skb.daddr)
            return 0 if taken else errno.ENOBUFS
        if dev.loopback:
            return 0 if ipv4.ethernet.send(skb, dev, dev.mac, ETH_P_IP) else errno.ENOBUFS
        mac = ETH_BROADCAST if kind is RouteType.BROADCAST else multicast_mac(skb.daddr)
        if self._heard_here(skb, route):
            self._loop_back(skb, route, mac)
        if not read(skb, _AT_TTL, 1)[0]:
            skb.free()  # for this host only (RFC 1112, 6.1)
            return 0
        return 0 if ipv4.ethernet.send(skb, dev, mac, ETH_P_IP) else errno.ENOBUFS

    def _heard_here(self, skb: SkBuff, route: Route) -> bool:
        """Does this host receive what it sends to a group, or to everybody (`ip_mc_output`)?"""
        if route.kind is RouteType.BROADCAST:
            return True
        looped = skb.sk is None or skb.sk.mc_loop
        return looped and self._ipv4.igmp.is_member(route.dev, skb.daddr, skb.saddr, skb.protocol)

    def _loop_back(self, skb: SkBuff, route: Route, mac: bytes) -> None:
        """`ip_mc_finish_output`: a copy is received at once, and is no martian."""
        dev = route.dev
        frame = b"".join((pack_ethernet(mac, dev.mac, ETH_P_IP), bytes(skb)))
        copy = SkBuff(self._kernel, memoryview(frame), packet_id=skb.packet_id)
        copy.dev, copy.mark, copy.nfct = dev, skb.mark, skb.nfct
        copy.tstamp = self._kernel.now
        copy.ip_summed = CHECKSUM_UNNECESSARY
        copy.dst = Route(dev, b"", b"", dev.mtu, kind=route.kind)
        copy.dst.input = self._ipv4.route_input.receivers[route.kind]
        self._ipv4.ethernet.core.netif_rx(copy)


def _first_error(results: list[int]) -> int:
    """Of the pieces of one packet."""
    return next(filter(None, results), 0)


def multicast_mac(group: bytes) -> bytes:
    """The link address of a group (RFC 1112, 6.4)."""
    return bytes((0x01, 0x00, 0x5E, group[1] & 0x7F, group[2], group[3]))


def _routed_by(skb: SkBuff) -> tuple[bytes, int]:
    """What a route depends on: addresses and TOS, and the mark."""
    header = read(skb, 0, IP_HLEN)
    return header[1:2] + header[12:20], skb.mark
