"""TCP (RFC 9293, 3.1) and its options (RFC 7323, RFC 2018)."""

from __future__ import annotations

import struct
from typing import NamedTuple

TCP_HLEN = 20

TH_FIN = 0x01
TH_SYN = 0x02
TH_RST = 0x04
TH_PSH = 0x08
TH_ACK = 0x10
TH_URG = 0x20
TH_ECE = 0x40
TH_CWR = 0x80

OPT_EOL = 0
OPT_NOP = 1
OPT_MSS = 2
OPT_WSCALE = 3
OPT_SACK_PERMITTED = 4
OPT_SACK = 5
OPT_TIMESTAMPS = 8
TCPOLEN_TSTAMP_ALIGNED = 12
TCPOLEN_SACK_BASE_ALIGNED = 4
TCPOLEN_SACK_PERBLOCK = 8
MAX_WSCALE = 14  # RFC 7323, 2.3

FIELDS = "HHIIBBHHH"
_LAYOUT = struct.Struct("!" + FIELDS)
unpack_fields = _LAYOUT.unpack_from
_TIMESTAMPS = struct.Struct("!III")
_PAIR = struct.Struct("!II")
_U16 = struct.Struct("!H")
_ALIGNED_TIMESTAMPS = OPT_NOP << 24 | OPT_NOP << 16 | OPT_TIMESTAMPS << 8 | 10  # RFC 7323, A


class TcpHeader(NamedTuple):
    """`header_length` counts the options in."""

    sport: int
    dport: int
    seq: int
    ack: int
    flags: int
    window: int
    checksum: int = 0
    urgent: int = 0
    header_length: int = TCP_HLEN

    @classmethod
    def parse(cls, buf: bytes | memoryview, off: int = 0) -> TcpHeader:
        """The fixed 20 bytes; struct.error if they are not there.  Checks nothing."""
        sport, dport, seq, ack, first, flags, window, value, urgent = _LAYOUT.unpack_from(buf, off)
        return cls(sport, dport, seq, ack, flags, window, value, urgent, (first >> 4) << 2)

    def pack(self) -> bytes:
        """The fixed 20 bytes; options are appended by the caller."""
        return _LAYOUT.pack(
            self.sport,
            self.dport,
            self.seq,
            self.ack,
            self.header_length << 2,
            self.flags,
            self.window,
            self.checksum,
            self.urgent,
        )


def pack_segment_header(
    sport: int,
    dport: int,
    seq: int,
    ack: int,
    flags: int,
    window: int,
    options: bytes,
    start: int,
    urgent: int = 0,
    partial: bool = False,
) -> bytes:
    """Header, checksum included, and options.  `start` is the one's-complement sum of the
    pseudo-header and the text; if `partial`, of the pseudo-header alone, and all that the
    checksum field gets.

    The sum of the fields is, modulo 65535, the sum of the words they make up (`ones_sum`), so
    nothing needs to be packed before the checksum is known.
    """
    length = TCP_HLEN + len(options)
    if partial:
        value = start % 65535 or 65535
    else:
        value = start + sport + dport + seq + ack + (length << 10 | flags) + window + urgent
        if options:
            value += int.from_bytes(options, "big")
        value = 0xFFFF - (value % 65535 or 65535)
    header = _LAYOUT.pack(sport, dport, seq, ack, length << 2, flags, window, value, urgent)
    return header + options


class TcpOptions(NamedTuple):
    """`timestamps` is (TSval, TSecr); `sack` holds (left edge, right edge) pairs."""

    mss: int | None = None
    wscale: int | None = None
    sack_permitted: bool = False
    timestamps: tuple[int, int] | None = None
    sack: tuple[tuple[int, int], ...] = ()

    @classmethod
    def parse(cls, data: bytes | memoryview) -> TcpOptions:
        """What is understood; the rest is skipped, and a malformed option ends the list.

        Linux does the same (`tcp_parse_options`).
        """
        if len(data) == TCPOLEN_TSTAMP_ALIGNED:
            word, tsval, tsecr = _TIMESTAMPS.unpack_from(data)
            if word == _ALIGNED_TIMESTAMPS:
                return cls(None, None, False, (tsval, tsecr))
        return _scan(data)

    def pack(self) -> bytes:
        """Padded to whole words, in Linux's order (`tcp_options_write`)."""
        parts = []
        if self.mss is not None:
            parts.append(bytes((OPT_MSS, 4)) + _U16.pack(self.mss))
        if self.timestamps is not None:
            lead = (OPT_SACK_PERMITTED, 2) if self.sack_permitted else (OPT_NOP, OPT_NOP)
            parts.append(bytes((*lead, OPT_TIMESTAMPS, 10)) + _PAIR.pack(*self.timestamps))
        elif self.sack_permitted:
            parts.append(bytes((OPT_NOP, OPT_NOP, OPT_SACK_PERMITTED, 2)))
        if self.wscale is not None:
            parts.append(bytes((OPT_NOP, OPT_WSCALE, 3, self.wscale)))
        if self.sack:
            length = 2 + TCPOLEN_SACK_PERBLOCK * len(self.sack)
            parts.append(bytes((OPT_NOP, OPT_NOP, OPT_SACK, length)))
            parts.extend(_PAIR.pack(*block) for block in self.sack)
        return b"".join(parts)


NO_OPTIONS = TcpOptions()


def _scan(data: bytes | memoryview) -> TcpOptions:
    found = NO_OPTIONS
    at, end = 0, len(data)
    while at < end:
        kind = data[at]
        if kind == OPT_NOP:
            at += 1
            continue
        if kind == OPT_EOL or at + 1 >= end:
            break
        length = data[at + 1]
        if length < 2 or at + length > end:
            break
        found = _option(found, kind, data[at + 2 : at + length])
        at += length
    return found


def _option(found: TcpOptions, kind: int, value: bytes | memoryview) -> TcpOptions:
    """`found` with one option more, if it is known and has its proper length."""
    if kind == OPT_MSS and len(value) == 2:
        return found._replace(mss=_U16.unpack(value)[0])
    if kind == OPT_WSCALE and len(value) == 1:
        return found._replace(wscale=min(value[0], MAX_WSCALE))  # RFC 7323, 2.3
    if kind == OPT_SACK_PERMITTED and not len(value):
        return found._replace(sack_permitted=True)
    if kind == OPT_TIMESTAMPS and len(value) == 8:
        tsval, tsecr = _PAIR.unpack(value)
        return found._replace(timestamps=(tsval, tsecr))
    if kind == OPT_SACK and len(value) and len(value) % TCPOLEN_SACK_PERBLOCK == 0:
        return found._replace(sack=tuple((left, right) for left, right in _PAIR.iter_unpack(value)))
    return found


def timestamp_option(tsval: int, tsecr: int) -> bytes:
    """The 12 bytes nearly every segment carries, without a `TcpOptions` in between."""
    return _TIMESTAMPS.pack(_ALIGNED_TIMESTAMPS, tsval, tsecr)
