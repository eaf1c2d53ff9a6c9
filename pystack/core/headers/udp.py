"""UDP (RFC 768)."""

from __future__ import annotations

import struct
from typing import NamedTuple

UDP_HLEN = 8
UDP_MAX = 0xFFFF  # of the length field, header counted in

_LAYOUT = struct.Struct("!HHHH")


class UdpHeader(NamedTuple):
    """`length` counts header and payload in bytes; a `checksum` of 0 means there is none."""

    sport: int
    dport: int
    length: int
    checksum: int = 0

    @classmethod
    def parse(cls, buf: bytes | memoryview, off: int = 0) -> UdpHeader:
        """struct.error if the 8 bytes are not there.  Checks nothing."""
        return cls(*_LAYOUT.unpack_from(buf, off))

    def pack(self) -> bytes:
        return _LAYOUT.pack(*self)
