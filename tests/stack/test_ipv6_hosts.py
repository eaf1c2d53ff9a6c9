"""Two hosts and a router over IPv6 in virtual time: TCP, both families on one socket, path MTU."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from stack.ipv6_wire import Net6

from pystack.core.drop import Drop

DATA = bytes(range(256)) * 400


@pytest.fixture
def pair() -> Net6:
    net = Net6()
    net.link("a", "b")
    net.up(a_b="10.0.0.1/24 fd00::1/64", b_a="10.0.0.2/24 fd00::2/64")
    return net


def echo_server(address: str, family: str = "AF_INET6", v6only: int | None = None) -> Any:
    def server(socket: Any) -> None:
        with socket.socket(getattr(socket, family)) as listener:
            if v6only is not None:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
            listener.bind((address, 80))
            listener.listen()
            conn, peer = listener.accept()
            server.seen = peer, conn.getsockname()
            with conn:
                while data := conn.recv(65536):
                    conn.sendall(data)

    return server


def echo_client(family: str, *address: Any) -> Any:
    def client(socket: Any) -> None:
        with socket.socket(getattr(socket, family)) as sock:
            sock.connect(address)
            client.seen = sock.getpeername(), sock.getsockname()
            sock.sendall(DATA)
            sock.shutdown(socket.SHUT_WR)
            got = b""
            while data := sock.recv(65536):
                got += data
            assert got == DATA

    return client


def test_tcp_carries_data_over_ipv6_and_leaves_nothing_behind(pair: Net6) -> None:
    server, client = echo_server("::"), echo_client("AF_INET6", "fd00::2", 80)
    pair.processes(("b", server), ("a", client))
    peer, local = server.seen
    assert (peer[0], local) == ("fd00::1", ("fd00::2", 80, 0, 0))
    assert client.seen == (("fd00::2", 80, 0, 0), peer)
    pair.run(70)
    for host in pair.hosts.values():
        assert (host.tcp.alive(), host.kernel.skbs_alive) == (0, 0)
        assert not [r for r in host.kernel.drops if r is not Drop.IP6_NOT_MEMBER]


def test_segments_leave_room_for_the_larger_header(pair: Net6) -> None:
    pair.processes(("b", echo_server("::")), ("a", echo_client("AF_INET6", "fd00::2", 80)))
    sizes = [0]
    pair.hosts["a"].core.taps.append(lambda dev, skb, out: sizes.append(len(skb)))
    pair.processes(("b", echo_server("::")), ("a", echo_client("AF_INET6", "fd00::2", 80)))
    assert max(sizes) == 1514


def test_socket_of_both_families_sees_ipv4_as_mapped(pair: Net6) -> None:
    server = echo_server("::")
    pair.processes(("b", server), ("a", echo_client("AF_INET", "10.0.0.2", 80)))
    peer, local = server.seen
    assert (peer[0], local) == ("::ffff:10.0.0.1", ("::ffff:10.0.0.2", 80, 0, 0))


def test_ipv6_socket_connects_to_a_mapped_address(pair: Net6) -> None:
    server, client = echo_server("0.0.0.0", "AF_INET"), None
    client = echo_client("AF_INET6", "::ffff:10.0.0.2", 80)
    pair.processes(("b", server), ("a", client))
    assert client.seen[0] == ("::ffff:10.0.0.2", 80, 0, 0)
    assert client.seen[1][0] == "::ffff:10.0.0.1"
    assert server.seen[0][0] == "10.0.0.1"


def test_link_local_address_is_reached_through_its_scope(pair: Net6) -> None:
    server = echo_server("::")
    client = echo_client("AF_INET6", "fe80::ff:fe00:2", 80, 0, 2)
    pair.processes(("b", server), ("a", client))
    assert client.seen[0] == ("fe80::ff:fe00:2", 80, 0, 2)
    assert server.seen[0][0] == "fe80::ff:fe00:1"
    assert server.seen[0][3] == 2


def test_v6only_listener_refuses_ipv4(pair: Net6) -> None:
    def client(socket: Any) -> None:
        with socket.socket() as sock:
            assert sock.connect_ex(("10.0.0.2", 80)) == errno.ECONNREFUSED
        with socket.socket(socket.AF_INET6) as sock:
            sock.connect(("fd00::2", 80))

    pair.processes(("b", echo_server("::", v6only=1)), ("a", client))
