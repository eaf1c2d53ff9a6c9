"""The one transmit timer: retransmission or window probe (`inet_csk_reset_xmit_timer`).

What happens when it fires is in `timers`.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from pystack.transport.tcp.constants import RTO_MAX, RTO_MIN

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock


class XmitTimer(enum.Enum):
    RETRANS = "retrans"
    PROBE0 = "probe0"


def arm(sk: TcpSock, what: XmitTimer, delay: int) -> None:
    sk.xmit_pending = what
    sk.xmit_timer.mod(sk.kernel.now + min(delay, RTO_MAX))


def clear(sk: TcpSock) -> None:
    sk.xmit_pending = None
    sk.xmit_timer.delete()


def rearm_rto(sk: TcpSock) -> None:
    """RFC 6298, 5.1 to 5.3: runs while something is in flight, anew for each progress."""
    if sk.rtx:
        arm(sk, XmitTimer.RETRANS, sk.rtt.rto)
    elif sk.xmit_pending is XmitTimer.RETRANS:
        clear(sk)


def probe_delay(sk: TcpSock) -> int:
    """RFC 9293, 3.8.6.1: like the RTO, doubled with every probe."""
    base = max(sk.rtt.rto, RTO_MIN)
    return min(base << min(sk.backoff, 20), RTO_MAX)


def arm_probe(sk: TcpSock) -> None:
    arm(sk, XmitTimer.PROBE0, probe_delay(sk))
