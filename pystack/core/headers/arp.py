"""ARP for IPv4 over Ethernet (RFC 826)."""

from __future__ import annotations

import struct
from typing import NamedTuple

ARPOP_REQUEST = 1
ARPOP_REPLY = 2
ARP_LEN = 28

_LAYOUT = struct.Struct("!HHBBH6s4s6s4s")
_FIXED = (1, 0x0800, 6, 4)  # Ethernet, IPv4, address lengths


class ArpPacket(NamedTuple):
    op: int
    sender_mac: bytes
    sender_ip: bytes
    target_mac: bytes
    target_ip: bytes

    @classmethod
    def parse(cls, buf: bytes | memoryview, off: int = 0) -> ArpPacket | None:
        """None if it is too short or not ARP for IPv4 over Ethernet."""
        if len(buf) - off < ARP_LEN:
            return None
        fields = _LAYOUT.unpack_from(buf, off)
        return cls(*fields[4:]) if fields[:4] == _FIXED else None

    def pack(self) -> bytes:
        return _LAYOUT.pack(*_FIXED, *self)
