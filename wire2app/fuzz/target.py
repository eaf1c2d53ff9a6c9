"""The host under fire: a router with servers, and a peer that uses them meanwhile.

Real traffic leads the damaged copies of its frames into connections that exist.
"""

from __future__ import annotations

import random
from contextlib import suppress
from ipaddress import ip_address
from itertools import cycle
from typing import Any

from pystack.core.costs import Costs
from pystack.core.drop import Drop
from pystack.core.engine import VirtualEngine
from pystack.dev.wire import Link, Port, Receive
from pystack.host import Host, NetNamespace, finished
from pystack.uapi.process import Process
from pystack.uapi.sockmod import SocketModule
from pystack.uapi.timemod import TimeModule
from wire2app.fuzz.bound import Bound
from wire2app.fuzz.frames import Frames, Pool

__all__ = ["SECOND", "Target"]

SECOND = 1_000_000_000
ETH_P_ALL = 3
MACS = [bytes([2, 0, 0, 0, 0, n]) for n in range(4)]
GROUPS = [bytes.fromhex(text) for text in ("ffffffffffff", "01005e000001", "3333ff000001")]
TCP_PORT, UDP_PORT = 80, 9
DELAY = 20_000  # ns each way: real traffic does not crowd out the rest
SPACING = 2_000  # ns between frames: the ring never overflows
QUIET = 433_000 * SECOND  # by then all timers have run out: conntrack keeps TCP for five days
RULES = """*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -p tcp -m tcp --dport 7 -j NOTRACK
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -p tcp -m tcp --dport 40000 -j DNAT --to-destination 10.0.0.1:80
-A PREROUTING -p udp -m udp --dport 40000 -j REDIRECT --to-ports 9
-A POSTROUTING -o eth1 -j MASQUERADE
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate INVALID -j DROP
-A INPUT -p udp -m udp --dport 65535 -j REJECT --reject-with icmp-port-unreachable
-A INPUT -p tcp -m tcp --dport 65535 -j REJECT --reject-with tcp-reset
-A FORWARD -p icmp -m limit --limit 5/sec -j ACCEPT
COMMIT
"""
_LOST = (Drop.DEV_RING_FULL, Drop.DEV_DOWN)


class FuzzPort:
    """The peer's end of the wire; `inject` puts a frame on it, `seen` collects the real ones."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self.injected = self.sent = 0
        self.seen: list[bytes] = []

    def send(self, frame: bytes, on_sent: Any = None) -> None:
        self._keep(frame)
        self.sent += 1
        self._port.send(frame, on_sent)

    def on_receive(self, receive: Receive) -> None:
        def arrived(frame: bytes, start: int, end: int) -> None:
            self._keep(frame)
            receive(frame, start, end)

        self._port.on_receive(arrived)

    def inject(self, frame: bytes) -> None:
        self.injected += 1
        self._port.send(frame)

    def _keep(self, frame: bytes) -> None:
        self.seen.append(frame)
        if len(self.seen) > 64:
            del self.seen[:32]


class Target:
    """`fire(n)` lets n frames arrive; `left()` names what should be gone after `settle`."""

    def __init__(self, seed: int) -> None:
        self.engine = VirtualEngine()
        self.rng = random.Random(f"fuzz/{seed}")
        free = Costs.zero()
        self.host = Host(self.engine, "target", seed=seed, costs=free)
        self.peer = Host(self.engine, "peer", seed=seed, costs=free)
        link, behind = Link(self.engine, delay=DELAY), Link(self.engine)
        self.port = FuzzPort(link.b)
        self.eth0 = self.host.add_softnic("eth0", MACS[1], link.a)
        self.eth1 = self.host.add_softnic("eth1", MACS[3], behind.a)
        self.peer_dev = self.peer.add_softnic("eth0", MACS[2], self.port)
        for name in ("net.ipv4.conf.all.forwarding", "net.ipv6.conf.all.forwarding"):
            self.host.kernel.sysctl[name] = 1
        self._do(self.host, self.host.up, self.eth0, "10.0.0.1/24", "fd00::1/64")
        self._do(self.host, self.host.up, self.eth1, "10.0.1.1/24", "fd00:0:0:1::1/64")
        self._do(self.host, self.host.up, self.host.add_vlan(self.eth0, 5), "10.0.5.1/24")
        self._do(self.peer, self.peer.up, self.peer_dev, "10.0.0.2/24", "fd00::2/64")
        if self.rng.random() < 0.5:
            self.host.iptables_restore(RULES)
        self.frames = Frames(self.rng, _pool())
        self.bound = Bound()
        for host in (self.host, self.peer):
            host.kernel.trace.attach("netif_receive_skb", self.bound.packet)
        self.ending = False
        self.processes = [
            self._start(self.host, self._serve_tcp),
            self._start(self.host, self._serve_udp),
            self._start(self.host, self._listen_raw),
            self._start(self.host, self._capture),
            self._start(self.peer, self._use_tcp),
            self._start(self.peer, self._use_udp),
        ]

    def _start(self, host: Host, fn: Any) -> Process:
        process = Process(host.kernel, host.system, fn.__name__)
        return process.start(fn, SocketModule(process), TimeModule(process))

    def _do(self, namespace: NetNamespace, fn: Any, *args: Any) -> None:
        self.engine.run(stop=finished(namespace.start(fn, *args)))

    # -- firing ----------------------------------------------------------------------------

    def fire(self, number: int) -> None:
        self.bound.grant(number)
        aim = self.port.injected + number
        while self.port.injected < aim:
            seen = self.port.seen
            if seen and self.rng.random() < 0.7:
                burst = self.frames.mutate(self.rng.choice(seen))
            else:
                burst = [self.frames.make()]
            for frame in burst:
                self.port.inject(frame)
                self.run(SPACING)

    def settle(self) -> None:
        """Let the processes end and everything time out, then take the devices down."""
        self.ending = True
        self.run(5 * SECOND)
        for process in self.processes:
            process.kill()
        self.run(QUIET)
        self._do(self.peer, self.peer.down, self.peer_dev)
        for dev in reversed(list(self.host.core.devices.values())):
            if not dev.loopback:
                self._do(self.host, self.host.down, dev)
        self.run(SECOND)

    def run(self, ns: int) -> None:
        self.engine.run(until=self.engine.now + ns, stop=self.bound.event)

    def power_off(self) -> None:
        """So that the memory of many runs can be freed."""
        for host in (self.host, self.peer):
            host.kernel.power_off()

    # -- accounts --------------------------------------------------------------------------

    def left(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for host in (self.host, self.peer):
            kernel = host.kernel
            counts |= {
                f"{host.name}: skbs": kernel.skbs_alive,
                f"{host.name}: sockets": host.tcp.alive(),
                f"{host.name}: timers": sum(base.active for base in kernel.timer_bases),
                f"{host.name}: processes": len(host.system.processes),
                f"{host.name}: files": host.system.open_files.count,
                f"{host.name}: neighbours": len(host.arp.table),
                f"{host.name}: conntrack": len(host.netfilter.conntrack),
            }
        return {name: count for name, count in counts.items() if count}

    def balance(self) -> tuple[int, int]:
        """Frames put on the wire to the host, and those it received or dropped at its door."""
        drops = self.host.kernel.drops
        came = self.eth0.stats.rx_packets + sum(drops[reason] for reason in _LOST)
        return self.port.injected + self.port.sent, came

    def errors(self) -> list[str]:
        return [text for process in self.processes for text in process.tracebacks]

    # -- applications ----------------------------------------------------------------------

    def _serve_tcp(self, socket: Any, time: Any) -> None:
        with socket.socket(socket.AF_INET6) as listener:  # takes both families
            listener.bind(("::", TCP_PORT))
            listener.listen(8)
            listener.settimeout(0.05)
            while not self.ending:
                try:
                    conn, _ = listener.accept()
                    with conn:
                        conn.settimeout(0.02)
                        while data := conn.recv(4096):
                            conn.sendall(data)
                except OSError:
                    continue

    def _use_tcp(self, socket: Any, time: Any) -> None:
        addresses = cycle(("10.0.0.1", "fd00::1"))
        while not self.ending:
            time.sleep(0.0002)
            address = next(addresses)
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with socket.socket(family) as sk:
                sk.settimeout(0.02)
                try:
                    sk.connect((address, TCP_PORT))
                    for size in (10, 1000, 8000):
                        sk.sendall(bytes(size))
                        sk.recv(size)
                except OSError:
                    continue

    def _serve_udp(self, socket: Any, time: Any) -> None:
        """Says nothing to its own port, as inetd: "0.0.0.0" is this host to Linux as well, and a
        broadcast from there would go round for ever."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sk:
            sk.bind(("", UDP_PORT))
            sk.settimeout(0.05)
            while not self.ending:
                try:
                    data, address = sk.recvfrom(65536)
                    if address[1] != UDP_PORT:
                        sk.sendto(data[:3000], address)
                except OSError:
                    continue

    def _listen_raw(self, socket: Any, time: Any) -> None:
        """Raw sockets of both families, one after the other."""
        kinds = (socket.AF_INET, socket.IPPROTO_ICMP), (socket.AF_INET6, socket.IPPROTO_ICMPV6)
        with (
            socket.socket(kinds[0][0], socket.SOCK_RAW, kinds[0][1]) as four,
            socket.socket(kinds[1][0], socket.SOCK_RAW, kinds[1][1]) as six,
        ):
            for sk in (four, six):
                sk.settimeout(0.01)
            for sk in cycle((four, six)):
                if self.ending:
                    return
                with suppress(OSError):
                    sk.recvfrom(65536)

    def _capture(self, socket: Any, time: Any) -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as sk:
            sk.settimeout(0.05)
            while not self.ending:
                with suppress(OSError):
                    sk.recvfrom(65536)

    def _use_udp(self, socket: Any, time: Any) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sk:
            sk.settimeout(0.01)
            while not self.ending:
                time.sleep(0.0002)
                try:
                    sk.sendto(bytes(100), ("10.0.0.1", UDP_PORT))
                    sk.recvfrom(65536)
                except OSError:
                    continue


def _pool() -> Pool:
    ipv4 = [ip_address(text).packed for text in (
        "10.0.0.1", "10.0.0.2", "10.0.1.1", "10.0.1.9", "10.0.5.1", "10.0.0.255", "224.0.0.1",
        "255.255.255.255", "127.0.0.1", "0.0.0.0", "192.0.2.1", "240.0.0.1",
    )]  # fmt: skip
    ipv6 = [ip_address(text).packed for text in (
        "fd00::1", "fd00::2", "fe80::ff:fe00:1", "fe80::ff:fe00:2", "fd00:0:0:1::9", "ff02::1",
        "ff02::2", "ff02::1:ff00:1", "::", "::1", "2001:db8::1", "::ffff:10.0.0.1",
    )]  # fmt: skip
    ports = (TCP_PORT, UDP_PORT, 32768, 40000, 7, 0, 65535)
    return Pool([*MACS[1:], *GROUPS, MACS[0]], ipv4, ipv6, ports)
