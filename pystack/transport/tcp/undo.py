"""Taking back a reduction of the window that turns out to have been a mistake.

All retransmissions were duplicates (DSACK, RFC 2883), or the ACK echoes a timestamp from before
the first of them (Eifel, RFC 3522; RFC 4015).  The `tcp_try_undo_*` of `net/ipv4/tcp_input.c`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.transport.tcp import rack
from pystack.transport.tcp.ackevent import AckEvent
from pystack.transport.tcp.constants import MSEC
from pystack.transport.tcp.prr import set_ca_state
from pystack.transport.tcp.segment import EVER_RETRANS, LOST, RETRANS, TxSegment
from pystack.transport.tcp.seq import SEQ_MASK, before
from pystack.transport.tcp.state import CaState

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock


class Undo:
    """What the present episode of recovery began with, and its probes.

    `marker` is snd_una then, None: nothing to undo.  `retrans` counts retransmissions not yet
    known to be duplicates, -1 before the first.  `retrans_stamp` is the TSval of the first.
    """

    __slots__ = (
        *("frto", "marker", "prior_ssthresh", "retrans", "retrans_stamp"),
        *("tlp_high_seq", "tlp_retrans"),
    )

    def __init__(self) -> None:
        self.marker: int | None = None
        self.retrans = 0
        self.retrans_stamp: int | None = None
        self.prior_ssthresh = 0  # 0: the reduction has to stay
        self.frto = False  # RFC 5682 is finding out whether the timeout was spurious
        self.tlp_high_seq: int | None = None  # snd_nxt when the tail loss probe was sent
        self.tlp_retrans = False  # the probe was a retransmission


def begin(sk: TcpSock) -> None:
    """`tcp_init_undo`: retransmissions still in flight may be reported as duplicates, too."""
    undo = sk.undo
    undo.marker = sk.snd_una
    probe = undo.tlp_high_seq is not None and undo.tlp_retrans
    undo.retrans = sk.rtx.retrans_out + probe or -1


def any_retrans_done(sk: TcpSock) -> bool:
    rtx = sk.rtx
    return rtx.retrans_out > 0 or (bool(rtx) and rtx.head.sacked & EVER_RETRANS != 0)


def forget_stamp(sk: TcpSock) -> None:
    if not any_retrans_done(sk):
        sk.undo.retrans_stamp = None


def _echo_before(event: AckEvent, stamp: int) -> bool:
    return bool(event.tsecr) and before(event.tsecr or 0, stamp)


def spurious_retrans(sk: TcpSock, event: AckEvent, segment: TxSegment) -> bool:
    """The echo tells that an earlier transmission of `segment` is what arrived."""
    if not segment.sacked & RETRANS or not sk.tstamp_ok:
        return False
    return _echo_before(event, (segment.sent_at // MSEC + sk.ts_offset) & SEQ_MASK)


def _packet_delayed(sk: TcpSock, event: AckEvent) -> bool:
    """The original transmission has been delivered, or none was repeated at all."""
    stamp = sk.undo.retrans_stamp
    return stamp is None or (sk.tstamp_ok and _echo_before(event, stamp))


def may_undo(sk: TcpSock, event: AckEvent) -> bool:
    undo = sk.undo
    return undo.marker is not None and (not undo.retrans or _packet_delayed(sk, event))


def undo_reduction(sk: TcpSock, unmark_loss: bool) -> None:
    """`tcp_undo_cwnd_reduction`."""
    cw, undo, rtx = sk.cw, sk.undo, sk.rtx
    if unmark_loss:
        for segment in rtx.segments:
            segment.sacked &= ~LOST
        rtx.lost_out = 0
    if undo.prior_ssthresh:
        cw.cwnd = cw.algorithm.undo_cwnd(cw)
        if undo.prior_ssthresh > cw.ssthresh:
            cw.ssthresh = undo.prior_ssthresh
            if sk.ecn is not None:
                sk.ecn.queue_cwr = False
    cw.stamp = sk.kernel.now
    undo.marker = None
    sk.rack.advanced = True  # look again at what is lost


def _reopening_is_too_early(sk: TcpSock) -> bool:
    """Without SACK, duplicates of what was retransmitted may still come: only an ACK above
    high_seq ends the episode, lest they start another one (RFC 6582, 3.2 step 1)."""
    if sk.sack_ok or sk.snd_una != sk.high_seq:
        return False
    forget_stamp(sk)
    return True


def try_recovery(sk: TcpSock, event: AckEvent) -> bool:
    """All of the episode is acknowledged; True: yet its state is kept."""
    mib = sk.kernel.mib
    if may_undo(sk, event):
        loss = sk.cw.state is CaState.LOSS
        undo_reduction(sk, unmark_loss=False)
        mib["TcpExtTCPLossUndo" if loss else "TcpExtTCPFullUndo"] += 1
    elif sk.rack.reo_wnd_persist:
        sk.rack.reo_wnd_persist -= 1
    if _reopening_is_too_early(sk):
        return True
    set_ca_state(sk, CaState.OPEN)
    return False


def try_dsack(sk: TcpSock) -> bool:
    """Every retransmission was a duplicate."""
    if sk.undo.marker is None or sk.undo.retrans:
        return False
    sk.rack.reo_wnd_persist = min(rack.RECOVERY_THRESH, sk.rack.reo_wnd_persist + 1)
    undo_reduction(sk, unmark_loss=False)
    sk.kernel.mib["TcpExtTCPDSACKUndo"] += 1
    return True


def try_partial(sk: TcpSock, event: AckEvent) -> bool:
    """A partial ACK for an original, not for a retransmission; True: just clock out new data."""
    if sk.undo.marker is None or not _packet_delayed(sk, event):
        return False
    rack.check_sack_reordering(sk, event.prior_una)
    if sk.rtx.retrans_out:
        return True
    forget_stamp(sk)
    undo_reduction(sk, unmark_loss=True)
    sk.kernel.mib["TcpExtTCPPartialUndo"] += 1
    keep_open(sk)
    return False


def try_loss(sk: TcpSock, event: AckEvent, frto: bool) -> bool:
    """The timeout was spurious; `frto`: RFC 5682 found it."""
    if not frto and not may_undo(sk, event):
        return False
    mib = sk.kernel.mib
    undo_reduction(sk, unmark_loss=True)
    mib["TcpExtTCPLossUndo"] += 1
    mib["TcpExtTCPSpuriousRTOs"] += frto
    sk.retransmits = 0
    if not _reopening_is_too_early(sk) and (frto or sk.sack_ok):
        set_ca_state(sk, CaState.OPEN)
    return True


def keep_open(sk: TcpSock) -> None:
    """Open, or Disorder while anything is amiss (`tcp_try_keep_open`)."""
    disorder = sk.rtx.left_out or any_retrans_done(sk)
    state = CaState.DISORDER if disorder else CaState.OPEN
    if sk.cw.state is not state:
        set_ca_state(sk, state)
        sk.high_seq = sk.snd_nxt
