"""ip6tables: the same tables and connections over IPv6's pipeline."""

from __future__ import annotations

import errno
import ipaddress
from collections.abc import Iterator
from typing import Any

import pytest
from netfilter_world import Wired
from scapy.layers.inet6 import (
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ParamProblem,
    IPv6,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
)
from scapy.layers.l2 import Ether
from scapy.packet import Raw

SERVICE = ("fd77:96::1", 80)


@pytest.fixture
def wired() -> Iterator[Wired]:
    """A router, fd77:N::1, between hosts fd77:N::2; in the end no connection or packet is left."""
    world = Wired(2)
    router = world.router
    router.kernel.sysctl["net.ipv6.conf.all.forwarding"] = 1
    for number in (1, 2):
        host, name = world.hosts[number], f"eth{number}"

        def up(host: Any = host, name: str = name, number: int = number) -> None:
            eth0 = host.core.devices["eth0"]
            host.ipv6.add_address(eth0, f"fd77:{number}::2/64")
            host.ipv6.add_route("default", f"fd77:{number}::1")
            host.ipv6.addrconf.settle(eth0)

        def up_router(name: str = name, number: int = number) -> None:
            dev = router.core.devices[name]
            router.ipv6.add_address(dev, f"fd77:{number}::1/64")
            router.ipv6.addrconf.settle(dev)

        world.run_tasks(host.start(up), router.start(up_router))
    yield world
    world.run(600)
    assert len(router.netfilter.conntrack) == 0
    assert [host.kernel.skbs_alive for host in world.hosts] == [0, 0, 0]


def server(socket: Any) -> Any:
    with socket.socket(socket.AF_INET6) as listener:
        listener.bind(("::", 8080))
        listener.listen()
        conn, peer = listener.accept()
        with conn:
            got = 0
            while piece := conn.recv(65536):
                got += len(piece)
        return got, peer[0]


def client(socket: Any) -> Any:
    with socket.socket(socket.AF_INET6) as sock:
        sock.connect(SERVICE)
        sock.sendall(b"x" * 50_000)
        return sock.getpeername()[:2]


def addresses(frames: list[bytes]) -> set[str]:
    packets = [Ether(frame) for frame in frames]
    return {
        address
        for p in packets
        if IPv6 in p
        for address in (p[IPv6].src, p[IPv6].dst)
        if ipaddress.IPv6Address(address) in ipaddress.IPv6Network("fd77::/16")
    }


def test_service_is_translated_and_its_client_masqueraded(wired: Wired) -> None:
    router, one, two = wired.hosts
    router.ip6tables(
        "-t nat -A PREROUTING -d fd77:96::1 -p tcp --dport 80 "
        "-j DNAT --to-destination [fd77:2::2]:8080"
    )
    router.ip6tables("-t nat -A POSTROUTING -o eth2 -j MASQUERADE")
    router.ip6tables("-P FORWARD DROP")
    router.ip6tables("-A FORWARD -m conntrack --ctstate DNAT -j ACCEPT")
    wired.frames[2].clear()
    served, name = wired.programs((two, server), (one, client))
    assert (served, name) == ((50_000, "fd77:2::1"), SERVICE)
    assert addresses(wired.frames[2]) == {"fd77:2::1", "fd77:2::2"}
    (line,) = router.conntrack("-L -f ipv6").splitlines()
    assert "dst=fd77:96::1" in line and "src=fd77:2::2" in line and "[ASSURED]" in line


@pytest.mark.parametrize(
    ("how", "number"),
    [
        ("icmp6-port-unreachable", errno.ECONNREFUSED),
        ("icmp6-adm-prohibited", errno.EACCES),
        ("tcp-reset", errno.ECONNREFUSED),
    ],
)
def test_rejected_connection_ends_with_the_errno_of_the_refusal(
    wired: Wired, how: str, number: int
) -> None:
    router, one, _ = wired.hosts
    router.ip6tables(f"-A FORWARD -p tcp -j REJECT --reject-with {how}")

    def knock(socket: Any) -> int:
        with socket.socket(socket.AF_INET6) as sock:
            return int(sock.connect_ex(("fd77:2::2", 8080)))

    assert wired.programs((one, knock)) == [number]


def test_neighbour_discovery_is_not_tracked_and_survives_a_strict_firewall(wired: Wired) -> None:
    router, one, _ = wired.hosts
    router.ip6tables("-P INPUT DROP")
    router.ip6tables("-A INPUT -m conntrack --ctstate UNTRACKED -j ACCEPT")
    router.ip6tables("-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type echo-request -j ACCEPT")
    one.ipv6.ndisc.flush(one.core.devices["eth0"])

    def knock(socket: Any) -> int:
        with socket.socket(socket.AF_INET6) as sock:
            sock.settimeout(5)
            return int(sock.connect_ex(("fd77:2::2", 9)))

    assert wired.programs((one, knock)) == [errno.ECONNREFUSED]


def test_refusal_of_a_translated_connection_comes_from_the_service(wired: Wired) -> None:
    router, one, _ = wired.hosts
    router.ip6tables("-t nat -A PREROUTING -d fd77:96::1 -j DNAT --to-destination fd77:2::2")
    router.ip6tables("-A FORWARD -d fd77:2::2 -j REJECT")

    def knock(socket: Any) -> int:
        with socket.socket(socket.AF_INET6) as sock:
            return int(sock.connect_ex(SERVICE))

    assert wired.programs((one, knock)) == [errno.ECONNREFUSED]
    assert "fd77:2::2" not in addresses(wired.frames[1])


# -- fragments -------------------------------------------------------------------------------


def test_fragments_are_tracked_as_one_packet_and_translated(wired: Wired) -> None:
    router, one, two = wired.hosts
    router.ip6tables(
        "-t nat -A PREROUTING -d fd77:96::1 -p udp -j DNAT --to-destination [fd77:2::2]:53"
    )
    router.ip6tables("-A FORWARD -m conntrack --ctstate INVALID -j DROP")

    def ask(socket: Any) -> bytes:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.IPPROTO_IPV6, 23, 0)  # IPV6_MTU_DISCOVER: fragments are fine
            sock.connect(("fd77:96::1", 7))
            sock.send(bytes(range(256)) * 20)
            return bytes(sock.recv(10_000))

    def echo(socket: Any) -> None:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.IPPROTO_IPV6, 23, 0)
            sock.bind(("::", 53))
            sock.sendto(*sock.recvfrom(10_000))

    _, answer = wired.programs((two, echo), (one, ask))
    assert answer == bytes(range(256)) * 20
    assert len(router.netfilter.conntrack) == 1
    assert router.kernel.mib["Ip6ReasmOKs"] == 2
    assert "fd77:2::2" not in addresses(wired.frames[1])


ECHO = bytes(
    IPv6(src="fd77:1::2", dst="fd77:2::2") / ICMPv6EchoRequest(id=7, data=bytes(range(250)) * 12)
)[40:]


def pieces(wired: Wired, size: int, *, options: bool = False) -> list[Any]:
    """ECHO in fragments from host one, the last first; those that then came to host two."""
    link = Ether(src="02:00:00:01:00:02", dst="02:00:00:01:00:01")
    ip = link / IPv6(src="fd77:1::2", dst="fd77:2::2")
    if options:
        ip /= IPv6ExtHdrHopByHop()
    wired.frames[2].clear()
    for start in reversed(range(0, len(ECHO), size)):
        part = ECHO[start : start + size]
        more = int(start + size < len(ECHO))
        header = IPv6ExtHdrFragment(offset=start // 8, m=more, id=9, nh=58)
        wired.hosts[1].core.devices["eth0"].ops.port.send(bytes(ip / header / Raw(part)))
    wired.run(3)
    packets = [Ether(frame) for frame in wired.frames[2]]
    return [p for p in packets if IPv6 in p and p[IPv6].dst == "fd77:2::2"]


@pytest.mark.parametrize("options", [False, True], ids=["plain", "behind hop-by-hop options"])
def test_router_that_tracks_passes_fragments_on_in_the_size_they_came(
    wired: Wired, options: bool
) -> None:
    """`ip6_fragment`: not longer ones than were received; options stay in front."""
    wired.router.ip6tables("-A FORWARD -m conntrack --ctstate INVALID -j DROP")
    got = [p for p in pieces(wired, 1304, options=options) if IPv6ExtHdrFragment in p]
    assert [(p[IPv6ExtHdrFragment].offset * 8, p[IPv6ExtHdrFragment].m) for p in got] == [
        (0, 1),
        (1304, 1),
        (2608, 0),
    ]
    assert b"".join(bytes(p[IPv6ExtHdrFragment].payload) for p in got) == ECHO
    assert {p[IPv6].nh for p in got} == {0 if options else 44}
    assert wired.router.kernel.mib["Ip6FragCreates"] == 6  # the answer's, too
    assert "icmpv6" in wired.router.conntrack("-L -f ipv6")


def test_whole_packet_as_long_is_still_too_big(wired: Wired) -> None:
    """Only what came in fragments may be cut by a router."""
    wired.router.ip6tables("-A FORWARD -m conntrack --ctstate INVALID -j DROP")
    wired.router.core.devices["eth2"].mtu = 1280
    assert [p for p in pieces(wired, 1304) if IPv6ExtHdrFragment in p] == []
    assert wired.router.kernel.mib["Ip6InTooBigErrors"] == 1


def test_fragment_with_a_problem_is_left_to_its_destination(wired: Wired) -> None:
    """`nf_ct_frag6_gather`: a router that tracks does not answer for it."""
    wired.router.ip6tables("-A FORWARD -m conntrack --ctstate NEW -j ACCEPT")
    assert len(pieces(wired, 1203)) == 2  # the last one waits for others
    errors = [Ether(frame) for frame in wired.frames[1]]
    assert [p[IPv6].src for p in errors if ICMPv6ParamProblem in p] == ["fd77:2::2"] * 2


def test_host_that_tracks_answers_fragments(wired: Wired) -> None:
    wired.hosts[2].ip6tables("-A INPUT -m conntrack --ctstate INVALID -j DROP")
    assert len(pieces(wired, 1304)) == 3
    replies = [Ether(frame) for frame in wired.frames[2]]
    fragments = [p for p in replies if IPv6ExtHdrFragment in p and p[IPv6].src == "fd77:2::2"]
    assert len(fragments) == 3 and ICMPv6EchoReply in fragments[0]
    assert wired.hosts[2].kernel.mib["Ip6InDelivers"] > 0
    wired.run(600)
    assert len(wired.hosts[2].netfilter.conntrack) == 0
