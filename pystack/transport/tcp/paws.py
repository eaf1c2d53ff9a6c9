"""Timestamps on receive: protection against wrapped sequence numbers (RFC 7323, 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pystack.core.headers.tcp import TH_ACK
from pystack.transport.tcp.constants import MSEC, PAWS_24DAYS, PAWS_WINDOW
from pystack.transport.tcp.segment import RxSegment
from pystack.transport.tcp.seq import after, seq_diff

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock


class RecentTimestamp(Protocol):
    """`ts_recent` is the peer's last TSval in order, `ts_recent_stamp` when it came (ns)."""

    ts_recent: int
    ts_recent_stamp: int | None


def paws_check(recent: RecentTimestamp, tsval: int, slack: int, now: int) -> bool:
    """Is `tsval` not older than what came before? (`tcp_paws_check`)

    A connection idle for 24 days believes any: the peer's clock may have wrapped.
    """
    if seq_diff(recent.ts_recent, tsval) <= slack:
        return True
    stamp = recent.ts_recent_stamp
    # Some hosts send zero in their SYN (RFC 7323, 3.2 forbids it).
    return stamp is None or now >= stamp + PAWS_24DAYS or not recent.ts_recent


def paws_reject(recent: RecentTimestamp, segment: RxSegment, rst: bool, now: int) -> bool:
    """For SYN_RECV and TIME_WAIT (`tcp_paws_reject`): an old duplicate.

    A RST without a recent timestamp is believed after a minute: the peer may have rebooted.
    """
    stamps = segment.options.timestamps
    if stamps is None or paws_check(recent, stamps[0], 0, now):
        return False
    stamp = recent.ts_recent_stamp
    return not (rst and (stamp is None or now >= stamp + 60_000 * MSEC))


def paws_discard(sk: TcpSock, segment: RxSegment) -> bool:
    """For a synchronised connection: the segment is an old duplicate (`tcp_paws_discard`)."""
    stamps = segment.options.timestamps
    if stamps is None or not sk.tstamp_ok:
        return False
    if paws_check(sk, stamps[0], PAWS_WINDOW, sk.kernel.now):
        return False
    return not _disordered_ack(sk, segment, stamps[0])


def _disordered_ack(sk: TcpSock, segment: RxSegment, tsval: int) -> bool:
    """A pure duplicate ACK that was overtaken does no harm (`tcp_disordered_ack`)."""
    window = segment.window << sk.snd_wscale
    return (
        bool(segment.flags & TH_ACK)
        and segment.seq == segment.end_seq == sk.rcv_nxt
        and segment.ack == sk.snd_una
        and not after(segment.seq, sk.snd_wl1)
        and not (segment.seq == sk.snd_wl1 and (window > sk.snd_wnd or not window))
        and seq_diff(sk.ts_recent, tsval) <= sk.rtt.rto * 12 // 10 // MSEC
    )


def replace_ts_recent(sk: TcpSock, segment: RxSegment) -> None:
    """RFC 7323, 4.3: the timestamp to echo is that of a segment at or before the last ACK sent."""
    stamps = segment.options.timestamps
    if stamps is None or not sk.tstamp_ok or after(segment.seq, sk.rcv_wup):
        return
    if paws_check(sk, stamps[0], 0, sk.kernel.now):
        store_ts_recent(sk, stamps[0])


def store_ts_recent(sk: TcpSock, tsval: int) -> None:
    sk.ts_recent = tsval
    sk.ts_recent_stamp = sk.kernel.now
