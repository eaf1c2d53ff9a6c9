"""Seeded traffic for the scoreboard: rounds, each of which ends in quiet.

Within a round nothing depends on which of two things comes first: buffers are posted before frames
are sent, and a queue that runs out of them does so because of their number.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise

from pystack.core.checksum import checksum, ones_sum
from pystack.core.headers.ethernet import ETH_HLEN
from pystack.dev.drivers import w2a_regs as regs
from tb.scoreboard.lengths import (
    LONGEST_FRAME,
    LONGEST_TEXT,
    MORE,
    frame_length,
    piece_length,
    pieces_of,
)
from tb.settings import Resp

OWN = bytes.fromhex("02a1b2c3d4e5")
GROUPS = (b"\xff" * 6, bytes.fromhex("01005e000001"), bytes.fromhex("333300000001"))
STRANGER = bytes.fromhex("0299aabbccdd")
TAG = 4
MAX_FRAGMENTS = 24  # of a frame (docs/rings.md)
_RX_SWITCHES = regs.RX_OFFLOAD_VLAN_STRIP, regs.RX_OFFLOAD_HEADER_SPLIT


@dataclass(frozen=True)
class Buffer:
    """An RX buffer of `length` bytes at `position` from a page boundary; what the bus answers."""

    queue: int
    length: int
    position: int
    resp: Resp


@dataclass(frozen=True)
class TxFrame:
    """The pieces of a frame, each with its position, and the words of its first descriptor; what
    the bus answers to all of it."""

    queue: int
    pieces: tuple[tuple[bytes, int], ...]
    what: int
    tci: int
    mss: int
    resp: Resp
    rest: tuple[int, int, int] = (0, 0, 0)  # `what`, `tci`, `mss` of the other descriptors


@dataclass
class Round:
    """`writes` go to registers first."""

    writes: list[tuple[int, int]] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)
    sends: list[TxFrame] = field(default_factory=list)


class Traffic:
    """`features` as the device's register says; `queues` pairs, rings of `entries`.  `faults`: the
    share of the frames to send that the bus refuses is one of these in each round."""

    def __init__(
        self,
        seed: object,
        features: int,
        queues: int,
        entries: int,
        faults: tuple[float, ...] = (0, 0.7, 0.9),
    ) -> None:
        self._rng = random.Random(f"scoreboard/{seed}")
        self._features = features
        self._queues = queues
        self._entries = entries
        self._shares = faults

    def round(self) -> Round:
        rng = self._rng
        self._faults = rng.choice(self._shares)  # fewer of the buffers
        made = Round(writes=self._settings())
        made.frames = [self._frame() for _ in range(rng.randrange(1, 2 * self._entries))]
        for queue in range(self._queues):
            most = rng.choice((6, 12, self._entries))  # with a few some frame is cut short
            made.buffers += [self._buffer(queue) for _ in range(rng.randrange(most))]
        made.sends = [self._send() for _ in range(rng.randrange(self._entries * 3 // 4))]
        return made

    def _resp(self, share: float = 1) -> Resp:
        refused = self._rng.random() < self._faults * share
        return self._rng.choice((Resp.SLVERR, Resp.DECERR)) if refused else Resp.OKAY

    def _has(self, feature: int) -> bool:
        return bool(self._features & feature)

    def _settings(self) -> list[tuple[int, int]]:
        rng = self._rng
        ctrl = regs.CTRL_RX_ENABLE | regs.CTRL_TX_ENABLE
        ctrl |= rng.choice((0, 0, regs.CTRL_PROMISCUOUS, regs.CTRL_ALL_MULTICAST))
        writes = [(regs.CTRL, ctrl), (regs.RX_STEERING, rng.randrange(self._queues))]
        if self._has(regs.FEATURES_RX_OFFLOAD):
            offload = sum(bit for bit in _RX_SWITCHES if rng.random() < 0.5)
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
        length = rng.choices((0, LONGEST_FRAME, piece_length(rng)), (1, 16, 33))[0]
        return Buffer(queue, length, rng.randrange(-80, 80), self._resp(0.5))

    # -- frames to the NIC -----------------------------------------------------------------

    def _frame(self) -> bytes:
        rng = self._rng
        tags = self._tags()
        length = frame_length(rng) + rng.choice((0, len(tags)))
        dst = rng.choice((OWN, OWN, OWN, STRANGER, *GROUPS))
        head = dst + b"\x02\0\0\0\0\x01" + tags
        room = length - len(head) - 2
        if rng.random() < 0.05:
            room = rng.randrange(room + 1)  # and padding behind
        kind = rng.randrange(9)
        if kind < 2:
            inner = b"\x88\xb5" + rng.randbytes(room)
        elif kind < 6:
            inner = b"\x08\0" + self._ipv4(room)
        else:
            inner = b"\x86\xdd" + self._ipv6(room)
        frame = head + inner
        if rng.random() < 0.05:
            frame = frame[: rng.randrange(14, len(frame) + 1)]
        return frame[:LONGEST_FRAME].ljust(60, b"\0")

    def _tags(self) -> bytes:
        rng = self._rng
        count = rng.choice((0, 0, 0, 1, 1, 2))
        kinds = b"\x81\0", b"\x88\xa8"
        return b"".join(rng.choice(kinds) + rng.randbytes(2) for _ in range(count))

    def _ipv4(self, room: int) -> bytes:
        """A packet of `room` bytes, or the shortest one."""
        rng = self._rng
        options = rng.randbytes(4 * rng.choice((0, 0, 1, 10)))
        addresses = rng.randbytes(8)
        protocol, transport = self._transport(addresses, room - 20 - len(options))
        fragment = rng.choice((0, 0, 0, 0, 0x2000, 0x0010, 0x4000))
        length = self._told(20 + len(options) + len(transport))
        header = bytes((0x45 + len(options) // 4, 0)) + length.to_bytes(2, "big")
        header += rng.randbytes(2) + fragment.to_bytes(2, "big") + bytes((64, protocol))
        right = checksum(header + addresses + options)
        value = right if rng.random() < 0.9 else right ^ 0x0100
        return header + value.to_bytes(2, "big") + addresses + options + transport

    def _ipv6(self, room: int) -> bytes:
        rng = self._rng
        addresses = rng.randbytes(32)
        kinds = rng.choice(((), (), (0,), (60,), (0, 60), (44,)))
        sizes = [8 if kind == 44 else 8 * rng.choice((1, 2, 6)) for kind in kinds]
        protocol, transport = self._transport(addresses, room - 40 - sum(sizes))
        chain, following = b"", protocol
        for kind, size in zip(kinds, sizes, strict=True):
            chain = bytes((following, size // 8 - 1 if kind != 44 else 0)) + bytes(size - 2) + chain
            following = kind
        length = self._told(len(chain) + len(transport))
        first = b"\x60" + rng.randbytes(3) + length.to_bytes(2, "big")
        return first + bytes((following, 64)) + addresses + chain + transport

    def _told(self, length: int) -> int:
        """The packet's length as its header says: sometimes a wrong one."""
        rng = self._rng
        return length if rng.random() < 0.95 else rng.choice((0, 7, 19, rng.getrandbits(16), 65535))

    def _transport(self, addresses: bytes, room: int) -> tuple[int, bytes]:
        """(protocol, segment), with a right checksum or a wrong one, or for UDP none."""
        rng = self._rng
        protocol = rng.choice((6, 6, 17, 17, 1))
        if protocol == 6:
            options = bytes(4 * rng.choice((0, 3, 10)))
            head = rng.randbytes(12) + bytes((5 + len(options) // 4 << 4, rng.getrandbits(8)))
            head, at = head + rng.randbytes(2) + bytes(4) + options, 16
        elif protocol == 17:
            head, at = rng.randbytes(4) + max(8, room).to_bytes(2, "big") + bytes(2), 6
        else:
            return protocol, rng.randbytes(max(8, room))
        body = head + rng.randbytes(max(0, room - len(head)))
        start = int.from_bytes(addresses, "big") + protocol + len(body)
        right = 0xFFFF - ones_sum(body, start) or 0xFFFF
        value = rng.choice((right, right, right ^ 1, right ^ 1, 0 if protocol == 17 else right))
        return protocol, body[:at] + value.to_bytes(2, "big") + body[at + 2 :]

    # -- frames from the NIC ---------------------------------------------------------------

    def _send(self) -> TxFrame:
        """Its source address tells its queue, so that the order within each can be compared."""
        rng = self._rng
        queue = rng.randrange(self._queues)
        what = tci = mss = 0
        if self._has(regs.FEATURES_TX_TIMESTAMP) and rng.random() < 0.4:
            what |= regs.TX_DESC_TIMESTAMP
        if self._has(regs.FEATURES_TX_VLAN) and rng.random() < 0.4:
            what |= regs.TX_DESC_VLAN_INSERT
            tci = rng.getrandbits(16)
        segment = self._has(regs.FEATURES_TX_SEGMENT) and rng.random() < 0.5
        summed = segment or (self._has(regs.FEATURES_TX_CHECKSUM) and rng.random() < 0.5)
        head, csum_start = self._sent_head(queue)
        gathers = self._has(regs.FEATURES_TX_CHECKSUM)
        longest = LONGEST_TEXT if segment else LONGEST_FRAME - TAG
        lengths = pieces_of(rng, rng.choice((1, 1, 1, 2, 3)) if gathers else 1, longest)
        short = (len(head) + 1 if summed else ETH_HLEN) - sum(lengths)
        if short > 0:
            lengths += [short + rng.randrange(100)] if gathers else []
            lengths[0] += 0 if gathers else short
        text = sum(lengths) - len(head)
        if summed:
            what |= csum_start // 2 << regs.TX_DESC_CSUM_START_SHIFT
            what |= 16 // 2 << regs.TX_DESC_CSUM_OFFSET_SHIFT
        if segment:
            what |= regs.TX_DESC_SEGMENT
            mss = rng.randint(max(1, text // 12), min(text, LONGEST_FRAME - TAG - len(head)))
        frame = (head + rng.randbytes(max(0, text)))[: sum(lengths)]
        rest = rng.getrandbits(16) & ~regs.TX_DESC_LAST, rng.getrandbits(16), rng.getrandbits(14)
        pieces = self._pieces(frame, lengths)
        return self._spoilt(TxFrame(queue, pieces, what, tci, mss, Resp.OKAY, rest))

    def _spoilt(self, frame: TxFrame) -> TxFrame:
        """Some are refused: by the bus, or by the device for what the descriptors say."""
        rng = self._rng
        if rng.random() < 0.75 or not self._has(regs.FEATURES_TX_CHECKSUM):
            return replace(frame, resp=self._resp())
        pieces, kind, segment = frame.pieces, rng.randrange(5), frame.what & regs.TX_DESC_SEGMENT
        if kind == 0 and segment:
            return replace(frame, mss=0)
        if kind == 1 and segment:
            return replace(frame, what=frame.what ^ 1 << regs.TX_DESC_CSUM_OFFSET_SHIFT)
        if kind <= 2 and not segment:  # too long
            data = rng.randbytes(rng.randint(*MORE))
            return replace(frame, pieces=(*pieces, *self._pieces(data, [len(data)])))
        if kind == 3:  # too many
            count = MAX_FRAGMENTS + rng.randint(1, 20)
            more = self._pieces(rng.randbytes(8 * count), [8] * count)
            return replace(frame, pieces=(*pieces, *more)[:count])
        at = rng.randrange(len(pieces) + 1)
        return replace(frame, pieces=(*pieces[:at], (b"", 0), *pieces[at:]))

    def _sent_head(self, queue: int) -> tuple[bytes, int]:
        """Headers, their lengths left open, and where TCP's is."""
        rng = self._rng
        addresses = rng.randbytes(rng.choice((8, 32)))
        options = bytes(4 * rng.choice((0, 3)))
        tcp = rng.randbytes(12) + bytes((5 + len(options) // 4 << 4, rng.getrandbits(8)))
        tcp += rng.randbytes(2) + ones_sum(b"", int.from_bytes(addresses, "big") + 6).to_bytes(
            2, "big"
        )
        tcp += bytes(2) + options
        link = STRANGER + bytes((2, 0, 0, 0, 0, queue)) + self._tags()
        if len(addresses) == 8:
            ip = b"\x45\0" + rng.randbytes(4) + b"\x40\0\x40\x06\0\0" + addresses
            link += b"\x08\0"
        else:
            ip = b"\x60\0\0\0" + rng.randbytes(2) + b"\x06\x40" + addresses
            link += b"\x86\xdd"
        return link + ip + tcp, len(link) + len(ip)

    def _pieces(self, frame: bytes, lengths: list[int]) -> tuple[tuple[bytes, int], ...]:
        ends = list(accumulate(lengths))
        bounds = pairwise((0, *ends))
        return tuple((frame[a:b], self._rng.randrange(-40, 40)) for a, b in bounds)
