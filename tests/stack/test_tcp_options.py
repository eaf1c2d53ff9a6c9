"""Socket options of TCP: their ranges, errnos and what they do."""

from __future__ import annotations

import errno
import socket as so
import struct

import pytest
from tcp_peer import Dialogue

from pystack.transport.sockopt import SO_MAX_PACING_RATE
from pystack.transport.tcp import sockopt
from pystack.transport.tcp.state import TcpState

TCP = so.IPPROTO_TCP
MS = 1_000_000


def accepted(**kwargs: int) -> Dialogue:
    t = Dialogue()
    t.accept(**kwargs)
    return t


@pytest.mark.parametrize(
    ("level", "name", "good", "bad"),
    [
        (TCP, so.TCP_MAXSEG, (88, 32767), (87, 32768, -1)),
        (TCP, sockopt.TCP_SYNCNT, (1, 127), (0, 128, -1)),
        (TCP, so.TCP_USER_TIMEOUT, (0, 3000), (-1,)),
        (TCP, so.TCP_KEEPIDLE, (1, 32767), (0, 32768)),
        (so.IPPROTO_IP, so.IP_TTL, (1, 255), (0, 256, -2)),
        (so.IPPROTO_IP, 10, (0, 5), (-1, 6)),
    ],
)
def test_range_of_an_option_is_linuxs(
    level: int, name: int, good: tuple[int, ...], bad: tuple[int, ...]
) -> None:
    t = Dialogue()
    sk = t.tcp.socket()
    for value in good:
        t.call(sk.setsockopt, level, name, value)
        assert t.call(sk.getsockopt, level, name) == value
    for value in bad:
        assert t.errno(sk.setsockopt, level, name, value) == errno.EINVAL
    assert t.call(sk.getsockopt, level, name) == good[-1]


def test_accepted_socket_inherits_options() -> None:
    t = Dialogue()
    listener = t.listen()
    for name, value in ((so.TCP_USER_TIMEOUT, 700), (sockopt.TCP_NOTSENT_LOWAT, 900)):
        t.call(listener.setsockopt, TCP, name, value)
    t.accept()
    assert t.call(t.sk.getsockopt, TCP, so.TCP_USER_TIMEOUT) == 700
    assert t.call(t.sk.getsockopt, TCP, sockopt.TCP_NOTSENT_LOWAT) == 900


def test_cork_holds_what_is_short_and_uncork_sends_it_in_one() -> None:
    t = accepted()
    t.call(t.sk.setsockopt, TCP, so.TCP_CORK, 1)
    t.write(b"a" * 400)
    t.write(b"b" * 400)
    t.silent(100)
    t.write(b"c" * 400)
    t.expect(". 1:1001(1000) ack 1")
    t.call(t.sk.setsockopt, TCP, so.TCP_CORK, 0)
    t.expect("P. 1001:1201(200) ack 1")


def test_cork_gives_up_after_200_ms() -> None:
    t = accepted()
    t.call(t.sk.setsockopt, TCP, so.TCP_CORK, 1)
    t.write(b"a" * 400)
    t.expect_after("P. 1:401(400) ack 1", t.sk.rtt.rto / MS)


def test_nodelay_lets_a_cork_go_once() -> None:
    t = accepted()
    t.call(t.sk.setsockopt, TCP, so.TCP_CORK, 1)
    t.write(b"a" * 40)
    t.call(t.sk.setsockopt, TCP, so.TCP_NODELAY, 1)
    t.expect("P. 1:41(40) ack 1")
    t.write(b"b" * 40)
    t.silent(100)
    assert t.call(t.sk.getsockopt, TCP, so.TCP_CORK) == 1


def test_more_flag_holds_data_until_a_write_without_it() -> None:
    t = accepted()
    t.call(t.sk.sendmsg, memoryview(b"a" * 100), so.MSG_MORE)
    t.silent(100)
    t.write(b"b" * 50)
    t.expect("P. 1:151(150) ack 1")


def test_burst_of_several_segments_ends_with_push() -> None:
    t = accepted()
    t.run(1)
    t.write(b"x" * 12_000)
    flags = [t.next().header.flags & 8 for _ in range(10)]
    assert flags[-1] and not flags[0]


def test_notsent_lowat_limits_what_waits_and_wakes_at_half() -> None:
    t = accepted()
    t.call(t.sk.setsockopt, so.SOL_SOCKET, so.SO_SNDBUF, 200_000)
    t.call(t.sk.setsockopt, TCP, sockopt.TCP_NOTSENT_LOWAT, 20_000)
    taken = t.write(b"x" * 100_000)
    unsent = t.call(t.sk.outq_nsd)
    assert unsent == taken - 10_000
    assert 20_000 <= unsent < 40_000  # the packet that crosses the mark is filled
    assert not t.sk.poll() & 4
    for acked, unsent, writable in ((10_001, 12_000, 0), (11_001, 10_000, 0), (12_001, 8000, 4)):
        t.inject(f". 1:1(0) ack {acked} win 32768")
        assert (t.call(t.sk.outq_nsd), t.sk.poll() & 4) == (unsent, writable)


def test_user_timeout_ends_unacknowledged_data() -> None:
    t = accepted()
    t.call(t.sk.setsockopt, TCP, so.TCP_USER_TIMEOUT, 3000)
    t.write(b"x" * 100)
    start = t.kernel.now
    while t.sk.state is not TcpState.CLOSE:
        t.run(10)
        assert t.kernel.now - start < 5000 * MS
    assert 3000 * MS <= t.kernel.now - start <= 3500 * MS
    assert t.errno(t.sk.sendmsg, memoryview(b"x"), 0) == errno.ETIMEDOUT


def test_user_timeout_ends_a_window_that_stays_closed() -> None:
    t = accepted()
    t.call(t.sk.setsockopt, TCP, so.TCP_USER_TIMEOUT, 3000)
    t.inject(". 1:1(0) ack 1 win 0")
    t.write(b"x" * 100)
    t.run(1000)
    t.inject(". 1:1(0) ack 1 win 0")  # an answer does not open it
    t.run(2100)
    assert t.sk.state is TcpState.ESTABLISHED
    t.run(200)
    assert t.sk.state is TcpState.CLOSE
    assert t.mib["TcpExtTCPWinProbe"] == 3
    assert t.errno(t.sk.recvmsg, 1, 0) == errno.ETIMEDOUT


def test_quickack_off_delays_and_on_sends_what_is_due() -> None:
    t = accepted()
    t.call(t.sk.setsockopt, TCP, so.TCP_QUICKACK, 0)
    assert t.call(t.sk.getsockopt, TCP, so.TCP_QUICKACK) == 0
    t.inject("P. 1:101(100) ack 1")
    t.silent(10)
    assert t.call(t.sk.recvmsg, 1000, 0).data == bytes(100)
    t.silent(10)
    t.call(t.sk.setsockopt, TCP, so.TCP_QUICKACK, 1)
    t.expect(". 1:1(0) ack 101")


def test_defer_accept_wakes_the_listener_with_the_data() -> None:
    t = Dialogue()
    listener = t.listen()
    t.call(listener.setsockopt, TCP, so.TCP_DEFER_ACCEPT, 5)
    assert t.call(listener.getsockopt, TCP, so.TCP_DEFER_ACCEPT) == 7  # 1 + 2 + 4 s
    t.inject("S 0:0(0) win 32768 <mss 1000>")
    t.expect("S. 0:0(0) ack 1")
    t.inject(". 1:1(0) ack 1 win 32768")
    assert not listener.poll() and t.mib["TcpExtTCPDeferAcceptDrop"] == 1
    t.inject("P. 1:11(10) ack 1 win 32768")
    assert listener.poll()
    sk = t.call(listener.accept)
    assert t.call(sk.recvmsg, 100, 0).data == bytes(10)


def test_window_clamp_limits_what_is_offered() -> None:
    t = accepted()
    t.call(t.sk.setsockopt, TCP, so.TCP_WINDOW_CLAMP, 5000)
    assert t.call(t.sk.getsockopt, TCP, so.TCP_WINDOW_CLAMP) == 5000
    assert t.errno(t.sk.setsockopt, TCP, so.TCP_WINDOW_CLAMP, 0) == errno.EINVAL


def test_max_pacing_rate_spreads_what_is_sent() -> None:
    t = accepted()
    t.call(t.sk.setsockopt, so.SOL_SOCKET, SO_MAX_PACING_RATE, 100_000)
    assert t.call(t.sk.getsockopt, so.SOL_SOCKET, SO_MAX_PACING_RATE) == 100_000
    wide = struct.pack("=Q", 1 << 33)
    t.call(t.sk.setsockopt, so.SOL_SOCKET, SO_MAX_PACING_RATE, wide)
    assert t.sk.sk_max_pacing_rate == 1 << 33
    assert t.call(t.sk.getsockopt, so.SOL_SOCKET, SO_MAX_PACING_RATE) == 0xFFFFFFFF


def test_priority_above_six_is_roots() -> None:
    t = Dialogue()
    sk = t.tcp.socket()
    sk.sk_uid = 1000
    t.call(sk.setsockopt, so.SOL_SOCKET, so.SO_PRIORITY, 6)
    assert t.errno(sk.setsockopt, so.SOL_SOCKET, so.SO_PRIORITY, 7) == errno.EPERM
    assert t.call(sk.getsockopt, so.SOL_SOCKET, so.SO_PRIORITY) == 6


def test_ip_options_take_one_byte_and_leave_the_ecn_bits() -> None:
    t = Dialogue()
    sk = t.tcp.socket()
    t.call(sk.setsockopt, so.IPPROTO_IP, 10, b"\0")
    t.call(sk.setsockopt, so.IPPROTO_IP, so.IP_TOS, b"\x13")
    assert t.call(sk.getsockopt, so.IPPROTO_IP, 10) == 0
    assert t.call(sk.getsockopt, so.IPPROTO_IP, so.IP_TOS) == 0x10
    assert t.errno(sk.setsockopt, so.IPPROTO_IP, so.IP_TOS, b"") == errno.EINVAL
    assert t.errno(sk.getsockopt, so.IPPROTO_IP, 14) == errno.ENOTCONN


@pytest.mark.parametrize(("dsack", "blocks"), [(1, 1), (0, 0)])
def test_tcp_dsack_switches_the_report_of_duplicates(dsack: int, blocks: int) -> None:
    t = Dialogue(tcp_dsack=dsack)
    t.accept()
    t.inject("P. 1:101(100) ack 1")
    t.expect(". 1:1(0) ack 101")
    t.inject("P. 1:101(100) ack 1")
    assert len(t.next().options.sack) == blocks


def test_end_of_record_keeps_later_data_out_of_its_packet() -> None:
    t = accepted()
    t.call(t.sk.setsockopt, TCP, so.TCP_NODELAY, 1)
    t.write(b"x" * 10_000)
    t.ip.sent.clear()
    t.write(b"a" * 400, so.MSG_EOR)
    t.write(b"b" * 400)
    t.inject(". 1:1(0) ack 10001 win 32768")
    t.expect("P. 10001:10401(400) ack 1", "P. 10401:10801(400) ack 1")
