"""Programs on a simulated host, or on this machine's kernel, through the same modules."""

from __future__ import annotations

import errno
import select as real_select
import socket as real_socket
import threading
import time as real_time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from realsys import RealSys
from uapi_fake import FakeNet

from pystack.core.costs import Costs
from pystack.core.engine import VirtualEngine
from pystack.core.kernel import Kernel
from pystack.host import Host
from pystack.uapi.process import Process
from pystack.uapi.selectmod import SelectModule
from pystack.uapi.sockmod import SocketModule
from pystack.uapi.system import System
from pystack.uapi.timemod import TimeModule

SECOND = 10**9
TRANSPORTS = ("fake", "tcp")
TCP = (real_socket.AF_INET, real_socket.SOCK_STREAM, real_socket.IPPROTO_TCP)


@dataclass
class Env:
    """What a program runs on.  `sys` has the system calls by name; `spawn` starts a thread."""

    socket: Any
    select: Any
    time: Any
    sys: Any
    spawn: Callable[..., Any]


class World:
    """One simulated host: over the fake transport, `net`, or the real one, `host.tcp`."""

    def __init__(
        self, costs: Costs | None = None, file_max: int = 1 << 20, transport: str = "fake"
    ) -> None:
        self.engine = VirtualEngine()
        costs = costs or Costs.zero()
        if transport == "tcp":
            self.host: Host | None = Host(self.engine, "h", costs=costs)
            self.kernel, self.system = self.host.kernel, self.host.system
            return
        self.host = None
        self.kernel = Kernel(self.engine, "h", costs=costs)
        self.system = System(self.kernel, file_max)
        self.net = FakeNet(self.kernel)
        self.system.register(*TCP, cast(Any, self.net.socket))

    def process(self, name: str = "prog", **limits: int) -> Process:
        return Process(self.kernel, self.system, name, **limits)

    def start(self, program: Callable[..., Any], *args: Any, **limits: int) -> Process:
        """Start `program(env, *args)` in a new process."""
        process = self.process(getattr(program, "__name__", "prog"), **limits)
        return process.start(program, env_of(process), *args)

    def finish(self, *processes: Process, seconds: float = 1000) -> None:
        """Run until all have ended; whatever they raised fails the test."""
        self.engine.run(
            until=self.engine.now + int(seconds * SECOND),
            stop=lambda: not any(process.alive for process in processes),
        )
        for process in processes:
            assert not process.tracebacks, process.tracebacks[0]
            assert not process.alive, f"{process} has not ended"

    def run(self, program: Callable[..., Any], *args: Any, **limits: int) -> Any:
        """The result of `program(env, *args)`, after which nothing may be left."""
        process = self.start(program, *args, **limits)
        self.finish(process)
        self.check_clean()
        return process.result

    def check_clean(self) -> None:
        """No process, open file, socket or packet is left, once TIME_WAIT has passed."""
        assert self.system.processes == {}
        assert self.system.open_files.count == 0
        if self.host is None:
            assert not self.net.alive
            return
        self.engine.run(until=self.engine.now + 300 * SECOND)
        assert self.host.tcp.alive() == 0
        assert self.kernel.skbs_alive == 0


def env_of(process: Process) -> Env:
    return Env(
        SocketModule(process),
        SelectModule(process),
        TimeModule(process),
        process.sys,
        lambda fn, *args: process.thread(fn, *args, daemon=True),
    )


def real_env() -> Env:
    """This machine: its kernel, its clock, its threads."""

    def spawn(fn: Callable[..., Any], *args: Any) -> threading.Thread:
        thread = threading.Thread(target=fn, args=args, daemon=True)
        thread.start()
        return thread

    return Env(real_socket, real_select, real_time, RealSys(), spawn)


def agree(program: Callable[..., Any], *args: Any) -> Any:
    """What `program(env, *args)` gives on this machine, the fake transport and TCP: the same."""
    linux = program(real_env(), *args)
    for transport in TRANSPORTS:
        assert World(transport=transport).run(program, *args) == linux, transport
    return linux


def outcome(call: Callable[..., Any], *args: Any) -> Any:
    """A call's result, or the name of its errno."""
    try:
        return call(*args)
    except OSError as exc:
        return errno.errorcode.get(exc.errno or 0, repr(exc))


def connected(env: Env) -> tuple[Any, Any, Any]:
    """A listener, a connected client and the server's end of it, over loopback."""
    listener = env.socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(16)
    client = env.socket.socket()
    client.connect(listener.getsockname())
    server, _ = listener.accept()
    return listener, client, server
