"""Seeded traffic for the scoreboard: rounds, each of which ends in quiet.

Within a round nothing depends on which of two things comes first: buffers are posted before frames
are sent, and a queue that runs out of them does so because of their number.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import pairwise

from pystack.core.checksum import checksum, ones_sum
from pystack.dev.drivers import w2a_regs as regs

OWN = bytes.fromhex("02a1b2c3d4e5")
GROUPS = (b"\xff" * 6, bytes.fromhex("01005e000001"), bytes.fromhex("333300000001"))
STRANGER = bytes.fromhex("0299aabbccdd")
_RX_SWITCHES = regs.RX_OFFLOAD_VLAN_STRIP, regs.RX_OFFLOAD_HEADER_SPLIT


@dataclass(frozen=True)
class Buffer:
    """An RX buffer of `length` bytes at `position` from a page boundary."""

    queue: int
    length: int
    position: int


@dataclass(frozen=True)
class TxFrame:
    """The pieces of a frame, each with its position, and the words of its first descriptor."""

    queue: int
    pieces: tuple[tuple[bytes, int], ...]
    what: int
    tci: int
    mss: int


@dataclass
class Round:
    """`writes` go to registers first; `faults` are the buffers the bus refuses."""

    writes: list[tuple[int, int]] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)
    sends: list[TxFrame] = field(default_factory=list)
    faults: list[int] = field(default_factory=list)


class Traffic:
    """`features` as the device's register says; `queues` pairs, rings of `entries`."""

    def __init__(self, seed: object, features: int, queues: int, entries: int) -> None:
        self._rng = random.Random(f"scoreboard/{seed}")
        self._features = features
        self._queues = queues
        self._entries = entries

    def round(self) -> Round:
        rng = self._rng
        made = Round(writes=self._settings())
        count = rng.randrange(1, self._entries)
        made.frames = [self._frame() for _ in range(count)]
        for queue in range(self._queues):
            posted = rng.choice((count, count, rng.randrange(count + 1)))
            made.buffers += [self._buffer(queue) for _ in range(posted)]
        made.sends = [self._send() for _ in range(rng.randrange(self._entries // 4))]
        if rng.random() < 0.2 and made.buffers:
            made.faults = [rng.randrange(len(made.buffers))]
        return made

    def _has(self, feature: int) -> bool:
        return bool(self._features & feature)

    def _settings(self) -> list[tuple[int, int]]:
        rng = self._rng
        ctrl = regs.CTRL_RX_ENABLE | regs.CTRL_TX_ENABLE
        ctrl |= rng.choice((0, 0, regs.CTRL_PROMISCUOUS, regs.CTRL_ALL_MULTICAST))
        writes = [(regs.CTRL, ctrl), (regs.RX_STEERING, rng.randrange(self._queues))]
        if self._has(regs.FEATURES_RX_OFFLOAD):
            offload = sum(bit for bit in _RX_SWITCHES if rng.random() < 0.4)
            writes += [(regs.RX_OFFLOAD, offload), (regs.RSS_CTRL, rng.getrandbits(6))]
            for at in range(0, 4 * regs.RSS_KEY_COUNT, 4):
                writes.append((regs.RSS_KEY + at, rng.getrandbits(32)))
            for at in range(0, 4 * regs.RSS_TABLE_COUNT, 4):
                entries = bytes(rng.randrange(self._queues) for _ in range(4))
                writes.append((regs.RSS_TABLE + at, int.from_bytes(entries, "little")))
        if self._has(regs.FEATURES_RX_FILTERS):
            high = regs.MAC_FILTER_HI_VALID if rng.random() < 0.5 else 0
            writes.append((regs.MAC_FILTER_LO, int.from_bytes(STRANGER[:4], "little")))
            writes.append((regs.MAC_FILTER_HI, high | int.from_bytes(STRANGER[4:], "little")))
            writes.append((regs.MULTICAST_HASH_LO, rng.getrandbits(32)))
            writes.append((regs.MULTICAST_HASH_HI, rng.getrandbits(32)))
        return writes

    def _buffer(self, queue: int) -> Buffer:
        rng = self._rng
        length = 2048
        if self._has(regs.FEATURES_RX_OFFLOAD) and rng.random() < 0.3:
            length = rng.choice((64, 128, 200, 512, 1000))
        return Buffer(queue, length, rng.randrange(-80, 80))

    # -- frames to the NIC -----------------------------------------------------------------

    def _frame(self) -> bytes:
        rng = self._rng
        dst = rng.choice((OWN, OWN, OWN, STRANGER, *GROUPS))
        tags = b"".join(
            rng.choice((b"\x81\0", b"\x88\xa8")) + rng.randbytes(2)
            for _ in range(rng.choice((0, 0, 0, 1, 1, 2)))
        )
        kind = rng.randrange(8)
        if kind == 0:
            inner = b"\x88\xb5" + rng.randbytes(rng.randrange(46, 1400))
        elif kind < 5:
            inner = b"\x08\0" + self._ipv4()
        else:
            inner = b"\x86\xdd" + self._ipv6()
        frame = dst + b"\x02\0\0\0\0\x01" + tags + inner
        if rng.random() < 0.05:
            frame = frame[: rng.randrange(20, len(frame))]
        return frame.ljust(60, b"\0")

    def _ipv4(self) -> bytes:
        rng = self._rng
        options = rng.randbytes(4 * rng.choice((0, 0, 0, 1, 10)))
        addresses = rng.randbytes(8)
        protocol, transport = self._transport(addresses)
        fragment = rng.choice((0, 0, 0, 0, 0x2000, 0x0010, 0x4000))
        length = 20 + len(options) + len(transport)
        header = bytes((0x45 + len(options) // 4, 0)) + length.to_bytes(2, "big")
        header += rng.randbytes(2) + fragment.to_bytes(2, "big") + bytes((64, protocol))
        right = checksum(header + addresses + options)
        value = right if rng.random() < 0.9 else right ^ 0x0100
        return header + value.to_bytes(2, "big") + addresses + options + transport

    def _ipv6(self) -> bytes:
        rng = self._rng
        addresses = rng.randbytes(32)
        protocol, transport = self._transport(addresses)
        chain, following = b"", protocol
        for kind in rng.choice(((), (), (0,), (60,), (0, 60), (44,))):
            size = 8 if kind == 44 else 8 * rng.choice((1, 1, 2))
            chain = bytes((following, size // 8 - 1 if kind != 44 else 0)) + bytes(size - 2) + chain
            following = kind
        length = len(chain) + len(transport)
        first = b"\x60" + rng.randbytes(3) + length.to_bytes(2, "big")
        return first + bytes((following, 64)) + addresses + chain + transport

    def _transport(self, addresses: bytes) -> tuple[int, bytes]:
        """(protocol, segment), with a right checksum or a wrong one, or for UDP none."""
        rng = self._rng
        text = rng.randbytes(rng.choice((0, 1, 2, 3, rng.randrange(1300))))
        protocol = rng.choice((6, 6, 17, 17, 1))
        if protocol == 6:
            options = bytes(4 * rng.choice((0, 3, 10)))
            head = rng.randbytes(12) + bytes((5 + len(options) // 4 << 4, rng.getrandbits(8)))
            body, at = head + rng.randbytes(2) + bytes(4) + options + text, 16
        elif protocol == 17:
            body, at = rng.randbytes(4) + (8 + len(text)).to_bytes(2, "big") + bytes(2) + text, 6
        else:
            return protocol, rng.randbytes(8) + text
        start = int.from_bytes(addresses, "big") + protocol + len(body)
        right = 0xFFFF - ones_sum(body, start) or 0xFFFF
        value = rng.choice((right, right, right, right ^ 1, 0 if protocol == 17 else right))
        return protocol, body[:at] + value.to_bytes(2, "big") + body[at + 2 :]

    # -- frames from the NIC ---------------------------------------------------------------

    def _send(self) -> TxFrame:
        """Its source address tells its queue, so that the order within each can be compared."""
        rng = self._rng
        queue = rng.randrange(self._queues)
        what = tci = mss = 0
        length = rng.choice((0, 1, 10, rng.randrange(1400)))
        if self._has(regs.FEATURES_TX_SEGMENT) and rng.random() < 0.3:
            what |= regs.TX_DESC_SEGMENT
            mss = rng.choice((100, 536, 1000))
            length = rng.randrange(1, 6000)
        if self._has(regs.FEATURES_TX_VLAN) and rng.random() < 0.3:
            what |= regs.TX_DESC_VLAN_INSERT
            tci = rng.getrandbits(16)
        head, csum_start = self._sent_head(queue, length)
        if what & regs.TX_DESC_SEGMENT or (
            self._has(regs.FEATURES_TX_CHECKSUM) and rng.random() < 0.5
        ):
            what |= csum_start // 2 << regs.TX_DESC_CSUM_START_SHIFT
            what |= 16 // 2 << regs.TX_DESC_CSUM_OFFSET_SHIFT
        return TxFrame(queue, self._pieces(head + rng.randbytes(length)), what, tci, mss)

    def _sent_head(self, queue: int, length: int) -> tuple[bytes, int]:
        rng = self._rng
        addresses = rng.randbytes(rng.choice((8, 32)))
        options = bytes(4 * rng.choice((0, 3)))
        tcp = rng.randbytes(12) + bytes((5 + len(options) // 4 << 4, rng.getrandbits(8)))
        tcp += rng.randbytes(2) + ones_sum(b"", int.from_bytes(addresses, "big") + 6).to_bytes(
            2, "big"
        )
        tcp += bytes(2) + options
        link = STRANGER + bytes((2, 0, 0, 0, 0, queue))
        total = len(tcp) + length
        if len(addresses) == 8:
            ip = b"\x45\0" + (20 + total & 0xFFFF).to_bytes(2, "big") + rng.randbytes(2)
            ip += b"\x40\0\x40\x06\0\0" + addresses
            link += b"\x08\0"
        else:
            ip = b"\x60\0\0\0" + total.to_bytes(2, "big") + b"\x06\x40" + addresses
            link += b"\x86\xdd"
        return link + ip + tcp, len(link) + len(ip)

    def _pieces(self, frame: bytes) -> tuple[tuple[bytes, int], ...]:
        """One piece while the device cannot gather, else up to six."""
        rng = self._rng
        cuts: list[int] = []
        if self._has(regs.FEATURES_TX_CHECKSUM):
            wanted = min(rng.choice((0, 0, 1, 2, 5)), len(frame) - 1)
            cuts = sorted(rng.sample(range(1, len(frame)), wanted))
        bounds = [0, *cuts, len(frame)]
        return tuple((frame[a:b], rng.randrange(-40, 40)) for a, b in pairwise(bounds))
