"""Loss recovery: fast retransmit, the recovery and loss states, rate reduction.

RFC 6582 (NewReno), RFC 6675 (SACK), RFC 6937 (PRR), in the shape of `tcp_fastretrans_alert`.
Called by `ack` for ACKs that hint at trouble and by `timers` when the RTO expires.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.transport.tcp import output, renosack
from pystack.transport.tcp.ackevent import (
    SACK_RENEGING,
    SET_XMIT_TIMER,
    SND_UNA_ADVANCED,
    AckEvent,
)
from pystack.transport.tcp.constants import INFINITE_SSTHRESH, MSEC, REORDERING, USEC
from pystack.transport.tcp.rto import XmitTimer, arm, rearm_rto
from pystack.transport.tcp.segment import LOST, SACKED_ACKED, SACKED_RETRANS
from pystack.transport.tcp.seq import after, before
from pystack.transport.tcp.state import CaState

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock


def fastretrans_alert(sk: TcpSock, event: AckEvent, dupacks: int) -> bool:
    """Move the recovery state on; returns whether lost segments may be retransmitted now."""
    cw, rtx = sk.cw, sk.rtx
    if not rtx and not sk.sack_ok:
        rtx.sacked_out = 0
    if _reneging(sk, event):
        return False
    if not before(sk.snd_una, sk.high_seq) and _leave(sk):
        return False
    if cw.state is CaState.RECOVERY:
        if not event.flag & SND_UNA_ADVANCED and not sk.sack_ok:
            renosack.add(sk, dupacks, event)
    elif cw.state is CaState.LOSS:
        _in_loss(sk, event, dupacks)
        return True
    else:
        if not sk.sack_ok:
            if event.flag & SND_UNA_ADVANCED:
                rtx.sacked_out = 0
            renosack.add(sk, dupacks, event)
        if not rtx.lost_out and rtx.sacked_out < sk.reordering:
            _try_to_open(sk)
            return False
        _enter_recovery(sk)
        event.lost += _mark_head(sk)
    event.lost += _update_scoreboard(sk, event)
    return True


def _reneging(sk: TcpSock, event: AckEvent) -> bool:
    """The oldest segment is SACKed yet the ACK stopped before it: the receiver dropped it.

    The timer will sort it out soon (RFC 2018, 8; `tcp_check_sack_reneging`).
    """
    if event.flag & SACK_RENEGING and event.flag & SND_UNA_ADVANCED:
        arm(sk, XmitTimer.RETRANS, max((sk.rtt.srtt_us >> 4) * USEC, 10 * MSEC))
        event.flag &= ~SET_XMIT_TIMER
        return True
    return False


def _leave(sk: TcpSock) -> bool:
    """Everything sent before the trouble is acknowledged.  True: nothing more to do now."""
    cw = sk.cw
    if cw.state not in (CaState.RECOVERY, CaState.LOSS):
        return False
    if not sk.sack_ok:
        sk.rtx.sacked_out = 0
        if sk.snd_una == sk.high_seq:
            # Duplicates of what was retransmitted may still come: only an ACK above high_seq
            # ends the episode, lest they start another one (RFC 6582, 3.2 step 1).
            return True
    if cw.state is CaState.RECOVERY:
        end_reduction(sk)
    cw.state = CaState.OPEN
    return False


def _try_to_open(sk: TcpSock) -> None:
    """Not enough evidence of loss: Disorder while anything is amiss (`tcp_try_to_open`)."""
    cw = sk.cw
    disorder = sk.rtx.left_out or sk.rtx.retrans_out
    state = CaState.DISORDER if disorder else CaState.OPEN
    if cw.state is not state:
        cw.state = state
        sk.high_seq = sk.snd_nxt


# -- fast recovery -------------------------------------------------------------------------


def _enter_recovery(sk: TcpSock) -> None:
    mib = sk.kernel.mib
    mib["TcpExtTCPSackRecovery" if sk.sack_ok else "TcpExtTCPRenoRecovery"] += 1
    if not sk.cw.reducing:
        start_reduction(sk)
    sk.cw.state = CaState.RECOVERY


def _mark_head(sk: TcpSock) -> int:
    """Fast retransmit: the oldest segment is lost."""
    for segment in sk.rtx.segments:
        if not segment.sacked & SACKED_ACKED:
            already = segment.sacked & LOST
            return 0 if already else int(sk.rtx.mark_lost(segment))
    return 0


def _update_scoreboard(sk: TcpSock, event: AckEvent) -> int:
    """Mark segments lost; returns how many.

    SACK: those with at least `reordering` SACKed segments above them (RFC 6675, IsLost).
    NewReno: with every partial ACK the segment it stopped at (RFC 6582, 3.2 step 3).
    """
    if not sk.sack_ok:
        partial = event.flag & SND_UNA_ADVANCED and sk.cw.state is CaState.RECOVERY
        return _mark_head(sk) if partial else 0
    rtx = sk.rtx
    below = rtx.sacked_out - sk.reordering  # SACKed segments that may lie below a lost one
    count = newly = 0
    for segment in rtx.segments:
        if segment.sacked & SACKED_ACKED:
            count += 1
        if count > below:
            break
        if not segment.sacked & (LOST | SACKED_ACKED):
            newly += rtx.mark_lost(segment)
    return newly


def retransmit_lost(sk: TcpSock) -> None:
    """Send lost segments again, as many as cwnd allows (`tcp_xmit_retransmit_queue`)."""
    rtx, cw = sk.rtx, sk.cw
    counter = "TcpExtTCPFastRetrans"
    if cw.state is CaState.LOSS:
        counter = "TcpExtTCPSlowStartRetrans"
    if rtx.retrans_out >= rtx.lost_out:
        return
    head = rtx.head
    for segment in list(rtx.segments):
        if rtx.in_flight >= cw.cwnd or rtx.retrans_out >= rtx.lost_out:
            break
        if not segment.sacked & LOST or segment.sacked & (SACKED_ACKED | SACKED_RETRANS):
            continue
        if not output.retransmit(sk, segment):
            break
        sk.kernel.mib[counter] += 1
        if cw.reducing:
            sk.prr_out += 1
        if segment is head:
            rearm_rto(sk)


# -- proportional rate reduction (RFC 6937) ------------------------------------------------


def start_reduction(sk: TcpSock) -> None:
    """`tcp_init_cwnd_reduction`."""
    cw = sk.cw
    sk.high_seq = sk.snd_nxt
    sk.prior_cwnd = cw.cwnd
    sk.prr_delivered = 0
    sk.prr_out = 0
    cw.cwnd_cnt = 0
    cw.ssthresh = cw.algorithm.ssthresh(cw)


def reduce_cwnd(sk: TcpSock, delivered: int, lost: int, advanced: bool) -> None:
    """Set cwnd so that sending falls to ssthresh in step with what is delivered."""
    if delivered <= 0 or not sk.prior_cwnd:
        return
    cw, in_flight = sk.cw, sk.rtx.in_flight
    room = cw.ssthresh - in_flight
    sk.prr_delivered += delivered
    if room < 0:
        goal = -(-cw.ssthresh * sk.prr_delivered // sk.prior_cwnd)
        more = goal - sk.prr_out
    else:
        more = max(sk.prr_delivered - sk.prr_out, delivered)
        if advanced and not lost:
            more += 1
        more = min(room, more)
    # The fast retransmit itself must always go out.
    more = max(more, 0 if sk.prr_out else 1)
    cw.cwnd = in_flight + more


def end_reduction(sk: TcpSock) -> None:
    cw = sk.cw
    if cw.ssthresh < INFINITE_SSTHRESH:
        cw.cwnd = cw.ssthresh
        cw.stamp = sk.kernel.now


# -- after a timeout -----------------------------------------------------------------------


def _in_loss(sk: TcpSock, event: AckEvent, dupacks: int) -> None:
    """`tcp_process_loss`."""
    if sk.sack_ok:
        return
    if after(sk.snd_nxt, sk.high_seq) and dupacks:
        renosack.add(sk, dupacks, event)
    elif event.flag & SND_UNA_ADVANCED:
        sk.rtx.sacked_out = 0


def enter_loss(sk: TcpSock) -> None:
    """The retransmission timer expired: all in flight is lost (RFC 5681, 3.1; RFC 6675, 5.1)."""
    cw, rtx = sk.cw, sk.rtx
    _mark_all_lost(sk)
    if (
        cw.state <= CaState.DISORDER
        or not after(sk.high_seq, sk.snd_una)
        or (cw.state is CaState.LOSS and not sk.retransmits)
    ):
        sk.prior_cwnd = cw.cwnd
        cw.ssthresh = cw.algorithm.ssthresh(cw)
    cw.cwnd = rtx.in_flight + 1
    cw.cwnd_cnt = 0
    cw.stamp = sk.kernel.now
    if cw.state <= CaState.DISORDER and rtx.sacked_out >= sk.reordering:
        sk.reordering = min(sk.reordering, REORDERING)
    cw.state = CaState.LOSS
    sk.high_seq = sk.snd_nxt


def _mark_all_lost(sk: TcpSock) -> None:
    rtx = sk.rtx
    if rtx and rtx.head.sacked & SACKED_ACKED:
        sk.kernel.mib["TcpExtTCPSACKReneging"] += 1
        rtx.forget_sacks()
    elif not sk.sack_ok:
        rtx.sacked_out = 0
    for segment in rtx.segments:
        if not segment.sacked & SACKED_ACKED:
            rtx.mark_lost(segment)


def simple_retransmit(sk: TcpSock, mss: int) -> None:
    """The path MTU fell: segments that are too long now were lost without congestion."""
    rtx, cw = sk.rtx, sk.cw
    newly = 0
    for segment in rtx.segments:
        if len(segment.data) > mss and not segment.sacked & SACKED_ACKED:
            newly += rtx.mark_lost(segment)
    if not newly:
        return
    if cw.state is not CaState.LOSS:
        sk.high_seq = sk.snd_nxt
        cw.ssthresh = cw.current_ssthresh()
        cw.state = CaState.LOSS
    retransmit_lost(sk)
