"""Keepalive (RFC 9293, 3.8.4): when probes go, what an answer does, how a dead peer ends it."""

from __future__ import annotations

import errno
import socket as so
from select import EPOLLERR, EPOLLHUP
from typing import Any

import pytest
from tcp_peer import PEER, Dialogue
from uapi_world import Env, World, outcome, real_env

from pystack.transport.tcp import TcpState

SECOND = 1_000  # ms
HOUR = 3600 * SECOND
TCP = so.IPPROTO_TCP


def connection(keepalive: bool = True) -> Dialogue:
    """An accepted connection that has been silent from the start."""
    t = Dialogue()
    t.accept()
    if keepalive:
        switch(t)
    return t


def switch(t: Dialogue, on: int = 1) -> None:
    t.call(t.sk.setsockopt, so.SOL_SOCKET, so.SO_KEEPALIVE, on)


def set_times(t: Dialogue, idle: int, interval: int, count: int) -> None:
    for name, value in (
        (so.TCP_KEEPIDLE, idle),
        (so.TCP_KEEPINTVL, interval),
        (so.TCP_KEEPCNT, count),
    ):
        t.call(t.sk.setsockopt, TCP, name, value)


def test_probe_goes_after_exactly_two_hours_of_silence() -> None:
    t = connection()
    t.expect_after(". 0:0(0) ack 1", 2 * HOUR)
    assert t.mib["TcpExtTCPKeepAlive"] == 1
    assert t.mib["TcpExtTCPWinProbe"] == 0


def test_without_the_option_nothing_is_ever_probed() -> None:
    t = connection(keepalive=False)
    t.silent(24 * HOUR)


def test_answer_starts_the_two_hours_anew() -> None:
    t = connection()
    for _ in range(3):
        t.expect_after(". 0:0(0) ack 1", 2 * HOUR)
        t.run(30)
        t.inject(". 1:1(0) ack 1")
        # The timer comes an interval after the probe and sees the answer of 30 ms after it.
        t.run(75 * SECOND)
        t.silent()
        t.expect_after(". 0:0(0) ack 1", 2 * HOUR - 75 * SECOND)
        t.inject(". 1:1(0) ack 1")
    assert t.sk.state is TcpState.ESTABLISHED
    assert t.mib["TcpExtTCPKeepAlive"] == 6


def test_dead_peer_ends_the_connection_with_etimedout_after_nine_probes() -> None:
    t = connection()
    t.expect_after(". 0:0(0) ack 1", 2 * HOUR)
    for _ in range(8):
        t.expect_after(". 0:0(0) ack 1", 75 * SECOND)
    t.expect_after("R. 1:1(0) ack 1", 75 * SECOND)
    assert t.sk.poll() & (EPOLLERR | EPOLLHUP) == EPOLLERR | EPOLLHUP
    assert t.errno(t.sk.recvmsg, 1, 0) == errno.ETIMEDOUT
    counters = "TcpExtTCPKeepAlive", "TcpExtTCPAbortOnTimeout", "TcpOutRsts"
    assert [t.mib[name] for name in counters] == [9, 1, 1]
    t.call(t.sk.close)
    t.finish()


def test_icmp_error_names_why_the_peer_is_dead() -> None:
    t = connection()
    set_times(t, 10, 1, 1)
    t.expect_after(". 0:0(0) ack 1", 10 * SECOND)
    t.inject_error(3, 1, seq=1)
    t.expect_after("R. 1:1(0) ack 1", 1 * SECOND)
    assert t.errno(t.sk.recvmsg, 1, 0) == errno.EHOSTUNREACH


def test_answer_in_between_forgives_the_probes_before_it() -> None:
    t = connection()
    set_times(t, 10, 1, 3)
    t.expect_after(". 0:0(0) ack 1", 10 * SECOND)
    for _ in range(2):
        t.expect_after(". 0:0(0) ack 1", 1 * SECOND)
    t.inject(". 1:1(0) ack 1")
    t.expect_after(". 0:0(0) ack 1", 10 * SECOND)
    for _ in range(2):
        t.expect_after(". 0:0(0) ack 1", 1 * SECOND)
    t.expect_after("R. 1:1(0) ack 1", 1 * SECOND)


def test_data_received_puts_the_probe_off() -> None:
    t = connection()
    t.run(HOUR)
    t.inject("P. 1:6(5) ack 1", b"hello")
    t.run()
    t.ip.sent.clear()
    t.expect_after(". 0:0(0) ack 6", 2 * HOUR)


def test_data_with_an_old_acknowledgment_puts_the_probe_off_too() -> None:
    t = connection()
    t.write(b"x" * 10)
    t.expect("P. 1:11(10) ack 1")
    t.inject(". 1:1(0) ack 11")
    t.run(HOUR)
    t.inject("P. 1:6(5) ack 1", b"hello")
    t.ip.sent.clear()
    t.expect_after(". 10:10(0) ack 6", 2 * HOUR)


def test_no_probe_while_data_is_unacknowledged() -> None:
    """Retransmission tells as much; the peer that answers none of it is given up by that."""
    t = connection()
    set_times(t, 1, 1, 1)
    t.write(b"x" * 10)
    first = t.expect("P. 1:11(10) ack 1")
    t.run(20 * SECOND)
    while t.ip.sent:
        assert t.next().header.seq == first.header.seq
    assert t.mib["TcpExtTCPKeepAlive"] == 0
    t.inject(". 1:1(0) ack 11")
    t.run(1000)
    t.expect(". 10:10(0) ack 1")
    assert t.mib["TcpExtTCPKeepAlive"] == 1


def test_no_probe_while_data_waits_for_a_closed_window() -> None:
    t = connection()
    set_times(t, 1, 1, 1)
    t.inject(". 1:1(0) ack 1 win 0")
    t.write(b"x" * 10)
    t.run(60 * SECOND)
    assert t.mib["TcpExtTCPKeepAlive"] == 0
    assert t.mib["TcpExtTCPWinProbe"] > 0
    assert t.sk.state is TcpState.ESTABLISHED


def test_shorter_idle_time_counts_the_silence_there_has_been() -> None:
    t = connection()
    t.run(HOUR)
    t.call(t.sk.setsockopt, TCP, so.TCP_KEEPIDLE, 4000)
    t.expect_after(". 0:0(0) ack 1", 400 * SECOND)


def test_idle_time_below_the_silence_probes_at_once() -> None:
    t = connection()
    t.run(HOUR)
    t.call(t.sk.setsockopt, TCP, so.TCP_KEEPIDLE, 60)
    t.expect(". 0:0(0) ack 1")


def test_switching_on_again_does_not_restart_the_silence_but_off_stops_it() -> None:
    t = connection()
    t.run(HOUR)
    switch(t)
    t.run(HOUR)
    t.expect(". 0:0(0) ack 1")
    switch(t, 0)
    t.silent(24 * HOUR)
    assert t.kernel.timer_bases[0].active == 0


def test_option_set_before_connect_holds_from_the_handshake_on() -> None:
    t = Dialogue()
    t.sk = t.tcp.socket()
    t.rport = 80
    switch(t)
    assert t.errno(t.sk.connect, (PEER, t.rport)) == errno.EINPROGRESS
    t.lport = t.sk.lport
    t.expect("S 0:0(0)")
    t.inject("S. 0:0(0) ack 1 win 32768 <mss 1000>")
    t.expect(". 1:1(0) ack 1")
    t.expect_after(". 0:0(0) ack 1", 2 * HOUR)


def test_accepted_sockets_inherit_the_options_of_their_listener() -> None:
    t = Dialogue()
    t.sk = t.listen()
    switch(t)
    set_times(t, 30, 5, 2)
    t.accept()
    t.expect_after(". 0:0(0) ack 1", 30 * SECOND)
    t.expect_after(". 0:0(0) ack 1", 5 * SECOND)
    t.expect_after("R. 1:1(0) ack 1", 5 * SECOND)


def test_sysctls_are_the_default_of_every_socket() -> None:
    t = Dialogue(tcp_keepalive_time=20, tcp_keepalive_intvl=3, tcp_keepalive_probes=1)
    t.accept()
    switch(t)
    names = so.TCP_KEEPIDLE, so.TCP_KEEPINTVL, so.TCP_KEEPCNT
    assert [t.call(t.sk.getsockopt, TCP, name) for name in names] == [20, 3, 1]
    t.expect_after(". 0:0(0) ack 1", 20 * SECOND)
    t.expect_after("R. 1:1(0) ack 1", 3 * SECOND)


@pytest.mark.parametrize(
    ("name", "default", "highest"),
    [(so.TCP_KEEPIDLE, 7200, 32767), (so.TCP_KEEPINTVL, 75, 32767), (so.TCP_KEEPCNT, 9, 127)],
)
def test_options_have_linux_ranges_and_defaults(name: int, default: int, highest: int) -> None:
    t = connection(keepalive=False)
    assert t.call(t.sk.getsockopt, so.SOL_SOCKET, so.SO_KEEPALIVE) == 0
    assert t.call(t.sk.getsockopt, TCP, name) == default
    for bad in (0, -1, highest + 1):
        assert t.errno(t.sk.setsockopt, TCP, name, bad) == errno.EINVAL
    for good in (1, highest):
        t.call(t.sk.setsockopt, TCP, name, good)
        assert t.call(t.sk.getsockopt, TCP, name) == good
    t.silent(24 * HOUR)  # only SO_KEEPALIVE makes probes


def test_close_with_keepalive_leaves_no_timer() -> None:
    t = connection()
    t.call(t.sk.close)
    t.expect("F. 1:1(0) ack 1")
    t.inject("F. 1:1(0) ack 2")
    t.expect(". 2:2(0) ack 2")
    t.finish()


def test_half_closed_connection_is_probed_too() -> None:
    t = connection()
    t.call(t.sk.shutdown, so.SHUT_WR)
    t.expect("F. 1:1(0) ack 1")
    t.inject(". 1:1(0) ack 2")
    assert t.sk.state is TcpState.FIN_WAIT2
    t.expect_after(". 1:1(0) ack 1", 2 * HOUR)


def options_of_a_program(env: Env) -> list[Any]:
    """What a program sees of the options, before and after it sets them, good and bad."""
    values = {
        so.TCP_KEEPIDLE: (0, 1, 32767, 32768, -5),
        so.TCP_KEEPINTVL: (0, 1, 32767, 32768, -5),
        so.TCP_KEEPCNT: (0, 1, 127, 128, -5),
    }
    with env.socket.create_server(("127.0.0.1", 0)) as server:
        seen: list[Any] = []
        for on in (0, 1, 7, b"\1\0\0\0"):
            seen.append(outcome(server.setsockopt, so.SOL_SOCKET, so.SO_KEEPALIVE, on))
            seen.append(server.getsockopt(so.SOL_SOCKET, so.SO_KEEPALIVE))
        for name, tries in values.items():
            for value in tries:
                seen.append(outcome(server.setsockopt, TCP, name, value))
                seen.append(outcome(server.getsockopt, TCP, name))
        with env.socket.create_connection(server.getsockname()):
            child, _ = server.accept()
            with child:
                seen.append(child.getsockopt(so.SOL_SOCKET, so.SO_KEEPALIVE))
                seen += [child.getsockopt(TCP, name) for name in values]
        return seen


def test_programs_see_the_options_linux_shows_them() -> None:
    linux = options_of_a_program(real_env())
    assert World(transport="tcp").run(options_of_a_program) == linux
