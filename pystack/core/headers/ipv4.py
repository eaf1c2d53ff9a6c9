"""IPv4 (RFC 791)."""

from __future__ import annotations

import struct
from typing import NamedTuple

from pystack.core.checksum import checksum

IP_HLEN = 20
IP_DF = 0x4000
IP_MF = 0x2000
IP_OFFSET_MASK = 0x1FFF
IPPROTO_ICMP = 1
IPPROTO_TCP = 6
IPPROTO_UDP = 17

_LAYOUT = struct.Struct("!BBHHHBBH4s4s")


class Ipv4Header(NamedTuple):
    """`total_length` counts header and payload in bytes; `fragment` is flags and offset."""

    total_length: int
    protocol: int
    src: bytes
    dst: bytes
    ttl: int = 64
    identification: int = 0
    fragment: int = IP_DF
    tos: int = 0
    header_length: int = IP_HLEN
    version: int = 4

    @classmethod
    def parse(cls, buf: bytes | memoryview, off: int = 0) -> Ipv4Header:
        """The fixed 20 bytes; struct.error if they are not there.  Checks nothing."""
        first, tos, length, ident, frag, ttl, proto, _, src, dst = _LAYOUT.unpack_from(buf, off)
        return cls(length, proto, src, dst, ttl, ident, frag, tos, (first & 15) << 2, first >> 4)

    def pack(self) -> bytes:
        """With the header checksum filled in; without options."""
        fields = (
            self.version << 4 | self.header_length >> 2,
            self.tos,
            self.total_length,
            self.identification,
            self.fragment,
            self.ttl,
            self.protocol,
        )
        value = checksum(_LAYOUT.pack(*fields, 0, self.src, self.dst))
        return _LAYOUT.pack(*fields, value, self.src, self.dst)


def pseudo_header_sum(src: bytes, dst: bytes, protocol: int, length: int) -> int:
    """One's-complement start value for TCP's and UDP's checksum (RFC 9293, 3.1)."""
    return (
        int.from_bytes(src, "big") % 65535 + int.from_bytes(dst, "big") % 65535 + protocol + length
    )
