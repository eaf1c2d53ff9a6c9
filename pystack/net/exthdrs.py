"""Extension headers of received packets (RFC 8200, 4; `net/ipv6/exthdrs.c`).

Called by `ip6_input`, one header at a time: `skb.transport_header` is at it.  True: `transport_
header` and `protocol` have gone on to the next header.  False: the packet is gone, and counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.core.drop import Drop
from pystack.core.headers import ipv6 as wire
from pystack.core.headers.icmpv6 import ICMPV6_HDR_FIELD, ICMPV6_PARAMPROB, ICMPV6_UNK_OPTION
from pystack.core.headers.ipv6 import IPV6_HLEN, is_multicast
from pystack.core.skb import SkBuff

if TYPE_CHECKING:
    from pystack.net.ipv6 import Ipv6

MAX_PADDING = 7  # more than is needed to align anything: a covert channel (`ip6_parse_tlv`)
_AT_NEXT_HEADER = 6
_EXTENSIONS = (wire.NEXTHDR_HOP, wire.NEXTHDR_ROUTING, wire.NEXTHDR_FRAGMENT, wire.NEXTHDR_DEST)


def hop_by_hop(ip: Ipv6, skb: SkBuff) -> bool:
    """Only directly behind the fixed header, and for everybody on the way."""
    skb.transport_header = skb.off + IPV6_HLEN
    return _options(ip, skb, "net.ipv6.max_hbh_opts_number")


def _destination(ip: Ipv6, skb: SkBuff) -> bool:
    return _options(ip, skb, "net.ipv6.max_dst_opts_number")


def _routing(ip: Ipv6, skb: SkBuff) -> bool:
    """We follow none: with segments left it is refused (RFC 5095; RFC 8200, 4.4)."""
    length = _length(ip, skb)
    if not length:
        return False
    at = skb.transport_header
    if skb.buf[at + 3]:
        ip.kernel.mib["Ip6InHdrErrors"] += 1
        _problem(ip, skb, ICMPV6_HDR_FIELD, at + 2)
        return False
    _advance(skb, length)
    return True


HANDLERS = {wire.NEXTHDR_ROUTING: _routing, wire.NEXTHDR_DEST: _destination}


def _length(ip: Ipv6, skb: SkBuff) -> int:
    """Of the header, in bytes; 0 if it is not all there, and the packet is dropped."""
    at = skb.transport_header
    length = (skb.buf[at + 1] + 1) << 3 if skb.end - at >= 8 else 0
    if not length or at + length > skb.end:
        ip.kernel.mib["Ip6InHdrErrors"] += 1
        ip.kernel.drop(skb, Drop.IP6_BAD_EXTENSION)
        return 0
    return length


def _advance(skb: SkBuff, length: int) -> None:
    skb.protocol = skb.buf[skb.transport_header]
    skb.transport_header += length


def _options(ip: Ipv6, skb: SkBuff, limit: str) -> bool:
    """`ip6_parse_tlv`: understand, skip or refuse each option."""
    length = _length(ip, skb)
    if not length:
        return False
    buf, at = skb.buf, skb.transport_header + 2
    end = skb.transport_header + length
    left, padding = ip.kernel.sysctl[limit], 0
    while at < end:
        kind = buf[at]
        size = 1 if kind == wire.TLV_PAD1 else 2 + (buf[at + 1] if at + 1 < end else 256)
        if at + size > end:
            return _malformed(ip, skb)
        if kind in (wire.TLV_PAD1, wire.TLV_PADN):
            padding += size
            if padding > MAX_PADDING or any(buf[at + 2 : at + size]):
                return _malformed(ip, skb)
        else:
            padding = 0
            left -= 1
            if left < 0:
                return _malformed(ip, skb)
            if not _known(kind, size) and not _unknown(ip, skb, kind, at):
                return False
        at += size
    _advance(skb, length)
    return True


def _known(kind: int, size: int) -> bool:
    """The router alert, which concerns who asks for it (RFC 2711); we take no jumbograms."""
    return kind == wire.TLV_ROUTERALERT and size == 4


def _unknown(ip: Ipv6, skb: SkBuff, kind: int, at: int) -> bool:
    """What to do with it stands in its type (RFC 8200, 4.2)."""
    action = kind >> 6
    if action == 0:
        return True
    ip.kernel.mib["Ip6InHdrErrors"] += 1
    if action == 1 or (action == 3 and is_multicast(skb.daddr)):
        ip.kernel.drop(skb, Drop.IP6_BAD_EXTENSION)
    else:
        _problem(ip, skb, ICMPV6_UNK_OPTION, at)
    return False


def _malformed(ip: Ipv6, skb: SkBuff) -> bool:
    ip.kernel.mib["Ip6InHdrErrors"] += 1
    ip.kernel.drop(skb, Drop.IP6_BAD_EXTENSION)
    return False


def _problem(ip: Ipv6, skb: SkBuff, code: int, at: int) -> None:
    ip.icmp.send_error(skb, ICMPV6_PARAMPROB, code, at - skb.network_header)
    ip.kernel.drop(skb, Drop.IP6_BAD_EXTENSION)


# -- looking through headers ---------------------------------------------------------------


def next_header_offset(skb: SkBuff) -> int:
    """Where the number of the header at `transport_header` stands: a hop-by-hop header at most is
    in between."""
    at = skb.network_header + IPV6_HLEN
    return skb.network_header + _AT_NEXT_HEADER if at == skb.transport_header else at


def rewind(skb: SkBuff) -> None:
    """`protocol` and `transport_header` as at the hook PRE_ROUTING: behind a hop-by-hop header."""
    at = skb.network_header + _AT_NEXT_HEADER
    skb.protocol, skb.transport_header = skb.buf[at], skb.network_header + IPV6_HLEN
    if skb.protocol == wire.NEXTHDR_HOP:
        _advance(skb, (skb.buf[skb.transport_header + 1] + 1) << 3)


def fragment_header(skb: SkBuff) -> tuple[int, int] | None:
    """Where the number of a received packet's fragment header stands, and where the header begins
    (`find_prev_fhdr`); None if it has none."""
    protocol, at, nhoff = skb.protocol, skb.transport_header, next_header_offset(skb)
    while at + 8 <= skb.end:
        if protocol == wire.NEXTHDR_FRAGMENT:
            return nhoff, at
        if protocol not in HANDLERS:
            return None
        protocol, nhoff = skb.buf[at], at
        at += (skb.buf[at + 1] + 1) << 3
    return None


def unfragmentable(packet: bytes) -> tuple[int, int]:
    """Where a packet can be cut, and where the number stands that becomes the fragment header's
    (RFC 8200, 4.5; `ip6_find_1stfragopt`)."""
    at, nhoff, routed = IPV6_HLEN, _AT_NEXT_HEADER, False
    while at + 8 <= len(packet):
        protocol = packet[nhoff]
        if protocol not in (wire.NEXTHDR_HOP, *HANDLERS):
            break
        if protocol == wire.NEXTHDR_DEST and routed:
            break
        routed = routed or protocol == wire.NEXTHDR_ROUTING
        nhoff = at
        at += (packet[at + 1] + 1) << 3
    return at, nhoff


def upper_protocol(buf: memoryview, off: int, end: int) -> tuple[int, int] | None:
    """The transport's number and where its header begins, in a packet that may be cut off.

    None if the chain does not reach it, or it is in a fragment that is not the first.
    """
    protocol, at = buf[off + _AT_NEXT_HEADER], off + IPV6_HLEN
    while protocol in _EXTENSIONS:
        if at + 8 > end:
            return None
        if protocol == wire.NEXTHDR_FRAGMENT:
            if wire.FragmentHeader.parse(buf, at).offset:
                return None
            length = wire.FRAGMENT_HLEN
        else:
            length = (buf[at + 1] + 1) << 3
        protocol = buf[at]
        at += length
    return (protocol, at) if at <= end else None
