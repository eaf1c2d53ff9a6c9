"""Ports and options: bind, ephemeral ports, look-up order, setsockopt and getsockopt."""

from __future__ import annotations

import errno
import socket as so
import struct

import pytest
from tcp_peer import PEER, US, Dialogue

from pystack.transport.tcp import TcpSock, TcpState

ANY = bytes(4)


def _sock(t: Dialogue, reuse: bool = False, **bind: tuple[bytes, int]) -> TcpSock:
    sk = t.tcp.socket()
    if reuse:
        t.call(sk.setsockopt, so.SOL_SOCKET, so.SO_REUSEADDR, 1)
    if "bind" in bind:
        t.call(sk.bind, bind["bind"])
    return sk


def test_bind_refuses_a_taken_port_a_foreign_address_and_a_second_bind() -> None:
    t = Dialogue()
    first = _sock(t, bind=(US, 5000))
    assert first.getsockname() == (US, 5000)
    assert t.errno(_sock(t).bind, (ANY, 5000)) == errno.EADDRINUSE
    assert t.errno(_sock(t).bind, (US, 5000)) == errno.EADDRINUSE
    assert t.errno(_sock(t).bind, (PEER, 5001)) == errno.EADDRNOTAVAIL
    assert t.errno(first.bind, (US, 5002)) == errno.EINVAL
    t.call(first.close)
    t.call(_sock(t).bind, (ANY, 5000))


def test_privileged_ports_need_root() -> None:
    t = Dialogue()
    sk = _sock(t)
    sk.sk_uid = 1000
    assert t.errno(sk.bind, (ANY, 80)) == errno.EACCES
    t.call(sk.bind, (ANY, 1024))


@pytest.mark.parametrize(
    ("reuse_first", "reuse_second", "listening", "error"),
    [
        (True, True, False, 0),
        (True, True, True, errno.EADDRINUSE),
        (True, False, False, errno.EADDRINUSE),
        (False, True, False, errno.EADDRINUSE),
    ],
)
def test_reuseaddr_must_be_set_on_both_and_no_listener_be_there(
    reuse_first: bool, reuse_second: bool, listening: bool, error: int
) -> None:
    t = Dialogue()
    first = _sock(t, reuse_first, bind=(ANY, 5000))
    if listening:
        t.call(first.listen, 1)
    second = _sock(t, reuse_second)
    if error:
        assert t.errno(second.bind, (ANY, 5000)) == error
    else:
        t.call(second.bind, (ANY, 5000))


def test_of_two_bound_with_reuseaddr_only_one_may_listen() -> None:
    t = Dialogue()
    first, second = (_sock(t, True, bind=(ANY, 5000)) for _ in range(2))
    t.call(first.listen, 1)
    assert t.errno(second.listen, 1) == errno.EADDRINUSE


def test_listen_without_bind_takes_a_port() -> None:
    t = Dialogue()
    sk = t.tcp.socket()
    t.call(sk.listen, 1)
    assert 32768 <= sk.getsockname()[1] <= 60999


def test_listener_bound_to_the_address_goes_before_the_wildcard() -> None:
    t = Dialogue()
    wildcard = _sock(t, True, bind=(ANY, 8080))
    exact = _sock(t, True, bind=(US, 8080))
    assert t.tcp.tables.lookup_listener(US, 8080) is None
    t.call(exact.listen, 1)
    assert t.tcp.tables.lookup_listener(US, 8080) is exact
    t.call(exact.close)
    t.call(wildcard.listen, 1)
    assert t.tcp.tables.lookup_listener(US, 8080) is wildcard


def test_connection_goes_before_its_listener() -> None:
    t = Dialogue()
    t.accept()
    t.inject("P. 1:3(2) ack 1", b"hi")
    assert t.read() == b"hi"
    assert t.listener is not None
    assert not t.listener.accept_queue


def test_ephemeral_ports_are_in_range_distinct_and_even_first() -> None:
    t = Dialogue(ip_local_port_range=(40000, 40009))
    ports = []
    for _ in range(10):
        sk = t.tcp.socket()
        assert t.errno(sk.connect, (PEER, 80)) == errno.EINPROGRESS
        ports.append(sk.lport)
    assert sorted(ports) == list(range(40000, 40010))
    assert all(port % 2 == 0 for port in ports[:5])
    assert t.errno(t.tcp.socket().connect, (PEER, 80)) == errno.EADDRNOTAVAIL


def test_one_port_serves_connections_to_different_peers() -> None:
    t = Dialogue(ip_local_port_range=(40000, 40000))
    for port in (80, 81, 82):
        sk = t.tcp.socket()
        assert t.errno(sk.connect, (PEER, port)) == errno.EINPROGRESS
        assert sk.lport == 40000
    assert t.errno(_sock(t).bind, (ANY, 0)) == errno.EADDRINUSE


def test_connect_does_not_take_a_port_somebody_has_bound() -> None:
    t = Dialogue(ip_local_port_range=(40000, 40001))
    _sock(t, bind=(ANY, 40000))
    sk = t.tcp.socket()
    assert t.errno(sk.connect, (PEER, 80)) == errno.EINPROGRESS
    assert sk.lport == 40001


def test_bound_socket_connects_from_its_port_and_not_twice_to_the_same_peer() -> None:
    t = Dialogue()
    first, second = (_sock(t, True, bind=(US, 5000)) for _ in range(2))
    assert t.errno(first.connect, (PEER, 80)) == errno.EINPROGRESS
    assert first.getsockname() == (US, 5000)
    assert t.errno(second.connect, (PEER, 80)) == errno.EADDRNOTAVAIL
    assert t.errno(second.connect, (PEER, 81)) == errno.EINPROGRESS


def test_port_given_by_bind_outlives_the_connection_one_given_by_connect_does_not() -> None:
    t = Dialogue()
    sk = _sock(t, bind=(US, 5000))
    assert t.errno(sk.connect, (PEER, 80)) == errno.EINPROGRESS
    t.call(sk.shutdown, so.SHUT_RDWR)
    assert t.errno(_sock(t).bind, (US, 5000)) == errno.EADDRINUSE
    other = t.tcp.socket()
    assert t.errno(other.connect, (PEER, 80)) == errno.EINPROGRESS
    port = other.lport
    t.call(other.shutdown, so.SHUT_RDWR)
    t.call(_sock(t).bind, (US, port))


def test_listen_on_a_connected_socket_is_einval() -> None:
    t = Dialogue()
    t.connect()
    assert t.errno(t.sk.listen, 1) == errno.EINVAL


def test_listen_again_changes_the_backlog_and_it_is_capped() -> None:
    t = Dialogue()
    sk = t.listen(backlog=3)
    assert sk.max_ack_backlog == 3
    t.call(sk.listen, 100_000)
    assert sk.max_ack_backlog == 4096
    t.call(sk.listen, -1)
    assert sk.max_ack_backlog == 4096


# -- options -------------------------------------------------------------------------------


def test_options_are_inherited_by_accepted_sockets() -> None:
    t = Dialogue()
    listener = t.listen()
    t.call(listener.setsockopt, so.IPPROTO_TCP, so.TCP_NODELAY, 1)
    t.call(listener.setsockopt, so.SOL_SOCKET, so.SO_RCVBUF, 30_000)
    t.call(listener.setsockopt, so.SOL_SOCKET, so.SO_LINGER, struct.pack("ii", 1, 7))
    t.accept()
    assert t.call(t.sk.getsockopt, so.IPPROTO_TCP, so.TCP_NODELAY) == 1
    assert t.call(t.sk.getsockopt, so.SOL_SOCKET, so.SO_RCVBUF) == 60_000
    assert t.call(t.sk.getsockopt, so.SOL_SOCKET, so.SO_LINGER) == struct.pack("ii", 1, 7)


def test_maxseg_lowers_what_is_announced_and_sent() -> None:
    t = Dialogue()
    sk = t.tcp.socket()
    t.call(sk.setsockopt, so.IPPROTO_TCP, so.TCP_MAXSEG, 500)
    assert t.call(sk.getsockopt, so.IPPROTO_TCP, so.TCP_MAXSEG) == 500
    assert t.errno(sk.setsockopt, so.IPPROTO_TCP, so.TCP_MAXSEG, 20) == errno.EINVAL
    assert t.errno(sk.connect, (PEER, 80)) == errno.EINPROGRESS
    t.rport, t.lport, t.sk = 80, sk.lport, sk
    t.expect("S 0:0(0) <mss 500,...>")
    t.inject("S. 0:0(0) ack 1 <mss 1400>")
    assert sk.mss_cache == 500


def test_so_error_is_read_once() -> None:
    t = Dialogue()
    t.accept()
    t.inject("R 1:1(0)")
    assert t.call(t.sk.getsockopt, so.SOL_SOCKET, so.SO_ERROR) == errno.ECONNRESET
    assert t.call(t.sk.getsockopt, so.SOL_SOCKET, so.SO_ERROR) == 0


def test_acceptconn_tells_a_listener() -> None:
    t = Dialogue()
    sk = t.listen()
    assert t.call(sk.getsockopt, so.SOL_SOCKET, so.SO_ACCEPTCONN) == 1
    assert sk.state is TcpState.LISTEN


def test_congestion_control_can_be_named() -> None:
    t = Dialogue()
    sk = t.tcp.socket()
    t.call(sk.setsockopt, so.IPPROTO_TCP, 13, b"reno")
    assert t.call(sk.getsockopt, so.IPPROTO_TCP, 13).rstrip(b"\0") == b"reno"
    assert t.errno(sk.setsockopt, so.IPPROTO_TCP, 13, b"warp") == errno.ENOENT


def test_unknown_options_are_enoprotoopt() -> None:
    t = Dialogue()
    sk = t.tcp.socket()
    for level, name in ((so.SOL_SOCKET, 999), (so.IPPROTO_TCP, 999), (so.IPPROTO_IP, 999)):
        assert t.errno(sk.setsockopt, level, name, 1) == errno.ENOPROTOOPT
        assert t.errno(sk.getsockopt, level, name) == errno.ENOPROTOOPT
