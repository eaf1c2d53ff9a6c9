"""TCP_INFO tells the truth: each field against what the connection has been through."""

from __future__ import annotations

import socket as so
from typing import Any

import pytest
from tcp_peer import Dialogue

from packetdrill.tcpinfo import SYMBOLS, parse


def info(t: Dialogue, sk: Any = None) -> dict[str, int]:
    data = t.call((sk or t.sk).getsockopt, so.IPPROTO_TCP, so.TCP_INFO)
    return {name.removeprefix("tcpi_"): value for name, value in parse(data).items()}


def fields(t: Dialogue, *names: str) -> tuple[int, ...]:
    found = info(t)
    return tuple(found[name] for name in names)


def accepted(**kwargs: Any) -> Dialogue:
    t = Dialogue()
    t.accept(**kwargs)
    return t


def test_structure_has_the_length_and_places_of_linux() -> None:
    t = accepted()
    data = t.call(t.sk.getsockopt, so.IPPROTO_TCP, so.TCP_INFO)
    assert len(data) == 248
    assert data[0] == 1 and int.from_bytes(data[8:12], "little") == info(t)["rto"]
    assert int.from_bytes(data[16:20], "little") == info(t)["snd_mss"] == 1000


def test_options_and_scales_are_those_negotiated() -> None:
    bits = SYMBOLS["TCPI_OPT_SACK"] | SYMBOLS["TCPI_OPT_WSCALE"] | SYMBOLS["TCPI_OPT_TIMESTAMPS"]
    t = accepted(options="mss 1000,sackOK,TS val 100 ecr 0,wscale 5")
    found = info(t)
    assert (found["options"], found["snd_wscale"]) == (bits, 5)
    assert found["rcv_wscale"] == t.sk.rcv_wscale
    plain = info(accepted(options="mss 1000"))
    assert (plain["options"], plain["snd_wscale"], plain["rcv_wscale"]) == (0, 0, 0)


def test_listener_reports_its_queue_and_backlog() -> None:
    t = Dialogue()
    listener = t.listen(backlog=5)
    t.inject("S 0:0(0) win 32768 <mss 1000>")
    t.expect("S. 0:0(0) ack 1")
    t.inject(". 1:1(0) ack 1 win 32768")
    found = info(t, listener)
    assert (found["state"], found["unacked"], found["sacked"]) == (SYMBOLS["TCP_LISTEN"], 1, 5)


def test_segments_and_bytes_sent_are_counted_with_retransmissions_apart() -> None:
    t = accepted()
    t.write(b"x" * 2500)
    assert fields(t, "unacked", "data_segs_out", "bytes_sent", "notsent_bytes") == (3, 3, 2500, 0)
    t.run(2000)
    found = info(t)
    again = found["total_retrans"]
    assert again > 0 and found["bytes_retrans"] > 0
    assert found["data_segs_out"] == 3 + again
    assert found["bytes_sent"] == 2500 + found["bytes_retrans"]
    t.inject(". 1:1(0) ack 2501 win 32768")
    assert fields(t, "bytes_acked", "unacked", "lost", "retrans") == (2500, 0, 0, 0)


def test_what_cwnd_holds_back_is_not_sent() -> None:
    t = accepted()
    t.write(b"x" * 15_000)
    assert fields(t, "snd_cwnd", "unacked", "notsent_bytes") == (10, 10, 5000)


def test_received_segments_bytes_and_disorder_are_counted() -> None:
    t = accepted()
    before = info(t)
    t.inject("P. 1:101(100) ack 1 win 32768")
    t.inject("P. 201:301(100) ack 1 win 32768")
    t.inject(". 1:1(0) ack 1 win 32768")
    found = info(t)
    assert found["segs_in"] - before["segs_in"] == 3
    assert found["data_segs_in"] - before["data_segs_in"] == 2
    assert (found["bytes_received"], found["rcv_ooopack"]) == (100, 1)


def test_times_since_the_last_are_in_milliseconds() -> None:
    t = accepted()
    t.run(100)
    t.write(b"x")
    t.run(50)
    t.inject("P. 1:2(1) ack 2 win 32768")
    t.run(30)
    assert fields(t, "last_data_sent", "last_data_recv", "last_ack_recv") == (80, 30, 30)


def test_rtt_is_measured_in_microseconds() -> None:
    t = accepted()
    t.write(b"x")
    t.run(40)
    t.inject(". 1:1(0) ack 2 win 32768")
    found = info(t)
    assert found["min_rtt"] == 0  # the handshake's
    assert found["rtt"] == 40_000 // 8
    assert found["rto"] == t.sk.rtt.rto // 1000


@pytest.mark.parametrize("ms", [1, 30])
def test_busy_time_runs_while_something_is_in_flight(ms: int) -> None:
    t = accepted()
    t.run(500)
    t.write(b"x")
    t.run(ms)
    t.inject(". 1:1(0) ack 2 win 32768")
    t.run(500)
    assert fields(t, "busy_time", "rwnd_limited", "sndbuf_limited") == (ms * 1000, 0, 0)


def test_time_in_which_the_peers_window_held_us_back() -> None:
    t = accepted(win=2000)
    t.write(b"x" * 4000)
    t.run(20)
    t.inject(". 1:1(0) ack 2001 win 4000")
    t.run(5)
    t.inject(". 1:1(0) ack 4001 win 4000")
    assert fields(t, "rwnd_limited", "busy_time") == (20_000, 25_000)


def test_time_in_which_our_buffer_held_us_back() -> None:
    t = accepted()
    t.call(t.sk.setsockopt, so.SOL_SOCKET, so.SO_SNDBUF, 2304)
    t.sk.cw.ssthresh = 5  # no slow start, in which a half-used window counts as used
    assert t.write(b"x" * 40_000) == 26_000
    for acked in (10_001, 20_001):
        t.run(10)
        t.inject(f". 1:1(0) ack {acked} win 32768")
    t.run(15)  # all is sent, cwnd would allow more, the writer waits for room
    t.inject(". 1:1(0) ack 26001 win 32768")
    t.run(10)
    assert fields(t, "sndbuf_limited", "busy_time") == (15_000, 35_000)


def test_silly_peer_does_not_make_a_field_overflow() -> None:
    t = accepted()
    t.sk.backoff = t.sk.probes_out = t.sk.retransmits = 1000
    assert fields(t, "backoff", "probes", "retransmits") == (255, 255, 255)
