"""Closing: both orders, half-close, simultaneous close, aborts, FIN_WAIT_2."""

from __future__ import annotations

import errno
import socket as so
import struct
from select import EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLRDNORM, EPOLLWRNORM

from tcp_peer import PEER, Dialogue

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
    t.expect(". 1:1001(1000) ack 1", "P. 1001:2001(1000) ack 1")
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
    t = Dialogue(tcp_early_retrans=0)
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
