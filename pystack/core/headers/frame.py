"""The headers of a received frame, unpacked at once: the hot path of reception.

Ethernet, IPv4 without options or IPv6 without extensions, and TCP are what nearly every frame
carries.  One struct call and one tuple a frame take the place of three calls and three objects;
each layer takes its own part.  IPv6's fields stand where IPv4 has theirs of the same meaning.
"""

from __future__ import annotations

import struct
from typing import Any

from pystack.core.headers import ethernet, ipv4, ipv6, tcp

_LAYOUT = struct.Struct("!" + ethernet.FIELDS + ipv4.FIELDS + tcp.FIELDS)
_unpack_from = _LAYOUT.unpack_from
_LAYOUT6 = struct.Struct("!" + ethernet.FIELDS + ipv6.FIELDS + tcp.FIELDS)

Headers = tuple[Any, ...]
"""The fields of the three headers, in their order, unchecked."""

ETHERNET = slice(0, 3)
IPV4 = slice(3, 13)
TCP = slice(13, 22)  # TCP's only behind an IP header of the shortest length
FLOW = slice(11, 15)  # addresses and ports
ETHERTYPE = 2
TOS = 4
IDENTIFICATION = 6
FRAGMENT = 7  # of IPv6: the flow label
TTL = 8
SEQ = 15
ACK = 16
DATA_OFFSET = 17
FLAGS = 18
WINDOW = 19


def unpack(buf: memoryview, off: int, end: int) -> Headers:
    """The headers of the frame `buf[off:end]`.

    It may be too short, or something else entirely: what lies behind its end reads as 0, and each
    layer checks what it uses.
    """
    if end - off >= _LAYOUT.size:
        headers = _unpack_from(buf, off)
    else:
        headers = _LAYOUT.unpack(bytes(buf[off:end]).ljust(_LAYOUT.size, b"\0"))
    return headers if headers[ETHERTYPE] != ethernet.ETH_P_IPV6 else _unpack6(buf, off, end)


def _unpack6(buf: memoryview, off: int, end: int) -> Headers:
    if end - off >= _LAYOUT6.size:
        fields = _LAYOUT6.unpack_from(buf, off)
    else:
        fields = _LAYOUT6.unpack(bytes(buf[off:end]).ljust(_LAYOUT6.size, b"\0"))
    dst, src, ethertype, word, payload, protocol, hop_limit, saddr, daddr, *rest = fields
    total, label = ipv6.IPV6_HLEN + payload, word & 0xFFFFF
    first, tos = word >> 28 << 4, word >> 20 & 0xFF
    return (
        *(dst, src, ethertype, first, tos, total, 0, label, hop_limit, protocol, 0),
        *(saddr, daddr, *rest),
    )
