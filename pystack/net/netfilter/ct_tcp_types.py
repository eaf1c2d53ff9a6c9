"""A TCP segment and a connection's state as connection tracking sees them.

Compare `struct ip_ct_tcp` and `tcp_error`.  Used by `ct_tcp` and `ct_tcp_window`.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from pystack.core.headers.tcp import (
    TCP_HLEN,
    TH_ACK,
    TH_CWR,
    TH_ECE,
    TH_FIN,
    TH_PSH,
    TH_RST,
    TH_SYN,
    TH_URG,
    TcpHeader,
    TcpOptions,
)
from pystack.net.netfilter.packet import Packet

MASK = 0xFFFFFFFF


class TcpState(enum.IntEnum):
    NONE = 0
    SYN_SENT = 1
    SYN_RECV = 2
    ESTABLISHED = 3
    FIN_WAIT = 4
    CLOSE_WAIT = 5
    LAST_ACK = 6
    TIME_WAIT = 7
    CLOSE = 8
    SYN_SENT2 = 9
    INVALID = 10
    IGNORE = 11


class Kind(enum.IntEnum):
    """What a segment is by its flags."""

    SYN = 0
    SYNACK = 1
    FIN = 2
    ACK = 3
    RST = 4
    NONE = 5


class Flag(enum.IntFlag):
    WINDOW_SCALE = 1
    SACK_PERM = 2
    CLOSE_INIT = 4
    BE_LIBERAL = 8
    DATA_UNACKNOWLEDGED = 16
    MAXACK_SET = 32
    EXP_CHALLENGE_ACK = 64
    SIMULTANEOUS_OPEN = 128


_VALID_FLAGS = {
    TH_SYN,
    TH_SYN | TH_URG,
    TH_SYN | TH_ACK,
    TH_RST,
    TH_RST | TH_ACK,
    TH_FIN | TH_ACK,
    TH_FIN | TH_ACK | TH_URG,
    TH_ACK,
    TH_ACK | TH_URG,
}


class Segment(NamedTuple):
    """`end` is the number behind the text, SYN and FIN; `sack` the highest right edge, or `ack`."""

    header: TcpHeader
    options: TcpOptions
    kind: Kind
    end: int
    sack: int


class Seen:
    """What one end has sent: `td_end` and `td_maxend` are the ends of its numbers and of the
    window it was offered, `td_maxwin` the largest window it has offered itself."""

    __slots__ = ("flags", "td_end", "td_maxack", "td_maxend", "td_maxwin", "td_scale")

    def __init__(self) -> None:
        self.td_end = self.td_maxend = self.td_maxwin = self.td_maxack = self.td_scale = 0
        self.flags = Flag(0)


class TcpTrack:
    """`struct ip_ct_tcp`; `last` is what the segment before was."""

    __slots__ = (
        *("last_ack", "last_dir", "last_end", "last_flags", "last_kind", "last_seq"),
        *("last_win", "last_wscale", "retrans", "seen", "state"),
    )

    def __init__(self) -> None:
        self.state = TcpState.NONE
        self.seen = (Seen(), Seen())
        self.last_dir = self.last_seq = self.last_ack = self.last_end = self.last_win = 0
        self.last_wscale = self.retrans = 0
        self.last_flags = Flag(0)
        self.last_kind = Kind.NONE

    @property
    def name(self) -> str:
        return self.state.name


def before(a: int, b: int) -> bool:
    return bool((a - b) & 0x80000000)


def after(a: int, b: int) -> bool:
    return before(b, a)


def parse(packet: Packet) -> Segment | None:
    """None for a segment that is too short for its header."""
    data = packet.transport
    if len(data) < TCP_HLEN:
        return None
    header = TcpHeader.parse(data)
    length = packet.length - (packet.thoff - packet.start)
    if header.header_length < TCP_HLEN or header.header_length > length:
        return None
    options = TcpOptions.parse(data[TCP_HLEN : header.header_length])
    text = length - header.header_length + packet.skb.data_len
    end = (header.seq + text + bool(header.flags & TH_SYN) + bool(header.flags & TH_FIN)) & MASK
    sack = header.ack
    for _, right in options.sack:
        if after(right, sack):
            sack = right
    return Segment(header, options, _kind(header.flags), end, sack)


def valid_flags(flags: int) -> bool:
    """Do they make sense together?"""
    return flags & ~(TH_ECE | TH_CWR | TH_PSH) in _VALID_FLAGS


def _kind(flags: int) -> Kind:
    if flags & TH_RST:
        return Kind.RST
    if flags & TH_SYN:
        return Kind.SYNACK if flags & TH_ACK else Kind.SYN
    if flags & TH_FIN:
        return Kind.FIN
    return Kind.ACK if flags & TH_ACK else Kind.NONE


def take_options(options: TcpOptions, seen: Seen) -> None:
    seen.td_scale, seen.flags = 0, Flag(0)
    if options.sack_permitted:
        seen.flags |= Flag.SACK_PERM
    if options.wscale is not None:
        seen.td_scale = options.wscale
        seen.flags |= Flag.WINDOW_SCALE
