"""ICMPv6 (RFC 4443), neighbour discovery (RFC 4861) and multicast listener discovery (RFC 3810)."""

from __future__ import annotations

import struct
from typing import NamedTuple

from pystack.core.checksum import checksum
from pystack.core.headers.ipv4 import pseudo_header_sum
from pystack.core.headers.ipv6 import IPPROTO_ICMPV6

ICMPV6_HLEN = 8
ICMPV6_DEST_UNREACH = 1
ICMPV6_PKT_TOOBIG = 2
ICMPV6_TIME_EXCEED = 3
ICMPV6_PARAMPROB = 4
ICMPV6_INFOMSG_MASK = 0x80  # errors lack it
ICMPV6_ECHO_REQUEST = 128
ICMPV6_ECHO_REPLY = 129
ICMPV6_MGM_QUERY = 130
ICMPV6_MGM_REPORT = 131
ICMPV6_MGM_REDUCTION = 132
NDISC_ROUTER_SOLICITATION = 133
NDISC_ROUTER_ADVERTISEMENT = 134
NDISC_NEIGHBOUR_SOLICITATION = 135
NDISC_NEIGHBOUR_ADVERTISEMENT = 136
NDISC_REDIRECT = 137
ICMPV6_MLD2_REPORT = 143

ICMPV6_NOROUTE = 0
ICMPV6_ADM_PROHIBITED = 1
ICMPV6_NOT_NEIGHBOUR = 2
ICMPV6_ADDR_UNREACH = 3
ICMPV6_PORT_UNREACH = 4
ICMPV6_EXC_HOPLIMIT = 0
ICMPV6_EXC_FRAGTIME = 1
ICMPV6_HDR_FIELD = 0
ICMPV6_UNK_NEXTHDR = 1
ICMPV6_UNK_OPTION = 2
ICMPV6_HDR_INCOMP = 3  # first fragment (RFC 8883)

ND_OPT_SOURCE_LL_ADDR = 1
ND_OPT_TARGET_LL_ADDR = 2
ND_OPT_PREFIX_INFO = 3
ND_OPT_REDIRECT_HDR = 4
ND_OPT_MTU = 5
ND_NA_ROUTER = 0x80
ND_NA_SOLICITED = 0x40
ND_NA_OVERRIDE = 0x20
ND_INFINITY = 0xFFFFFFFF

_LAYOUT = struct.Struct("!BBHI")
_PREFIX = struct.Struct("!BBIII16s")
_ROUTER = struct.Struct("!BBHII")


class Icmpv6Header(NamedTuple):
    """`word`: an echo's identifier and sequence, the MTU or pointer of an error, ND's flags."""

    type: int
    code: int
    checksum: int
    word: int

    @classmethod
    def parse(cls, buf: bytes | memoryview, off: int = 0) -> Icmpv6Header:
        return cls(*_LAYOUT.unpack_from(buf, off))


def pack_message(
    saddr: bytes, daddr: bytes, icmp_type: int, code: int, word: int, body: bytes
) -> bytes:
    """A whole message with its checksum, which covers the addresses."""
    message = _LAYOUT.pack(icmp_type, code, 0, word) + body
    start = pseudo_header_sum(saddr, daddr, IPPROTO_ICMPV6, len(message))
    value = checksum(message, start)
    return message[:2] + value.to_bytes(2, "big") + message[4:]


class RouterAdvert(NamedTuple):
    """RFC 4861, 4.2: the header's word and what follows it; times in s, the last two in ms."""

    hop_limit: int
    flags: int
    lifetime: int
    reachable_time: int
    retrans_timer: int

    @classmethod
    def parse(cls, buf: bytes | memoryview, off: int = 0) -> RouterAdvert:
        """`off` is behind type, code and checksum; 12 bytes must be there."""
        return cls(*_ROUTER.unpack_from(buf, off))


class PrefixInfo(NamedTuple):
    """RFC 4861, 4.6.2; lifetimes in s."""

    length: int
    on_link: bool
    autonomous: bool
    valid: int
    preferred: int
    prefix: bytes

    @classmethod
    def parse(cls, value: bytes) -> PrefixInfo:
        """`value` are the option's 30 bytes behind type and length."""
        length, flags, valid, preferred, _, prefix = _PREFIX.unpack(value)
        return cls(length, bool(flags & 0x80), bool(flags & 0x40), valid, preferred, prefix)

    def pack(self) -> bytes:
        flags = self.on_link << 7 | self.autonomous << 6
        return _PREFIX.pack(self.length, flags, self.valid, self.preferred, 0, self.prefix)


def link_address_option(kind: int, mac: bytes) -> bytes:
    return bytes((kind, 1)) + mac


def parse_options(data: bytes) -> list[tuple[int, bytes]] | None:
    """(type, value) of each option of an ND message; None if one has no length or no end."""
    options = []
    while data:
        length = data[1] << 3 if len(data) > 1 else 0
        if not 0 < length <= len(data):
            return None
        options.append((data[0], data[2:length]))
        data = data[length:]
    return options
