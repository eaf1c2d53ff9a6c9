"""The acknowledgment field of a segment (RFC 9293, 3.10.7.4, fifth check; `tcp_ack`).

Called by `input` for every acceptable segment; calls `sacktag` and `recovery`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.core.headers.tcp import TH_ECE, TH_SYN
from pystack.transport.tcp import (
    mtuprobe,
    prr,
    rack,
    rate,
    recovery,
    renosack,
    rto,
    sacktag,
    tlp,
    undo,
    urgent,
)
from pystack.transport.tcp.ackevent import (
    ACKED,
    CA_ALERT,
    DATA,
    DATA_ACKED,
    DSACKING_ACK,
    ECE,
    FORWARD_PROGRESS,
    NO_CHALLENGE_ACK,
    NOT_DUP,
    ORIG_SACK_ACKED,
    RETRANS_DATA_ACKED,
    SACK_RENEGING,
    SET_XMIT_TIMER,
    SLOWPATH,
    SND_UNA_ADVANCED,
    SYN_ACKED,
    UPDATE_TS_RECENT,
    WIN_UPDATE,
    AckEvent,
)
from pystack.transport.tcp.congestion import restart_after_idle
from pystack.transport.tcp.constants import MSEC, USEC
from pystack.transport.tcp.mss import current_mss, sync_mss
from pystack.transport.tcp.paws import replace_ts_recent
from pystack.transport.tcp.segment import EVER_RETRANS, SACKED_ACKED, RxSegment, TxSegment
from pystack.transport.tcp.seq import SEQ_MASK, after, before, seq_add, seq_diff
from pystack.transport.tcp.state import CaState
from pystack.transport.tcp.stats import BUSY
from pystack.transport.tcp.transmit import send_challenge_ack, timestamp

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock

ACK_OK = 1
ACK_OLD = 0  # below SND.UNA: the rest of the segment counts
ACK_INVALID = -1  # drop the segment


def process(sk: TcpSock, segment: RxSegment, flag: int) -> int:
    """Take in an ACK; `flag` has SLOWPATH unless window and options are as they were."""
    prior_una, ack, rtx = sk.snd_una, segment.ack, sk.rtx
    sacked = rtx.sacked_out and sk.sack_ok
    event = AckEvent(flag, prior_una, rtx.highest_sack if sacked else prior_una)
    if before(ack, prior_una):
        return _old(sk, segment, event)
    if after(ack, sk.snd_nxt):
        return ACK_INVALID
    if after(ack, prior_una):
        event.flag |= SND_UNA_ADVANCED
        sk.retransmits = 0
    if flag & UPDATE_TS_RECENT:
        replace_ts_recent(sk, segment)
    had_packets = bool(rtx)
    if event.flag & (SLOWPATH | SND_UNA_ADVANCED) == SND_UNA_ADVANCED:
        sk.snd_wl1 = segment.seq
        _advance(sk, ack)
        event.flag |= WIN_UPDATE
        sk.kernel.mib["TcpExtTCPHPAcks"] += 1
    else:
        _slow_path(sk, segment, event)
    if segment.options.timestamps is not None:
        event.tsecr = segment.options.timestamps[1]
    sk.sk_err_soft = 0
    sk.rcv_tstamp = sk.kernel.now
    sk.probes_out = 0
    if had_packets:
        _clean_rtx_queue(sk, event)
        if sk.sack_ok:
            rack.update_reo_wnd(sk)
        if sk.undo.tlp_high_seq is not None:
            tlp.process_ack(sk, ack, event.flag)
        _control(sk, event)
        if event.flag & FORWARD_PROGRESS or not event.flag & NOT_DUP:
            sk.dst_pending_confirm = True
    else:
        _nothing_in_flight(sk, event, ack)
    _count_delivered(sk, event)
    return ACK_OK


def _count_delivered(sk: TcpSock, event: AckEvent) -> None:
    """`tcp_newly_delivered`; an ECE says of all of them that they met congestion."""
    sk.stats.delivered += event.delivered
    mib = sk.kernel.mib
    mib["TcpExtTCPDelivered"] += event.delivered
    if event.flag & ECE:
        sk.stats.delivered_ce += event.delivered
        mib["TcpExtTCPDeliveredCE"] += event.delivered
    rate.end_of_ack(sk, event.delivered, bool(event.flag & SACK_RENEGING))


def _nothing_in_flight(sk: TcpSock, event: AckEvent, ack: int) -> None:
    if event.flag & DSACKING_ACK:
        recovery.fastretrans_alert(sk, event, 0)  # perhaps a reduction can be undone
    _ack_probe(sk)
    if sk.undo.tlp_high_seq is not None:
        tlp.process_ack(sk, ack, event.flag)


def _slow_path(sk: TcpSock, segment: RxSegment, event: AckEvent) -> None:
    if sk.ecn is not None and segment.flags & (TH_ECE | TH_SYN) == TH_ECE:
        event.flag |= ECE
    if segment.seq != segment.end_seq:
        event.flag |= DATA
    else:
        sk.kernel.mib["TcpExtTCPPureAcks"] += 1
    _update_window(sk, segment, event)
    if segment.options.sack and sk.sack_ok:
        sacktag.tag(sk, segment, event)


def _old(sk: TcpSock, segment: RxSegment, event: AckEvent) -> int:
    """Below SND.UNA; too far below is no honest segment (RFC 5961, 5.2).

    The number of our SYN is one we have sent; newer Linux forgets that of a passive open.
    """
    window = min(sk.max_window, max(sk.bytes_acked, 1))
    if before(segment.ack, seq_add(sk.snd_una, -window)):
        if not event.flag & NO_CHALLENGE_ACK:
            send_challenge_ack(sk)
        return ACK_INVALID
    if segment.options.sack and sk.sack_ok:
        sacktag.tag(sk, segment, event)
        rexmit = recovery.fastretrans_alert(sk, event, 0)
        _count_delivered(sk, event)
        recovery.xmit(sk, rexmit)
    return ACK_OLD


def _update_window(sk: TcpSock, segment: RxSegment, event: AckEvent) -> None:
    """RFC 9293, 3.10.7.4: only newer segments tell the window (`tcp_ack_update_window`)."""
    window = segment.window
    if not segment.flags & TH_SYN:
        window <<= sk.snd_wscale
    if may_update_window(sk, segment.ack, segment.seq, window):
        event.flag |= WIN_UPDATE
        sk.snd_wl1 = segment.seq
        if window != sk.snd_wnd:
            sk.snd_wnd = window
            if sk.unsent:
                restart_after_idle(sk)
            if window > sk.max_window:
                sk.max_window = window
                sync_mss(sk, sk.pmtu)
    _advance(sk, segment.ack)


def _advance(sk: TcpSock, ack: int) -> None:
    sk.bytes_acked += seq_diff(ack, sk.snd_una)
    sk.snd_una = ack
    if sk.urgent is not None:
        urgent.acknowledged(sk.urgent, ack)


def may_update_window(sk: TcpSock, ack: int, seq: int, window: int) -> bool:
    return (
        after(ack, sk.snd_una)
        or after(seq, sk.snd_wl1)
        or (seq == sk.snd_wl1 and (window > sk.snd_wnd or not window))
    )


# -- what it acknowledges ------------------------------------------------------------------


def _clean_rtx_queue(sk: TcpSock, event: AckEvent) -> None:
    """Take acknowledged segments from the queue, and an RTT from them (Karn's rule)."""
    rtx = sk.rtx
    acked = 0
    lowest: int | None = None  # of those that were sent once and not SACKed before
    newest: TxSegment | None = None
    while rtx and not after(rtx.head.end_seq, sk.snd_una):
        segment = rtx.pop_acked()
        acked += 1
        sk.wmem_queued -= segment.truesize
        event.flag |= SYN_ACKED if segment.flags & TH_SYN else DATA_ACKED
        rate.delivered(sk, segment)
        if segment.sacked & EVER_RETRANS:
            _retransmitted_acked(sk, segment, event)
        elif not segment.sacked & SACKED_ACKED:
            if lowest is None:
                lowest = segment.seq
                event.first_sent = segment.sent_at
            newest = segment
        if sk.sack_ok and not segment.sacked & SACKED_ACKED:
            event.delivered += 1
    if newest is not None:
        _originals_acked(sk, newest, lowest, event)
    if event.flag & SYN_ACKED:
        sk.undo.retrans_stamp = None
    if rtx and rtx.head.sacked & SACKED_ACKED:
        event.flag |= SACK_RENEGING
    measured = _update_rtt(sk, event)
    if not rtx:
        chrono = sk.stats.chrono
        chrono.end(sk.kernel.now, BUSY, idle=not sk.unsent)
    if event.flag & ACKED:
        event.flag |= SET_XMIT_TIMER
        if sk.mtup is not None and sk.mtup.size:
            mtuprobe.acknowledged(sk, sk.mtup)
        if not sk.sack_ok:
            renosack.remove(sk, acked, event)
            if event.flag & RETRANS_DATA_ACKED:
                event.flag &= ~ORIG_SACK_ACKED  # nothing tells which transmission it was
        elif lowest is not None and before(lowest, event.prior_fack):
            rack.check_sack_reordering(sk, lowest)
    elif rtx and measured and _sacked_newer(event, rtx.head):
        event.flag |= SET_XMIT_TIMER  # SACKs show the path works: do not time the head out yet


def _retransmitted_acked(sk: TcpSock, segment: TxSegment, event: AckEvent) -> None:
    event.flag |= RETRANS_DATA_ACKED
    event.resent = max(event.resent, segment.sent_at)
    if segment.sacked & SACKED_ACKED or not sk.sack_ok:
        return
    if not undo.spurious_retrans(sk, event, segment):
        rack.advance(sk, segment)


def _originals_acked(sk: TcpSock, newest: TxSegment, lowest: int | None, event: AckEvent) -> None:
    """Segments sent once, in this order, up to `newest`: for RACK that one counts."""
    event.last_sent = newest.sent_at
    if sk.sack_ok:
        rack.advance(sk, newest)
    if sk.cw.state is CaState.LOSS and lowest is not None and before(lowest, sk.high_seq):
        event.flag |= ORIG_SACK_ACKED


def _sacked_newer(event: AckEvent, head: TxSegment) -> bool:
    """The sample is of data sent after the head was last sent; a late one must not put the
    timeout off for ever."""
    return event.sack_sent is not None and event.sack_sent < head.sent_at


def _update_rtt(sk: TcpSock, event: AckEvent) -> bool:
    """One RTT sample if there is an unambiguous one (RFC 6298, 3; RFC 7323, 4.1).

    The least RTT is taken from the last segment that the ACK is for.
    """
    now = sk.kernel.now
    first, last = event.first_sent, event.last_sent
    if event.flag & RETRANS_DATA_ACKED:
        first = last = None
    if first is None:
        first = event.sack_sent
    if event.last_sacked is not None:
        last = event.last_sacked
    if first is not None and last is not None:
        rtt_us, latest_us = (now - first) // USEC, (now - last) // USEC
    elif event.tsecr and sk.tstamp_ok and event.flag & ACKED:
        ticks = (timestamp(sk) - event.tsecr) & SEQ_MASK
        if ticks > SEQ_MASK >> 1 or _echo_is_stale(sk, event, ticks):
            return False
        rtt_us = latest_us = max(ticks, 1) * (MSEC // USEC)
    else:
        return False
    sk.rtt.sample(rtt_us, sk.snd_una, sk.snd_nxt, latest_us)
    sk.backoff = 0
    if event.flag & ACKED:
        sk.cw.algorithm.pkts_acked(sk.cw, latest_us)
    return True


def _echo_is_stale(sk: TcpSock, event: AckEvent, ticks: int) -> bool:
    """The echo is of a transmission before the last one, yet the last one was long enough ago.

    The receiver had the data; its ACK was lost, and the repeated segment only made it send the
    ACK again, with the old echo: Linux takes that for a round trip, and a lossy path drives its
    RTO up with it.  If there was no time for the last one's ACK, the echo is honest.
    """
    if not event.resent:
        return False
    since = sk.kernel.now - event.resent
    return ticks * MSEC > since + MSEC and 2 * since >= (sk.rtt.min_us or 0) * USEC


# -- what follows from it ------------------------------------------------------------------


def _control(sk: TcpSock, event: AckEvent) -> None:
    """Recovery, timer and congestion window; then what may be retransmitted."""
    cw, lost = sk.cw, sk.rtx.lost_total
    rexmit = recovery.Rexmit.NONE
    flag = event.flag
    if not flag & NOT_DUP or flag & CA_ALERT or cw.state is not CaState.OPEN:
        duplicate = not flag & (SND_UNA_ADVANCED | NOT_DUP | DSACKING_ACK)
        rexmit = recovery.fastretrans_alert(sk, event, int(duplicate))
    if event.flag & SET_XMIT_TIMER:
        rto.set_xmit_timer(sk)
    if cw.reducing:
        advanced = bool(event.flag & SND_UNA_ADVANCED)
        prr.reduce_cwnd(sk, event.delivered, sk.rtx.lost_total - lost, advanced)
    elif event.flag & (FORWARD_PROGRESS if _reorders(sk) else DATA_ACKED):
        cw.algorithm.cong_avoid(cw, event.delivered)
        cw.stamp = sk.kernel.now
    if rexmit is not recovery.Rexmit.NONE:
        recovery.xmit(sk, rexmit)


def _reorders(sk: TcpSock) -> bool:
    """The path reorders so much that cwnd must grow with whatever is delivered."""
    return sk.reordering > sk.kernel.sysctl["net.ipv4.tcp_reordering"]


def _ack_probe(sk: TcpSock) -> None:
    """Nothing is in flight: did the window open for what waits? (`tcp_ack_probe`)"""
    if not sk.unsent:
        return
    length = min(sk.unsent.length, current_mss(sk))
    fin = sk.unsent.fin and length == sk.unsent.length
    if not after(seq_add(sk.snd_nxt, length + fin), sk.wnd_end):
        sk.backoff = 0
        sk.probes_since = None
        rto.clear(sk)  # the data goes out behind this ACK
    else:
        rto.arm_probe(sk)
