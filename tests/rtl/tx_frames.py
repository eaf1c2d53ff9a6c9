"""Frames to send with what they ask of the NIC, and what has to appear on the wire for them.

The reference for offloads is written from the meaning of the descriptor (docs/rings.md) and from
RFC 791, 1071, 8200 and 9293: every header is built anew from the fields, and every checksum is
taken over the pseudo header itself, not from the sum that stands in the frame.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from pystack.dev.drivers import w2a_regs as regs

TCP, UDP = 6, 17
FIN, SYN, PSH, ACK, CWR = 0x01, 0x02, 0x08, 0x10, 0x80
ETHERNET = 14


def ones_sum(data: bytes) -> int:
    """The 16-bit ones' complement sum of big-endian halves; an odd byte is padded."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def checksum(data: bytes) -> bytes:
    """As it is stored: 0 is sent as 0xffff."""
    return struct.pack(">H", (~ones_sum(data) & 0xFFFF) or 0xFFFF)


@dataclass(frozen=True)
class TxFrame:
    """`csum_start` and `csum_offset` are in bytes here; `mss` 0: not to be segmented."""

    data: bytes
    csum_start: int = 0
    csum_offset: int = 0
    vlan_tci: int | None = None
    mss: int = 0
    stamp: bool = False
    wire: tuple[bytes, ...] = field(default=())  # without padding

    def __post_init__(self) -> None:
        frames = self.wire or (self.data,)
        if self.vlan_tci is not None:
            tag = struct.pack(">HH", 0x8100, self.vlan_tci)
            frames = tuple(frame[:12] + tag + frame[12:] for frame in frames)
        object.__setattr__(self, "wire", frames)

    @property
    def words(self) -> tuple[int, int, int]:
        """Flags, VLAN tag and segment size, as the first descriptor has them."""
        assert self.csum_start % 2 == self.csum_offset % 2 == 0
        flags = self.csum_start // 2 << regs.TX_DESC_CSUM_START_SHIFT
        flags |= self.csum_offset // 2 << regs.TX_DESC_CSUM_OFFSET_SHIFT
        flags |= regs.TX_DESC_VLAN_INSERT if self.vlan_tci is not None else 0
        flags |= regs.TX_DESC_SEGMENT if self.mss else 0
        flags |= regs.TX_DESC_TIMESTAMP if self.stamp else 0
        return flags, self.vlan_tci or 0, self.mss


def plain(rng: random.Random, length: int, **more: object) -> TxFrame:
    return TxFrame(rng.randbytes(length), **more)  # type: ignore[arg-type]


def anywhere(rng: random.Random, length: int, start: int, offset: int) -> TxFrame:
    """A checksum at any place, of bytes that are no protocol's."""
    data = rng.randbytes(length)
    at = start + offset
    done = data[:at] + checksum(data[start:]) + data[at + 2 :]
    return TxFrame(data, start, offset, wire=(done,))


# ---------------------------------------------------------------- TCP and UDP


@dataclass(frozen=True)
class Headers:
    """Ethernet, tags and IP of a packet with `protocol`; what differs is an argument."""

    link: bytes
    version: int
    middle: bytes  # IPv4: options; IPv6: extension headers
    protocol: int
    addresses: bytes  # source and destination
    ip_id: int

    @property
    def length(self) -> int:
        return len(self.link) + (20 if self.version == 4 else 40) + len(self.middle)

    def build(self, payload: int, count: int = 0, filled: bool = True) -> bytes:
        """For `payload` bytes behind IP in the `count`-th segment; not `filled`: zeros where the
        device writes, as Linux's drivers leave them."""
        if self.version == 4:
            size = 20 + len(self.middle)
            length = size + payload if filled else 0
            ident = (self.ip_id + count) & 0xFFFF
            head = struct.pack(
                ">BBHHHBBH", 0x40 | size // 4, 0x2C, length, ident, 0x4000, 64, self.protocol, 0
            )
            head += self.addresses + self.middle
            if filled:
                value = struct.pack(">H", ~ones_sum(head) & 0xFFFF)
                head = head[:10] + value + head[12:]
            return self.link + head
        following = 0 if self.middle else self.protocol
        length = len(self.middle) + payload if filled else 0
        head = struct.pack(">IHBB", 0x6_20_12345, length, following, 64)
        return self.link + head + self.addresses + self.middle

    def pseudo(self, length: int) -> bytes:
        return self.addresses + struct.pack(">II", length, self.protocol)


def some_headers(rng: random.Random, protocol: int) -> Headers:
    version = rng.choice((4, 6))
    link = rng.randbytes(12)
    for _ in range(rng.choice((0, 0, 1, 2))):
        link += struct.pack(">HH", rng.choice((0x8100, 0x88A8)), rng.getrandbits(16))
    link += b"\x08\x00" if version == 4 else b"\x86\xdd"
    if version == 4:
        middle = rng.randbytes(4 * rng.choice((0, 0, 1, 5, 10)))
    else:
        middle = b""
        for _ in range(rng.choice((0, 0, 1, 2))):
            units = rng.choice((0, 1, 4))
            middle = bytes([60 if middle else protocol, units]) + bytes(6 + 8 * units) + middle
    addresses = rng.randbytes(8 if version == 4 else 32)
    return Headers(link, version, middle, protocol, addresses, rng.choice((0xFFFE, 77)))


def packet(rng: random.Random, payload: int, protocol: int = UDP, **more: object) -> TxFrame:
    """One TCP or UDP packet that leaves its checksum to the NIC."""
    headers = some_headers(rng, protocol)
    offset = 6 if protocol == UDP else 16
    length = payload + (8 if protocol == UDP else 20)
    body = bytearray(rng.randbytes(length))
    if protocol == UDP:
        body[4:6] = struct.pack(">H", length)
    return _with_checksum(headers, body, offset, **more)


def with_sum_of_zero(rng: random.Random) -> TxFrame:
    """A UDP datagram whose checksum comes out as 0, which on the wire means that there is none."""
    headers = some_headers(rng, UDP)
    body = bytearray(rng.randbytes(8 + 20))
    body[6:8] = bytes(2)
    body[8:10] = bytes(2)
    left = 0xFFFF - ones_sum(headers.pseudo(len(body)) + bytes(body))
    body[8:10] = struct.pack(">H", left)
    frame = _with_checksum(headers, body, 6)
    assert frame.wire[0][headers.length + 6 : headers.length + 8] == b"\xff\xff"
    return frame


def _with_checksum(headers: Headers, body: bytearray, offset: int, **more: object) -> TxFrame:
    head = headers.build(len(body))
    pseudo = headers.pseudo(len(body))
    body[offset : offset + 2] = bytes(2)
    value = checksum(pseudo + bytes(body))
    done = head + bytes(body[:offset]) + value + bytes(body[offset + 2 :])
    body[offset : offset + 2] = struct.pack(">H", ones_sum(pseudo))
    return TxFrame(head + bytes(body), len(head), offset, wire=(done,), **more)  # type: ignore[arg-type]


def tcp_segments(
    rng: random.Random,
    payload: int,
    mss: int,
    *,
    flags: int | None = None,
    options: int | None = None,
    seq: int | None = None,
    headers: Headers | None = None,
    **more: object,
) -> TxFrame:
    """A TCP frame for the NIC to cut; `options` is in words of four bytes."""
    headers = headers or some_headers(rng, TCP)
    flags = rng.getrandbits(8) & ~SYN if flags is None else flags
    seq = rng.choice((rng.getrandbits(32), 0xFFFFFFFF - payload // 2)) if seq is None else seq
    words = rng.choice((0, 3, 10)) if options is None else options
    ports, ack, rest = rng.randbytes(4), rng.randbytes(4), rng.randbytes(2)
    urgent, extra, data = rng.randbytes(2), rng.randbytes(4 * words), rng.randbytes(payload)

    def tcp(at: int, bits: int, check: bytes) -> bytes:
        number = struct.pack(">I", (seq + at) & 0xFFFFFFFF)
        offset = bytes([(5 + words) << 4 | 1])
        return ports + number + ack + offset + bytes([bits]) + rest + check + urgent + extra

    wire = []
    for count, at in enumerate(range(0, payload, mss)):
        part = data[at : at + mss]
        bits = flags if at == 0 else flags & ~CWR
        bits = bits if at + mss >= payload else bits & ~(FIN | PSH)
        bare = tcp(at, bits, bytes(2)) + part
        value = checksum(headers.pseudo(len(bare)) + bare)
        wire.append(headers.build(len(bare), count) + tcp(at, bits, value) + part)
    pseudo = struct.pack(">H", ones_sum(headers.pseudo(0)))
    head = headers.build(0, filled=False)
    frame = head + tcp(0, flags, pseudo) + data
    return TxFrame(frame, len(head), 16, mss=mss, wire=tuple(wire), **more)  # type: ignore[arg-type]


# ---------------------------------------------------------------- fragments


def some_cuts(rng: random.Random, length: int, most: int, longest: int = 8000) -> list[int]:
    """Lengths of up to `most` fragments of at most `longest` bytes that add up to `length`."""
    least = -(-length // longest)
    count = min(max(rng.choice((1, 1, 2, 3, 7, most)), least), length)
    cuts = sorted(rng.sample(range(1, length), count - 1))
    lengths = [b - a for a, b in zip([0, *cuts], [*cuts, length], strict=True)]
    if max(lengths) > longest:
        lengths = [length // count + (number < length % count) for number in range(count)]
    return lengths


def fragments(data: bytes, lengths: Sequence[int]) -> list[bytes]:
    assert sum(lengths) == len(data)
    parts, at = [], 0
    for length in lengths:
        parts.append(data[at : at + length])
        at += length
    return parts
