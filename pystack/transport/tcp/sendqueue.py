"""The two halves of the send queue: bytes not yet sent, and segments not yet acknowledged.

`output` cuts segments from `WriteQueue` when it sends them and moves them to `RtxQueue`, which is
also the SACK scoreboard (RFC 6675, 3): `ack`, `sacktag` and `recovery` mark segments in it.
"""

from __future__ import annotations

from pystack.core.headers.tcp import TH_FIN, TH_PSH
from pystack.core.skb import EMPTY
from pystack.transport.tcp.segment import (
    LOST,
    RETRANS,
    SACKED_ACKED,
    SACKED_RETRANS,
    TxSegment,
)
from pystack.transport.tcp.seq import after, seq_add, seq_diff


class WriteQueue:
    """User data in the pieces it was written in.  `fin`: a FIN follows the last byte."""

    __slots__ = ("_pieces", "fin", "length")

    def __init__(self) -> None:
        self._pieces: list[memoryview] = []
        self.length = 0
        self.fin = False

    def __bool__(self) -> bool:
        return self.length > 0 or self.fin

    def append(self, data: bytes) -> None:
        self._pieces.append(memoryview(data))
        self.length += len(data)

    def take(self, n: int) -> memoryview:
        """The first `n` bytes; copied only when they span pieces."""
        self.length -= n
        pieces = self._pieces
        if n == 0:
            return EMPTY
        first = pieces[0]
        if len(first) > n:
            pieces[0] = first[n:]
            return first[:n]
        if len(first) == n:
            return pieces.pop(0)
        parts = []
        while n:
            piece = pieces.pop(0)
            if len(piece) > n:
                pieces.insert(0, piece[n:])
                piece = piece[:n]
            parts.append(piece)
            n -= len(piece)
        return memoryview(b"".join(parts))

    def clear(self) -> None:
        self._pieces.clear()
        self.length = 0
        self.fin = False


class RtxQueue:
    """Segments in flight, oldest first, with the counters of Linux's `tcp_sock`.

    Without SACK `sacked_out` counts duplicate ACKs (RFC 6582): each means a segment has left.
    """

    __slots__ = ("highest_sack", "lost_out", "retrans_out", "sacked_out", "segments")

    def __init__(self) -> None:
        self.segments: list[TxSegment] = []
        self.sacked_out = 0
        self.lost_out = 0
        self.retrans_out = 0
        self.highest_sack = 0  # right edge of the highest SACKed segment, if any is

    def __bool__(self) -> bool:
        return bool(self.segments)

    @property
    def packets_out(self) -> int:
        return len(self.segments)

    @property
    def left_out(self) -> int:
        return self.sacked_out + self.lost_out

    @property
    def in_flight(self) -> int:
        """`tcp_packets_in_flight`: RFC 6675's pipe, in segments."""
        return len(self.segments) - self.sacked_out - self.lost_out + self.retrans_out

    @property
    def head(self) -> TxSegment:
        return self.segments[0]

    def append(self, segment: TxSegment) -> None:
        self.segments.append(segment)

    def pop_acked(self) -> TxSegment:
        """Take the oldest segment out of the queue and of every count but `sacked_out` of Reno."""
        segment = self.segments.pop(0)
        if segment.sacked & SACKED_RETRANS:
            self.retrans_out -= 1
        if segment.sacked & SACKED_ACKED:
            self.sacked_out -= 1
        if segment.sacked & LOST:
            self.lost_out -= 1
        return segment

    def mark_lost(self, segment: TxSegment) -> bool:
        """Returns whether this was news.  A retransmission in flight is lost, too."""
        if segment.sacked & SACKED_RETRANS:
            segment.sacked &= ~SACKED_RETRANS
            self.retrans_out -= 1
        elif segment.sacked & LOST:
            return False
        if not segment.sacked & LOST:
            segment.sacked |= LOST
            self.lost_out += 1
        return True

    def mark_sacked(self, segment: TxSegment) -> None:
        """The receiver reports to have it: it is neither lost nor in flight."""
        if segment.sacked & SACKED_RETRANS:
            # The original arrived, or the retransmission did: nothing of it is under way.
            segment.sacked &= ~SACKED_RETRANS
            self.retrans_out -= 1
        if segment.sacked & LOST:
            segment.sacked &= ~LOST
            self.lost_out -= 1
        segment.sacked |= SACKED_ACKED
        if not self.sacked_out or after(segment.end_seq, self.highest_sack):
            self.highest_sack = segment.end_seq
        self.sacked_out += 1

    def mark_retransmitted(self, segment: TxSegment) -> None:
        segment.sacked |= RETRANS
        self.retrans_out += 1

    def forget_sacks(self) -> None:
        """The receiver reneged (RFC 2018, 8): what it SACKed counts as not received."""
        for segment in self.segments:
            segment.sacked &= ~SACKED_ACKED
        self.sacked_out = 0

    def split(self, segment: TxSegment, length: int) -> None:
        """Cut a queued segment after `length` payload bytes (`tcp_fragment`).

        Both halves inherit its marks; PSH and FIN stay with the second.
        """
        middle = seq_add(segment.seq, length)
        rest = TxSegment(middle, segment.end_seq, segment.flags, segment.data[length:])
        rest.sacked = segment.sacked
        rest.sent_at = segment.sent_at
        segment.data = segment.data[:length]
        segment.end_seq = middle
        segment.flags &= ~(TH_FIN | TH_PSH)
        self.segments.insert(self.segments.index(segment) + 1, rest)
        self.lost_out += bool(rest.sacked & LOST)
        self.retrans_out += bool(rest.sacked & SACKED_RETRANS)
        self.sacked_out += bool(rest.sacked & SACKED_ACKED)

    def trim_head(self, segment: TxSegment, snd_una: int) -> None:
        """Cut off what has been acknowledged in the middle of a segment."""
        segment.data = segment.data[seq_diff(snd_una, segment.seq) :]
        segment.seq = snd_una

    def clear(self) -> None:
        self.segments.clear()
        self.sacked_out = self.lost_out = self.retrans_out = 0
