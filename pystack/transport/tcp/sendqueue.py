"""Segments sent and not yet acknowledged, which is also the SACK scoreboard (RFC 6675, 3).

`output` cuts them from the data of `writequeue` when it sends them; `ack`, `sacktag` and `recovery`
mark them.
"""

from __future__ import annotations

from pystack.core.headers.tcp import TH_FIN, TH_PSH
from pystack.transport.tcp.segment import (
    LOST,
    RETRANS,
    SACKED_ACKED,
    SACKED_RETRANS,
    TxSegment,
)
from pystack.transport.tcp.seq import after, seq_add, seq_diff


class RtxQueue:
    """Segments in flight, oldest first, with the counters of Linux's `tcp_sock`.

    Without SACK `sacked_out` counts duplicate ACKs (RFC 6582): each means a segment has left.
    """

    __slots__ = (
        *("highest_sack", "lost_out", "lost_total", "retrans_out", "sacked_out", "segments"),
    )

    def __init__(self) -> None:
        self.segments: list[TxSegment] = []
        self.sacked_out = 0
        self.lost_out = 0
        self.lost_total = 0  # ever
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
        """Returns whether this was news.  Of a lost segment the retransmission is lost now."""
        if not segment.sacked & LOST:
            segment.sacked |= LOST
            self.lost_out += 1
        elif segment.sacked & SACKED_RETRANS:
            segment.sacked &= ~SACKED_RETRANS
            self.retrans_out -= 1
        else:
            return False
        self.lost_total += 1
        return True

    def mark_sacked(self, segment: TxSegment) -> None:
        """The receiver reports to have it: it is not lost.

        A retransmission of what was not lost is taken to be still under way, as in Linux.
        """
        if segment.sacked & LOST:
            segment.sacked &= ~LOST
            self.lost_out -= 1
            if segment.sacked & SACKED_RETRANS:
                segment.sacked &= ~SACKED_RETRANS
                self.retrans_out -= 1
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

    def split(self, segment: TxSegment, length: int) -> TxSegment:
        """Cut a queued segment after `length` payload bytes (`tcp_fragment`).

        Both halves inherit its marks; PSH and FIN stay with the second, which is returned.
        """
        middle = seq_add(segment.seq, length)
        rest = TxSegment(middle, segment.end_seq, segment.flags, segment.data[length:])
        rest.sacked = segment.sacked
        rest.sent_at = segment.sent_at
        rest.tx = segment.tx
        segment.data = segment.data[:length]
        segment.end_seq = middle
        segment.flags &= ~(TH_FIN | TH_PSH)
        self.segments.insert(self.segments.index(segment) + 1, rest)
        self.lost_out += bool(rest.sacked & LOST)
        self.retrans_out += bool(rest.sacked & SACKED_RETRANS)
        self.sacked_out += bool(rest.sacked & SACKED_ACKED)
        return rest

    def trim_head(self, segment: TxSegment, snd_una: int) -> None:
        """Cut off what has been acknowledged in the middle of a segment."""
        segment.data = segment.data[seq_diff(snd_una, segment.seq) :]
        segment.seq = snd_una

    def clear(self) -> None:
        self.segments.clear()
        self.sacked_out = self.lost_out = self.retrans_out = 0
