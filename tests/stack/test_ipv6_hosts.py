"""Two hosts and a router over IPv6 in virtual time: TCP, both families on one socket, path MTU."""

from __future__ import annotations

import errno
import shutil
import socket
import subprocess
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest
from stack.ipv6_wire import Net6

from pystack.core.drop import Drop
from pystack.core.skb import SkBuff
from pystack.net import ip6_output
from pystack.tools.pcapng import Capture

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


# -- a router --------------------------------------------------------------------------------


def routed() -> Net6:
    """a - r - b, and a narrow link from r to b."""
    net = Net6()
    net.link("a", "r")
    net.link("r", "b")
    router = net.hosts["r"]
    router.kernel.sysctl["net.ipv6.conf.all.forwarding"] = 1
    net.up(a_r="fd01::1/64", r_a="fd01::ff/64", r_b="fd02::ff/64", b_r="fd02::1/64")
    net.hosts["a"].ipv6.add_route("default", "fd01::ff")
    net.hosts["b"].ipv6.add_route("fd01::/64", "fd02::ff")
    return net


def test_router_forwards_and_counts() -> None:
    net = routed()
    server = echo_server("::")
    net.processes(("b", server), ("a", echo_client("AF_INET6", "fd02::1", 80)))
    assert server.seen[0][0] == "fd01::1"
    router = net.hosts["r"].kernel
    sent = router.mib["Ip6OutForwDatagrams"]
    assert sent > 2 * len(DATA) // 1440
    assert not [r for r in router.drops if r is not Drop.IP6_NOT_MEMBER]
    net.run(1)
    assert router.skbs_alive == 0


def test_router_sends_on_what_gro_has_merged_as_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    unmerged, merged = ip6_output.unmerged, 0

    def watched(skb: SkBuff) -> list[SkBuff]:
        nonlocal merged
        merged += skb.frags is not None
        parts = unmerged(skb)
        assert [(part.gso_size, part.frags) for part in parts] == [(0, None)] * len(parts)
        return parts

    monkeypatch.setattr(ip6_output, "unmerged", watched)
    net = routed()
    net.processes(("b", echo_server("::")), ("a", echo_client("AF_INET6", "fd02::1", 80)))
    assert merged


def test_packet_too_big_makes_tcp_send_smaller_segments() -> None:
    net = routed()
    net.devices["r", "b"].mtu = 1300
    sizes: list[int] = []
    net.processes(("b", echo_server("::")), ("a", echo_client("AF_INET6", "fd02::1", 80)))
    net.hosts["a"].core.taps.append(lambda dev, skb, out: sizes.append(len(skb) if out else 0))
    net.processes(("b", echo_server("::")), ("a", echo_client("AF_INET6", "fd02::1", 80)))
    assert max(sizes) == 1314  # learnt by the first connection, known to the second
    assert net.hosts["a"].kernel.mib["Icmp6InType2"] >= 1
    assert net.hosts["r"].kernel.mib["Icmp6OutType2"] >= 1


def test_router_answers_for_what_it_cannot_forward() -> None:
    net = routed()
    a, router = net.hosts["a"], net.hosts["r"]

    def errnos(socket: Any) -> list[int]:
        found = []
        for target in ("fd03::1", "fd02::9"):
            with socket.socket(socket.AF_INET6) as sock:
                found.append(sock.connect_ex((target, 80)))
        return found

    process = a.process("client", errnos)
    net.run(30)
    assert process.result == [errno.ENETUNREACH, errno.EHOSTUNREACH]  # no route; no neighbour
    assert router.kernel.mib["Ip6InNoRoutes"] >= 1


def test_hop_limit_ends_at_the_router() -> None:
    net = routed()
    router = net.hosts["r"]

    def client(socket: Any) -> None:
        with socket.socket(socket.AF_INET6) as sock:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 1)
            assert sock.connect_ex(("fd02::1", 80)) == errno.EHOSTUNREACH

    net.processes(("a", client))
    assert router.kernel.drops[Drop.IP6_HOP_LIMIT] == 1
    assert net.hosts["b"].kernel.mib["Ip6InDelivers"] == 0


def test_source_is_chosen_by_scope_and_longest_prefix() -> None:
    net = Net6()
    net.link("a", "b")
    net.up(a_b="2001:db8:1::1/64 2001:db8:2::1/64 fd00::1/64", b_a="fd00::2/64")
    ipv6, dev = net.hosts["a"].ipv6, net.devices["a", "b"]
    choices = {
        "2001:db8:2::9": "2001:db8:2::1",
        "2001:db8:1:9::1": "2001:db8:1::1",
        "fd00::9": "fd00::1",
        "fd12::1": "fd00::1",
        "fe80::9": "fe80::ff:fe00:1",
        "ff02::1": "fe80::ff:fe00:1",
    }
    for target, source in choices.items():
        assert ipv6.addrconf.source_for(dev, IPv6Address(target).packed) == (
            IPv6Address(source).packed
        ), target


def test_routes_are_chosen_by_prefix_then_metric() -> None:
    net = routed()
    ipv6, dev = net.hosts["a"].ipv6, net.devices["a", "r"]
    ipv6.add_route("fd02:1::/32", "fd01::fe")
    ipv6.add_route("fd02:1::/32", "fd01::fd", metric=10)
    ipv6.add_route("fd07::/16", dev=dev)
    gateways = {"fd02:1::5": "fd01::fd", "fd02:2::5": "fd01::ff", "fd01::5": "", "fd07::5": ""}
    for target, gateway in gateways.items():
        route = ipv6.route(IPv6Address(target).packed)
        assert route.gateway == (IPv6Address(gateway).packed if gateway else b""), target
    for args, number in (
        (("fd02:1::/32", "fd01::fe"), errno.EEXIST),
        (("fd08::/16", "fd09::1"), errno.EHOSTUNREACH),
        (("fd08::/16", "fe80::1"), errno.EINVAL),
    ):
        with pytest.raises(OSError, match=r"\[Errno") as caught:
            ipv6.add_route(*args)
        assert caught.value.errno == number


# -- binding ---------------------------------------------------------------------------------

BINDS = [
    *("::", "0.0.0.0", "::1", "127.0.0.1", "::ffff:127.0.0.1", "::ffff:0.0.0.0"),
]


def bind_matrix(socket: Any) -> dict[str, int]:
    """The errno of binding the second address while the first is bound, v6only or not."""
    found = {}
    for first in BINDS:
        for second in BINDS:
            for only in (0, 1):
                socks, results, port = [], [], 0
                for address in (first, second):
                    six = ":" in address
                    sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET)
                    if six:
                        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
                    try:
                        sock.bind((address, port))
                        results.append(0)
                    except OSError as exc:
                        results.append(exc.errno)
                    port = port or sock.getsockname()[1]
                    socks.append(sock)
                found[f"{first} {second} {only}"] = results
                for sock in socks:
                    sock.close()
    return found


def test_families_conflict_over_a_port_as_on_this_machine() -> None:
    try:
        linux = bind_matrix(socket)
    except OSError as exc:
        pytest.skip(f"this machine's kernel has no IPv6: {exc}")
    net = Net6()
    net.link("a", "b")
    process = net.hosts["a"].process("binds", bind_matrix)
    net.run(1)
    assert not process.tracebacks, process.tracebacks[0]
    assert process.result == linux


# -- datagrams and groups --------------------------------------------------------------------


def test_udp_and_groups_work_over_ipv6(pair: Net6) -> None:
    """A datagram in fragments, one to a group both hosts are in, and one to a closed port."""
    group, heard = "ff02::1234", []

    def member(socket: Any) -> None:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::", 7))
            request = socket.inet_pton(socket.AF_INET6, group) + (2).to_bytes(4, "little")
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
            for _ in range(2):
                data, sender = sock.recvfrom(65536)
                heard.append((len(data), sender[0]))

    def sender(socket: Any) -> None:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            request = socket.inet_pton(socket.AF_INET6, group) + (2).to_bytes(4, "little")
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
            sock.bind(("::", 8))
            sock.sendto(bytes(5000), ("fd00::2", 7))
            sock.sendto(b"all", (group, 8, 0, 2))
            sock.sendto(b"all", (group, 7, 0, 2))
            data, own = sock.recvfrom(100)
            heard.append((len(data), own[0]))
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.settimeout(2)
            sock.connect(("fd00::2", 9))
            sock.send(b"x")
            with pytest.raises(ConnectionRefusedError):
                sock.recv(1)

    pair.processes(("b", member), ("a", sender))
    mine = "fe80::ff:fe00:1"
    assert sorted(heard) == [(3, mine), (3, mine), (5000, "fd00::1")]


# -- the judge -------------------------------------------------------------------------------

CHECKSUMS = [
    *("-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"),
    *("-o", "ipv6.defragment:TRUE"),
]
WRONG = (  # a packet that an error quotes is cut off: its checksum cannot be right
    "_ws.malformed || icmpv6.checksum.status == 0 || ipv6.fragment.error || (!icmpv6 && "
    "(tcp.checksum.status == 0 || udp.checksum.status == 0 || _ws.expert.severity == error))"
)


@pytest.mark.leaves("hosts whose capture is closed")
def test_tshark_finds_nothing_wrong_with_what_hosts_and_router_send(tmp_path: Path) -> None:
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed")
    net = Net6()
    net.link("a", "r")
    net.link("r", "b")
    net.hosts["r"].kernel.sysctl["net.ipv6.conf.all.forwarding"] = 1
    path = tmp_path / "wire.pcapng"
    with Capture(path, "a") as capture:
        net.hosts["a"].core.taps.append(
            lambda dev, skb, out: capture.write(bytes(skb), net.engine.now, out)
        )
        net.up(a_r="fd01::1/64", r_a="fd01::ff/64", r_b="fd02::ff/64", b_r="fd02::1/64")
        net.hosts["a"].ipv6.add_route("default", "fd01::ff")
        net.hosts["b"].ipv6.add_route("default", "fd02::ff")
        net.devices["r", "b"].mtu = 1300

        def datagrams(socket: Any) -> None:
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
                sock.sendto(bytes(1000), ("fd02::1", 9))  # nobody there
                sock.sendto(bytes(4000), ("fd01::ff", 9))  # in fragments
                sock.sendto(bytes(9), ("fd03::1", 9))  # no route at the router

        net.processes(("b", echo_server("::")), ("a", echo_client("AF_INET6", "fd02::1", 80)))
        net.processes(("a", datagrams))
        net.run(5)

    def count(expression: str) -> int:
        command = ["tshark", "-n", "-r", str(path), *CHECKSUMS, "-Y", expression]
        result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        return len(result.stdout.splitlines())

    assert count(WRONG) == 0
    for expression in (
        *("tcp.checksum.status == 1", "icmpv6.checksum.status == 1", "udp.checksum.status == 1"),
        *("icmpv6.type == 1", "icmpv6.type == 2", "icmpv6.type == 135", "icmpv6.type == 143"),
        *("icmpv6.type == 133", "icmpv6.type == 136", "ipv6.fraghdr"),
    ):
        assert count(expression) > 0, expression


def addresses(socket: Any) -> list[Any]:
    """What getaddrinfo makes of numeric hosts, and a connection to one."""
    found: list[Any] = []
    for args in (("fd00::2", 80), ("::1", "7", socket.AF_INET6), ("10.0.0.1", 1), ("fe80::1%1", 2)):
        found.append(socket.getaddrinfo(*args, type=socket.SOCK_STREAM))
    server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    client = socket.create_connection(server.getsockname()[:2])
    found.append((client.family, client.getpeername()[0], client.getsockname()[0]))
    client.close()
    server.close()
    return found


def test_addresses_are_read_as_on_this_machine() -> None:
    try:
        linux = addresses(socket)
    except OSError as exc:
        pytest.skip(f"this machine's kernel has no IPv6: {exc}")
    net = Net6()
    process = net.host("a").process("names", addresses)
    net.run(1)
    assert not process.tracebacks, process.tracebacks[0]
    assert process.result == linux
