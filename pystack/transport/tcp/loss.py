"""Retransmitting what is lost, and the state after a timeout.

Called by `recovery`, by `timers` when the RTO expires and by `icmp` when the path MTU falls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.core.headers.tcp import TH_PSH
from pystack.transport.tcp import ecn, output, prr, rack, undo
from pystack.transport.tcp.rto import XmitTimer, arm
from pystack.transport.tcp.segment import LOST, SACKED_ACKED, SACKED_RETRANS, TxSegment
from pystack.transport.tcp.seq import after
from pystack.transport.tcp.state import CaState

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock


def retransmit_lost(sk: TcpSock) -> None:
    """Send lost segments again, as many as cwnd allows (`tcp_xmit_retransmit_queue`)."""
    rtx, cw = sk.rtx, sk.cw
    if rtx.retrans_out >= rtx.lost_out:
        return
    counter = "TcpExtTCPFastRetrans"
    if cw.state is CaState.LOSS:
        counter = "TcpExtTCPSlowStartRetrans"
    head = rtx.head
    segments = list(rtx.segments)
    previous: TxSegment | None = None
    for index, segment in enumerate(segments):
        if rtx.in_flight >= cw.cwnd or rtx.retrans_out >= rtx.lost_out:
            break
        if segment.sacked & (LOST | SACKED_ACKED | SACKED_RETRANS) != LOST:
            continue
        following = segments[index + 1] if index + 1 < len(segments) else None
        push = _joins(previous, segment) and not (
            _joins(segment, following)
            and rtx.in_flight + 1 < cw.cwnd
            and rtx.retrans_out + 1 < rtx.lost_out
        )
        previous = segment
        if not output.retransmit(sk, segment, more_flags=TH_PSH if push else 0):
            break
        sk.kernel.mib[counter] += 1
        if cw.reducing:
            sk.prr_out += 1
        if segment is head and sk.xmit_pending is not XmitTimer.REO_TIMEOUT:
            arm(sk, XmitTimer.RETRANS, sk.rtt.rto)


def _joins(segment: TxSegment | None, following: TxSegment | None) -> bool:
    """Would Linux send the two in one packet again?  Then PSH is set at its end."""
    if segment is None or following is None or segment.burst != following.burst:
        return False
    lost = following.sacked & (LOST | SACKED_ACKED | SACKED_RETRANS) == LOST
    return lost and segment.end_seq == following.seq


def enter_loss(sk: TcpSock) -> None:
    """The retransmission timer expired (RFC 5681, 3.1; RFC 6675, 5.1; RFC 5682, 2.1 step 1)."""
    cw, rtx = sk.cw, sk.rtx
    sysctl = sk.kernel.sysctl
    new_recovery = cw.state < CaState.RECOVERY
    _mark_timed_out(sk)
    if (
        cw.state <= CaState.DISORDER
        or not after(sk.high_seq, sk.snd_una)
        or (cw.state is CaState.LOSS and not sk.retransmits)
    ):
        sk.undo.prior_ssthresh = cw.current_ssthresh()
        sk.prior_cwnd = cw.cwnd
        cw.ssthresh = cw.algorithm.ssthresh(cw)
        undo.begin(sk)
    cw.cwnd = rtx.in_flight + 1
    cw.cwnd_cnt = 0
    cw.stamp = sk.kernel.now
    reordering = sysctl["net.ipv4.tcp_reordering"]
    if cw.state <= CaState.DISORDER and rtx.sacked_out >= reordering:
        sk.reordering = min(sk.reordering, reordering)  # it was taken for too high
    prr.set_ca_state(sk, CaState.LOSS)
    sk.high_seq = sk.snd_nxt
    sk.undo.tlp_high_seq = None
    ecn.queue_cwr(sk)
    sk.undo.frto = bool(sysctl["net.ipv4.tcp_frto"] and (new_recovery or sk.retransmits))


def _mark_timed_out(sk: TcpSock) -> None:
    """All in flight is lost, but what RACK finds too young for that (`tcp_timeout_mark_lost`)."""
    rtx = sk.rtx
    if not rtx:
        return
    head = rtx.head
    reneged = bool(head.sacked & SACKED_ACKED)
    if reneged:
        sk.kernel.mib["TcpExtTCPSACKReneging"] += 1
        rtx.forget_sacks()
    elif not sk.sack_ok:
        rtx.sacked_out = 0
    spare_young = not reneged and rack.is_rack(sk)
    for segment in rtx.segments:
        if spare_young and segment is not head and rack.overdue_in(sk, segment, 0) > 0:
            continue
        rack.mark_lost(sk, segment)


def simple_retransmit(sk: TcpSock, mss: int) -> None:
    """The path MTU fell: segments that are too long now were lost without congestion."""
    rtx, cw = sk.rtx, sk.cw
    for segment in list(rtx.segments):
        if len(segment.data) > mss:
            rack.mark_lost(sk, segment)
            rest = segment
            while len(rest.data) > mss:
                rest = rtx.split(rest, mss)
                rest.burst = segment.burst
    if not rtx.lost_out:
        return
    if cw.state is not CaState.LOSS:
        sk.high_seq = sk.snd_nxt
        cw.ssthresh = cw.current_ssthresh()
        sk.undo.prior_ssthresh = 0
        sk.undo.marker = None
        prr.set_ca_state(sk, CaState.LOSS)
    retransmit_lost(sk)
