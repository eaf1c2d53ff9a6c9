"""CUBIC against the formulas of RFC 9438, and HyStart's exits from slow start."""

from __future__ import annotations

import random
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pystack.core.sysctl import Sysctl
from pystack.transport.tcp.cc.cubic import BETA, BETA_SCALE, Cubic, cubic_root
from pystack.transport.tcp.congestion import CongestionWindow
from pystack.transport.tcp.state import CaState

MS = 1_000_000
C = 0.4
BETA_CUBIC = 0.7


class Path:
    """A sender that is always limited by its window: each round trip acknowledges all of it."""

    def __init__(self, cwnd: int, rtt_ms: int = 100) -> None:
        self.rtt_ms = rtt_ms
        self.kernel = SimpleNamespace(now=10_000 * MS, sysctl=Sysctl(), mib=_Counters())
        self.sk = SimpleNamespace(
            kernel=self.kernel,
            snd_una=0,
            snd_nxt=0,
            lsndtime=0,
            prior_cwnd=0,
            pacing=None,
            mss_cache=1000,
            sk_max_pacing_rate=1 << 62,
            rtt=SimpleNamespace(srtt_us=rtt_ms * 8000, min_us=rtt_ms * 1000),
            rtx=SimpleNamespace(packets_out=0),
        )
        self.cubic = Cubic(cast(Any, self.sk))
        self.cw = self.sk.cw = CongestionWindow(self.cubic)
        self.cw.cwnd = cwnd
        self.cw.limited = True

    def loss(self) -> None:
        self.cw.ssthresh = self.cw.cwnd = self.cubic.ssthresh(self.cw)
        self.epoch: int | None = None

    def round_trip(self) -> None:
        """ACKs of one segment each, spread over the round trip."""
        cwnd = self.cw.cwnd
        for _ in range(cwnd):
            self.kernel.now += self.rtt_ms * MS // cwnd
            self.sk.snd_una += 1
            self.sk.snd_nxt = self.sk.snd_una + cwnd
            self.cubic.pkts_acked(self.cw, self.rtt_ms * 1000)
            self.cubic.cong_avoid(self.cw, 1)

    def seconds(self) -> float:
        """Since the epoch began."""
        assert self.cubic.epoch_start is not None
        return float(self.kernel.now / 1e9 - self.cubic.epoch_start / 1e3)


class _Counters(dict[str, int]):
    def __missing__(self, name: str) -> int:
        return 0


def w_cubic(t: float, w_max: float, cwnd: float) -> float:
    """RFC 9438, 4.2, figures 1 and 2."""
    k = ((w_max - cwnd) / C) ** (1 / 3)
    return float(C * (t - k) ** 3 + w_max)


def _numbers() -> Iterator[int]:
    yield from range(1000)
    rng = random.Random("cubic_root")
    for bits in range(10, 64):
        yield from ((1 << bits) - 1, 1 << bits, rng.getrandbits(bits))
    for root in (99, 1000, 123_456, 2_000_000):
        yield from (root**3 - 1, root**3, root**3 + 1)


def test_cubic_root_is_exact() -> None:
    for a in _numbers():
        root = cubic_root(a)
        assert root**3 <= a < (root + 1) ** 3, a


@pytest.mark.parametrize(("w_max", "rtt_ms"), [(200, 100), (500, 60), (1000, 40), (300, 200)])
def test_window_follows_the_cubic_function(w_max: int, rtt_ms: int) -> None:
    """Within two segments or one hundredth of where RFC 9438 has it, below and above W_max.

    The window is to be at W_cubic(t + RTT) one round trip after t: Linux aims at that and gets
    there with the ACKs of that round trip.
    """
    path = Path(w_max, rtt_ms)
    path.loss()
    start = path.cw.cwnd
    assert start == w_max * BETA // BETA_SCALE
    path.round_trip()
    while path.cw.cwnd < 1.3 * w_max:
        path.round_trip()
        want = w_cubic(path.seconds(), w_max, start)
        # Reno's window is the lower bound (4.3); on these paths it stays below until W_max.
        assert abs(path.cw.cwnd - want) <= max(2.5, want / 50), (path.seconds(), want)


@pytest.mark.parametrize("rtt_ms", [2, 5, 10])
def test_short_paths_grow_as_reno_would(rtt_ms: int) -> None:
    """RFC 9438, 4.3: W_est gains 3 (1 - beta) / (1 + beta) segments a round trip, about 0.53.

    In integers Linux stays up to three segments behind, never ahead.
    """
    path = Path(40, rtt_ms)
    path.loss()
    start = path.cw.cwnd
    rounds = 20
    for _ in range(rounds):
        path.round_trip()
    alpha = 3 * (1 - BETA_CUBIC) / (1 + BETA_CUBIC)
    assert -3 < path.cw.cwnd - (start + alpha * rounds) < 1


def test_growth_never_exceeds_one_segment_for_two() -> None:
    path = Path(100)
    path.loss()
    path.round_trip()
    path.kernel.now += 60_000 * MS  # by now the curve is far above
    before = path.cw.cwnd
    path.round_trip()
    assert before * 3 // 2 - 1 <= path.cw.cwnd <= before * 3 // 2 + 1


def test_fast_convergence_lowers_w_max_when_the_window_did_not_recover() -> None:
    path = Path(1000)
    path.loss()
    assert path.cubic.last_max_cwnd == 1000
    path.cw.cwnd = 800
    path.loss()
    assert path.cubic.last_max_cwnd == int(800 * (1 + BETA_CUBIC) / 2)
    path.cw.cwnd = 900
    path.loss()
    assert path.cubic.last_max_cwnd == 900


def test_timeout_forgets_w_max() -> None:
    path = Path(100)
    path.loss()
    path.cubic.set_state(CaState.RECOVERY)
    assert path.cubic.last_max_cwnd == 100
    path.cubic.set_state(CaState.LOSS)
    assert (path.cubic.last_max_cwnd, path.cubic.delay_min) == (0, 0)


def test_idle_time_is_no_time_of_the_curve() -> None:
    path = Path(200)
    path.loss()
    path.round_trip()
    path.round_trip()
    before, now = path.cubic.epoch_start, path.kernel.now
    assert before is not None
    path.sk.lsndtime = now
    path.kernel.now += 5_000 * MS
    path.cubic.tx_start()
    assert path.cubic.epoch_start == before + 5_000


def _slow_start(path: Path, rtts: list[int], gap_us: int) -> None:
    """One round of ACKs with these RTTs in ms, `gap_us` apart."""
    path.sk.snd_nxt += path.cw.cwnd
    for rtt in rtts:
        path.kernel.now += gap_us * 1000
        path.sk.snd_una += 1
        path.cubic.pkts_acked(path.cw, rtt * 1000)
        path.cubic.cong_avoid(path.cw, 1)


def _in_slow_start(cwnd: int) -> Path:
    path = Path(cwnd)
    path.cubic.init()
    path.cubic.pkts_acked(path.cw, 100_000)
    return path


def test_hystart_leaves_slow_start_when_the_delay_has_grown_by_an_eighth() -> None:
    path = _in_slow_start(20)
    _slow_start(path, [113] * 8, 5000)
    assert path.cw.in_slow_start
    _slow_start(path, [113], 5000)
    assert (path.cw.cwnd, path.cw.ssthresh) == (28, 28)
    assert path.kernel.mib["TcpExtTCPHystartDelayDetect"] == 1
    assert path.kernel.mib["TcpExtTCPHystartDelayCwnd"] == 28


def test_hystart_counts_the_shortest_delay_of_a_round() -> None:
    path = _in_slow_start(20)
    _slow_start(path, [113, 112, *[150] * 18], 5000)
    assert path.cw.in_slow_start


def test_hystart_does_not_look_at_small_windows() -> None:
    path = _in_slow_start(4)
    _slow_start(path, [200] * 11, 5000)
    assert path.cw.in_slow_start


def test_hystart_leaves_slow_start_at_a_train_of_half_a_round_trip() -> None:
    path = _in_slow_start(100)
    _slow_start(path, [100] * 51, 1000)
    assert path.cw.in_slow_start
    _slow_start(path, [100], 1000)
    assert not path.cw.in_slow_start
    assert path.kernel.mib["TcpExtTCPHystartTrainDetect"] == 1


def test_a_gap_breaks_the_train() -> None:
    path = _in_slow_start(100)
    _slow_start(path, [100] * 30, 1000)
    _slow_start(path, [100], 3000)
    _slow_start(path, [100] * 60, 1000)
    assert path.cw.in_slow_start


@pytest.mark.parametrize(
    ("detect", "train", "delay"), [(0, True, True), (1, False, True), (2, True, False)]
)
def test_hystart_detect_switches_the_two_exits(detect: int, train: bool, delay: bool) -> None:
    """`train`, `delay`: whether slow start survives one or the other."""
    for rtts, gap, survives in ([100] * 80, 1000, train), ([150] * 20, 5000, delay):
        path = _in_slow_start(100)
        path.kernel.sysctl["tcp_cubic.hystart_detect"] = detect
        _slow_start(path, rtts, gap)
        assert path.cw.in_slow_start is survives
