"""IPv4 (RFC 791)."""

from __future__ import annotations

import struct
from typing import NamedTuple

from pystack.core.checksum import checksum

IP_HLEN = 20
IP_DF = 0x4000
IP_MF = 0x2000
IP_OFFSET_MASK = 0x1FFF
ECN_MASK = 3  # the low bits of TOS (RFC 3168, 5)
ECN_NOT_ECT = 0
ECN_ECT1 = 1
ECN_ECT0 = 2
ECN_CE = 3
IPPROTO_ICMP = 1
IPPROTO_TCP = 6
IPPROTO_UDP = 17

FIELDS = "BBHHHBBH4s4s"
_LAYOUT = struct.Struct("!" + FIELDS)


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
        return pack_header(*self[:8], first=self.version << 4 | self.header_length >> 2)


def pack_header(
    total_length: int,
    protocol: int,
    src: bytes,
    dst: bytes,
    ttl: int,
    identification: int,
    fragment: int,
    tos: int,
    options: bytes = b"",
    first: int = 0x45,
) -> bytes:
    """`Ipv4Header(...).pack()` without the object: for every packet sent.  `total_length` includes
    `options`, which are whole words.

    The checksum is of the sum of the fields, which is that of the words they make up (`ones_sum`).
    """
    if options:
        first += len(options) >> 2
    value = (
        (first << 8 | tos)
        + total_length
        + identification
        + fragment
        + (ttl << 8 | protocol)
        + int.from_bytes(src + dst + options, "big")
    )
    header = _LAYOUT.pack(
        first,
        tos,
        total_length,
        identification,
        fragment,
        ttl,
        protocol,
        0xFFFF - (value % 65535 or 65535),
        src,
        dst,
    )
    return header + options if options else header


def fill_checksum(header: bytearray) -> None:
    """Of a header with options, too."""
    header[10:12] = b"\0\0"
    header[10:12] = checksum(header).to_bytes(2, "big")


def pseudo_header_sum(src: bytes, dst: bytes, protocol: int, length: int) -> int:
    """Start value for TCP's and UDP's checksum (RFC 9293, 3.1), for `ones_sum` to fold."""
    return int.from_bytes(src + dst, "big") + protocol + length
