"""What a connection counts about itself for TCP_INFO, beside its working variables.

The counters have the names `struct tcp_sock` has for them.  `Chrono` divides the time in which
there is something to send by what holds it back (`tcp_chrono_start`, `net/ipv4/tcp_output.c`).
"""

from __future__ import annotations

UNSPEC = 0
BUSY = 1  # there is data, and nothing but the congestion window limits it
RWND_LIMITED = 2  # the peer's window does
SNDBUF_LIMITED = 3  # the send buffer does: the application would write more


class Chrono:
    """Time in ns since `start` counts for `type`; the higher type wins."""

    __slots__ = ("start", "stat", "type")

    def __init__(self) -> None:
        self.type = UNSPEC
        self.start = 0
        self.stat = [0, 0, 0]  # BUSY, RWND_LIMITED, SNDBUF_LIMITED

    def _set(self, now: int, new: int) -> None:
        if self.type != UNSPEC:
            self.stat[self.type - 1] += now - self.start
        self.start = now
        self.type = new

    def begin(self, now: int, type_: int) -> None:
        if type_ > self.type:
            self._set(now, type_)

    def end(self, now: int, type_: int, idle: bool) -> None:
        """`idle`: nothing waits and nothing is in flight."""
        if idle:
            self._set(now, UNSPEC)
        elif type_ == self.type:
            self._set(now, BUSY)

    def times(self, now: int) -> tuple[int, int, int]:
        """(busy, rwnd_limited, sndbuf_limited) in ns; busy is the total of the three."""
        stat = list(self.stat)
        if self.type != UNSPEC:
            stat[self.type - 1] += now - self.start
        return sum(stat), stat[1], stat[2]


class ConnStats:
    """Segments and bytes as RFC 4898 counts them; a retransmission counts as sent again."""

    __slots__ = (
        *("bytes_received", "bytes_retrans", "bytes_sent", "chrono", "data_segs_in"),
        *("data_segs_out", "delivered", "delivered_ce", "dsack_dups", "rcv_ooopack"),
        *("reord_seen", "segs_in", "segs_out", "total_rto"),
        *("total_rto_recoveries", "total_rto_time"),
    )

    def __init__(self) -> None:
        self.segs_in = self.segs_out = 0
        self.data_segs_in = self.data_segs_out = 0
        self.bytes_sent = self.bytes_retrans = self.bytes_received = 0
        self.delivered = self.delivered_ce = 0
        self.dsack_dups = self.reord_seen = self.rcv_ooopack = 0
        self.total_rto = self.total_rto_recoveries = 0
        self.total_rto_time = 0  # ms
        self.chrono = Chrono()
