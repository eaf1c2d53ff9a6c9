"""IPv6 and its extension headers (RFC 8200)."""

from __future__ import annotations

import struct
from typing import NamedTuple

IPV6_HLEN = 40
IPV6_MIN_MTU = 1280
IPV6_MAXPLEN = 65535

NEXTHDR_HOP = 0
NEXTHDR_TCP = 6
NEXTHDR_UDP = 17
NEXTHDR_ROUTING = 43
NEXTHDR_FRAGMENT = 44
IPPROTO_ICMPV6 = 58
NEXTHDR_NONE = 59
NEXTHDR_DEST = 60

TLV_PAD1 = 0
TLV_PADN = 1
TLV_ROUTERALERT = 5
TLV_JUMBO = 194

FRAGMENT_HLEN = 8
FRAGMENT_OFFSET_MASK = 0xFFF8
FRAGMENT_MORE = 1

ANY = bytes(16)
LOOPBACK = bytes(15) + b"\x01"
LINKLOCAL = b"\xfe\x80" + bytes(6)  # the prefix, 64 bits
ALL_NODES = b"\xff\x02" + bytes(13) + b"\x01"
ALL_ROUTERS = b"\xff\x02" + bytes(13) + b"\x02"
MLDV2_ROUTERS = b"\xff\x02" + bytes(13) + b"\x16"
_SOLICITED_NODE = b"\xff\x02" + bytes(9) + b"\x01\xff"

FIELDS = "IHBB16s16s"
_LAYOUT = struct.Struct("!" + FIELDS)
unpack_from = _LAYOUT.unpack_from
_FRAGMENT = struct.Struct("!BBHI")


class Ipv6Header(NamedTuple):
    """`payload_length` counts what follows the fixed header, extension headers too."""

    payload_length: int
    next_header: int
    src: bytes
    dst: bytes
    hop_limit: int = 64
    traffic_class: int = 0
    flow_label: int = 0
    version: int = 6

    @classmethod
    def parse(cls, buf: bytes | memoryview, off: int = 0) -> Ipv6Header:
        """The fixed 40 bytes; struct.error if they are not there.  Checks nothing."""
        first, length, next_header, hop_limit, src, dst = unpack_from(buf, off)
        return cls(
            *(length, next_header, src, dst, hop_limit),
            *(first >> 20 & 0xFF, first & 0xFFFFF, first >> 28),
        )

    def pack(self) -> bytes:
        first = self.version << 28 | self.traffic_class << 20 | self.flow_label
        return _LAYOUT.pack(
            first, self.payload_length, self.next_header, self.hop_limit, self.src, self.dst
        )


def pack_header(
    payload_length: int,
    next_header: int,
    src: bytes,
    dst: bytes,
    hop_limit: int,
    traffic_class: int,
    flow_label: int = 0,
) -> bytes:
    """`Ipv6Header(...).pack()` without the object: for every packet sent."""
    first = 0x60000000 | traffic_class << 20 | flow_label
    return _LAYOUT.pack(first, payload_length, next_header, hop_limit, src, dst)


class FragmentHeader(NamedTuple):
    """`offset` in bytes, a multiple of 8."""

    next_header: int
    offset: int
    more: bool
    identification: int

    @classmethod
    def parse(cls, buf: bytes | memoryview, off: int = 0) -> FragmentHeader:
        next_header, _, field, identification = _FRAGMENT.unpack_from(buf, off)
        more = bool(field & FRAGMENT_MORE)
        return cls(next_header, field & FRAGMENT_OFFSET_MASK, more, identification)

    def pack(self) -> bytes:
        return _FRAGMENT.pack(self.next_header, 0, self.offset | self.more, self.identification)


def is_multicast(addr: bytes) -> bool:
    return addr[0] == 0xFF


def is_linklocal(addr: bytes) -> bool:
    """fe80::/10."""
    return addr[0] == 0xFE and addr[1] & 0xC0 == 0x80


def solicited_node(addr: bytes) -> bytes:
    """The group where neighbours ask for `addr` (RFC 4291, 2.7.1)."""
    return _SOLICITED_NODE + addr[13:]


def multicast_mac(group: bytes) -> bytes:
    """RFC 2464, 7."""
    return b"\x33\x33" + group[12:]


def eui64(mac: bytes) -> bytes:
    """The interface identifier of an Ethernet address (RFC 2464, 4)."""
    return bytes((mac[0] ^ 2, mac[1], mac[2], 0xFF, 0xFE)) + mac[3:]
