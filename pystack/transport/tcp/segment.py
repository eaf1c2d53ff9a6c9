"""What TCP remembers of a segment: of one received (`skb.cb`), of one sent (in the rtx queue)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.core.headers.tcp import TcpOptions
from pystack.core.skb import EMPTY

if TYPE_CHECKING:
    from pystack.transport.tcp.rate import Stamp

SACKED_ACKED = 0x01  # the receiver has it (SACK)
SACKED_RETRANS = 0x02  # a retransmission of it is in flight
LOST = 0x04
EVER_RETRANS = 0x80
RETRANS = SACKED_RETRANS | EVER_RETRANS

SEGMENT_OVERHEAD = 1280  # truesize of a packet made for sending, beside its payload


class RxSegment:
    """A received segment's control block.  `window` is the field as it came, not scaled."""

    __slots__ = ("ack", "dport", "end_seq", "flags", "options", "seq", "sport", "window")

    def __init__(
        self,
        sport: int,
        dport: int,
        seq: int,
        ack: int,
        flags: int,
        window: int,
        options: TcpOptions,
        end_seq: int,
    ) -> None:
        self.sport = sport
        self.dport = dport
        self.seq = seq
        self.ack = ack
        self.flags = flags
        self.window = window
        self.options = options
        self.end_seq = end_seq  # SYN and FIN count one each


class TxSegment:
    """A sent segment: its payload is kept for retransmission.  `sent_at` in ns."""

    __slots__ = ("burst", "data", "end_seq", "flags", "overhead", "sacked", "sent_at", "seq", "tx")

    def __init__(self, seq: int, end_seq: int, flags: int, data: memoryview = EMPTY) -> None:
        self.seq = seq
        self.end_seq = end_seq
        self.flags = flags
        self.data = data
        self.sacked = 0
        self.sent_at = 0
        self.burst = seq  # where the burst it was sent in begins
        self.tx: Stamp | None = None  # for the delivery rate
        self.overhead = 0  # truesize beside the payload: the first segment of a burst bears it

    @property
    def truesize(self) -> int:
        return len(self.data) + self.overhead
