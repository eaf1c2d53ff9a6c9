"""What netfilter reads of a packet: both families' headers in one shape.

Called by everything in this folder; nothing is changed here (see `hooks.rewrite`).
"""

from __future__ import annotations

from pystack.core.checksum import ones_sum
from pystack.core.headers.ipv4 import (
    IP_DF,
    IP_HLEN,
    IP_MF,
    IP_OFFSET_MASK,
    IPPROTO_ICMP,
    IPPROTO_TCP,
    IPPROTO_UDP,
)
from pystack.core.skb import CHECKSUM_NONE, SkBuff
from pystack.net.hooks import IP6_HLEN, HookState, read

IPPROTO_ICMPV6 = 58
NEXTHDR_HOP = 0
NEXTHDR_ROUTING = 43
NEXTHDR_FRAGMENT = 44
NEXTHDR_AUTH = 51
NEXTHDR_NONE = 59
NEXTHDR_DEST = 60
_EXTENSIONS = (NEXTHDR_HOP, NEXTHDR_ROUTING, NEXTHDR_FRAGMENT, NEXTHDR_AUTH, NEXTHDR_DEST)
_PEEK = 128  # bytes looked at first: any header but IPv6 ones with long extensions


class Headers:
    """One IP header and what follows it, at `start` bytes from the packet's network header.

    `thoff` is where the transport header is, from the same point; `fragment_offset` in bytes, and
    `transport` the bytes there are of it, at most 60.  `length` counts the IP header in.
    """

    __slots__ = (
        "dont_fragment",
        "dst",
        "fragment_offset",
        "identification",
        "length",
        "more_fragments",
        "protocol",
        "src",
        "start",
        "thoff",
        "tos",
        "transport",
        "ttl",
        "version",
    )

    version: int
    src: bytes
    dst: bytes
    protocol: int
    start: int
    thoff: int
    fragment_offset: int
    more_fragments: bool
    dont_fragment: bool
    identification: int
    tos: int
    ttl: int
    length: int
    transport: bytes

    @property
    def ports(self) -> tuple[int, int] | None:
        """Source and destination port of what has such; None for a packet too short for them."""
        data = self.transport
        if len(data) < 4:
            return None
        return data[0] << 8 | data[1], data[2] << 8 | data[3]


def parse(skb: SkBuff, start: int = 0) -> Headers | None:
    """The headers at `start`; None if they are broken or not there."""
    data = read(skb, start, _PEEK)
    if not data:
        return None
    headers = Headers()
    headers.start = start
    headers.version = data[0] >> 4
    if headers.version == 4 and len(data) >= IP_HLEN:
        inside = _parse_ipv4(headers, data)
    elif headers.version == 6 and len(data) >= IP6_HLEN:
        inside = _parse_ipv6(headers, skb, data)
    else:
        return None
    if inside is None:
        return None
    headers.thoff = start + inside
    end = inside + 60
    headers.transport = (
        data[inside:end] if end <= _PEEK else read(skb, headers.thoff, 60)
    )  # of a later fragment: no header at all
    return headers


def _parse_ipv4(headers: Headers, data: bytes) -> int | None:
    length = (data[0] & 15) << 2
    fragment = data[6] << 8 | data[7]
    headers.tos, headers.ttl, headers.protocol = data[1], data[8], data[9]
    headers.length = data[2] << 8 | data[3]
    headers.identification = data[4] << 8 | data[5]
    headers.fragment_offset = (fragment & IP_OFFSET_MASK) << 3
    headers.more_fragments = bool(fragment & IP_MF)
    headers.dont_fragment = bool(fragment & IP_DF)
    headers.src, headers.dst = data[12:16], data[16:20]
    return length if length >= IP_HLEN else None


def _parse_ipv6(headers: Headers, skb: SkBuff, data: bytes) -> int | None:
    """Walks the extension headers (`ipv6_skip_exthdr`)."""
    headers.tos, headers.ttl = (data[0] << 4 | data[1] >> 4) & 0xFF, data[7]
    headers.length = IP6_HLEN + (data[4] << 8 | data[5])
    headers.identification = headers.fragment_offset = 0
    headers.more_fragments, headers.dont_fragment = False, True
    headers.src, headers.dst = data[8:24], data[24:40]
    next_header, at = data[6], IP6_HLEN
    while next_header in _EXTENSIONS and not headers.fragment_offset:
        extension = read(skb, headers.start + at, 8)
        if len(extension) < 8:
            return None
        if next_header == NEXTHDR_FRAGMENT:
            word = extension[2] << 8 | extension[3]
            headers.fragment_offset, headers.more_fragments = word & 0xFFF8, bool(word & 1)
            size = 8
        elif next_header == NEXTHDR_AUTH:
            size = (extension[1] + 2) << 2
        else:
            size = (extension[1] + 1) << 3
        next_header, at = extension[0], at + size
    headers.protocol = next_header
    return at


class Packet(Headers):
    """A packet at a hook: its headers, itself, and where it is."""

    __slots__ = ("hotdrop", "skb", "state")

    skb: SkBuff
    state: HookState
    hotdrop: bool  # a match found the packet broken: drop it

    @classmethod
    def at(cls, skb: SkBuff, state: HookState) -> Packet | None:
        """None for a packet whose headers are broken."""
        headers = parse(skb)
        if headers is None:
            return None
        packet = cls()
        for name in Headers.__slots__:
            setattr(packet, name, getattr(headers, name))
        packet.skb, packet.state, packet.hotdrop = skb, state, False
        return packet


def checksum_good(skb: SkBuff, headers: Headers) -> bool:
    """Verify a transport checksum (`nf_checksum`), unless the device has; UDP's may be missing.

    Parts merged by GRO have been verified there.  A protocol without a known one is good.
    """
    if skb.ip_summed != CHECKSUM_NONE or skb.frags is not None:
        return True
    if headers.protocol == IPPROTO_UDP and headers.transport[6:8] == b"\0\0":
        return headers.version == 4
    if headers.protocol not in (IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_ICMPV6):
        return True
    length = headers.start + headers.length - headers.thoff
    data = read(skb, headers.thoff, length)
    start = 0
    if headers.protocol != IPPROTO_ICMP:
        start = int.from_bytes(headers.src + headers.dst, "big") + headers.protocol + length
    return ones_sum(data, start) == 0xFFFF


def has_ports(protocol: int) -> bool:
    return protocol in (IPPROTO_TCP, IPPROTO_UDP)
