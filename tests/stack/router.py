"""Three hosts in virtual time: `a` in 10.1.0.0/24, `b` in 10.2.0.0/24, router `r` between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import Ether

from pystack.core.checksum import checksum
from pystack.core.engine import VirtualEngine
from pystack.core.headers.icmp import ICMP_ECHO, IcmpHeader
from pystack.core.headers.ipv4 import IPPROTO_ICMP
from pystack.core.skb import SkBuff
from pystack.core.task import Task
from pystack.dev.netdev import NetDevice
from pystack.dev.wire import Link, Tapped
from pystack.host import Host, finished
from pystack.uapi.process import Process

A, RA, RB, B = "10.1.0.2", "10.1.0.1", "10.2.0.1", "10.2.0.2"
MS = 1_000_000
SECOND = 1000 * MS


def mac(n: int) -> bytes:
    return bytes([2, 0, 0, 0, 0, n])


def ip4(text: str) -> bytes:
    return bytes(int(part) for part in text.split("."))


class Net:
    """`mtu` is that of b's link and, with `b_knows`, of b itself."""

    def __init__(self, *, mtu: int = 1500, b_knows: bool = False, seed: int = 1) -> None:
        self.engine = VirtualEngine()
        self.a, self.r, self.b = (Host(self.engine, name, seed=seed) for name in "arb")
        self.frames: dict[str, list[bytes]] = {"a": [], "b": []}
        left, right = Link(self.engine), Link(self.engine)
        self.a0 = self.a.add_softnic("eth0", mac(1), self._tapped("a", left.a))
        self.r0 = self.r.add_softnic("eth0", mac(2), left.b)
        self.r1 = self.r.add_softnic("eth1", mac(3), right.a)
        self.b0 = self.b.add_softnic("eth0", mac(4), self._tapped("b", right.b))
        self.r1.mtu = mtu
        if b_knows:
            self.b0.mtu = mtu
        self.do(self.a, self.a.up, self.a0, f"{A}/24")
        self.do(self.r, self.r.up, self.r0, f"{RA}/24")
        self.do(self.r, self.r.up, self.r1, f"{RB}/24")
        self.do(self.b, self.b.up, self.b0, f"{B}/24")
        self.a.ipv4.add_route("default", RA)
        self.b.ipv4.add_route("default", RB)
        self.r.kernel.sysctl.write("net.ipv4.ip_forward", "1")

    def _tapped(self, name: str, port: Any) -> Any:
        """Sees what arrives at the host and what it sends."""

        def probe(direction: str, frame: bytes, start: int, end: int) -> None:
            self.frames[name].append(frame)

        return Tapped(port, self.engine, probe)

    @property
    def hosts(self) -> tuple[Host, Host, Host]:
        return self.a, self.r, self.b

    def run(self, ms: float = 10) -> None:
        self.engine.run(until=self.engine.now + int(ms * MS))

    def do(self, host: Host, fn: Callable[..., Any], *args: Any) -> Any:
        """Run `fn` as a task of `host`; its result."""
        task: Task = host.start(fn, *args)
        task.on_exit.append(lambda task: None)
        self.engine.run(until=self.engine.now + SECOND, stop=finished(task))
        if task.exception is not None:
            raise task.exception
        return task.result

    def process(self, host: Host, fn: Callable[..., Any], *args: Any) -> Process:
        return host.process(fn.__name__, fn, *args)

    def wait(self, *processes: Process, seconds: float = 600) -> None:
        """Until they have ended without a traceback."""
        self.engine.run(
            until=self.engine.now + int(seconds * SECOND),
            stop=lambda: all(p.exit_status is not None for p in processes),
        )
        for process in processes:
            assert process.exit_status is not None, f"{process.name} did not end"
            assert not process.tracebacks, process.tracebacks[0]

    def inject(self, host: Host, dev: NetDevice, packet: Any, dst: bytes | None = None) -> None:
        """Let `host` receive an IP packet on `dev`."""
        data = bytes(Ether(src=mac(99), dst=dst or dev.mac) / packet)

        def arrive() -> None:
            skb = SkBuff(host.kernel, memoryview(data))
            skb.dev = dev
            host.core.netif_rx(skb)

        self.do(host, arrive)

    def balance(self) -> None:
        """Nothing leaks: no packet is left anywhere."""
        assert {h.name: h.kernel.skbs_alive for h in self.hosts} == {"a": 0, "r": 0, "b": 0}


class Ping:
    """Echo requests from `host`, and the ICMP messages that come back as scapy reads them."""

    def __init__(self, net: Net, host: Host) -> None:
        self.net = net
        self.host = host
        self.replies: list[Any] = []
        self.host.ipv4.raw_deliver = self._seen
        self.sequence = 0

    def _seen(self, skb: SkBuff) -> bool:
        if skb.protocol == IPPROTO_ICMP:
            self.replies.append(IP(bytes(skb.buf[skb.network_header : skb.end])))
        return False

    def __call__(
        self, to: str, size: int = 56, ms: float = 10, *, data: bytes | None = None, **how: Any
    ) -> list[Any]:
        """Send one; what came back within `ms`.  `how` goes to `Ipv4.send`."""
        self.replies.clear()
        self.sequence += 1
        body = bytes(i & 255 for i in range(size)) if data is None else data
        header = IcmpHeader(ICMP_ECHO, 0, 0, 7, self.sequence)
        header = header._replace(checksum=checksum(header.pack() + body))
        ipv4 = self.host.ipv4

        def send() -> None:
            skb = SkBuff(self.host.kernel, memoryview(body))
            skb.push(header.pack())
            route = ipv4.route(ip4(to))
            ipv4.send(skb, route, route.saddr, ip4(to), IPPROTO_ICMP, **how)

        self.net.do(self.host, send)
        self.net.run(ms)
        return list(self.replies)


def echoed(replies: list[Any], size: int) -> bool:
    """One echo reply that carries the very bytes?"""
    if len(replies) != 1 or replies[0][ICMP].type != 0:
        return False
    return bytes(replies[0][ICMP].payload)[:size] == bytes(i & 255 for i in range(size))
