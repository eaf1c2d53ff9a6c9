"""Two hosts on a bad wire, everything drawn from one seed (after smoltcp's netsim)."""

from __future__ import annotations

import errno
import hashlib
import random
from dataclasses import dataclass, field
from typing import Any

from pystack.core.engine import VirtualEngine
from pystack.dev.wire import Impaired, Impairment, Link
from pystack.host import Host
from pystack.uapi.process import Process

SECOND = 1_000_000_000


@dataclass
class Net:
    """`hosts` 10.0.0.1 and 10.0.0.2, joined by an impaired link."""

    seed: int
    setting: Impairment
    rate: int = 10_000_000_000
    delay: int = 500
    cpus: int = 1
    mtu: int = 1500
    sysctl: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.engine = VirtualEngine()
        link = Link(self.engine, rate=self.rate, delay=self.delay)
        self.wire = Impaired(link.a, self.engine, Impairment(), self.seed)
        self.hosts = []
        for number, port in ((1, self.wire), (2, link.b)):
            host = Host(self.engine, f"h{number}", seed=self.seed, cpus=self.cpus)
            # The subject is TCP: ARP, which has no checksum, asks once while the wire is good.
            host.kernel.sysctl["net.ipv4.neigh.default.base_reachable_time_ms"] = 10**8
            for name, value in self.sysctl.items():
                host.kernel.sysctl[name] = value
            dev = host.add_softnic("eth0", bytes([2, 0, 0, 0, 0, number]), port)
            dev.mtu = self.mtu
            host.start(host.up, dev, f"10.0.0.{number}/24")
            self.hosts.append(host)
        self.engine.run(until=SECOND)
        for host, peer in zip(self.hosts, ("10.0.0.2", "10.0.0.1"), strict=True):
            self.run(host.process("hello", _say_hello, peer))
        self.wire._setting = self.setting

    def run(self, *processes: Process, seconds: float = 3600) -> None:
        """Until all have ended; what they raised fails the test."""
        deadline = self.engine.now + int(seconds * SECOND)
        self.engine.run(until=deadline, stop=lambda: not any(p.alive for p in processes))
        for process in processes:
            assert not process.tracebacks, process.tracebacks[0]
            assert not process.alive, f"seed {self.seed}: {process} hangs"

    def finish(self) -> None:
        """After TIME_WAIT nothing may be left: no socket, packet or timer."""
        self.engine.run(until=self.engine.now + 900 * SECOND)
        for host in self.hosts:
            kernel = host.kernel
            timers = sum(base.active for base in kernel.timer_bases)
            arp = sum(neigh.timer.pending for neigh in host.arp.table.values())
            left = host.tcp.alive(), kernel.skbs_alive, timers - arp
            assert left == (0, 0, 0), f"seed {self.seed}: {host.name} sockets, skbs, timers: {left}"


def _say_hello(socket: Any, peer: str) -> None:
    with socket.socket() as sk:
        assert sk.connect_ex((peer, 9)) == errno.ECONNREFUSED


def echo_server(socket: Any, port: int = 80) -> int:
    """Sends back what it gets until the client shuts down; returns the bytes."""
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", port))
        listener.listen(4)
        conn, _ = listener.accept()
    total = 0
    with conn:
        while data := conn.recv(20_000):
            conn.sendall(data)
            total += len(data)
    return total


def sink_and_source(socket: Any, size: int, seed: int, port: int = 80) -> str:
    """Reads to the end, then sends `size` bytes; returns the hash of what came."""
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", port))
        listener.listen(4)
        conn, _ = listener.accept()
    digest = hashlib.sha256()
    with conn:
        while data := conn.recv(65536):
            digest.update(data)
        conn.sendall(payload(size, f"server/{seed}"))
    return digest.hexdigest()


def client(socket: Any, size: int, seed: int, port: int = 80) -> str:
    """The other end of `sink_and_source`, writing in pieces of all sizes."""
    rng = random.Random(f"client/{seed}")
    data = memoryview(payload(size, f"client/{seed}"))
    digest = hashlib.sha256()
    with socket.socket() as sk:
        sk.connect(("10.0.0.1", port))
        while data:
            n = rng.choice([1, 100, 1448, 5000, 70_000])
            sk.sendall(data[:n])
            data = data[n:]
        sk.shutdown(socket.SHUT_WR)
        while answer := sk.recv(rng.choice([1, 1000, 65536])):
            digest.update(answer)
    return digest.hexdigest()


def payload(size: int, name: str) -> bytes:
    return random.Random(name).randbytes(size)


def sha(size: int, name: str) -> str:
    return hashlib.sha256(payload(size, name)).hexdigest()


def transfer(net: Net, size: int) -> None:
    """`size` bytes each way; both hashes must match."""
    seed = net.seed
    server = net.hosts[0].process("server", sink_and_source, size, seed)
    other = net.hosts[1].process("client", client, size, seed, cpu=net.cpus - 1)
    net.run(server, other)
    assert server.result == sha(size, f"client/{seed}"), f"seed {seed}: client to server"
    assert other.result == sha(size, f"server/{seed}"), f"seed {seed}: server to client"
