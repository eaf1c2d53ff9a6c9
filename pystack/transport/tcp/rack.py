"""RACK: loss found by time (RFC 8985; `net/ipv4/tcp_recovery.c`).

A segment is lost when one sent sufficiently later has been delivered.  "Sufficiently" is the
reordering window.  Called by `ack` and `sacktag` for what was delivered, by `recovery` to mark.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.transport.tcp.constants import TIMEOUT_MIN, USEC
from pystack.transport.tcp.rto import XmitTimer, arm
from pystack.transport.tcp.segment import (
    EVER_RETRANS,
    LOST,
    RETRANS,
    SACKED_ACKED,
    SACKED_RETRANS,
    TxSegment,
)
from pystack.transport.tcp.seq import after, before, seq_diff
from pystack.transport.tcp.state import CaState

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock

# Bits of net.ipv4.tcp_recovery
LOSS_DETECTION = 1
STATIC_REO_WND = 2
NO_DUPTHRESH = 4
RECOVERY_THRESH = 16  # recoveries that a widened reordering window lasts
MAX_STEPS = 0xFF


class Rack:
    """The most recently sent segment of those delivered: `mstamp` (ns) and `end_seq`, and the RTT
    it had.  The reordering window is `reo_wnd_steps` quarters of the least RTT."""

    __slots__ = (
        *("adjusted_at", "advanced", "dsack_seen", "end_seq", "mstamp"),
        *("reo_wnd_persist", "reo_wnd_steps", "rtt_us"),
    )

    def __init__(self) -> None:
        self.mstamp = 0
        self.end_seq = 0
        self.rtt_us = 0
        self.advanced = False  # since the segments in flight were last looked at
        self.reo_wnd_steps = 1
        self.reo_wnd_persist = 0
        self.dsack_seen = False  # since the window was last adjusted
        self.adjusted_at = 0  # ns


def is_rack(sk: TcpSock) -> int:
    return sk.kernel.sysctl["net.ipv4.tcp_recovery"] & LOSS_DETECTION


def advance(sk: TcpSock, segment: TxSegment) -> None:
    """`segment` has been delivered (RFC 8985, 6.2 steps 1 and 2)."""
    rack, min_us = sk.rack, sk.rtt.min_us
    rtt_us = (sk.kernel.now - segment.sent_at) // USEC
    if segment.sacked & RETRANS and (min_us is None or rtt_us < min_us):
        return  # too early to be the answer to the retransmission
    rack.advanced = True
    rack.rtt_us = rtt_us
    sent, end = segment.sent_at, segment.end_seq
    if sent > rack.mstamp or (sent == rack.mstamp and after(end, rack.end_seq)):
        rack.mstamp = sent
        rack.end_seq = end


def reo_wnd(sk: TcpSock) -> int:
    """The reordering window in us (RFC 8985, 6.2 step 4; `tcp_rack_reo_wnd`).

    None as long as no reordering has been seen and enough segments are SACKed or lost.
    """
    rtx = sk.rtx
    if not sk.stats.reord_seen:
        if sk.cw.state >= CaState.RECOVERY:
            return 0
        dupthresh = not sk.kernel.sysctl["net.ipv4.tcp_recovery"] & NO_DUPTHRESH
        if dupthresh and rtx.sacked_out >= sk.reordering:
            return 0
    return min(((sk.rtt.min_us or 0) >> 2) * sk.rack.reo_wnd_steps, sk.rtt.srtt_us >> 3)


def overdue_in(sk: TcpSock, segment: TxSegment, window_us: int) -> int:
    """How long until `segment` counts as lost, in us; 0 or less: it does."""
    return sk.rack.rtt_us + window_us - (sk.kernel.now - segment.sent_at) // USEC


def mark_lost(sk: TcpSock, segment: TxSegment) -> None:
    """`tcp_mark_skb_lost`; a retransmission in flight of a lost segment is lost as well."""
    again = segment.sacked & LOST and segment.sacked & SACKED_RETRANS
    if not segment.sacked & SACKED_ACKED and sk.rtx.mark_lost(segment) and again:
        sk.kernel.mib["TcpExtTCPLostRetransmit"] += 1


def detect_loss(sk: TcpSock) -> int:
    """Mark what is overdue (RFC 8985, 6.2 step 5); returns us until the rest will be, or 0."""
    rack, window = sk.rack, reo_wnd(sk)
    wait = 0
    for segment in sk.rtx.segments:
        sacked = segment.sacked
        if sacked & SACKED_ACKED or sacked & (LOST | SACKED_RETRANS) == LOST:
            continue
        sent = segment.sent_at
        if sent > rack.mstamp or (
            sent == rack.mstamp and not before(segment.end_seq, rack.end_seq)
        ):
            if sacked & EVER_RETRANS:
                continue
            break  # what follows was sent later still
        remaining = overdue_in(sk, segment, window)
        if remaining <= 0:
            mark_lost(sk, segment)
        else:
            wait = max(wait, remaining)
    return wait


def detect_after_ack(sk: TcpSock) -> bool:
    """After an ACK; returns whether the reordering timer runs now (`tcp_rack_mark_lost`)."""
    if not sk.rack.advanced:
        return False
    sk.rack.advanced = False
    wait = detect_loss(sk)
    if wait:
        arm(sk, XmitTimer.REO_TIMEOUT, min(wait * USEC + TIMEOUT_MIN, sk.rtt.rto))
    return wait > 0


def update_reo_wnd(sk: TcpSock) -> None:
    """Widen the window for each round trip with a DSACK (`tcp_rack_update_reo_wnd`).

    A DSACK within a round trip of the last change still tells of the former window.
    """
    rack = sk.rack
    if sk.kernel.sysctl["net.ipv4.tcp_recovery"] & STATIC_REO_WND:
        return
    if rack.mstamp < rack.adjusted_at:
        rack.dsack_seen = False
    if rack.dsack_seen:
        rack.dsack_seen = False
        rack.reo_wnd_steps = min(MAX_STEPS, rack.reo_wnd_steps + 1)
        rack.adjusted_at = sk.kernel.now
        rack.reo_wnd_persist = RECOVERY_THRESH
    elif not rack.reo_wnd_persist:
        rack.reo_wnd_steps = 1


def check_sack_reordering(sk: TcpSock, low_seq: int) -> None:
    """What was sent at `low_seq`, once, came behind later data (`tcp_check_sack_reordering`)."""
    fack = sk.rtx.highest_sack if sk.rtx.sacked_out else sk.snd_una
    if not before(low_seq, fack):
        return
    metric = seq_diff(fack, low_seq)
    if metric > sk.reordering * sk.mss_cache:
        limit = sk.kernel.sysctl["net.ipv4.tcp_max_reordering"]
        sk.reordering = min(-(-metric // sk.mss_cache), limit)
    sk.stats.reord_seen += 1
    sk.kernel.mib["TcpExtTCPSACKReorder"] += 1
