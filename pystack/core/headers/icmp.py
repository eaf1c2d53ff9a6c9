"""ICMP (RFC 792)."""

from __future__ import annotations

import struct
from typing import NamedTuple

ICMP_HLEN = 8
ICMP_ECHOREPLY = 0
ICMP_DEST_UNREACH = 3
ICMP_SOURCE_QUENCH = 4
ICMP_REDIRECT = 5
ICMP_ECHO = 8
ICMP_TIME_EXCEEDED = 11
ICMP_PARAMETERPROB = 12
ICMP_TIMESTAMP = 13
ICMP_TIMESTAMPREPLY = 14
ICMP_NET_UNREACH = 0
ICMP_HOST_UNREACH = 1
ICMP_PROT_UNREACH = 2
ICMP_PORT_UNREACH = 3
ICMP_FRAG_NEEDED = 4
ICMP_PKT_FILTERED = 13
ICMP_REDIR_HOST = 1
ICMP_EXC_TTL = 0
ICMP_EXC_FRAGTIME = 1

_LAYOUT = struct.Struct("!BBHHH")


class IcmpHeader(NamedTuple):
    """`word1`, `word2`: identifier and sequence of an echo; unused and MTU of an error."""

    type: int
    code: int
    checksum: int
    word1: int
    word2: int

    @classmethod
    def parse(cls, buf: bytes | memoryview, off: int = 0) -> IcmpHeader:
        return cls(*_LAYOUT.unpack_from(buf, off))

    def pack(self) -> bytes:
        return _LAYOUT.pack(*self)
