"""Frames to throw at a host: made from nothing, or real ones with something changed.

Most have right lengths and checksums, since others do not get far.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pystack.core.checksum import checksum, ones_sum

__all__ = ["Frames", "Pool", "repair"]

IP, IPV6, ARP, VLAN = 0x0800, 0x86DD, 0x0806, 0x8100
ICMP, IGMP, TCP, UDP, ICMPV6 = 1, 2, 6, 17, 58
HOPOPTS, ROUTING, FRAGMENT, DSTOPTS, NONE = 0, 43, 44, 60, 59
_CHECKSUM_AT = {ICMP: 2, IGMP: 2, TCP: 16, UDP: 6, ICMPV6: 2}
_ODD_WORDS = (0, 1, 2, 7, 8, 0x14, 0x28, 0x40, 0x5DC, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF)
_TCP_OPTIONS = (
    bytes.fromhex("020405b4"),
    bytes.fromhex("0101080a0000000100000000"),
    bytes.fromhex("0402"),
    bytes.fromhex("030307"),
    bytes.fromhex("0101050a0000000100000400"),
    bytes.fromhex("1312") + bytes(16),
    bytes.fromhex("2206aabbccdd"),
    bytes.fromhex("0200"),
    bytes.fromhex("05ff"),
)
_IP_OPTIONS = (
    bytes.fromhex("07270400000000") + bytes(32),
    bytes.fromhex("44280500") + bytes(36),
    bytes.fromhex("8307040a000009"),
    bytes.fromhex("940400000101"),
    bytes.fromhex("0700"),
    bytes.fromhex("01010101"),
)


@dataclass(frozen=True)
class Pool:
    """What addresses and ports are drawn from: those of the hosts, of groups, and strangers."""

    macs: Sequence[bytes]
    ipv4: Sequence[bytes]
    ipv6: Sequence[bytes]
    ports: Sequence[int]


class Frames:
    """`make` gives a new frame, `mutate` some that come from a real one."""

    def __init__(self, rng: random.Random, pool: Pool) -> None:
        self._rng = rng
        self._pool = pool
        self._makers: tuple[Callable[[], bytes], ...] = (
            self._ipv4,
            self._ipv4,
            self._ipv6,
            self._ipv6,
            self._arp,
            self._noise,
        )

    def make(self) -> bytes:
        frame = self._rng.choice(self._makers)()
        if self._rng.random() < 0.05:
            frame = frame[:12] + struct.pack("!HH", VLAN, self._rng.choice((0, 5, 6))) + frame[12:]
        return frame

    def mutate(self, frame: bytes) -> list[bytes]:
        """One or several frames, each as long as a wire may carry."""
        rng = self._rng
        kind = rng.randrange(8)
        if rng.random() < 0.9:
            frame = self._pool.macs[0] + frame[6:]
        if kind == 0:
            return self._fragments(frame)
        if kind == 1:
            changed = frame[6:12] + frame[:6] + frame[12:]  # back to its sender
        elif kind == 2:
            changed = frame[: rng.randrange(14, len(frame) + 1)]
        elif kind == 3:
            changed = frame + rng.randbytes(rng.randrange(1, 64))
        else:
            changed = frame
            for _ in range(rng.choice((1, 1, 1, 2, 4))):
                changed = self._change(changed)
        return [self._finish(changed)]

    # -- changes ---------------------------------------------------------------------------

    def _finish(self, frame: bytes) -> bytes:
        if self._rng.random() < 0.85:
            frame = repair(frame, lengths=self._rng.random() < 0.7)
        return frame[:1518]

    def _change(self, frame: bytes) -> bytes:
        """One thing different, headers more often than the rest."""
        rng = self._rng
        at = rng.randrange(min(len(frame), rng.choice((14, 40, 60, 90, len(frame)))))
        if rng.random() < 0.5:
            value = bytes([rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))])
        else:
            value = struct.pack("!H", rng.choice((*_ODD_WORDS, rng.randrange(1 << 16))))
        return frame[:at] + value + frame[at + len(value) :]

    def _fragments(self, frame: bytes) -> list[bytes]:
        """An IPv4 packet in pieces: some twice, some overlapping, some missing, in any order."""
        rng = self._rng
        if frame[12:14] != IP.to_bytes(2, "big") or len(frame) < 60:
            return [self._finish(self._change(frame))]
        hlen = (frame[14] & 15) * 4
        body = frame[14 + hlen :]
        ident = rng.randrange(4)
        pieces = []
        at = 0
        while at < len(body):
            size = rng.choice((8, 16, 64, 512))
            piece = body[at : at + size + rng.choice((0, 0, 0, 8, 3))]
            more = 0x2000 if at + size < len(body) else 0
            header = bytearray(frame[: 14 + hlen])
            header[18:22] = struct.pack("!HH", ident, more | at >> 3)
            pieces.append(repair(bytes(header) + piece))
            if rng.random() < 0.1:
                pieces.append(pieces[-1])
            at += size
        if rng.random() < 0.5:
            rng.shuffle(pieces)
        return pieces[: rng.choice((1, 2, 3, 40))]

    # -- from nothing ----------------------------------------------------------------------

    def _ethernet(self, ethertype: int, payload: bytes) -> bytes:
        macs = self._pool.macs
        dst = self._rng.choice((macs[0], macs[0], self._rng.choice(macs)))
        return dst + self._rng.choice(macs) + ethertype.to_bytes(2, "big") + payload

    def _noise(self) -> bytes:
        ethertype = self._rng.choice((IP, IPV6, ARP, VLAN, 0x88CC, 0x0100))
        return self._ethernet(ethertype, self._rng.randbytes(self._rng.randrange(80)))

    def _arp(self) -> bytes:
        rng, pool = self._rng, self._pool
        op = rng.choice((1, 1, 2, 2, 3, 8))
        packet = struct.pack("!HHBBH", 1, IP, 6, 4, op)
        # Seldom a lie about the peer: then the real traffic ends.
        at = rng.randrange(len(pool.ipv4)) if rng.random() < 0.05 else rng.choice((1, 2, 3, 4))
        packet += (pool.macs[1] if at == 1 else rng.choice(pool.macs)) + pool.ipv4[at]
        packet += rng.choice(pool.macs) + rng.choice(pool.ipv4)
        return self._ethernet(ARP, packet[: rng.choice((28, 28, 28, 27, 8))])

    def _ipv4(self) -> bytes:
        rng, pool = self._rng, self._pool
        protocol = rng.choice((ICMP, IGMP, TCP, TCP, UDP, UDP, 47, 255))
        options = rng.choice(_IP_OPTIONS) if rng.random() < 0.1 else b""
        options += bytes(-len(options) % 4)
        fragment = rng.choice((0, 0x4000, 0x4000, 0x2000, 0x2001, 0x0010, 0x3FFF))
        fragment = fragment if rng.random() < 0.2 else 0x4000
        body = self._transport(protocol, rng.choice((0, 1, 8, 100, 1400)))
        first = 0x45 + len(options) // 4
        header = struct.pack(
            "!BBHHHBBH", first, rng.choice((0, 1, 2, 3, 0x10)), 0, rng.randrange(4), fragment,
            rng.choice((64, 64, 1, 0, 255)), protocol, 0,
        )  # fmt: skip
        source, target = rng.choice(pool.ipv4), rng.choice((pool.ipv4[0], rng.choice(pool.ipv4)))
        return self._finish(self._ethernet(IP, header + source + target + options + body))

    def _ipv6(self) -> bytes:
        rng, pool = self._rng, self._pool
        protocol = rng.choice((ICMPV6, ICMPV6, TCP, UDP, NONE, 253))
        body = self._transport(protocol, rng.choice((0, 1, 8, 100, 1300)))
        for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 6))):
            protocol, body = self._extension(protocol, body)
        header = struct.pack("!IHBB", 0x60000000, 0, protocol, rng.choice((64, 255, 255, 1, 0)))
        source, target = rng.choice(pool.ipv6), rng.choice((pool.ipv6[0], rng.choice(pool.ipv6)))
        return self._finish(self._ethernet(IPV6, header + source + target + body))

    def _extension(self, following: int, body: bytes) -> tuple[int, bytes]:
        rng = self._rng
        kind = rng.choice((HOPOPTS, ROUTING, FRAGMENT, DSTOPTS))
        if kind == FRAGMENT:
            offset = rng.choice((0, 1, 0x10, 0xFFF8)) | rng.choice((0, 1))
            return kind, struct.pack("!BBHI", following, 0, offset, rng.randrange(4)) + body
        words = rng.choice((0, 0, 1, 3, 255))
        data = rng.choice((bytes(6), rng.randbytes(6), bytes.fromhex("050200000100")))
        return kind, bytes([following, words]) + data + bytes(8 * (words % 8)) + body

    def _transport(self, protocol: int, length: int) -> bytes:
        rng, ports = self._rng, self._pool.ports
        text = rng.randbytes(length)
        pair = struct.pack("!HH", rng.choice(ports), rng.choice(ports))
        if protocol == UDP:
            claimed = rng.choice((8 + length, 8 + length, 8 + length, 7, 0, 0xFFFF))
            return pair + struct.pack("!HH", claimed, 0) + text
        if protocol == TCP:
            options = b"".join(rng.sample(_TCP_OPTIONS, rng.choice((0, 0, 1, 2, 3))))[:40]
            options += bytes(-len(options) % 4)
            offset = (5 + len(options) // 4) << 4
            flags = rng.choice((2, 2, 0x10, 0x18, 0x11, 4, 0x14, 0x12, 0xC2, rng.randrange(256)))
            words = struct.pack(
                "!IIBBHHH", rng.getrandbits(32), rng.getrandbits(32), offset, flags,
                rng.choice(_ODD_WORDS), 0, rng.choice((0, 1, 0xFFFF)),
            )  # fmt: skip
            return pair + words + options + text
        if protocol in (ICMP, ICMPV6):
            kinds = (0, 3, 4, 5, 8, 11, 12, 13) if protocol == ICMP else (1, 2, 3, 4, 128, 129, 130)
            kinds = kinds if protocol == ICMP else (*kinds, 131, 133, 134, 135, 136, 137, 143)
            head = struct.pack("!BBHI", rng.choice(kinds), rng.choice((0, 0, 1, 3, 4)), 0,
                               rng.choice((0, 68, 1280, rng.getrandbits(32))))  # fmt: skip
            return head + self._quoted(protocol) + text
        return text

    def _quoted(self, protocol: int) -> bytes:
        """What an ICMP error is about, or the target of a neighbour message."""
        rng, pool = self._rng, self._pool
        if rng.random() < 0.3:
            return b""
        if protocol == ICMPV6:
            option = rng.choice((b"", bytes([1, 1]) + rng.choice(pool.macs), bytes([3, 0, 0, 0])))
            return rng.choice(pool.ipv6) + option
        head = struct.pack("!BBHHHBBH", 0x45, 0, 40, 1, 0x4000, 64, rng.choice((TCP, UDP, ICMP)), 0)
        ports = struct.pack("!HHI", rng.choice(pool.ports), rng.choice(pool.ports), 0)
        return head + pool.ipv4[0] + rng.choice(pool.ipv4) + ports


# -- lengths and checksums -----------------------------------------------------------------


def repair(frame: bytes, lengths: bool = True) -> bytes:
    """The frame with right checksums, and lengths if wanted, as far as it can be read."""
    at = 14
    ethertype = frame[12:14]
    if ethertype == VLAN.to_bytes(2, "big"):
        at, ethertype = 18, frame[16:18]
    if ethertype == IP.to_bytes(2, "big") and len(frame) >= at + 20:
        return frame[:at] + _repair_ipv4(bytearray(frame[at:]), lengths)
    if ethertype == IPV6.to_bytes(2, "big") and len(frame) >= at + 40:
        return frame[:at] + _repair_ipv6(bytearray(frame[at:]), lengths)
    return frame


def _repair_ipv4(packet: bytearray, lengths: bool) -> bytes:
    if lengths:
        packet[2:4] = struct.pack("!H", len(packet))
    hlen = (packet[0] & 15) * 4
    if 20 <= hlen <= len(packet):
        packet[10:12] = b"\0\0"
        packet[10:12] = struct.pack("!H", checksum(bytes(packet[:hlen])))
        if not int.from_bytes(packet[6:8], "big") & 0x3FFF:
            pseudo = ones_sum(bytes(packet[12:20])) if packet[9] in (TCP, UDP) else 0
            end = min(len(packet), max(hlen, int.from_bytes(packet[2:4], "big")))
            _repair_transport(packet, packet[9], hlen, end, pseudo)
    return bytes(packet)


def _repair_ipv6(packet: bytearray, lengths: bool) -> bytes:
    if lengths:
        packet[4:6] = struct.pack("!H", len(packet) - 40)
    protocol, at = packet[6], 40
    while protocol in (HOPOPTS, ROUTING, DSTOPTS) and at + 8 <= len(packet):
        protocol, at = packet[at], at + 8 + packet[at + 1] * 8
    end = min(len(packet), 40 + int.from_bytes(packet[4:6], "big"))
    if at <= end:
        _repair_transport(packet, protocol, at, end, ones_sum(bytes(packet[8:40])))
    return bytes(packet)


def _repair_transport(packet: bytearray, protocol: int, at: int, end: int, pseudo: int) -> None:
    where = _CHECKSUM_AT.get(protocol)
    if where is None or at + where + 2 > end:
        return
    if pseudo:
        pseudo += protocol + end - at
    packet[at + where : at + where + 2] = b"\0\0"
    value = checksum(bytes(packet[at:end]), pseudo)
    packet[at + where : at + where + 2] = struct.pack("!H", value or 0xFFFF)
