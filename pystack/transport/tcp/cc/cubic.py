"""CUBIC (RFC 9438) in Linux's fixed point, with HyStart's exit from slow start.

Compare `net/ipv4/tcp_cubic.c`.  Windows are in segments, times in jiffies of 1 ms and, behind a
name with `K` or `t`, in 1/1024 s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.transport.tcp.cc.base import CongestionControl
from pystack.transport.tcp.constants import MSEC, USEC
from pystack.transport.tcp.seq import after
from pystack.transport.tcp.state import CaState
from pystack.transport.tcp.tso import GSO_MAX_SIZE, pacing_rate

if TYPE_CHECKING:
    from pystack.transport.tcp.congestion import CongestionWindow
    from pystack.transport.tcp.sock import TcpSock

HZ = 1000
BETA_SCALE = 1024
BETA = 717  # 0.7 (RFC 9438, 4.6)
CUBE_SCALE = 410  # C = 0.4 (RFC 9438, 5.1), times 1024
FRACTION = 10  # bits: a second has 1024 units in the cubic function
CUBE_FACTOR = (1 << (10 + 3 * FRACTION)) // CUBE_SCALE
# alpha_cubic = 3 (1 - beta) / (1 + beta) (RFC 9438, 4.3): ACKs a window needs to grow by one
# as Reno's would, in eighths of the window
FRIENDLY_SCALE = 8 * (BETA_SCALE + BETA) // 3 // (BETA_SCALE - BETA)

HYSTART_ACK_TRAIN = 1
HYSTART_DELAY = 2
HYSTART_MIN_SAMPLES = 8
HYSTART_DELAY_MIN = 4_000  # us
HYSTART_DELAY_MAX = 16_000
HYSTART_LOW_WINDOW = 16
HYSTART_ACK_DELTA = 2_000  # us between ACKs of one train
_NO_RTT = 0xFFFFFFFF


def cubic_root(a: int) -> int:
    """The integer cubic root, rounded down.

    Linux takes one Newton step from a table's guess and is within 0.2 % of it.
    """
    if a < 2:
        return a
    x = 1 << -(-a.bit_length() // 3)
    while True:
        y = (2 * x + a // (x * x)) // 3
        if y >= x:
            return x
        x = y


class Cubic(CongestionControl):
    __slots__ = (
        *("ack_cnt", "cnt", "delay_min", "epoch_start", "k", "last_cwnd", "last_max_cwnd"),
        *("last_time", "origin_point", "tcp_cwnd"),
        *("curr_rtt", "end_seq", "found", "last_ack", "round_start", "sample_cnt"),
    )
    name = "cubic"

    def __init__(self, sk: TcpSock) -> None:
        super().__init__(sk)
        self._reset()
        self._new_round()

    def init(self) -> None:
        self._reset()
        self._new_round()

    def _reset(self) -> None:
        self.cnt = 0  # segments to be acknowledged for one segment more of window
        self.last_max_cwnd = 0  # W_max
        self.last_cwnd = 0
        self.last_time = 0
        self.origin_point = 0
        self.k = 0
        self.delay_min = 0  # us; 0: not known
        self.epoch_start: int | None = None
        self.ack_cnt = 0
        self.tcp_cwnd = 0  # W_est: where Reno would be
        self.found = False  # HyStart has ended slow start

    @property
    def _jiffies(self) -> int:
        return self.sk.kernel.now // MSEC

    # -- the window ------------------------------------------------------------------------

    def ssthresh(self, cw: CongestionWindow) -> int:
        """beta times cwnd; W_max for the next epoch (RFC 9438, 4.6 and 4.7)."""
        self.epoch_start = None
        cwnd = cw.cwnd
        if cwnd < self.last_max_cwnd:
            # Fast convergence: another flow needs room, so leave it some more than before.
            self.last_max_cwnd = cwnd * (BETA_SCALE + BETA) // (2 * BETA_SCALE)
        else:
            self.last_max_cwnd = cwnd
        return max(cwnd * BETA // BETA_SCALE, 2)

    def avoid(self, cw: CongestionWindow, acked: int) -> None:
        self._update(cw.cwnd, acked)
        cw.avoid_additively(self.cnt, acked)

    def _update(self, cwnd: int, acked: int) -> None:
        """`cnt` for now: by the cubic function, but no slower than Reno (`bictcp_update`)."""
        now = self._jiffies
        self.ack_cnt += acked
        if self.last_cwnd == cwnd and now - self.last_time <= HZ // 32:
            return
        if self.epoch_start is None or now != self.last_time:
            self.last_cwnd = cwnd
            self.last_time = now
            if self.epoch_start is None:
                self._start_epoch(cwnd, acked, now)
            self._follow_curve(cwnd, now)
        self._be_friendly(cwnd)
        self.cnt = max(self.cnt, 2)  # at most one and a half times the window each RTT

    def _start_epoch(self, cwnd: int, acked: int, now: int) -> None:
        self.epoch_start = now
        self.ack_cnt = acked
        self.tcp_cwnd = cwnd
        if self.last_max_cwnd <= cwnd:
            self.k = 0
            self.origin_point = cwnd
        else:
            self.k = cubic_root(CUBE_FACTOR * (self.last_max_cwnd - cwnd))
            self.origin_point = self.last_max_cwnd

    def curve(self, now: int) -> int:
        """W_cubic one round trip after `now` (RFC 9438, 4.2, figure 1)."""
        assert self.epoch_start is not None
        t = now - self.epoch_start + -(-self.delay_min // (MSEC // USEC))
        t = (t << FRACTION) // HZ
        offset = abs(t - self.k)
        delta = (CUBE_SCALE * offset**3) >> (10 + 3 * FRACTION)
        return self.origin_point - delta if t < self.k else self.origin_point + delta

    def _follow_curve(self, cwnd: int, now: int) -> None:
        target = self.curve(now)
        self.cnt = cwnd // (target - cwnd) if target > cwnd else 100 * cwnd
        if not self.last_max_cwnd:
            self.cnt = min(self.cnt, 20)  # nothing is known of the path: do not wait for t

    def _be_friendly(self, cwnd: int) -> None:
        """RFC 9438, 4.3."""
        per = (cwnd * FRIENDLY_SCALE) >> 3
        while self.ack_cnt > per:
            self.ack_cnt -= per
            self.tcp_cwnd += 1
        if self.tcp_cwnd > cwnd:
            self.cnt = min(self.cnt, cwnd // (self.tcp_cwnd - cwnd))

    # -- events ----------------------------------------------------------------------------

    def set_state(self, state: CaState) -> None:
        if state is CaState.LOSS:
            self._reset()
            self._new_round()

    def tx_start(self) -> None:
        """The curve is no function of time in which nothing was sent (RFC 9438, 5.8)."""
        now = self._jiffies
        idle = now - self.sk.lsndtime // MSEC
        if self.epoch_start is not None and idle > 0:
            self.epoch_start = min(self.epoch_start + idle, now)

    def pkts_acked(self, cw: CongestionWindow, rtt_us: int) -> None:
        if self.epoch_start is not None and self._jiffies - self.epoch_start < HZ:
            return  # right after recovery queues are not what they were
        delay = max(rtt_us, 1)
        if not self.delay_min or delay < self.delay_min:
            self.delay_min = delay
        if not self.found and cw.in_slow_start and cw.cwnd >= HYSTART_LOW_WINDOW:
            self._hystart(cw, delay)

    # -- HyStart ---------------------------------------------------------------------------

    def _new_round(self) -> None:
        self.round_start = self.last_ack = self.sk.kernel.now // USEC
        self.end_seq = self.sk.snd_nxt
        self.curr_rtt = _NO_RTT
        self.sample_cnt = 0

    def _hystart(self, cw: CongestionWindow, delay: int) -> None:
        """Has slow start filled the path? (`hystart_update`)"""
        sysctl = self.sk.kernel.sysctl
        if not sysctl["tcp_cubic.hystart"]:
            return
        if after(self.sk.snd_una, self.end_seq):
            self._new_round()
        detect = sysctl["tcp_cubic.hystart_detect"]
        if detect & HYSTART_ACK_TRAIN and self._train_is_long():
            self._leave_slow_start(cw, "Train")
        if detect & HYSTART_DELAY and self._delay_has_grown(delay):
            self._leave_slow_start(cw, "Delay")

    def _train_is_long(self) -> bool:
        """ACKs have followed each other closely for half a round trip (all of it if paced)."""
        sk = self.sk
        now = sk.kernel.now // USEC
        if now - self.last_ack > HYSTART_ACK_DELTA:
            return False
        self.last_ack = now
        threshold = self.delay_min + self._burst_time()
        if sk.pacing is None:
            threshold >>= 1
        return now - self.round_start > threshold

    def _burst_time(self) -> int:
        """How long four of the largest bursts take, us (`hystart_ack_delay`)."""
        rate = pacing_rate(self.sk)
        return min(1000, 4 * GSO_MAX_SIZE * 1_000_000 // rate) if rate else 0

    def _delay_has_grown(self, delay: int) -> bool:
        """Even the shortest of a round's first RTTs exceeds the minimum by an eighth."""
        self.curr_rtt = min(self.curr_rtt, delay)
        if self.sample_cnt < HYSTART_MIN_SAMPLES:
            self.sample_cnt += 1
            return False
        grown = min(max(self.delay_min >> 3, HYSTART_DELAY_MIN), HYSTART_DELAY_MAX)
        return self.curr_rtt > self.delay_min + grown

    def _leave_slow_start(self, cw: CongestionWindow, why: str) -> None:
        mib = self.sk.kernel.mib
        self.found = True
        mib[f"TcpExtTCPHystart{why}Detect"] += 1
        mib[f"TcpExtTCPHystart{why}Cwnd"] += cw.cwnd
        cw.ssthresh = cw.cwnd
