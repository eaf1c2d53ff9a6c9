"""Ethernet II (IEEE 802.3 clause 3, RFC 894)."""

from __future__ import annotations

import struct
from typing import NamedTuple

ETH_HLEN = 14
VLAN_HLEN = 4
ETH_P_IP = 0x0800
ETH_P_ARP = 0x0806
ETH_P_8021Q = 0x8100
ETH_P_IPV6 = 0x86DD
ETH_BROADCAST = b"\xff" * 6

FIELDS = "6s6sH"
_LAYOUT = struct.Struct("!" + FIELDS)


class EthernetHeader(NamedTuple):
    dst: bytes
    src: bytes
    ethertype: int

    @classmethod
    def parse(cls, buf: bytes | memoryview, off: int = 0) -> EthernetHeader:
        """struct.error if fewer than 14 bytes are there."""
        return cls(*_LAYOUT.unpack_from(buf, off))

    def pack(self) -> bytes:
        return _LAYOUT.pack(*self)


def pack_header(dst: bytes, src: bytes, ethertype: int) -> bytes:
    """`EthernetHeader(...).pack()` without the object: for every frame sent."""
    return _LAYOUT.pack(dst, src, ethertype)


def is_multicast(addr: bytes) -> bool:
    """Group bit: multicast or broadcast."""
    return bool(addr[0] & 1)
