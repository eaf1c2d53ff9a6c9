"""ip6tables: the same tables and connections over IPv6's pipeline."""

from __future__ import annotations

import errno
import ipaddress
from collections.abc import Iterator
from typing import Any

import pytest
from netfilter_world import Wired
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

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
