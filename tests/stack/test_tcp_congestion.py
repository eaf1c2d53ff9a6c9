"""Which congestion control a connection has, and when its window counts as used."""

from __future__ import annotations

import errno
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tcp_peer import MS, US, Dialogue, pattern

from pystack.core.engine import VirtualEngine
from pystack.core.kernel import Kernel
from pystack.core.sysctl import Sysctl
from pystack.dev.netdev import FEATURES
from pystack.net.route import Route
from pystack.transport.tcp import TcpSock
from pystack.transport.tcp.cc import ALGORITHMS
from pystack.transport.tcp.pacing import Pacing

TCP, TCP_CONGESTION = 6, 13
NAME = "net.ipv4.tcp_congestion_control"


def _name(t: Dialogue, sk: TcpSock) -> bytes:
    value = t.call(sk.getsockopt, TCP, TCP_CONGESTION)
    return cast(bytes, value).rstrip(b"\0")


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_sysctl_names_the_algorithm_of_new_sockets(name: str) -> None:
    t = Dialogue(tcp_congestion_control=name)
    assert _name(t, t.accept()) == name.encode()


def test_sysctl_takes_only_what_there_is() -> None:
    sysctl = Sysctl()
    assert sysctl.text(NAME) == "cubic"
    with pytest.raises(ValueError):
        sysctl[NAME] = "vegas"
    with pytest.raises(ValueError):
        sysctl[NAME] = 1
    with pytest.raises(TypeError):
        _ = sysctl[NAME]
    with pytest.raises(TypeError):
        sysctl.text("net.ipv4.tcp_sack")
    assert sysctl.text(NAME) == "cubic"


def test_available_algorithms_are_those_there_are() -> None:
    available = Sysctl().text("net.ipv4.tcp_available_congestion_control")
    assert set(available.split()) == set(ALGORITHMS)


def test_socket_chooses_and_children_inherit_the_choice() -> None:
    t = Dialogue()
    listener = t.listen()
    t.call(listener.setsockopt, TCP, TCP_CONGESTION, b"reno\0garbage")
    child = t.accept()
    assert (_name(t, listener), _name(t, child)) == (b"reno", b"reno")
    t.call(child.setsockopt, TCP, TCP_CONGESTION, b"cubic")
    assert _name(t, child) == b"cubic"


def test_unknown_algorithm_is_enoent_and_a_restricted_one_eperm() -> None:
    t = Dialogue(tcp_allowed_congestion_control="reno")
    sk = t.accept()
    assert t.errno(sk.setsockopt, TCP, TCP_CONGESTION, b"vegas") == errno.ENOENT
    sk.sk_uid = 1000
    assert t.errno(sk.setsockopt, TCP, TCP_CONGESTION, b"cubic") == errno.EPERM
    t.call(sk.setsockopt, TCP, TCP_CONGESTION, b"reno")
    sk.sk_uid = 0
    t.call(sk.setsockopt, TCP, TCP_CONGESTION, b"cubic")


@pytest.mark.parametrize(("after_idle", "cwnd"), [(1, 10), (0, 20)])
def test_idle_connection_starts_slowly_again_if_the_sysctl_says_so(
    after_idle: int, cwnd: int
) -> None:
    t = Dialogue(tcp_slow_start_after_idle=after_idle)
    t.accept()
    t.run(10)
    t.write(pattern(10_000))
    t.run(10)
    t.inject(". 1:1(0) ack 10001 win 60000")
    assert t.sk.cw.cwnd == 20
    t.run(5000)
    t.write(b"x")
    assert t.sk.cw.cwnd == cwnd


def test_clamp_bounds_slow_start_and_congestion_avoidance() -> None:
    t = Dialogue(tcp_congestion_control="reno")
    cw = t.accept().cw
    cw.clamp = 12
    assert (cw.slow_start(5), cw.cwnd) == (0, 12)
    cw.avoid_additively(1, 5)
    assert cw.cwnd == 12


def test_route_metrics_set_window_and_clamp(monkeypatch: pytest.MonkeyPatch) -> None:
    t = Dialogue()
    features = dict.fromkeys(FEATURES, False)
    dev = cast(Any, SimpleNamespace(mtu=1500, qdisc="pfifo", features=features))
    route = Route(dev, US, b"", 1500, {"initcwnd": 30, "cwnd": 25})
    monkeypatch.setattr(t.ip, "route", lambda daddr, saddr=b"", **_: route)
    assert (t.accept().cw.cwnd, t.sk.cw.clamp) == (25, 25)


class _Paced:
    """A sender with a window of 20 segments of 1000 bytes in an RTT of 100 ms: 240,000 B/s."""

    def __init__(self) -> None:
        self.kernel = Kernel(VirtualEngine(), "h")
        self.sk = SimpleNamespace(
            kernel=self.kernel,
            mss_cache=1000,
            sk_max_pacing_rate=1 << 62,
            cw=SimpleNamespace(cwnd=20, ssthresh=20),
            rtt=SimpleNamespace(srtt_us=800_000, min_us=100_000),
            rtx=SimpleNamespace(packets_out=0),
        )
        self.pacing = Pacing(cast(Any, self.sk))

    def burst(self, segments: int) -> None:
        assert self.pacing.may_send()
        for _ in range(segments):
            self.pacing.sent(1000)
        self.pacing.end_burst()


def test_initial_window_is_not_paced_and_what_follows_is() -> None:
    paced = _Paced()
    for _ in range(3):
        paced.burst(3)
    assert paced.pacing.next_at == 0
    paced.burst(3)
    assert paced.pacing.next_at == 12_500_000
    assert not paced.pacing.may_send()
    assert paced.pacing.timer.pending


def test_leaving_late_is_made_good_by_half_at_most() -> None:
    paced = _Paced()
    paced.burst(12)
    due = paced.pacing.next_at
    assert due == 50 * MS
    paced.kernel.engine.run(until=due + 3 * MS)  # type: ignore[attr-defined]
    paced.burst(12)
    assert paced.pacing.next_at == due + 3 * MS + 47 * MS
    paced.kernel.engine.run(until=due + 1000 * MS)  # type: ignore[attr-defined]
    paced.burst(12)
    assert paced.pacing.next_at == due + 1000 * MS + 25 * MS
