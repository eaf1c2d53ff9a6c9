"""The delivery rate: what the path delivered, over the time it took (`net/ipv4/tcp_rate.c`).

`output` stamps each transmission, `ack` and `sacktag` say what was delivered, `info` reports.
After draft-cheng-iccrg-delivery-rate-estimation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pystack.transport.tcp.constants import USEC
from pystack.transport.tcp.seq import after, seq_diff

if TYPE_CHECKING:
    from pystack.transport.tcp.segment import TxSegment
    from pystack.transport.tcp.sock import TcpSock


class Stamp(NamedTuple):
    """The connection when a segment was sent: segments `delivered` till then, when the last of
    them was, when that one was sent (ns), and whether the application limited the rate."""

    delivered: int
    delivered_at: int
    first_sent: int
    app_limited: bool


class DeliveryRate:
    """`delivered` segments took `interval_us`: the last sample that counts.

    `app_limited`: until so many segments are delivered the application did not fill the path; 0: it
    does.  `prior`, `send_ns` and `last_end_seq` are those of the ACK being processed.
    """

    __slots__ = (
        *("app_limited", "delivered", "interval_us", "last_end_seq", "now", "prior", "send_ns"),
        "was_app_limited",
    )

    def __init__(self) -> None:
        self.now = Stamp(0, 0, 0, app_limited=False)  # for the next transmission
        self.app_limited = 0
        self.delivered = self.interval_us = 0
        self.was_app_limited = False
        self.prior: Stamp | None = None
        self.send_ns = self.last_end_seq = 0


def sent(sk: TcpSock, segment: TxSegment) -> None:
    """`segment` has gone out; it is not in the retransmission queue yet (`tcp_rate_skb_sent`)."""
    rate = sk.rate
    if not sk.rtx.segments:
        now = segment.sent_at
        rate.now = rate.now._replace(delivered_at=now, first_sent=now)
    segment.tx = rate.now


def delivered(sk: TcpSock, segment: TxSegment) -> None:
    """The peer has it: of all that an ACK reports the one sent last makes the sample."""
    rate, tx, at = sk.rate, segment.tx, segment.sent_at
    if tx is None:
        return
    first = rate.now.first_sent
    if (
        rate.prior is None
        or at > first
        or (at == first and after(segment.end_seq, rate.last_end_seq))
    ):
        rate.prior = tx
        rate.last_end_seq = segment.end_seq
        rate.send_ns = at - tx.first_sent
        rate.now = rate.now._replace(first_sent=at)
    segment.tx = None  # once SACKed it is no news when it is acknowledged


def end_of_ack(sk: TcpSock, newly: int, reneged: bool) -> None:
    """Make the sample; `newly` segments have been delivered (`tcp_rate_gen`)."""
    rate, total, now = sk.rate, sk.stats.delivered, sk.kernel.now
    if rate.app_limited and total > rate.app_limited:
        rate.app_limited = 0
    if newly:
        rate.now = Stamp(total, now, rate.now.first_sent, bool(rate.app_limited))
    prior, rate.prior = rate.prior, None
    if prior is None or reneged:
        return
    interval_us = max(rate.send_ns, now - prior.delivered_at) // USEC
    if interval_us < (sk.rtt.min_us or 0):
        return  # too short to be true: ACKs came in a bunch
    count = total - prior.delivered
    if not prior.app_limited or count * rate.interval_us >= rate.delivered * interval_us:
        rate.delivered, rate.interval_us = count, interval_us
        rate.was_app_limited = prior.app_limited


def check_app_limited(sk: TcpSock) -> None:
    """The application is about to write: did it leave the path idle till now?"""
    rtx = sk.rtx
    if (
        seq_diff(sk.write_seq, sk.snd_nxt) < sk.mss_cache
        and rtx.in_flight < sk.cw.cwnd
        and rtx.lost_out <= rtx.retrans_out
    ):
        rate = sk.rate
        rate.app_limited = (sk.stats.delivered + rtx.in_flight) or 1
        if not rate.now.app_limited:
            rate.now = rate.now._replace(app_limited=True)


def bytes_per_second(sk: TcpSock) -> int:
    """`tcp_compute_delivery_rate`; 0 as long as there is no sample."""
    rate = sk.rate
    if not rate.interval_us:
        return 0
    return rate.delivered * sk.mss_cache * 1_000_000 // rate.interval_us
