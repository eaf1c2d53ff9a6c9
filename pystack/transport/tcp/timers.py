"""What happens when a TCP timer expires (`net/ipv4/tcp_timer.c`).

Each runs in softirq, under the socket's lock, or when its holder releases it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.transport.tcp import (
    keepalive,
    lifecycle,
    loss,
    mtuprobe,
    output,
    recovery,
    timewait,
    tlp,
)
from pystack.transport.tcp.constants import (
    MSEC,
    RTO_MAX,
    RTO_MIN,
    TIMEOUT_INIT,
    TIMEWAIT_LEN,
)
from pystack.transport.tcp.rto import XmitTimer, arm, arm_probe, probe_delay
from pystack.transport.tcp.state import OPENING, UNCONNECTED, CaState, TcpState
from pystack.transport.tcp.transmit import send_active_reset

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock

RESOURCE_PROBE_INTERVAL = 500 * MSEC  # our own device's queue was full
ORPHAN_RETRIES = 8  # what net.ipv4.tcp_orphan_retries = 0 means


def write_timer(sk: TcpSock) -> None:
    """The transmit timer (`tcp_write_timer_handler`)."""
    pending = sk.xmit_pending
    if sk.state in UNCONNECTED or pending is None or sk.xmit_timer.pending:
        return  # cleared, or armed anew, while the socket was locked
    if pending is XmitTimer.REO_TIMEOUT:
        recovery.reorder_timeout(sk)
        return
    if pending is XmitTimer.LOSS_PROBE:
        tlp.send_probe(sk)
        return
    sk.xmit_pending = None
    if pending is XmitTimer.RETRANS:
        _retransmit_timer(sk)
    else:
        _probe_timer(sk)


def _retransmit_timer(sk: TcpSock) -> None:
    """RFC 6298, 5.4 to 5.7."""
    if not sk.rtx:
        return
    if not sk.snd_wnd and not sk.dead and sk.state not in OPENING:
        # The peer took back its window: the retransmission is a probe, repeated as long as
        # the peer answers.
        if sk.kernel.now - sk.rcv_tstamp > 2 * RTO_MAX:
            lifecycle.write_error(sk)
            return
        loss.enter_loss(sk)
    else:
        if _write_timeout(sk):
            return
        sk.kernel.mib["TcpExtTCPTimeouts"] += 1
        if not sk.retransmits:
            sk.first_timeout = sk.kernel.now
            _count_failure(sk)
        loss.enter_loss(sk)
        sk.stats.total_rto_recoveries += not sk.retransmits
        sk.stats.total_rto += 1
        sk.retransmits += 1
    output.retransmit(sk, sk.rtx.head)
    linear = sk.kernel.sysctl["net.ipv4.tcp_syn_linear_timeouts"]
    if sk.state is not TcpState.SYN_SENT or sk.stats.total_rto > linear:
        sk.backoff += 1
        sk.rtt.back_off()
    arm(sk, XmitTimer.RETRANS, _rto_or_user_timeout(sk))
    if _timed_out(sk, sk.kernel.sysctl["net.ipv4.tcp_retries1"] + 1):
        sk.route = None


def _rto_or_user_timeout(sk: TcpSock) -> int:
    """The RTO, but no longer than TCP_USER_TIMEOUT lasts (`tcp_clamp_rto_to_user_timeout`)."""
    if not sk.user_timeout:
        return sk.rtt.rto
    left = sk.user_timeout * MSEC - (sk.kernel.now - sk.first_timeout)
    return min(sk.rtt.rto, max(left, MSEC))


def _count_failure(sk: TcpSock) -> None:
    kind = "Sack" if sk.sack_ok else "Reno"
    counter = {
        CaState.RECOVERY: f"TcpExtTCP{kind}RecoveryFail",
        CaState.LOSS: "TcpExtTCPLossFailures",
        CaState.DISORDER: f"TcpExtTCP{kind}Failures",
    }.get(sk.cw.state)
    if counter is not None:
        sk.kernel.mib[counter] += 1


def _write_timeout(sk: TcpSock) -> bool:
    """Has it been tried often enough? (RFC 9293, 3.8.3; `tcp_write_timeout`)"""
    sysctl = sk.kernel.sysctl
    if sk.state in OPENING:
        sk.route = None
        retries = sk.syn_retries or sysctl["net.ipv4.tcp_syn_retries"]
        if sk.state is TcpState.SYN_SENT:
            retries += sysctl["net.ipv4.tcp_syn_linear_timeouts"]
        expired = sk.retransmits >= retries
    else:
        if _timed_out(sk, sysctl["net.ipv4.tcp_retries1"]):
            mtuprobe.black_hole(sk)
            sk.route = None  # perhaps there is another way
        retries = sysctl["net.ipv4.tcp_retries2"]
        if sk.dead:
            retries = _orphan_retries(sk, alive=sk.rtt.rto < RTO_MAX)
        expired = _timed_out(sk, retries, sk.user_timeout)
    if expired:
        lifecycle.write_error(sk)
    return expired


def _orphan_retries(sk: TcpSock, alive: bool) -> int:
    retries = sk.kernel.sysctl["net.ipv4.tcp_orphan_retries"]
    if sk.sk_err_soft and not alive:
        return 0
    return ORPHAN_RETRIES if not retries and alive else retries


def _timed_out(sk: TcpSock, retries: int, user_timeout: int = 0) -> bool:
    """No progress for as long as `retries` retransmissions with the shortest RTO would take.

    Linux counts from the first retransmission of the loss episode, which on a bad path gives up
    a connection that advances; RFC 9293, 3.8.3 counts for the segment.
    """
    if not sk.retransmits:
        return False
    base = TIMEOUT_INIT if sk.state in OPENING else RTO_MIN
    limit = user_timeout * MSEC if user_timeout else model_timeout(retries, base)
    return sk.kernel.now - sk.first_timeout >= limit


def model_timeout(retries: int, base: int) -> int:
    """Sum of `retries` + 1 timeouts that double from `base` up to 120 s (`tcp_model_timeout`)."""
    doublings = (RTO_MAX // base).bit_length() - 1
    if retries <= doublings:
        return ((2 << retries) - 1) * base
    return ((2 << doublings) - 1) * base + (retries - doublings) * RTO_MAX


def _probe_timer(sk: TcpSock) -> None:
    """The peer's window is closed: ask (RFC 9293, 3.8.6.1)."""
    if sk.rtx or not sk.unsent:
        sk.probes_out = 0
        sk.probes_since = None
        return
    if _probed_too_long(sk):
        lifecycle.write_error(sk)
        return
    limit = sk.kernel.sysctl["net.ipv4.tcp_retries2"]
    if sk.dead:
        alive = probe_delay(sk) < RTO_MAX
        limit = _orphan_retries(sk, alive)
        if not alive and sk.backoff >= limit:
            lifecycle.write_error(sk)
            return
    if sk.probes_out >= limit:
        lifecycle.write_error(sk)
        return
    went_out = output.write_wakeup(sk)
    if sk.rtx or not sk.unsent:
        sk.probes_out = 0
        sk.backoff = 0
        return
    sk.probes_out += 1
    if not went_out:
        arm(sk, XmitTimer.PROBE0, RESOURCE_PROBE_INTERVAL)
        return
    sk.backoff += sk.backoff < sk.kernel.sysctl["net.ipv4.tcp_retries2"]
    arm_probe(sk)


def _probed_too_long(sk: TcpSock) -> bool:
    """TCP_USER_TIMEOUT holds for data that cannot be sent, too (RFC 5482)."""
    now = sk.kernel.now
    if sk.probes_since is None:
        sk.probes_since = now
        return False
    return bool(sk.user_timeout) and now - sk.probes_since >= sk.user_timeout * MSEC


def sk_timer(sk: TcpSock) -> None:
    """The slow timer: an orphan's time in FIN_WAIT_2, or keepalive (`tcp_keepalive_timer`)."""
    if sk.sk_timer.pending:
        return  # armed anew while the socket was locked
    if sk.state is TcpState.FIN_WAIT2 and sk.dead:
        _orphan_timer(sk)
    elif keepalive.expired(sk):
        send_active_reset(sk)
        lifecycle.write_error(sk)


def _orphan_timer(sk: TcpSock) -> None:
    left = fin_time(sk) - TIMEWAIT_LEN  # again what `close` waited already: so does Linux
    if left > 0 and (sk.linger2 is None or sk.linger2 >= 0):
        timewait.enter(sk, TcpState.FIN_WAIT2, left)
        return
    send_active_reset(sk)
    lifecycle.done(sk)


def fin_time(sk: TcpSock) -> int:
    """How long FIN_WAIT_2 may last without a user, ns (`tcp_fin_time`)."""
    seconds = sk.linger2 or sk.kernel.sysctl["net.ipv4.tcp_fin_timeout"]
    return max(seconds * 1_000_000_000, (sk.rtt.rto << 2) - (sk.rtt.rto >> 1))
