"""IPv4 routes: which one is taken, from which address, and what happens when they change."""

from __future__ import annotations

import errno
import random
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from conftest import SEED
from router import RB, A, B, Net, ip4, mac

from pystack.core.engine import VirtualEngine
from pystack.dev.netdev import NetDevice
from pystack.dev.wire import Link
from pystack.host import Host
from pystack.net.fib import Fib, FibEntry, RouteType
from pystack.net.route import Route


class World:
    """A host with eth0 in 10.0.0.0/24 and eth1 in 10.1.0.0/24."""

    def __init__(self) -> None:
        self.engine = VirtualEngine()
        self.host = Host(self.engine, "h")
        self.ip = self.host.ipv4
        self.eth0, self.eth1 = (
            self.host.add_softnic(f"eth{n}", mac(n), Link(self.engine).a) for n in (0, 1)
        )
        self.up(self.eth0, "10.0.0.1/24")
        self.up(self.eth1, "10.1.0.1/24")

    def up(self, dev: NetDevice, address: str) -> None:
        self.run(self.host.up, dev, address)

    def run(self, fn: Any, *args: Any) -> None:
        self.host.start(fn, *args)
        self.engine.run(until=self.engine.now + 1_000_000)

    def route(self, to: str, source: str = "", **how: int) -> Route:
        return self.ip.route(ip4(to), ip4(source) if source else b"", **how)

    def way(self, to: str, source: str = "", **how: int) -> tuple[str, str, str]:
        """(device, gateway, source) as text."""
        route = self.route(to, source, **how)
        return route.dev.name, text(route.gateway), text(route.saddr)

    def error(self, to: str, source: str = "", **how: int) -> int | None:
        with pytest.raises(OSError) as info:
            self.route(to, source, **how)
        return info.value.errno


def text(address: bytes) -> str:
    return ".".join(map(str, address))


@pytest.fixture
def world() -> World:
    return World()


# -- which route ---------------------------------------------------------------------------


@pytest.mark.parametrize("trial", range(3))
def test_look_up_finds_the_longest_prefix_of_the_lowest_metric(trial: int) -> None:
    rng = random.Random(f"{SEED}/{trial}")
    dev = Host(VirtualEngine(), "h").lo.dev
    fib, entries = Fib(), []
    for n in range(400):
        length = rng.choice([0, 4, 8, 12, 16, 20, 24, 28, 32])
        start = rng.getrandbits(6) << 26 | rng.getrandbits(26)
        network = IPv4Network((start >> (32 - length) << (32 - length), length))
        entry = FibEntry(network, dev, b"", n.to_bytes(4, "big"), rng.randrange(3))
        if not fib.find(network, entry.metric):
            fib.add(entry)
            entries.append(entry)
    for entry in rng.sample(entries, 100):
        fib.remove(entry)
        entries.remove(entry)
    assert sorted(map(id, fib)) == sorted(map(id, entries))
    for _ in range(2000):
        address = IPv4Address(rng.getrandbits(32))
        fitting = [e for e in entries if address in e.network]
        best = min(fitting, key=lambda e: (-e.network.prefixlen, e.metric), default=None)
        assert fib.lookup(address.packed) is best


def test_the_lower_metric_wins_and_the_other_takes_over(world: World) -> None:
    world.ip.add_route("192.0.2.0/24", "10.0.0.9", 100)
    world.ip.add_route("192.0.2.0/24", "10.1.0.9", 50)
    assert world.way("192.0.2.1") == ("eth1", "10.1.0.9", "10.1.0.1")
    world.ip.del_route("192.0.2.0/24", metric=50)
    assert world.way("192.0.2.1") == ("eth0", "10.0.0.9", "10.0.0.1")


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (RouteType.BLACKHOLE, errno.EINVAL),
        (RouteType.UNREACHABLE, errno.EHOSTUNREACH),
        (RouteType.PROHIBIT, errno.EACCES),
    ],
)
def test_a_route_that_refuses_says_so(world: World, kind: RouteType, error: int) -> None:
    world.ip.add_route("default", "10.0.0.9")
    world.ip.add_route("192.0.2.0/24", kind=kind)
    assert world.error("192.0.2.1") == error
    assert world.way("192.0.3.1")[1] == "10.0.0.9"


def test_adding_twice_is_eexist_and_deleting_nothing_is_esrch(world: World) -> None:
    world.ip.add_route("192.0.2.0/24", "10.0.0.9")
    with pytest.raises(FileExistsError):
        world.ip.add_route("192.0.2.0/24", "10.1.0.9")
    with pytest.raises(OSError) as info:
        world.ip.del_route("192.0.2.0/24", "10.1.0.9")
    assert info.value.errno == errno.ESRCH
    world.ip.del_route("192.0.2.0/24", "10.0.0.9", dev=world.eth0)
    assert world.error("192.0.2.1") == errno.ENETUNREACH


def test_replace_changes_the_route_or_adds_it_and_fails_without_harm(world: World) -> None:
    world.ip.replace_route("192.0.2.0/24", "10.0.0.9")
    held = world.route("192.0.2.1")
    world.ip.replace_route("192.0.2.0/24", "10.1.0.9", src="10.0.0.1")
    assert held.obsolete
    assert world.way("192.0.2.1") == ("eth1", "10.1.0.9", "10.0.0.1")
    with pytest.raises(OSError):
        world.ip.replace_route("192.0.2.0/24", "172.16.0.1")
    assert world.way("192.0.2.1")[1] == "10.1.0.9"


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ({"gateway": "172.16.0.1"}, errno.ENETUNREACH),  # no neighbour's
        ({"gateway": "10.0.0.1"}, errno.EINVAL),  # our own
        ({"gateway": "10.0.0.255"}, errno.EINVAL),  # everybody's
        ({"gateway": "10.0.0.9", "src": "10.7.7.7"}, errno.EINVAL),
        ({}, errno.ENODEV),
    ],
)
def test_a_route_that_cannot_work_is_refused(world: World, how: dict[str, str], error: int) -> None:
    with pytest.raises(OSError) as info:
        world.ip.add_route("192.0.2.0/24", **how)  # type: ignore[arg-type]
    assert info.value.errno == error


def test_onlink_takes_a_gateway_on_trust(world: World) -> None:
    world.ip.add_route("192.0.2.0/24", "172.16.0.1", dev=world.eth1, onlink=True)
    assert world.way("192.0.2.1") == ("eth1", "172.16.0.1", "10.1.0.1")


def test_a_route_of_a_device_needs_no_gateway(world: World) -> None:
    world.ip.add_route("192.0.2.0/24", dev=world.eth1)
    assert world.way("192.0.2.1") == ("eth1", "", "10.1.0.1")


def test_the_mtu_of_a_route_bounds_its_packets(world: World) -> None:
    world.ip.add_route("192.0.2.0/24", "10.0.0.9", metrics={"mtu": 1300})
    assert world.route("192.0.2.1").mtu == 1300
    world.eth0.mtu = 9000
    assert world.route("10.0.0.7").mtu == 9000


# -- given a device or a source ------------------------------------------------------------


def test_with_a_device_only_its_routes_count_and_others_are_on_its_link(world: World) -> None:
    world.ip.add_route("default", "10.0.0.9")
    assert world.way("192.0.2.1", oif=world.eth1.ifindex) == ("eth1", "", "10.1.0.1")
    assert world.way("192.0.2.1", oif=world.eth0.ifindex) == ("eth0", "10.0.0.9", "10.0.0.1")
    assert world.error("192.0.2.1", oif=99) == errno.ENODEV


def test_a_source_must_be_ours(world: World) -> None:
    assert world.way("10.0.0.9", "10.1.0.1") == ("eth0", "", "10.1.0.1")
    assert world.error("10.0.0.9", "10.9.9.9") == errno.ENETUNREACH
    assert world.error("10.0.0.9", "10.0.0.255") == errno.EINVAL


def test_ourselves_are_reached_by_loopback(world: World) -> None:
    assert world.way("10.1.0.1") == ("lo", "", "10.1.0.1")
    assert world.way("127.3.2.1") == ("lo", "", "127.0.0.1")
    assert world.way("0.0.0.0") == ("lo", "", "127.0.0.1")
    assert world.route("10.1.0.1").mtu == 65536


def test_groups_and_broadcast_leave_by_the_device_of_the_source(world: World) -> None:
    for to, kind in (("239.1.1.1", RouteType.MULTICAST), ("255.255.255.255", RouteType.BROADCAST)):
        assert world.error(to) == errno.ENETUNREACH
        assert world.way(to, "10.1.0.1") == ("eth1", "", "10.1.0.1")
        assert world.way(to, oif=world.eth0.ifindex) == ("eth0", "", "10.0.0.1")
        assert world.route(to, "10.1.0.1").kind is kind
    world.ip.add_route("default", "10.0.0.9")
    assert world.way("239.1.1.1") == ("eth0", "", "10.0.0.1")
    assert world.route("10.0.0.255").kind is RouteType.BROADCAST


# -- addresses -----------------------------------------------------------------------------


def test_the_source_is_the_first_address_in_the_subnet_of_the_next_hop(world: World) -> None:
    world.ip.add_address(world.eth0, "10.5.0.1/16")
    world.ip.add_address(world.eth0, "10.0.0.2/24")  # secondary: never chosen
    world.ip.add_route("192.0.2.0/24", "10.5.0.9")
    assert world.way("192.0.2.1")[2] == "10.5.0.1"
    assert world.way("10.0.0.77")[2] == "10.0.0.1"
    assert world.way("10.5.3.3")[2] == "10.5.0.1"


@pytest.mark.parametrize("promote", [False, True])
def test_deleting_a_primary_takes_its_secondaries_or_promotes_one(
    world: World, promote: bool
) -> None:
    world.host.kernel.sysctl.write("net.ipv4.conf.eth0.promote_secondaries", str(int(promote)))
    for n in (2, 3):
        world.ip.add_address(world.eth0, f"10.0.0.{n}/24")
    world.ip.del_address(world.eth0, "10.0.0.1/24")
    left = sorted(text(a) for a in world.ip.addresses if a[0] != 127)
    assert left == (["10.0.0.2", "10.0.0.3", "10.1.0.1"] if promote else ["10.1.0.1"])
    if promote:
        assert world.way("10.0.0.9") == ("eth0", "", "10.0.0.2")
    else:
        assert world.error("10.0.0.9") == errno.ENETUNREACH


def test_an_address_twice_is_eexist_and_one_that_is_not_there_eaddrnotavail(world: World) -> None:
    with pytest.raises(FileExistsError):
        world.ip.add_address(world.eth0, "10.0.0.1/24")
    with pytest.raises(OSError) as info:
        world.ip.del_address(world.eth0, "10.0.0.9/24")
    assert info.value.errno == errno.EADDRNOTAVAIL


def test_point_to_point_prefixes_have_no_broadcast_address(world: World) -> None:
    world.ip.add_address(world.eth0, "172.16.0.0/31")
    assert world.route("172.16.0.1").kind is RouteType.UNICAST
    world.ip.add_address(world.eth0, "172.17.0.1/32")
    assert world.error("172.17.0.2") == errno.ENETUNREACH


# -- change --------------------------------------------------------------------------------


def test_a_device_that_goes_down_takes_its_routes_but_not_its_addresses(world: World) -> None:
    world.ip.add_route("192.0.2.0/24", "10.0.0.9")
    world.ip.add_route("192.0.2.0/24", "10.1.0.9", 10)
    held = world.route("192.0.2.1")
    world.run(world.host.core.stop, world.eth0)
    assert held.obsolete
    assert world.way("192.0.2.1")[1] == "10.1.0.9"
    assert world.way("10.0.0.1")[0] == "lo"
    assert world.error("10.0.0.9") == errno.ENETUNREACH
    world.run(world.host.core.open, world.eth0)
    assert world.way("10.0.0.9") == ("eth0", "", "10.0.0.1")


def test_look_ups_are_remembered_until_something_changes(world: World) -> None:
    first = world.route("10.0.0.9")
    assert world.route("10.0.0.9") is first
    world.ip.add_route("10.0.0.9/32", "10.1.0.9")
    assert first.obsolete
    assert world.way("10.0.0.9")[1] == "10.1.0.9"


def test_a_thousand_destinations_do_not_fill_the_memory(world: World) -> None:
    world.ip.add_route("default", "10.0.0.9")
    for n in range(10_000):
        world.ip.route(b"\x0b\x00" + n.to_bytes(2, "big"))
    assert len(world.ip.routing._outputs) <= 4096


def test_a_live_connection_moves_to_the_new_route() -> None:
    net = Net()
    third = Link(net.engine)
    a1 = net.a.add_softnic("eth1", mac(11), third.a)
    r2 = net.r.add_softnic("eth2", mac(12), third.b)
    net.do(net.a, net.a.up, a1, "10.3.0.2/24")
    net.do(net.r, net.r.up, r2, "10.3.0.1/24")
    done: list[bytes] = []

    def server(socket: Any) -> None:
        with socket.create_server((B, 80)) as listener:
            conn, _ = listener.accept()
            while data := conn.recv(100):
                conn.sendall(data)

    def client(socket: Any) -> None:
        with socket.create_connection((B, 80)) as conn:
            for text in (b"before", b"after"):
                conn.sendall(text)
                done.append(conn.recv(100))
                net.a.ipv4.replace_route("default", "10.3.0.1")

    net.process(net.b, server)
    net.run(1)
    net.wait(net.process(net.a, client))
    assert done == [b"before", b"after"]
    assert a1.stats.tx_packets >= 2
    assert net.a.ipv4.route(ip4(B)).gateway == ip4("10.3.0.1")
    assert net.b.ipv4.route(ip4(A)).gateway == ip4(RB)
