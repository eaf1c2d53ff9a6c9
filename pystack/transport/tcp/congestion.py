"""The congestion window (RFC 5681) and its validity (RFC 2861); algorithms are in `cc`.

Called by `ack`, `recovery`, `output` and `stream`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.transport.tcp import pacing
from pystack.transport.tcp.constants import INFINITE_SSTHRESH, INIT_CWND
from pystack.transport.tcp.seq import before
from pystack.transport.tcp.state import CaState

if TYPE_CHECKING:
    from pystack.transport.tcp.cc import CongestionControl
    from pystack.transport.tcp.sock import TcpSock

NO_CLAMP = 0x7FFFFFFF


class CongestionWindow:
    """cwnd and what belongs to it, in segments."""

    __slots__ = (
        *("algorithm", "chosen", "clamp", "cwnd", "cwnd_cnt", "limited", "max_packets_out"),
        *("ssthresh", "stamp", "state", "usage_seq", "used"),
    )

    def __init__(self, algorithm: CongestionControl) -> None:
        self.algorithm = algorithm
        self.chosen = False  # by TCP_CONGESTION, not by the sysctl
        self.cwnd = INIT_CWND
        self.cwnd_cnt = 0  # segments acked towards the next increase
        self.clamp = NO_CLAMP  # cwnd never grows beyond it
        self.ssthresh = INFINITE_SSTHRESH
        self.state = CaState.OPEN
        self.stamp = 0  # ns: when the window was last fully used
        self.used = 0
        self.max_packets_out = 0
        self.usage_seq = 0
        self.limited = False  # sending stopped because of cwnd in the last window

    @property
    def in_slow_start(self) -> bool:
        return self.cwnd < self.ssthresh

    @property
    def reducing(self) -> bool:
        """Proportional rate reduction sets cwnd (RFC 6937; `tcp_in_cwnd_reduction`)."""
        return self.state is CaState.RECOVERY or self.state is CaState.CWR

    def slow_start(self, acked: int) -> int:
        """RFC 5681, 3.1; returns the segments left over for congestion avoidance."""
        cwnd = min(self.cwnd + acked, self.ssthresh)
        left = acked - (cwnd - self.cwnd)
        self.cwnd = min(cwnd, self.clamp)
        return left

    def avoid_additively(self, per: int, acked: int) -> None:
        """One segment more for every `per` acked (`tcp_cong_avoid_ai`)."""
        if self.cwnd_cnt >= per:
            self.cwnd_cnt = 0
            self.cwnd += 1
        self.cwnd_cnt += acked
        if self.cwnd_cnt >= per:
            more, self.cwnd_cnt = divmod(self.cwnd_cnt, per)
            self.cwnd += more
        self.cwnd = min(self.cwnd, self.clamp)

    def current_ssthresh(self) -> int:
        """`tcp_current_ssthresh`: never below three quarters of a window that was in use."""
        if self.reducing:
            return self.ssthresh
        return max(self.ssthresh, (self.cwnd >> 1) + (self.cwnd >> 2))

    def is_limited(self) -> bool:
        """Whether raising cwnd is justified (RFC 7661; `tcp_is_cwnd_limited`)."""
        if self.limited:
            return True
        return self.in_slow_start and self.cwnd < 2 * self.max_packets_out


def initial_cwnd(sk: TcpSock) -> int:
    """RFC 6928, or what the route says (`tcp_init_cwnd`)."""
    metric = 0 if sk.route is None else sk.route.metrics.get("initcwnd", 0)
    return min(metric or INIT_CWND, sk.cw.clamp)


def init_cwnd(sk: TcpSock) -> None:
    """The transfer starts; with one segment after a SYN was lost (RFC 5681, 3.1)."""
    cw = sk.cw
    if sk.route is not None and "cwnd" in sk.route.metrics:
        cw.clamp = sk.route.metrics["cwnd"]
    cw.cwnd = 1 if sk.total_retrans > 1 else initial_cwnd(sk)
    cw.stamp = sk.kernel.now
    cw.algorithm.init()
    pacing.start(sk)


def cwnd_validate(sk: TcpSock, limited: bool) -> None:
    """After sending: remember how much of the window is used (`tcp_cwnd_validate`)."""
    cw, packets_out = sk.cw, sk.rtx.packets_out
    if (
        not before(sk.snd_una, cw.usage_seq)
        or limited
        or (not cw.limited and packets_out > cw.max_packets_out)
    ):
        cw.limited = limited
        cw.max_packets_out = packets_out
        cw.usage_seq = sk.snd_nxt
    now = sk.kernel.now
    if cw.is_limited():
        cw.used = 0
        cw.stamp = now
        return
    cw.used = max(cw.used, packets_out)
    idle = sk.kernel.sysctl["net.ipv4.tcp_slow_start_after_idle"]
    if idle and now - cw.stamp >= sk.rtt.rto:
        _application_limited(sk)


def _application_limited(sk: TcpSock) -> None:
    """The application does not fill the window: let it decay (RFC 2861, 3.2)."""
    cw = sk.cw
    if cw.state is CaState.OPEN and not sk.nospace:
        used = max(cw.used, initial_cwnd(sk))
        if used < cw.cwnd:
            cw.ssthresh = cw.current_ssthresh()
            cw.cwnd = (cw.cwnd + used) >> 1
        cw.used = 0
    cw.stamp = sk.kernel.now


def restart_after_idle(sk: TcpSock) -> None:
    """Before sending after a pause: halve cwnd for each RTO of it (RFC 5681, 4.1).

    Never below the initial window (`tcp_slow_start_after_idle_check`).
    """
    idle = sk.kernel.now - sk.lsndtime
    if sk.rtx or idle <= sk.rtt.rto:
        return
    if not sk.kernel.sysctl["net.ipv4.tcp_slow_start_after_idle"]:
        return
    cw = sk.cw
    cw.ssthresh = cw.current_ssthresh()
    floor = min(initial_cwnd(sk), cw.cwnd)
    while idle > sk.rtt.rto and cw.cwnd > floor:
        cw.cwnd >>= 1
        idle -= sk.rtt.rto
    cw.cwnd = max(cw.cwnd, floor)
    cw.stamp = sk.kernel.now
    cw.used = 0
