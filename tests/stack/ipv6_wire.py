"""IPv6 hosts for tests: one with a scripted peer (frames by scapy), and several joined."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address
from typing import Any

from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import Ether

from pystack.core.drop import Drop
from pystack.core.engine import VirtualEngine
from pystack.dev.netdev import NetDevice
from pystack.dev.wire import Link
from pystack.host import Host, finished

US, PEER = "fd00::1", "fd00::2"
OUR_MAC, PEER_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
OUR_LL, PEER_LL = "fe80::ff:fe00:1", "fe80::ff:fe00:2"
OUR_GROUP, OUR_GROUP_MAC = "ff02::1:ff00:1", "33:33:ff:00:00:01"
SECOND = 1_000_000_000


class Wire6:
    """One host, `fd00::1/64`, and a scripted peer."""

    def __init__(self, *interfaces: str, **sysctl: int) -> None:
        self.engine = VirtualEngine()
        link = Link(self.engine)
        self.port = link.b
        self.host = Host(self.engine, "h")
        for name, value in sysctl.items():
            self.host.kernel.sysctl[f"net.ipv6.conf.default.{name}"] = value
        self.dev = self.host.add_softnic("eth0", bytes.fromhex(OUR_MAC.replace(":", "")), link.a)
        self.frames: list[tuple[int, Any]] = []
        self.port.on_receive(
            lambda frame, start, end: self.frames.append((self.engine.now, Ether(frame)))
        )
        self.host.start(self.host.up, self.dev, *(interfaces or (f"{US}/64",)))

    def settle(self) -> Wire6:
        """Past duplicate address detection and the reports that go with it."""
        self.run(5000)
        self.frames.clear()
        return self

    def run(self, ms: float) -> list[Any]:
        """What was sent meanwhile."""
        self.frames.clear()
        self.engine.run(until=self.engine.now + int(ms * 1e6))
        return [frame for _, frame in self.frames]

    def send(self, packet: Any, ms: float = 1) -> list[Any]:
        """Deliver one frame; what came back within `ms`."""
        self.frames.clear()
        self.port.send(bytes(packet))
        return self.run_on(ms)

    def run_on(self, ms: float) -> list[Any]:
        self.engine.run(until=self.engine.now + int(ms * 1e6))
        return [frame for _, frame in self.frames]

    def teach(self, ip: str = PEER) -> None:
        """The host learns the peer's link address, and that it can be reached."""
        self.send(solicitation(US, ip))
        self.send(
            Ether(src=PEER_MAC, dst=OUR_MAC)
            / IPv6(src=ip, dst=US, hlim=255)
            / ICMPv6ND_NA(tgt=ip, R=0, S=1, O=1)
            / ICMPv6NDOptDstLLAddr(lladdr=PEER_MAC)
        )

    def ip(self, **fields: Any) -> Any:
        return Ether(src=PEER_MAC, dst=OUR_MAC) / IPv6(**{"src": PEER, "dst": US, **fields})

    @property
    def drops(self) -> dict[Drop, int]:
        return dict(self.host.kernel.drops)


def solicitation(target: str, source: str, **fields: Any) -> Any:
    """A neighbour solicitation as the peer sends it."""
    return (
        Ether(src=PEER_MAC, dst="33:33:ff:" + _tail(target))
        / IPv6(**{"src": source, "dst": _group(target), "hlim": 255, **fields})
        / ICMPv6ND_NS(tgt=target)
        / ICMPv6NDOptSrcLLAddr(lladdr=PEER_MAC)
    )


def _tail(address: str) -> str:
    return ":".join(f"{byte:02x}" for byte in IPv6Address(address).packed[13:])


def _group(address: str) -> str:
    a, b, c = IPv6Address(address).packed[13:]
    return f"ff02::1:ff{a:02x}:{b:02x}{c:02x}"


class Net6:
    """Hosts by name, joined two and two by links; `up` configures and waits."""

    def __init__(self) -> None:
        self.engine = VirtualEngine()
        self.hosts: dict[str, Host] = {}
        self.devices: dict[tuple[str, str], NetDevice] = {}
        self._macs = 0

    def host(self, name: str) -> Host:
        if name not in self.hosts:
            self.hosts[name] = Host(self.engine, name)
        return self.hosts[name]

    def link(self, a: str, b: str) -> Link:
        """`a` gets a device named after `b`, and the other way round."""
        link = Link(self.engine)
        for name, other, port in ((a, b, link.a), (b, a, link.b)):
            self._macs += 1
            mac = bytes([2, 0, 0, 0, 0, self._macs])
            self.devices[name, other] = self.host(name).add_softnic(other, mac, port)
        return link

    def up(self, **interfaces: str) -> None:
        """`a_b="fd00::1/64"`: the address of host `a` on its device towards `b`."""
        tasks = []
        for where, addresses in interfaces.items():
            name, other = where.split("_")
            host = self.hosts[name]
            tasks.append(host.start(host.up, self.devices[name, other], *addresses.split()))
        self.engine.run(until=self.engine.now + 10 * SECOND, stop=finished(*tasks))
        for task in tasks:
            if task.exception is not None:
                raise task.exception

    def run(self, seconds: float) -> None:
        self.engine.run(until=self.engine.now + int(seconds * SECOND))

    def processes(self, *programs: tuple[str, Callable[..., Any]]) -> None:
        """Run `fn(socket)` on the hosts named until all have ended."""
        started = [self.hosts[name].process(fn.__name__, fn) for name, fn in programs]
        self.engine.run(
            until=self.engine.now + 100 * SECOND,
            stop=lambda: not any(p.alive for p in started),
        )
        for process in started:
            assert not process.tracebacks, process.tracebacks[0]
            assert not process.alive, f"{process.name} has not ended"
