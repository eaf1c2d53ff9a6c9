"""RST and SYN in a connection (RFC 5961), and TIME_WAIT (RFC 1122, RFC 6191)."""

from __future__ import annotations

import errno
import socket as so
from select import EPOLLERR, EPOLLHUP, EPOLLIN

import pytest
from tcp_peer import US, Dialogue

from pystack.core.drop import Drop
from pystack.transport.tcp import TcpState

# -- RST ------------------------------------------------------------------------------------


def test_rst_at_rcv_nxt_resets_and_the_error_is_told_once() -> None:
    t = Dialogue()
    t.accept()
    t.write(b"x" * 100)
    t.ip.sent.clear()
    t.inject("R 1:1(0)")
    assert t.sk.state is TcpState.CLOSE
    assert t.sk.poll() & (EPOLLERR | EPOLLHUP | EPOLLIN) == EPOLLERR | EPOLLHUP | EPOLLIN
    assert t.errno(t.sk.recvmsg, 10, 0) == errno.ECONNRESET
    assert t.read() == b""
    assert t.errno(t.sk.sendmsg, memoryview(b"x"), 0) == errno.EPIPE
    t.call(t.sk.close)
    t.silent()
    t.finish()


def test_data_received_before_a_rst_can_still_be_read() -> None:
    t = Dialogue()
    t.accept()
    t.inject("P. 1:6(5) ack 1", b"hello")
    t.inject("R 6:6(0)")
    assert t.read() == b"hello"
    assert t.errno(t.sk.recvmsg, 10, 0) == errno.ECONNRESET


def test_rst_in_close_wait_is_epipe() -> None:
    t = Dialogue()
    t.accept()
    t.inject("F. 1:1(0) ack 1")
    t.inject("R 2:2(0)")
    assert t.call(t.sk.getsockopt, so.SOL_SOCKET, so.SO_ERROR) == errno.EPIPE


def test_rst_in_window_but_not_exact_gets_a_challenge_ack() -> None:
    t = Dialogue()
    t.accept()
    t.inject("R 2:2(0)")
    t.expect(". 1:1(0) ack 1")
    assert t.sk.state is TcpState.ESTABLISHED
    assert t.mib["TcpExtTCPChallengeACK"] == 1
    t.inject("R 3:3(0)")  # rate limited
    t.silent()
    assert t.mib["TcpExtTCPACKSkippedChallenge"] == 1
    t.run(500)
    t.inject("R 3:3(0)")
    t.expect(". 1:1(0) ack 1")


def test_rst_out_of_window_is_ignored() -> None:
    t = Dialogue()
    t.accept()
    t.inject("R 1000000:1000000(0)")
    t.silent()
    assert t.sk.state is TcpState.ESTABLISHED
    assert t.drops == {Drop.TCP_OUT_OF_WINDOW: 1}


def test_rst_at_the_edge_of_sacked_data_resets() -> None:
    t = Dialogue()
    t.accept()
    t.inject(". 1001:2001(1000) ack 1")
    t.expect(". 1:1(0) ack 1 <sack 1001:2001>")
    t.inject("R 2001:2001(0)")
    assert t.sk.state is TcpState.CLOSE


def test_syn_in_window_gets_a_challenge_ack_not_a_reset() -> None:
    t = Dialogue()
    t.accept()
    t.inject("S 1:1(0)")
    t.expect(". 1:1(0) ack 1")
    assert t.sk.state is TcpState.ESTABLISHED
    assert t.mib["TcpExtTCPSYNChallenge"] == 1


@pytest.mark.parametrize("stage", ["FIN_WAIT1", "FIN_WAIT2", "CLOSING", "LAST_ACK"])
def test_rst_ends_every_closing_state(stage: str) -> None:
    t = Dialogue()
    t.accept()
    nxt = 1
    if stage == "LAST_ACK":
        t.inject("F. 1:1(0) ack 1")
        nxt = 2
    t.call(t.sk.shutdown, so.SHUT_WR)
    if stage == "FIN_WAIT2":
        t.inject(". 1:1(0) ack 2")
    if stage == "CLOSING":
        t.inject("F. 1:1(0) ack 1")
        nxt = 2
    assert t.sk.state.name == stage
    t.inject(f"R {nxt}:{nxt}(0)")
    assert t.sk.state is TcpState.CLOSE
    t.call(t.sk.close)
    t.ip.sent.clear()
    t.finish()


# -- TIME_WAIT -----------------------------------------------------------------------------


def _time_wait(options: str = "mss 1000,sackOK,wscale 0") -> Dialogue:
    t = Dialogue()
    t.accept(options)
    t.call(t.sk.close)
    ts = f" <TS val 200 ecr {t.tsval()}>" if "TS" in options else ""
    t.inject(f"F. 1:1(0) ack 2{ts}")
    t.run(10)
    t.ip.sent.clear()
    return t


def test_repeated_fin_in_time_wait_is_acked_and_restarts_the_minute() -> None:
    t = _time_wait()
    t.run(50_000)
    t.inject("F. 1:1(0) ack 2")
    t.expect(". 2:2(0) ack 2")
    t.run(59_000)
    assert t.tcp.alive() == 2
    t.run(2_000)
    assert t.tcp.alive() == 1
    t.finish()


def test_bare_ack_restarts_the_minute_of_time_wait() -> None:
    t = _time_wait()
    t.run(50_000)
    t.inject(". 2:2(0) ack 2")
    t.silent(50_000)
    assert t.tcp.alive() == 2
    t.run(11_000)
    assert t.tcp.alive() == 1


def test_rst_kills_time_wait() -> None:
    t = _time_wait()
    t.inject("R 2:2(0)")
    assert t.tcp.alive() == 1
    t.finish()


def test_new_syn_with_greater_number_reuses_time_wait() -> None:
    t = _time_wait()
    old_nxt = t.our_isn
    assert old_nxt is not None
    t.peer_isn += 1000
    t.our_isn = None
    t.inject("S 0:0(0) win 5000 <mss 1000>")
    sent = t.expect("S. 0:0(0) ack 1")
    assert (sent.header.seq - old_nxt) & 0xFFFFFFFF == 2 + 65537
    t.inject(". 1:1(0) ack 1")
    assert t.listener is not None
    assert t.call(t.listener.accept).state is TcpState.ESTABLISHED


def test_old_syn_does_not_reuse_time_wait() -> None:
    t = _time_wait()
    t.inject("S 0:0(0) win 5000 <mss 1000>")
    t.expect(". 2:2(0) ack 2")
    assert t.tcp.alive() == 2


def test_newer_timestamp_reuses_time_wait_even_with_an_older_number() -> None:
    t = _time_wait("mss 1000,sackOK,TS val 100 ecr 0,wscale 0")
    t.peer_isn -= 5000
    t.our_isn = None
    t.inject("S 0:0(0) win 5000 <mss 1000,TS val 201 ecr 0>")
    t.expect("S. 0:0(0) ack 1")


def test_time_wait_keeps_its_port_from_bind_without_reuseaddr() -> None:
    t = _time_wait()
    assert t.listener is not None
    t.call(t.listener.close)
    t.listener = None
    other = t.tcp.socket()
    assert t.errno(other.bind, (bytes(4), 8080)) == errno.EADDRINUSE
    t.run(61_000)
    t.call(other.bind, (bytes(4), 8080))
    t.call(other.close)
    t.finish()


def test_reuseaddr_binds_over_time_wait() -> None:
    t = Dialogue()
    t.listener = t.tcp.socket()
    t.call(t.listener.setsockopt, so.SOL_SOCKET, so.SO_REUSEADDR, 1)
    t.call(t.listener.bind, (US, 8080))
    t.call(t.listener.listen, 5)
    t.accept()
    t.call(t.sk.close)
    t.inject("F. 1:1(0) ack 2")
    t.call(t.listener.close)
    other = t.tcp.socket()
    t.call(other.setsockopt, so.SOL_SOCKET, so.SO_REUSEADDR, 1)
    t.call(other.bind, (US, 8080))
    t.call(other.listen, 5)
    t.listener = other
    t.finish()
