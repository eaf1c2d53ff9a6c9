"""Hosts in virtual time for the measurements of the stack: one alone, or two on a wire."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from pystack.core.engine import VirtualEngine
from pystack.dev.wire import Link
from pystack.host import Host, finished
from pystack.uapi.process import Process
from pystack.uapi.sockmod import SocketModule
from wire2app.bench.peer import HOST_MAC, PEER_MAC, Peer

MS = 1_000_000
SECOND = 1_000_000_000
SERVER, CLIENT = "10.0.0.1", "10.0.0.2"
PORT, CLIENT_PORT = 80, 40_000
NOFILE = 20_000
BATCH = 100  # connections opened at once: below every limit of the SYN and accept queues


def start(host: Host, fn: Callable[..., Any], *args: Any) -> Process:
    """Run `fn(process, socket_module, *args)` as an application that may have many files."""
    process = Process(host.kernel, host.system, fn.__name__, nofile=NOFILE)
    return process.start(fn, process, SocketModule(process), *args)


def check(*processes: Process) -> None:
    """RuntimeError with the traceback of one that crashed."""
    for process in processes:
        if process.tracebacks:
            raise RuntimeError(f"{process.name} crashed:\n{process.tracebacks[0]}")


def _ended(process: Process) -> bool:
    return process.exit_status is not None


class Alone:
    """One host, and a scripted peer at the other end of its wire."""

    def __init__(self) -> None:
        self.engine = VirtualEngine()
        self.host = Host(self.engine, "server")
        self.peer = Peer(self.engine)
        self.dev = self.host.add_softnic("eth0", HOST_MAC, self.peer)
        up = self.host.start(self.host.up, self.dev, f"{SERVER}/24")
        self.engine.run(stop=finished(up))
        self.run()

    def run(self, ms: int = 1) -> None:
        """Let what has arrived be dealt with."""
        self.engine.run(until=self.engine.now + ms * MS)

    def open(self, ports: Sequence[int]) -> None:
        """Connect from all of `ports`; the application accepts."""
        self.run()
        for at in range(0, len(ports), BATCH):
            batch = ports[at : at + BATCH]
            self.peer.connect(batch, PORT)
            self.run(10)
            lost = [port for port in batch if port not in self.peer.open]
            if lost:
                raise RuntimeError(f"{len(lost)} connections did not come about")


class Two:
    """Client and server on a 10 Gbit/s wire."""

    def __init__(self) -> None:
        self.engine = VirtualEngine()
        link = Link(self.engine)
        self.server = Host(self.engine, "server")
        self.client = Host(self.engine, "client")
        server_dev = self.server.add_softnic("eth0", HOST_MAC, link.a)
        client_dev = self.client.add_softnic("eth0", PEER_MAC, link.b)
        tasks = (
            self.server.start(self.server.up, server_dev, f"{SERVER}/24"),
            self.client.start(self.client.up, client_dev, f"{CLIENT}/24"),
        )
        self.engine.run(stop=finished(*tasks))

    def settle(self) -> None:
        """Let what has begun come to where it waits."""
        self.engine.run(until=self.engine.now + MS)

    def run(self, *processes: Process) -> None:
        """Until all of them have ended."""
        deadline = self.engine.now + 3600 * SECOND
        for process in processes:
            self.engine.run(until=deadline, stop=partial(_ended, process))
        check(*processes)
        if any(process.alive for process in processes):
            raise RuntimeError("an application did not end within an hour of simulated time")
