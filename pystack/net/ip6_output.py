"""IPv6 packets going out (`net/ipv6/ip6_output.c`): ours and forwarded ones, through the hooks.

Called by `Ipv6.send` and `ip6_input`; calls neighbour discovery (`Ndisc.send`), or Ethernet for
groups and the loopback device.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from pystack.core.drop import Drop
from pystack.core.headers import frame
from pystack.core.headers import ipv6 as wire
from pystack.core.headers.ethernet import ETH_P_IPV6
from pystack.core.headers.ethernet import pack_header as pack_ethernet
from pystack.core.headers.icmpv6 import (
    ICMPV6_ADM_PROHIBITED,
    ICMPV6_DEST_UNREACH,
    ICMPV6_EXC_HOPLIMIT,
    ICMPV6_NOROUTE,
    ICMPV6_NOT_NEIGHBOUR,
    ICMPV6_PKT_TOOBIG,
    ICMPV6_TIME_EXCEED,
)
from pystack.core.headers.ipv6 import (
    FRAGMENT_HLEN,
    IPV6_HLEN,
    FragmentHeader,
    Ipv6Header,
    is_linklocal,
    is_multicast,
)
from pystack.core.skb import CHECKSUM_PARTIAL, CHECKSUM_UNNECESSARY, SkBuff
from pystack.dev.gso import checksum_help, longest, segment
from pystack.dev.netdev import NetDevice
from pystack.net import exthdrs
from pystack.net.fib import ROUTE_ERRORS, FibEntry, RouteType
from pystack.net.hooks import Change, Hook, read, rewrite
from pystack.net.route import Route

if TYPE_CHECKING:
    from pystack.net.ipv6 import Ipv6

_AT_NEXT_HEADER, _AT_HOP_LIMIT, _AT_ADDRESSES = 6, 7, 8


def send(ip: Ipv6, skb: SkBuff, route: Route, header: Ipv6Header, dont_fragment: bool) -> int:
    """A packet of ours (`ip6_xmit`, `ip6_local_out`); its result is `Inet.send`'s."""
    kernel = ip.kernel
    kernel.charge(kernel.costs.ip_packet)
    kernel.mib["Ip6OutRequests"] += 1
    skb.push(header.pack())
    if ip.hooks.active[Hook.LOCAL_OUT]:
        addresses = header.src + header.dst

        def finish(skb: SkBuff) -> int:
            return _rerouted(ip, skb, route, addresses, dont_fragment)

        return ip.hooks.run(Hook.LOCAL_OUT, skb, None, route.dev, finish)
    return _output(ip, skb, route, header.dst, dont_fragment)


def _rerouted(ip: Ipv6, skb: SkBuff, route: Route, before: bytes, dont_fragment: bool) -> int:
    """A hook may have changed where the packet goes (`ip6_route_me_harder`)."""
    addresses = read(skb, _AT_ADDRESSES, 32)
    if addresses != before or skb.mark:
        skb.saddr, skb.daddr = addresses[:16], addresses[16:]
        try:
            route = ip.route(skb.daddr, mark=skb.mark)
        except OSError as exc:
            ip.kernel.mib["Ip6OutNoRoutes"] += 1
            ip.kernel.drop(skb, Drop.IP6_NO_ROUTE)
            return exc.errno or errno.EHOSTUNREACH
    return _output(ip, skb, route, addresses[16:], dont_fragment)


def _output(ip: Ipv6, skb: SkBuff, route: Route, daddr: bytes, dont_fragment: bool) -> int:
    """`ip6_output`."""
    if ip.hooks.active[Hook.POST_ROUTING]:

        def finish(skb: SkBuff) -> int:
            return _finish(ip, skb, route, daddr, dont_fragment)

        return ip.hooks.run(Hook.POST_ROUTING, skb, None, route.dev, finish)
    return _finish(ip, skb, route, daddr, dont_fragment)


def _finish(ip: Ipv6, skb: SkBuff, route: Route, daddr: bytes, dont_fragment: bool) -> int:
    """`ip6_finish_output`: what came in fragments leaves in fragments no longer than those."""
    mtu, came_as = route.mtu, skb.frag_max_size
    if came_as:
        mtu = min(mtu, max(came_as, wire.IPV6_MIN_MTU))
    if len(skb) <= mtu or (skb.gso_size and longest(skb) <= mtu):
        return _neighbour(ip, skb, route, daddr)
    if skb.gso_size:  # the path has become narrower since it was made
        parts = segment(skb, 0)
        return all([_finish(ip, part, route, daddr, dont_fragment) for part in parts])
    mib = ip.kernel.mib
    fragments = [] if dont_fragment and not came_as else _fragments(ip, skb, mtu)
    if not fragments:
        mib["Ip6FragFails"] += 1
        ip.kernel.drop(skb, Drop.IP6_TOO_BIG)
        return errno.EMSGSIZE
    error = 0
    for fragment in fragments:
        mib["Ip6FragCreates"] += 1
        error = _neighbour(ip, fragment, route, daddr) or error
    mib["Ip6FragOKs"] += 1
    skb.free()
    return error


def _fragments(ip: Ipv6, skb: SkBuff, mtu: int) -> list[SkBuff]:
    """RFC 8200, 4.5 (`ip6_fragment`); none if its headers leave no room for data."""
    if skb.ip_summed == CHECKSUM_PARTIAL:
        checksum_help(skb)
    packet = bytes(skb)
    hlen, nhoff = exthdrs.unfragmentable(packet)
    header, payload = bytearray(packet[:hlen]), memoryview(packet)[hlen:]
    next_header, header[nhoff] = header[nhoff], wire.NEXTHDR_FRAGMENT
    room = (mtu - hlen - FRAGMENT_HLEN) & ~7
    if room <= 0:
        return []
    identification = ip.kernel.rng.getrandbits(32)
    ip.kernel.cpu.charge_copy(len(payload))
    fragments = []
    for offset in range(0, len(payload), room):
        part = payload[offset : offset + room]
        more = offset + room < len(payload)
        extension = FragmentHeader(next_header, offset, more, identification)
        length = hlen - IPV6_HLEN + FRAGMENT_HLEN + len(part)
        header[4:6] = length.to_bytes(2, "big")
        fragment = SkBuff(ip.kernel, part, packet_id=skb.packet_id)
        for name in ("queue", "mark", "sk", "nfct"):
            setattr(fragment, name, getattr(skb, name))
        fragment.head = bytes(header) + extension.pack()
        fragments.append(fragment)
    return fragments


def _neighbour(ip: Ipv6, skb: SkBuff, route: Route, daddr: bytes) -> int:
    """Onto the link (`ip6_finish_output2`); ENOBUFS if its queue is full."""
    mib = ip.kernel.mib
    mib["Ip6OutTransmits"] += 1
    mib["Ip6OutOctets"] += len(skb)
    dev = route.dev
    if dev.loopback:
        return 0 if ip.ethernet.send(skb, dev, dev.mac, ETH_P_IPV6) else errno.ENOBUFS
    if is_multicast(daddr):
        ip.kernel.mib["Ip6OutMcastPkts"] += 1
        mac = wire.multicast_mac(daddr)
        if skb.sk is not None and skb.sk.mc_loop and ip.mld.is_member(dev, daddr):
            _loop_back(ip, skb, dev, mac)
        if not skb.head[_AT_HOP_LIMIT] or daddr[1] & 15 <= 1:
            skb.free()  # for this host only
            return 0
        return 0 if ip.ethernet.send(skb, dev, mac, ETH_P_IPV6) else errno.ENOBUFS
    return 0 if ip.ndisc.send(skb, dev, route.gateway or daddr) else errno.ENOBUFS


def _loop_back(ip: Ipv6, skb: SkBuff, dev: NetDevice, mac: bytes) -> None:
    """A socket's packet to a group this host is in is received at once (`ip6_finish_output2`)."""
    frame = pack_ethernet(mac, dev.mac, ETH_P_IPV6) + bytes(skb)
    copy = SkBuff(ip.kernel, memoryview(frame), packet_id=skb.packet_id)
    copy.dev, copy.mark, copy.nfct = dev, skb.mark, skb.nfct
    copy.tstamp = ip.kernel.now
    copy.ip_summed = CHECKSUM_UNNECESSARY
    ip.ethernet.core.netif_rx(copy)


# -- forwarding ----------------------------------------------------------------------------


def forward(ip: Ipv6, skb: SkBuff) -> None:
    """A packet for somebody else; what GRO has merged goes on as it came."""
    for part in unmerged(skb):
        _forward(ip, part)


def unmerged(skb: SkBuff) -> list[SkBuff]:
    """The packets GRO has merged into this one, each at its own network header again."""
    parts, skb.frags, skb.data_len, skb.gso_size = skb.parts(), None, 0, 0
    hlen = skb.headers[frame.DATA_OFFSET] >> 4 << 2
    for part in parts[1:]:
        part.off -= IPV6_HLEN + hlen
        part.network_header = part.off
        part.transport_header = part.off + IPV6_HLEN
        for name in ("dev", "saddr", "daddr", "tos", "protocol", "mark", "nfct"):
            setattr(part, name, getattr(skb, name))
    return list(parts)


def _forward(ip: Ipv6, skb: SkBuff) -> None:
    """`ip6_forward`."""
    mib = ip.kernel.mib
    if not any(skb.saddr) or wire.LOOPBACK in (skb.saddr, skb.daddr) or is_linklocal(skb.daddr):
        _not_forwarded(ip, skb)
        return
    hop_limit = skb.buf[skb.off + 7]
    if hop_limit <= 1:
        mib["Ip6InHdrErrors"] += 1
        ip.icmp.send_error(skb, ICMPV6_TIME_EXCEED, ICMPV6_EXC_HOPLIMIT, 0)
        ip.kernel.drop(skb, Drop.IP6_HOP_LIMIT)
        return
    entry = ip.routing.fib.lookup(skb.daddr)
    if entry is None or entry.kind in ROUTE_ERRORS:
        _unreachable(ip, skb, entry)
        return
    mtu = ip.routing.link_mtu(entry.dev, entry.metrics)
    route = Route(entry.dev, b"", entry.gateway, mtu, entry.metrics)
    if entry.dev is skb.dev:
        ip.ndisc.redirects.send(skb, entry.gateway or skb.daddr)
    elif is_linklocal(skb.saddr):  # addresses of one link stay there (RFC 4291, 2.5.6)
        ip.icmp.send_error(skb, ICMPV6_DEST_UNREACH, ICMPV6_NOT_NEIGHBOUR, 0)
        _not_forwarded(ip, skb)
        return
    if len(skb) > mtu and not 0 < skb.frag_max_size <= mtu:  # `ip6_pkt_too_big`
        mib["Ip6InTooBigErrors"] += 1
        mib["Ip6FragFails"] += 1
        ip.icmp.send_error(skb, ICMPV6_PKT_TOOBIG, 0, max(mtu, wire.IPV6_MIN_MTU))
        ip.kernel.drop(skb, Drop.IP6_TOO_BIG)
        return
    rewrite(skb, [Change(_AT_NEXT_HEADER, bytes((skb.buf[skb.off + 6], hop_limit - 1)))])
    if ip.hooks.active[Hook.FORWARD]:
        ip.hooks.run(
            Hook.FORWARD, skb, skb.dev, route.dev, lambda skb: _forward_finish(ip, skb, route)
        )
    else:
        _forward_finish(ip, skb, route)


def _unreachable(ip: Ipv6, skb: SkBuff, entry: FibEntry | None) -> None:
    """No route, or one that refuses (`ip6_pkt_drop`)."""
    ip.kernel.mib["Ip6InNoRoutes"] += 1
    if entry is None or entry.kind is not RouteType.BLACKHOLE:
        refused = entry is not None and entry.kind is RouteType.PROHIBIT
        code = ICMPV6_ADM_PROHIBITED if refused else ICMPV6_NOROUTE
        ip.icmp.send_error(skb, ICMPV6_DEST_UNREACH, code, 0)
    ip.kernel.drop(skb, Drop.IP6_NO_ROUTE)


def _not_forwarded(ip: Ipv6, skb: SkBuff) -> None:
    ip.kernel.mib["Ip6InAddrErrors"] += 1
    ip.kernel.drop(skb, Drop.IP6_OTHER_ADDRESS)


def _forward_finish(ip: Ipv6, skb: SkBuff, route: Route) -> int:
    ip.kernel.mib["Ip6OutForwDatagrams"] += 1
    return _output(ip, skb, route, skb.daddr, dont_fragment=True)
