"""The headers of a received frame, unpacked at once: the hot path of reception.

Ethernet, IPv4 without options and TCP are what nearly every frame carries.  One struct call and
one tuple a frame take the place of three calls and three objects; each layer takes its own part.
"""

from __future__ import annotations

import struct
from typing import Any

from pystack.core.headers import ethernet, ipv4, tcp

_LAYOUT = struct.Struct("!" + ethernet.FIELDS + ipv4.FIELDS + tcp.FIELDS)
_unpack_from = _LAYOUT.unpack_from

Headers = tuple[Any, ...]
"""The fields of the three headers, in their order, unchecked."""

ETHERNET = slice(0, 3)
IPV4 = slice(3, 13)
TCP = slice(13, 22)  # TCP's only behind an IPv4 header of 20 bytes
FLOW = slice(11, 15)  # addresses and ports
ETHERTYPE = 2
TOS = 4
IDENTIFICATION = 6
FRAGMENT = 7
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
        return _unpack_from(buf, off)
    return _LAYOUT.unpack(bytes(buf[off:end]).ljust(_LAYOUT.size, b"\0"))
