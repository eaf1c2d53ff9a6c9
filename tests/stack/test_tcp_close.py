"""Closing: both orders, half-close, simultaneous close, aborts, FIN_WAIT_2, TIME_WAIT."""

from __future__ import annotations

import errno
import socket as so
import struct
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLRDNORM, EPOLLWRNORM

import pytest
from tcp_peer import PEER, US, Dialogue

from pystack.core.drop import Drop
from pystack.transport.tcp import TcpState

LINGER_ZERO = struct.pack("ii", 1, 0)


def test_active_close_walks_through_fin_wait_to_time_wait_and_ends_after_a_minute() -> None:
    t = Dialogue()
    t.accept()
    t.call(t.sk.close)
    t.expect("F. 1:1(0) ack 1")
    assert t.sk.state is TcpState.FIN_WAIT1
    t.inject(". 1:1(0) ack 2")
    t.inject("F. 1:1(0) ack 2")
    t.expect(". 2:2(0) ack 2")
    t.silent(59_900)
    assert t.tcp.alive() == 2
    t.run(200)
    assert t.tcp.alive() == 1
    t.finish()


def test_passive_close_walks_through_close_wait_and_last_ack() -> None:
    t = Dialogue()
    t.accept()
    t.inject("F. 1:1(0) ack 1")
    assert t.sk.state is TcpState.CLOSE_WAIT
    assert t.sk.poll() == EPOLLIN | EPOLLRDNORM | EPOLLRDHUP | EPOLLOUT | EPOLLWRNORM
    t.expect(". 1:1(0) ack 2")
    assert t.read() == b""
    assert t.write(b"bye") == 3
    t.expect("P. 1:4(3) ack 2")
    t.call(t.sk.close)
    t.expect("F. 4:4(0) ack 2")
    assert t.sk.state is TcpState.LAST_ACK
    t.inject(". 2:2(0) ack 5")
    assert t.tcp.alive() == 1
    t.finish()


def test_half_close_still_receives() -> None:
    t = Dialogue()
    t.accept()
    t.call(t.sk.shutdown, so.SHUT_WR)
    t.expect("F. 1:1(0) ack 1")
    t.inject(". 1:1(0) ack 2")
    assert t.sk.state is TcpState.FIN_WAIT2
    assert t.errno(t.sk.sendmsg, memoryview(b"x"), 0) == errno.EPIPE
    t.run(100_000)  # no timeout while the user has the socket
    t.inject("P. 1:6(5) ack 2", b"hello")
    assert t.read() == b"hello"
    t.inject("F. 6:6(0) ack 2")
    t.ip.sent.clear()
    assert t.read() == b""
    assert t.sk.poll() & (EPOLLHUP | EPOLLRDHUP) == EPOLLHUP | EPOLLRDHUP
    t.call(t.sk.close)
    t.finish()


def test_fin_rides_on_the_last_data() -> None:
    t = Dialogue()
    t.accept(win=2000)
    t.write(b"a" * 2500)
    t.expect(". 1:1001(1000) ack 1", ". 1001:2001(1000) ack 1")
    t.call(t.sk.close)
    t.silent()
    t.inject(". 1:1(0) ack 2001 win 2000")
    t.expect("FP. 2001:2501(500) ack 1")
    t.inject("F. 1:1(0) ack 2502")
    t.expect(". 2502:2502(0) ack 2")
    t.finish()


def test_simultaneous_close_goes_through_closing() -> None:
    t = Dialogue()
    t.accept()
    t.call(t.sk.shutdown, so.SHUT_WR)
    t.expect("F. 1:1(0) ack 1")
    t.inject("F. 1:1(0) ack 1")
    assert t.sk.state is TcpState.CLOSING
    t.expect(". 2:2(0) ack 2")
    t.inject(". 2:2(0) ack 2")
    assert t.sk.state is TcpState.CLOSE
    assert t.tcp.alive() == 3  # listener, socket, TIME_WAIT
    t.call(t.sk.close)
    t.finish()


def test_fin_and_ack_of_our_fin_in_one_segment() -> None:
    t = Dialogue()
    t.accept()
    t.call(t.sk.close)
    t.expect("F. 1:1(0) ack 1")
    t.inject("F. 1:1(0) ack 2")
    t.expect(". 2:2(0) ack 2")
    assert t.tcp.alive() == 2
    t.finish()


def test_lost_fin_is_retransmitted() -> None:
    t = Dialogue()
    t.accept()
    t.call(t.sk.close)
    first = t.expect("F. 1:1(0) ack 1")
    t.run(250)
    again = t.expect("F. 1:1(0) ack 1")
    assert 200 <= (again.time - first.time) / 1e6 <= 210


def test_orphan_gives_up_after_its_retries() -> None:
    t = Dialogue()
    t.accept()
    t.call(t.sk.close)
    t.run(10 * 60_000)
    assert t.tcp.alive() == 1
    # tcp_orphan_retries = 0 means 8; the time is counted from the first retransmission, so
    # there is room for one more, as in Linux.
    assert len(t.ip.sent) == 1 + 9
    t.ip.sent.clear()
    t.finish()


def test_close_with_unread_data_resets() -> None:
    t = Dialogue()
    t.accept()
    t.inject("P. 1:6(5) ack 1", b"hello")
    t.expect(". 1:1(0) ack 6")
    t.call(t.sk.close)
    t.expect("R. 1:1(0) ack 6")
    assert t.mib["TcpExtTCPAbortOnClose"] == 1
    assert t.tcp.alive() == 1
    t.finish()


def test_close_after_reading_everything_does_not_reset() -> None:
    t = Dialogue()
    t.accept()
    t.inject("FP. 1:6(5) ack 1", b"hello")
    t.ip.sent.clear()
    assert t.read() == b"hello"
    t.ip.sent.clear()
    t.call(t.sk.close)
    t.expect("F. 1:1(0) ack 7")


def test_linger_zero_resets() -> None:
    t = Dialogue()
    t.accept()
    t.call(t.sk.setsockopt, so.SOL_SOCKET, so.SO_LINGER, LINGER_ZERO)
    t.write(b"x" * 100)
    t.expect("P. 1:101(100) ack 1")
    t.call(t.sk.close)
    t.expect("R. 101:101(0) ack 1")
    t.finish()


def test_data_after_close_is_answered_with_rst() -> None:
    t = Dialogue()
    t.accept()
    t.call(t.sk.close)
    t.expect("F. 1:1(0) ack 1")
    t.inject("P. 1:6(5) ack 1", b"hello")
    t.expect("R 1:1(0)")
    assert t.mib["TcpExtTCPAbortOnData"] == 1
    t.finish()


def test_data_for_an_orphan_in_fin_wait2_is_answered_with_rst() -> None:
    t = Dialogue()
    t.accept()
    t.call(t.sk.close)
    t.expect("F. 1:1(0) ack 1")
    t.inject(". 1:1(0) ack 2")
    t.inject("P. 1:6(5) ack 2", b"hello")
    t.expect("R 2:2(0)")
    assert t.tcp.alive() == 1
    t.finish()


def test_orphan_in_fin_wait2_lives_as_long_as_the_sysctl_says() -> None:
    t = Dialogue(tcp_fin_timeout=5)
    t.accept()
    t.call(t.sk.close)
    t.expect("F. 1:1(0) ack 1")
    t.inject(". 1:1(0) ack 2")
    t.run(4900)
    assert t.tcp.alive() == 2
    t.run(200)
    assert t.tcp.alive() == 1
    t.silent()
    t.finish()


def test_long_fin_wait2_keeps_the_socket_and_then_a_timewait() -> None:
    t = Dialogue(tcp_fin_timeout=90)
    t.accept()
    t.call(t.sk.shutdown, so.SHUT_WR)
    t.expect("F. 1:1(0) ack 1")
    t.inject(". 1:1(0) ack 2")
    t.call(t.sk.close)
    t.run(29_000)
    assert t.sk in t.tcp.sockets
    t.run(2_000)
    assert t.sk not in t.tcp.sockets
    assert t.tcp.alive() == 2
    t.run(30_000)
    assert t.tcp.alive() == 1
    t.finish()


def test_negative_linger2_resets_instead_of_waiting() -> None:
    t = Dialogue()
    t.accept()
    t.call(t.sk.setsockopt, so.IPPROTO_TCP, 8, -1)
    t.call(t.sk.shutdown, so.SHUT_WR)
    t.expect("F. 1:1(0) ack 1")
    t.inject(". 1:1(0) ack 2")
    t.call(t.sk.close)
    t.expect("R. 2:2(0) ack 1")
    t.finish()


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


def test_shutdown_of_a_listener_stops_it() -> None:
    t = Dialogue()
    sk = t.listen()
    t.call(sk.shutdown, so.SHUT_RD)
    t.inject("S 0:0(0) win 5000")
    t.expect("R. 0:0(0)")
    assert t.errno(sk.accept) == errno.EINVAL


def test_close_in_syn_sent_just_ends() -> None:
    t = Dialogue()
    t.start_connect()
    t.expect("S 0:0(0)")
    t.call(t.sk.close)
    t.silent(10_000)
    t.finish()


def test_close_in_syn_recv_sends_fin() -> None:
    t = Dialogue()
    t.start_connect()
    t.expect("S 0:0(0)")
    t.inject("S 0:0(0) win 5000 <mss 1000>")
    t.expect("S. 0:0(0) ack 1")
    t.call(t.sk.close)
    t.expect("F. 1:1(0) ack 1")
    t.inject(". 1:1(0) ack 2")
    t.inject("F. 1:1(0) ack 2")
    t.expect(". 2:2(0) ack 2")
    t.finish()


def test_connect_after_a_connection_was_reset_starts_afresh() -> None:
    t = Dialogue()
    t.connect()
    t.write(b"x" * 10)
    t.expect("P. 1:11(10) ack 1")
    t.inject("R 1:1(0)")
    assert t.call(t.sk.getsockopt, so.SOL_SOCKET, so.SO_ERROR) == errno.ECONNRESET
    assert t.errno(t.sk.getpeername) == errno.ENOTCONN
    assert t.errno(t.sk.connect, (PEER, 80)) == errno.EISCONN  # the file is still connected
    t.call(t.sk.close)
    t.finish()
