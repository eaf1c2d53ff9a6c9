"""Hosts around a router, or on one link, whose netfilter the tests look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pystack.core.engine import VirtualEngine
from pystack.core.skb import SkBuff
from pystack.dev.netdev import NetDevice
from pystack.dev.wire import Link
from pystack.host import Host, finished

SECOND = 10**9
Program = tuple[Host, Callable[..., Any]]


class Wired:
    """`hosts[0]` is a router with a link to each of the others: 10.0.N.1 there, 10.0.N.2 here.

    `frames[N]` are those that host N and the router have exchanged, in order.
    """

    def __init__(self, others: int, seed: int = 1) -> None:
        self.engine = VirtualEngine()
        self.router = Host(self.engine, "router", seed=seed)
        self.router.kernel.sysctl["net.ipv4.conf.default.forwarding"] = 1
        self.hosts = [self.router]
        self.frames: dict[int, list[bytes]] = {}
        for number in range(1, others + 1):
            self._add(number)

    def _add(self, number: int) -> None:
        link = Link(self.engine)
        host = Host(self.engine, f"h{number}")
        dev = host.add_softnic("eth0", bytes([2, 0, 0, number, 0, 2]), link.a)
        near = self.router.add_softnic(f"eth{number}", bytes([2, 0, 0, number, 0, 1]), link.b)
        frames = self.frames[number] = list[bytes]()

        def tap(dev: NetDevice, skb: SkBuff, outgoing: bool) -> None:
            if dev is near:
                frames.append(bytes(skb))

        self.router.core.taps.append(tap)

        def up() -> None:
            host.up(dev, f"10.0.{number}.2/24")
            host.ipv4.add_route("default", f"10.0.{number}.1")

        self.run_tasks(
            host.start(up), self.router.start(self.router.up, near, f"10.0.{number}.1/24")
        )
        self.hosts.append(host)

    def run_tasks(self, *tasks: Any, seconds: float = 100) -> None:
        self.engine.run(until=self.engine.now + int(seconds * SECOND), stop=finished(*tasks))
        assert finished(*tasks)(), "a task has not ended"

    def run(self, seconds: float) -> None:
        self.engine.run(until=self.engine.now + int(seconds * SECOND))

    def programs(
        self, *programs: tuple[Host, Callable[..., Any]], seconds: float = 100
    ) -> list[Any]:
        """The results of `fn(socket)` on each host, all at once."""
        processes = [host.process(fn.__name__, fn) for host, fn in programs]
        self.engine.run(
            until=self.engine.now + int(seconds * SECOND),
            stop=lambda: not any(process.alive for process in processes),
        )
        for process in processes:
            assert not process.tracebacks, process.tracebacks[0]
            assert not process.alive, f"{process} has not ended"
        return [process.result for process in processes]
