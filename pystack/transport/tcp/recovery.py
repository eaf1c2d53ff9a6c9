"""Loss recovery: what an ACK that hints at trouble does (`tcp_fastretrans_alert`).

RFC 8985 (RACK) with SACK, RFC 6582 (NewReno) without; with net.ipv4.tcp_recovery 0 RFC 6675.
Called by `ack`, and by `timers` when the reordering timer expires; `loss` retransmits.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from pystack.transport.tcp import loss, mtuprobe, output, prr, rack, renosack, undo
from pystack.transport.tcp.ackevent import (
    DATA_SACKED,
    ECE,
    LOST_RETRANS,
    ORIG_SACK_ACKED,
    SACK_RENEGING,
    SET_XMIT_TIMER,
    SND_UNA_ADVANCED,
    AckEvent,
)
from pystack.transport.tcp.constants import MSEC, USEC
from pystack.transport.tcp.rto import XmitTimer, arm, rearm_rto
from pystack.transport.tcp.segment import LOST, SACKED_ACKED
from pystack.transport.tcp.seq import after, before, seq_add
from pystack.transport.tcp.state import CaState

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock


class Rexmit(enum.Enum):
    """What may be sent once the window is set."""

    NONE = 0
    LOST = 1  # lost segments
    NEW = 2  # new data first: F-RTO waits for what becomes of it


def fastretrans_alert(sk: TcpSock, event: AckEvent, dupacks: int) -> Rexmit:
    """Move the recovery state on."""
    cw, rtx = sk.cw, sk.rtx
    if not rtx:
        rtx.sacked_out = 0
    if event.flag & ECE:
        sk.undo.prior_ssthresh = 0  # the reduction is required
    if _reneging(sk, event):
        return Rexmit.NONE
    if cw.state is CaState.OPEN:
        sk.undo.retrans_stamp = None
    elif not before(sk.snd_una, sk.high_seq) and _leave(sk, event):
        return Rexmit.NONE
    do_lost = dupacks > 0 or (event.flag & DATA_SACKED and _force_fast_retransmit(sk))
    if cw.state is CaState.RECOVERY:
        if not _in_recovery(sk, event, dupacks):
            return Rexmit.NONE
    else:
        if cw.state is CaState.LOSS:
            rexmit = _in_loss(sk, event, dupacks)
            undone = sk.cw.state is CaState.OPEN
            if sk.cw.state is not CaState.LOSS:
                sk.stats.total_rto_time += (sk.kernel.now - sk.first_timeout) // MSEC
            _identify_loss(sk, event)
            if not undone and not event.flag & LOST_RETRANS:
                return rexmit
        if not _in_any_other_state(sk, event, dupacks):
            return Rexmit.NONE
    if do_lost and not rack.is_rack(sk):
        _update_scoreboard(sk)
    return Rexmit.LOST


def xmit(sk: TcpSock, what: Rexmit) -> None:
    """Send what `fastretrans_alert` allowed (`tcp_xmit_recovery`)."""
    if what is Rexmit.NEW:
        output.push_pending(sk, output.NAGLE_OFF)
        if after(sk.snd_nxt, sk.high_seq):
            return
        sk.undo.frto = False
    loss.retransmit_lost(sk)


def _reneging(sk: TcpSock, event: AckEvent) -> bool:
    """The oldest segment is SACKed yet the ACK stopped before it: the receiver dropped it.

    The timer will sort it out soon (RFC 2018, 8; `tcp_check_sack_reneging`).
    """
    if event.flag & SACK_RENEGING and event.flag & SND_UNA_ADVANCED:
        arm(sk, XmitTimer.RETRANS, max((sk.rtt.srtt_us >> 4) * USEC, 10 * MSEC))
        event.flag &= ~SET_XMIT_TIMER
        return True
    return False


def _leave(sk: TcpSock, event: AckEvent) -> bool:
    """Everything sent before the trouble is acknowledged.  True: nothing more to do now."""
    cw = sk.cw
    if cw.state is CaState.CWR:
        # Not before something above high_seq is acknowledged: that has carried the CWR bit.
        if sk.snd_una != sk.high_seq:
            prr.end_reduction(sk)
            prr.set_ca_state(sk, CaState.OPEN)
    elif cw.state is CaState.RECOVERY:
        if not sk.sack_ok:
            sk.rtx.sacked_out = 0
        if undo.try_recovery(sk, event):
            return True
        prr.end_reduction(sk)
    return False


# -- by state ------------------------------------------------------------------------------


def _in_recovery(sk: TcpSock, event: AckEvent, dupacks: int) -> bool:
    """Returns whether lost segments may be retransmitted."""
    if not event.flag & SND_UNA_ADVANCED:
        if not sk.sack_ok:
            renosack.add(sk, dupacks, event)
    elif undo.try_partial(sk, event):
        return False
    if undo.try_dsack(sk):
        _try_to_open(sk, event)
    _identify_loss(sk, event)
    if sk.cw.state is not CaState.RECOVERY:
        # Undone; yet the loss may be evident: reordering, then loss.
        if not _time_to_recover(sk):
            return False
        _enter_recovery(sk, event)
    return True


def _in_loss(sk: TcpSock, event: AckEvent, dupacks: int) -> Rexmit:
    """After a timeout, with F-RTO (RFC 5682, 3.1, with SACK; `tcp_process_loss`)."""
    flag, state = event.flag, sk.undo
    recovered = not before(sk.snd_una, sk.high_seq)
    if flag & SND_UNA_ADVANCED and undo.try_loss(sk, event, frto=False):
        return Rexmit.NONE
    if state.frto:
        if flag & ORIG_SACK_ACKED and undo.try_loss(sk, event, frto=True):
            return Rexmit.NONE  # step 3.b: what was never sent again has arrived
        if after(sk.snd_nxt, sk.high_seq):
            if flag & DATA_SACKED or dupacks:
                state.frto = False  # step 3.a: the loss was real
        elif flag & SND_UNA_ADVANCED and not recovered:
            sk.high_seq = sk.snd_nxt
            if sk.unsent and after(sk.wnd_end, sk.snd_nxt):
                return Rexmit.NEW  # step 2.b
            state.frto = False
    if recovered:
        undo.try_recovery(sk, event)
        return Rexmit.NONE
    if not sk.sack_ok:
        if after(sk.snd_nxt, sk.high_seq) and dupacks:
            renosack.add(sk, dupacks, event)
        elif flag & SND_UNA_ADVANCED:
            sk.rtx.sacked_out = 0
    return Rexmit.LOST


def _in_any_other_state(sk: TcpSock, event: AckEvent, dupacks: int) -> bool:
    """Open, Disorder, CWR: is it time to recover? Returns whether recovery began."""
    if not sk.sack_ok:
        if event.flag & SND_UNA_ADVANCED:
            sk.rtx.sacked_out = 0
        renosack.add(sk, dupacks, event)
    if sk.cw.state <= CaState.DISORDER:
        undo.try_dsack(sk)
    _identify_loss(sk, event)
    if not _time_to_recover(sk):
        _try_to_open(sk, event)
        return False
    if mtuprobe.lost(sk):
        return False
    _enter_recovery(sk, event)
    if not rack.is_rack(sk):
        _mark_head(sk)
    return True


def _time_to_recover(sk: TcpSock) -> bool:
    rtx = sk.rtx
    return rtx.lost_out > 0 or (not rack.is_rack(sk) and rtx.sacked_out + 1 > sk.reordering)


def _try_to_open(sk: TcpSock, event: AckEvent) -> None:
    """No evidence of loss (`tcp_try_to_open`)."""
    undo.forget_stamp(sk)
    if event.flag & ECE:
        prr.enter_cwr(sk)
    if sk.cw.state is not CaState.CWR:
        undo.keep_open(sk)


def _enter_recovery(sk: TcpSock, event: AckEvent | None) -> None:
    """`tcp_enter_recovery`; the timer has no `event`."""
    sk.kernel.mib["TcpExtTCPSackRecovery" if sk.sack_ok else "TcpExtTCPRenoRecovery"] += 1
    undo.forget_stamp(sk)
    sk.undo.prior_ssthresh = 0
    undo.begin(sk)
    if not sk.cw.reducing:
        if event is None or not event.flag & ECE:
            sk.undo.prior_ssthresh = sk.cw.current_ssthresh()
        prr.start_reduction(sk)
    prr.set_ca_state(sk, CaState.RECOVERY)


def reorder_timeout(sk: TcpSock) -> None:
    """What lay within the reordering window is lost by now (`tcp_rack_reo_timeout`)."""
    prior, lost = sk.rtx.in_flight, sk.rtx.lost_total
    rack.detect_loss(sk)
    if prior != sk.rtx.in_flight:
        if sk.cw.state is not CaState.RECOVERY:
            _enter_recovery(sk, None)
            prr.reduce_cwnd(sk, 1, sk.rtx.lost_total - lost, advanced=False)
        loss.retransmit_lost(sk)
    if sk.xmit_pending is not XmitTimer.RETRANS:
        rearm_rto(sk)


# -- which segments are lost ---------------------------------------------------------------


def _identify_loss(sk: TcpSock, event: AckEvent) -> None:
    """`tcp_identify_packet_loss`."""
    rtx = sk.rtx
    if not rtx:
        return
    if not sk.sack_ok:
        # RFC 6582: the oldest one, and with every partial ACK the one it stopped at.
        partial = sk.cw.state is CaState.RECOVERY and event.flag & SND_UNA_ADVANCED
        if partial or (sk.cw.state < CaState.RECOVERY and rtx.sacked_out >= sk.reordering):
            _mark_head(sk)
    elif rack.is_rack(sk):
        retrans_out = rtx.retrans_out
        if rack.detect_after_ack(sk):
            event.flag &= ~SET_XMIT_TIMER
        if retrans_out > rtx.retrans_out:
            event.flag |= LOST_RETRANS


def _mark_head(sk: TcpSock) -> None:
    for segment in sk.rtx.segments:
        if not segment.sacked & SACKED_ACKED:
            if not segment.sacked & LOST:
                rack.mark_lost(sk, segment)
            return


def _force_fast_retransmit(sk: TcpSock) -> bool:
    rtx = sk.rtx
    fack = rtx.highest_sack if rtx.sacked_out else sk.snd_una
    return after(fack, seq_add(sk.snd_una, sk.reordering * sk.mss_cache))


def _update_scoreboard(sk: TcpSock) -> None:
    """Without RACK: lost is what has `reordering` SACKed segments above it (RFC 6675, IsLost)."""
    if not sk.sack_ok:
        return
    rtx = sk.rtx
    below = rtx.sacked_out - sk.reordering  # SACKed segments that may lie below a lost one
    count = 0
    for segment in rtx.segments:
        if segment.sacked & SACKED_ACKED:
            count += 1
        if count > below:
            break
        if not segment.sacked & (LOST | SACKED_ACKED):
            rack.mark_lost(sk, segment)
