"""Opening a connection: active, passive, simultaneous; refusal, timeouts, the two queues."""

from __future__ import annotations

import errno
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDNORM, EPOLLWRNORM

import pytest
from tcp_peer import MS, PEER, US, Dialogue

from pystack.core.drop import Drop
from pystack.transport.tcp import TcpState


def test_syn_offers_what_linux_offers() -> None:
    t = Dialogue()
    t.start_connect()
    sent = t.expect("S 0:0(0) win 64240 <mss 1460,sackOK,TS val 0 ecr 0,wscale 7>")
    assert sent.header.header_length == 40
    assert sent.header.ack == 0


def test_active_open_reaches_established_and_connect_reports_it_once() -> None:
    t = Dialogue()
    t.start_connect()
    t.expect("S 0:0(0)")
    assert t.errno(t.sk.connect, (PEER, 80)) == errno.EALREADY
    assert t.sk.poll() == 0
    t.inject("S. 0:0(0) ack 1 win 5000 <mss 1000>")
    t.expect(". 1:1(0) ack 1")
    assert t.sk.state is TcpState.ESTABLISHED
    assert t.sk.poll() == EPOLLOUT | EPOLLWRNORM
    t.call(t.sk.connect, (PEER, 80))
    assert t.errno(t.sk.connect, (PEER, 80)) == errno.EISCONN
    assert t.sk.getpeername() == (PEER, 80)
    assert t.sk.getsockname() == (US, t.lport)
    assert t.sk.snd_wnd == 5000


def test_window_of_syn_ack_is_not_scaled_later_ones_are() -> None:
    t = Dialogue()
    t.connect("mss 1000,wscale 4", win=1000)
    assert t.sk.snd_wnd == 1000
    t.inject(". 1:1(0) ack 1 win 1000")
    assert t.sk.snd_wnd == 16000


def test_without_window_scale_option_no_scaling_happens() -> None:
    t = Dialogue()
    t.start_connect()
    t.expect("S 0:0(0)")
    t.inject("S. 0:0(0) ack 1 win 5000 <mss 1000,sackOK>")
    t.expect(". 1:1(0) ack 1 win 64240")
    assert (t.sk.rcv_wscale, t.sk.snd_wscale, t.sk.tstamp_ok) == (0, 0, False)


def test_syn_ack_without_mss_option_means_536() -> None:
    t = Dialogue()
    t.start_connect()
    t.expect("S 0:0(0)")
    t.inject("S. 0:0(0) ack 1 win 65535")
    t.expect(". 1:1(0) ack 1")
    assert t.sk.mss_cache == 536


def test_rst_in_syn_sent_is_connection_refused() -> None:
    t = Dialogue()
    t.start_connect()
    t.expect("S 0:0(0)")
    t.inject("R. 0:0(0) ack 1")
    assert t.sk.poll() & (EPOLLERR | EPOLLHUP | EPOLLIN) == EPOLLERR | EPOLLHUP | EPOLLIN
    assert t.errno(t.sk.connect, (PEER, 80)) == errno.ECONNREFUSED
    assert t.errno(t.sk.connect, (PEER, 80)) == errno.EINPROGRESS  # the socket may try again
    t.call(t.sk.close)
    t.finish()


def test_rst_without_ack_in_syn_sent_is_ignored() -> None:
    t = Dialogue()
    t.start_connect()
    t.expect("S 0:0(0)")
    t.inject("R 0:0(0)")
    t.silent()
    assert t.sk.state is TcpState.SYN_SENT


@pytest.mark.parametrize("ack", [0, 2])
def test_unacceptable_ack_in_syn_sent_is_reset(ack: int) -> None:
    t = Dialogue()
    t.start_connect()
    t.expect("S 0:0(0)")
    t.inject(f"S. 0:0(0) ack {ack}")
    t.expect(f"R {ack}:{ack}(0)")
    assert t.sk.state is TcpState.SYN_SENT


def test_lost_syn_is_repeated_with_doubling_timeouts_until_etimedout() -> None:
    t = Dialogue(tcp_syn_retries=3, tcp_syn_linear_timeouts=0)
    t.start_connect()
    t.expect("S 0:0(0)")
    for seconds in (1, 2, 4):
        t.expect_after("S 0:0(0)", seconds * 1000)
    t.silent(7999)
    assert t.sk.state is TcpState.SYN_SENT
    t.run(1)
    assert t.sk.state is TcpState.CLOSE
    assert t.errno(t.sk.connect, (PEER, 80)) == errno.ETIMEDOUT
    t.call(t.sk.close)
    t.finish()


def test_first_four_timeouts_of_a_syn_do_not_double() -> None:
    """The connect timeout of Linux's defaults: 131 s, after ten retransmissions."""
    t = Dialogue()
    t.start_connect()
    t.expect("S 0:0(0)")
    for seconds in (1, 1, 1, 1, 1, 2, 4, 8, 16, 32):
        t.expect_after("S 0:0(0)", seconds * 1000)
    t.silent(63_999)
    assert t.sk.state is TcpState.SYN_SENT
    t.run(1)
    assert t.errno(t.sk.connect, (PEER, 80)) == errno.ETIMEDOUT
    t.call(t.sk.close)
    t.finish()


def test_tcp_syncnt_overrides_the_sysctl() -> None:
    t = Dialogue(tcp_syn_linear_timeouts=0)
    sk = t.tcp.socket()
    t.call(sk.setsockopt, 6, 7, 1)
    assert t.errno(sk.connect, (PEER, 80)) == errno.EINPROGRESS
    t.run(3000)
    assert (sk.state, t.mib["TcpExtTCPSynRetrans"]) == (TcpState.CLOSE, 1)


def test_simultaneous_open_goes_through_syn_recv() -> None:
    t = Dialogue()
    t.start_connect()
    t.expect("S 0:0(0)")
    t.inject("S 0:0(0) win 5000 <mss 1000>")
    assert t.sk.state is TcpState.SYN_RECV
    t.expect("S. 0:0(0) ack 1 <mss 1460,...>")
    t.inject("S. 0:0(0) ack 1 win 5000 <mss 1000>")
    assert t.sk.state is TcpState.ESTABLISHED
    t.call(t.sk.connect, (PEER, 80))
    t.expect(". 1:1(0) ack 1")
    t.inject("P. 1:6(5) ack 1", b"hello")
    assert t.read() == b"hello"


def test_unreachable_network_fails_connect_at_once() -> None:
    t = Dialogue()
    t.ip.unreachable = True
    sk = t.tcp.socket()
    assert t.errno(sk.connect, (PEER, 80)) == errno.ENETUNREACH
    assert sk.state is TcpState.CLOSE


def test_multicast_cannot_be_connected_to() -> None:
    t = Dialogue()
    assert t.errno(t.tcp.socket().connect, (bytes([224, 0, 0, 1]), 80)) == errno.ENETUNREACH


# -- passive open --------------------------------------------------------------------------


def test_passive_open_answers_with_the_options_both_know() -> None:
    t = Dialogue()
    t.listen()
    t.inject("S 0:0(0) win 5000 <mss 1400,sackOK,TS val 100 ecr 0,wscale 3>")
    t.expect("S. 0:0(0) ack 1 win 65160 <mss 1460,sackOK,TS val 0 ecr 100,wscale 7>")
    assert t.listener is not None
    assert t.listener.poll() == 0
    t.inject(f". 1:1(0) ack 1 win 5000 <TS val 101 ecr {t.tsval()}>")
    assert t.listener.poll() == EPOLLIN | EPOLLRDNORM
    t.sk = t.call(t.listener.accept)
    assert (t.sk.mss_cache, t.sk.snd_wnd) == (1388, 5000 << 3)
    assert t.sk.getsockname() == (US, 8080)
    assert t.errno(t.listener.accept) == errno.EAGAIN


def test_plain_syn_gets_a_plain_syn_ack() -> None:
    t = Dialogue()
    t.listen()
    t.inject("S 0:0(0) win 5000")
    sent = t.expect("S. 0:0(0) ack 1 win 64240 <mss 1460>")
    assert sent.header.header_length == 24


def test_repeated_syn_gets_the_syn_ack_again() -> None:
    t = Dialogue()
    t.listen()
    t.inject("S 0:0(0) win 5000 <mss 1000>")
    t.expect("S. 0:0(0) ack 1")
    t.run(600)
    t.inject("S 0:0(0) win 5000 <mss 1000>")
    t.expect("S. 0:0(0) ack 1")
    assert t.tcp.alive() == 2


def test_lost_syn_ack_is_repeated_five_times_and_then_forgotten() -> None:
    t = Dialogue()
    t.listen()
    t.inject("S 0:0(0) win 5000 <mss 1000>")
    t.expect("S. 0:0(0) ack 1")
    for seconds in (1, 2, 4, 8, 16):
        t.expect_after("S. 0:0(0) ack 1", seconds * 1000)
    t.silent(33_000)
    assert t.tcp.alive() == 1
    t.inject(". 1:1(0) ack 1")
    t.expect("R 1:1(0)")


def test_wrong_ack_of_a_request_is_reset_and_the_request_stays() -> None:
    t = Dialogue()
    t.listen()
    t.inject("S 0:0(0) win 5000 <mss 1000>")
    t.expect("S. 0:0(0) ack 1")
    t.inject(". 1:1(0) ack 7")
    t.expect("R 7:7(0)")
    t.inject(". 1:1(0) ack 1")
    assert t.listener is not None
    assert t.call(t.listener.accept).state is TcpState.ESTABLISHED


def test_rst_for_a_request_removes_it() -> None:
    t = Dialogue()
    t.listen()
    t.inject("S 0:0(0) win 5000 <mss 1000>")
    t.expect("S. 0:0(0) ack 1")
    t.inject("R 1:1(0)")
    assert t.mib["TcpExtEmbryonicRsts"] == 1
    assert t.tcp.alive() == 1
    t.silent(100_000)


def test_rst_out_of_window_does_not_remove_a_request() -> None:
    t = Dialogue()
    t.listen()
    t.inject("S 0:0(0) win 5000 <mss 1000>")
    t.expect("S. 0:0(0) ack 1")
    t.inject("R 100001:100001(0)")
    t.silent()
    assert t.tcp.alive() == 2


def test_data_with_the_handshake_ack_is_delivered() -> None:
    t = Dialogue()
    t.listen()
    t.inject("S 0:0(0) win 5000 <mss 1000>")
    t.expect("S. 0:0(0) ack 1")
    t.inject("P. 1:6(5) ack 1", b"hello")
    assert t.listener is not None
    t.sk = t.call(t.listener.accept)
    assert t.read() == b"hello"


def test_lost_handshake_ack_is_made_up_for_by_data() -> None:
    t = Dialogue()
    t.listen()
    t.inject("S 0:0(0) win 5000 <mss 1000,sackOK>")
    t.expect("S. 0:0(0) ack 1")
    t.inject("F. 6:6(0) ack 1")  # out of order, but it acknowledges our SYN
    assert t.listener is not None
    t.sk = t.call(t.listener.accept)
    t.expect(". 1:1(0) ack 1 <sack 6:7>")
    t.inject("P. 1:6(5) ack 1", b"hello")
    assert (t.read(), t.read()) == (b"hello", b"")


@pytest.mark.parametrize("flags", [".", "F", "SF", "F.", "S."])
def test_listener_answers_only_acks_and_with_rst(flags: str) -> None:
    t = Dialogue()
    t.listen()
    t.our_isn = 0
    t.inject(f"{flags} 0:0(0) ack 55")
    if "." in flags:
        t.expect("R 55:55(0)")
    t.silent()
    assert t.tcp.alive() == 1


def test_no_listener_resets_a_syn_and_never_a_rst() -> None:
    t = Dialogue()
    t.inject("S 0:0(0) win 5000")
    sent = t.expect("R. 0:0(0) ack 1")
    assert sent.header.seq == 0
    t.inject("R 0:0(0)")
    t.silent()
    assert t.drops == {Drop.TCP_NO_SOCKET: 2}


def test_full_accept_queue_drops_syns_and_final_acks_and_counts_them() -> None:
    t = Dialogue()
    t.listen(backlog=1)
    for port in (1001, 1002, 1003):  # a backlog of 1 holds two
        t.rport = port
        t.our_isn = None
        t.inject("S 0:0(0) win 5000 <mss 1000>")
        if port != 1003:
            t.expect("S. 0:0(0) ack 1")
            t.inject(". 1:1(0) ack 1")
    t.silent()
    assert (t.mib["TcpExtListenOverflows"], t.mib["TcpExtListenDrops"]) == (1, 1)
    assert t.drops == {Drop.TCP_LISTEN_OVERFLOW: 1}


def _overflow_after_syn(**sysctl: int) -> Dialogue:
    """The queue fills up between the SYN and the ACK of port 1003."""
    t = Dialogue(**sysctl)
    t.listen(backlog=1)
    isns: dict[int, int | None] = {}
    for ports in ((1001,), (1002, 1003)):
        for port in ports:
            t.rport, t.our_isn = port, None
            t.inject("S 0:0(0) win 5000 <mss 1000>")
            t.expect("S. 0:0(0) ack 1")
            isns[port] = t.our_isn
        for port in ports:
            t.rport, t.our_isn = port, isns[port]
            t.inject(". 1:1(0) ack 1")
    return t


def test_final_ack_at_a_full_accept_queue_waits_for_the_next_try() -> None:
    t = _overflow_after_syn()
    t.silent()
    assert t.mib["TcpExtListenOverflows"] == 1
    assert t.listener is not None
    t.call(t.listener.accept)
    t.run(1100)
    t.expect("S. 0:0(0) ack 1")
    t.inject(". 1:1(0) ack 1")
    t.call(t.listener.accept)
    assert t.call(t.listener.accept).rport == 1003


def test_abort_on_overflow_resets_instead() -> None:
    t = _overflow_after_syn(tcp_abort_on_overflow=1)
    t.expect("R 1:1(0)")


def test_full_syn_queue_drops_syns() -> None:
    t = Dialogue(tcp_syncookies=0)
    t.listen(backlog=2)
    for port in range(1001, 1006):
        t.rport = port
        t.inject("S 0:0(0) win 5000 <mss 1000>")
    assert len(t.ip.sent) == 3
    assert t.mib["TcpExtTCPReqQFullDrop"] == 2
    assert t.drops == {Drop.TCP_SYN_QUEUE_FULL: 2}


def test_closing_the_listener_resets_what_nobody_accepted() -> None:
    t = Dialogue()
    t.listen()
    t.inject("S 0:0(0) win 5000 <mss 1000>")
    t.expect("S. 0:0(0) ack 1")
    t.inject(". 1:1(0) ack 1")
    t.rport = 40001
    t.inject("S 0:0(0) win 5000 <mss 1000>")
    t.next()
    t.rport = 40000
    assert t.listener is not None
    t.call(t.listener.close)
    t.expect("R. 1:1(0) ack 1")
    t.silent(1000)
    t.listener = None
    t.finish()


def test_reset_before_accept_is_found_by_the_first_read() -> None:
    t = Dialogue()
    t.listen()
    t.inject("S 0:0(0) win 5000 <mss 1000>")
    t.expect("S. 0:0(0) ack 1")
    t.inject(". 1:1(0) ack 1")
    t.inject("R 1:1(0)")
    assert t.listener is not None
    t.sk = t.call(t.listener.accept)
    assert t.errno(t.sk.recvmsg, 10, 0) == errno.ECONNRESET
    assert t.read() == b""


def test_unconnected_socket_polls_as_in_linux_and_has_no_peer() -> None:
    t = Dialogue()
    sk = t.tcp.socket()
    assert sk.poll() == EPOLLOUT | EPOLLWRNORM | EPOLLHUP
    assert t.errno(sk.getpeername) == errno.ENOTCONN
    assert t.errno(sk.recvmsg, 1, 0) == errno.ENOTCONN
    assert t.errno(sk.sendmsg, memoryview(b"x"), 0) == errno.EPIPE
    assert t.errno(sk.accept) == errno.EINVAL
    assert t.errno(sk.shutdown, 1) == errno.ENOTCONN


def test_isn_follows_the_clock_and_differs_by_peer() -> None:
    t = Dialogue()
    secrets = t.tcp.secrets
    now = t.engine.now
    first = secrets.isn(US, PEER, 1, 2, now)
    assert (secrets.isn(US, PEER, 1, 2, now + 64 * MS) - first) & 0xFFFFFFFF == MS
    assert len({secrets.isn(US, PEER, port, 80, now) for port in range(100)}) == 100
    assert Dialogue(seed=2).tcp.secrets.isn(US, PEER, 1, 2, now) != first
