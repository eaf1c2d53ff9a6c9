"""A router that advertises: the program on its kernel, and hosts that configure themselves."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest
from scapy.layers.inet6 import ICMPv6ND_RA, IPv6
from scapy.layers.l2 import Ether
from stack.ipv6_wire import Net6

from pystack.apps.radvd import Advertisement, advertise
from pystack.uapi.process import Process
from pystack.uapi.sockmod import SocketModule
from pystack.uapi.timemod import TimeModule

SERVER = "fd00:2::2"


class Routed:
    """`client` knows nothing; `router` is between it and `server`, and advertises."""

    def __init__(self) -> None:
        self.net = net = Net6()
        net.link("client", "router")
        net.link("router", "server")
        router = net.hosts["router"]
        router.kernel.sysctl["net.ipv6.conf.all.forwarding"] = 1
        net.up(
            router_client="fd00:1::1/64", router_server="fd00:2::1/64", server_router=SERVER + "/64"
        )
        net.hosts["server"].ipv6.add_route("default", "fd00:2::1")
        self.stopped = False
        self.heard: list[tuple[float, Any]] = []
        self.dev = net.devices["router", "client"]
        router.core.taps.append(self._tap)
        process = Process(router.kernel, router.system, "radvd")
        what = Advertisement(["fd00:1::/64"], mtu=1400, hop_limit=33, reachable_time=5000)
        self.process = process.start(
            lambda: advertise(
                SocketModule(process),
                TimeModule(process),
                "client",
                self.dev.mac,
                what,
                interval=(20.0, 30.0),
                rng=random.Random(1),
                stop=lambda: self.stopped,
            )
        )

    def _tap(self, dev: Any, skb: Any, outgoing: bool) -> None:
        packet = Ether(bytes(skb)) if dev is self.dev and outgoing else None
        if packet is not None and ICMPv6ND_RA in packet:
            self.heard.append((self.net.engine.now / 1e9, packet))

    def client_up(self) -> None:
        client = self.net.hosts["client"]
        dev = self.net.devices["client", "router"]
        client.start(client.core.open, dev)
        self.net.run(0.01)
        client.start(client.ipv6.up, dev)

    def client_addresses(self) -> list[str]:
        found = self.net.hosts["client"].ipv6.addrconf.all()
        return sorted(str(a.network) for a in found if not a.tentative and a.prefix_length == 64)


@pytest.fixture
def routed() -> Routed:
    return Routed()


def test_a_host_makes_an_address_and_finds_its_way(routed: Routed) -> None:
    routed.net.run(100)
    routed.client_up()
    routed.net.run(10)
    assert routed.client_addresses() == ["fd00:1::/64", "fe80::/64"]
    client = routed.net.hosts["client"]
    dev = routed.net.devices["client", "router"]
    assert client.ipv6.addrconf.mtu(dev) == 1400
    assert client.ipv6.addrconf.hop_limit(dev) == 33
    assert client.kernel.sysctl.read("net.ipv6.neigh.router.base_reachable_time_ms") == "5000"

    def serve(socket: Any) -> None:
        with socket.create_server(("::", 80), family=socket.AF_INET6) as listener:
            conn, _ = listener.accept()
            conn.sendall(b"hello")
            conn.close()

    def ask(socket: Any) -> None:
        with socket.socket(socket.AF_INET6) as sk:
            sk.connect((SERVER, 80))
            assert sk.recv(10) == b"hello"

    routed.net.processes(("server", serve), ("client", ask))


def test_advertisements_are_valid_and_come_as_often_as_asked(routed: Routed) -> None:
    routed.net.run(300)
    times = [at for at, _ in routed.heard]
    gaps = [b - a for a, b in pairwise(times)]
    assert all(gap <= 16.1 for gap in gaps[:2]) and all(20 <= gap <= 31 for gap in gaps[2:])
    ip = routed.heard[0][1][IPv6]
    assert (ip.dst, ip.hlim, ip.src[:4]) == ("ff02::1", 255, "fe80")


def test_a_host_that_asks_is_answered_soon(routed: Routed) -> None:
    routed.net.run(100)
    before = len(routed.heard)
    routed.client_up()
    routed.net.run(6)
    assert len(routed.heard) > before
    assert routed.client_addresses() == ["fd00:1::/64", "fe80::/64"]


def test_one_that_ends_is_no_router_any_more(routed: Routed) -> None:
    routed.client_up()
    routed.net.run(60)
    routes = routed.net.hosts["client"].ipv6.routing.fib
    assert any(entry.gateway for entry in routes)
    routed.stopped = True
    routed.net.run(2)
    assert not any(entry.gateway for entry in routes)
    assert routed.process.exit_status == 0 and not routed.process.tracebacks
