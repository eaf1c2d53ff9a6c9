"""The one transmit timer: retransmission, tail loss probe, reordering, or window probe
(`inet_csk_reset_xmit_timer`).

What happens when it fires is in `timers`.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from pystack.transport.tcp.constants import (
    MSEC,
    RTO_MAX,
    RTO_MIN,
    TIMEOUT_INIT,
    TIMEOUT_MIN,
    USEC,
)
from pystack.transport.tcp.state import CaState

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock


class XmitTimer(enum.Enum):
    RETRANS = "retrans"
    PROBE0 = "probe0"
    LOSS_PROBE = "loss probe"
    REO_TIMEOUT = "reordering"


def arm(sk: TcpSock, what: XmitTimer, delay: int) -> None:
    sk.xmit_pending = what
    sk.xmit_timer.mod(sk.kernel.now + min(delay, RTO_MAX))


def clear(sk: TcpSock) -> None:
    sk.xmit_pending = None
    sk.xmit_timer.delete()


def rearm_rto(sk: TcpSock) -> None:
    """RFC 6298, 5.1 to 5.3: runs while something is in flight, anew for each progress.

    In place of a probe or reordering timer it counts from the oldest segment's transmission.
    """
    pending = sk.xmit_pending
    if not sk.rtx:
        if pending is not None and pending is not XmitTimer.PROBE0:
            clear(sk)
        return
    delay = sk.rtt.rto
    if pending is XmitTimer.LOSS_PROBE or pending is XmitTimer.REO_TIMEOUT:
        delay = max(_rto_from_head(sk), USEC)
    arm(sk, XmitTimer.RETRANS, delay)


def _rto_from_head(sk: TcpSock) -> int:
    return sk.rtx.head.sent_at + sk.rtt.rto - sk.kernel.now


def schedule_loss_probe(sk: TcpSock, advancing: bool) -> bool:
    """Arm the probe in place of the RTO, two RTTs from now (RFC 8985, 7.2), if one is in order.

    A single segment's ACK may be delayed: longer by the least RTO, where the RFC takes the peer's
    delay.  `advancing`: an ACK made progress, so that the RTO would start anew.
    """
    early = sk.kernel.sysctl["net.ipv4.tcp_early_retrans"]
    state = sk.cw.state
    if not sk.sack_ok or not sk.rtx or (early != 3 and early != 4):
        return False
    if state is not CaState.OPEN and state is not CaState.CWR:
        return False
    rtt = sk.rtt
    delay = TIMEOUT_INIT
    if rtt.srtt_us:
        delay = (rtt.srtt_us >> 2) * USEC
        delay += RTO_MIN if len(sk.rtx.segments) == 1 else TIMEOUT_MIN
    remaining = rtt.rto if advancing else _rto_from_head(sk)
    if remaining > 0:
        delay = min(delay, remaining)
    arm(sk, XmitTimer.LOSS_PROBE, delay)
    return True


def set_xmit_timer(sk: TcpSock) -> None:
    """An ACK made progress (`tcp_set_xmit_timer`)."""
    if not schedule_loss_probe(sk, advancing=True):
        rearm_rto(sk)


def after_sending(sk: TcpSock) -> None:
    """New data has been sent."""
    if not schedule_loss_probe(sk, advancing=False) and sk.xmit_pending is XmitTimer.LOSS_PROBE:
        rearm_rto(sk)


def probe_delay(sk: TcpSock) -> int:
    """RFC 9293, 3.8.6.1: like the RTO, doubled with every probe."""
    base = max(sk.rtt.rto, RTO_MIN)
    return min(base << min(sk.backoff, 20), RTO_MAX)


def arm_probe(sk: TcpSock) -> None:
    delay = probe_delay(sk)
    if sk.user_timeout and sk.probes_since is not None:
        left = sk.probes_since + sk.user_timeout * MSEC - sk.kernel.now
        delay = min(delay, max(left, TIMEOUT_MIN))
    arm(sk, XmitTimer.PROBE0, delay)
