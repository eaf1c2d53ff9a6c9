"""Sequences of socket calls by two processes, on this machine's kernel and on a simulated host.

A sequence is a list of `(process, call, arguments...)`.  Both sides run it through the same
`Actor`, one for each process; only the modules under it differ.  Sockets are non-blocking and
everything is on the loopback, where Linux delivers before a call returns, so nothing waits.
"""

from __future__ import annotations

import errno
import fcntl
import os
import pickle
import signal
import socket as so
import struct
import termios
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from both import machine_of

from pystack.core.engine import VirtualEngine
from pystack.host import Host
from pystack.uapi.process import Process

Step = tuple[Any, ...]
SETTLE = 1_000_000  # ns between two calls on the simulated host
OPTIONS: dict[str, tuple[int, int]] = {
    "SO_REUSEADDR": (so.SOL_SOCKET, so.SO_REUSEADDR),
    "SO_REUSEPORT": (so.SOL_SOCKET, so.SO_REUSEPORT),
    "SO_KEEPALIVE": (so.SOL_SOCKET, so.SO_KEEPALIVE),
    "SO_BROADCAST": (so.SOL_SOCKET, so.SO_BROADCAST),
    "SO_ERROR": (so.SOL_SOCKET, so.SO_ERROR),
    "SO_TYPE": (so.SOL_SOCKET, so.SO_TYPE),
    "SO_ACCEPTCONN": (so.SOL_SOCKET, so.SO_ACCEPTCONN),
    "SO_RCVBUF": (so.SOL_SOCKET, so.SO_RCVBUF),
    "TCP_NODELAY": (so.IPPROTO_TCP, so.TCP_NODELAY),
    "TCP_KEEPIDLE": (so.IPPROTO_TCP, so.TCP_KEEPIDLE),
    "TCP_USER_TIMEOUT": (so.IPPROTO_TCP, so.TCP_USER_TIMEOUT),
    "IP_TTL": (so.IPPROTO_IP, so.IP_TTL),
    "IP_TOS": (so.IPPROTO_IP, so.IP_TOS),
    "unknown": (so.IPPROTO_TCP, 250),
}


class Actor:
    """The sockets of one process.  `ports` are what ports 0 and 1 of a sequence are here."""

    def __init__(
        self, socket: Any, select: Any, inq: Callable[[Any], int], ports: Sequence[int]
    ) -> None:
        self._so, self._select, self._inq, self._ports = socket, select, inq, ports
        self.socks: list[Any] = []

    def step(self, call: str, *args: Any) -> Any:
        """What a call gives, or the name of its errno."""
        try:
            return getattr(self, call)(*args)
        except OSError as exc:
            return errno.errorcode.get(exc.errno or 0, repr(exc))

    def finish(self) -> None:
        for sock in self.socks:
            sock.close()

    def _sock(self, number: int) -> Any:
        if not self.socks:
            self.socket(True)
        return self.socks[number % len(self.socks)]

    def _keep(self, sock: Any) -> None:
        sock.setblocking(False)
        self.socks.append(sock)

    def _name(self, address: Any) -> Any:
        """An address without what is chosen by chance."""
        host, port = address
        return host, f"port {self._ports.index(port)}" if port in self._ports else bool(port)

    # -- the calls of a sequence -----------------------------------------------------------

    def socket(self, stream: bool) -> None:
        self._keep(self._so.socket(so.AF_INET, so.SOCK_STREAM if stream else so.SOCK_DGRAM))

    def bind(self, number: int, port: int | None, any_address: bool) -> None:
        address = "" if any_address else "127.0.0.1"
        self._sock(number).bind((address, 0 if port is None else self._ports[port]))

    def listen(self, number: int, backlog: int) -> None:
        self._sock(number).listen(backlog)

    def connect(self, number: int, port: int) -> None:
        self._sock(number).connect(("127.0.0.1", self._ports[port]))

    def accept(self, number: int) -> Any:
        sock, address = self._sock(number).accept()
        self._keep(sock)
        return self._name(address)

    def send(self, number: int, size: int) -> int:
        return (
            int(self._sock(number).send(bytes(range(1, 251)) * 40, 0))
            if size < 0
            else int(self._sock(number).send(b"d" * size))
        )

    def sendto(self, number: int, size: int, port: int) -> int:
        return int(self._sock(number).sendto(b"t" * size, ("127.0.0.1", self._ports[port])))

    def recv(self, number: int, size: int, peek: bool) -> Any:
        data = self._sock(number).recv(size, so.MSG_PEEK if peek else 0)
        return len(data), data[:1], data[-1:]

    def recvfrom(self, number: int, size: int) -> Any:
        data, address = self._sock(number).recvfrom(size)
        return len(data), self._name(address) if address else None

    def shutdown(self, number: int, how: int) -> None:
        self._sock(number).shutdown(how)

    def close(self, number: int) -> None:
        if self.socks:
            self.socks.pop(number % len(self.socks)).close()

    def dup(self, number: int) -> None:
        self.socks.append(self._sock(number).dup())

    def getsockname(self, number: int) -> Any:
        return self._name(self._sock(number).getsockname())

    def getpeername(self, number: int) -> Any:
        return self._name(self._sock(number).getpeername())

    def poll(self, number: int) -> int:
        poll = self._select.poll()
        poll.register(self._sock(number), 0xFFFF & ~self._select.POLLNVAL)
        return sum(events for _, events in poll.poll(0))

    def getsockopt(self, number: int, option: str) -> int:
        return int(self._sock(number).getsockopt(*OPTIONS[option]))

    def setsockopt(self, number: int, option: str, value: int) -> None:
        self._sock(number).setsockopt(*OPTIONS[option], value)

    def linger(self, number: int) -> None:
        """close resets"""
        value = struct.pack("ii", 1, 0)
        self._sock(number).setsockopt(so.SOL_SOCKET, so.SO_LINGER, value)

    def inq(self, number: int) -> int:
        return self._inq(self._sock(number))

    def state(self, number: int) -> int:
        """tcpi_state"""
        return int(self._sock(number).getsockopt(so.IPPROTO_TCP, so.TCP_INFO, 1)[0])


# -- a simulated host --------------------------------------------------------------------------


def on_host(steps: Sequence[Step]) -> list[Any]:
    """What each step gave."""
    engine = VirtualEngine()
    host = Host(engine, "h")
    for limit in ("rmem_max", "wmem_max"):  # which distributions set
        real = Path("/proc/sys/net/core", limit).read_text()
        host.kernel.sysctl[f"net.core.{limit}"] = int(real)
    results: list[Any] = []
    actors, processes = [], []
    for number in range(2):
        process = Process(host.kernel, host.system, f"p{number}")
        machine = machine_of(process, host)
        process.start(process.sys.pause)

        def inq(sock: Any, sys: Any = process.sys) -> int:
            return int(sys.ioctl(sock.fileno(), termios.FIONREAD))

        actors.append(Actor(machine.socket, machine.select, inq, (7000, 7001)))
        processes.append(process)
    engine.run(until=engine.now + SETTLE)

    def one(index: int, call: Callable[..., Any], *args: Any) -> None:
        processes[index].thread(lambda: results.append(call(*args)))
        engine.run(until=engine.now + SETTLE)
        assert not processes[index].tracebacks, processes[index].tracebacks[0]

    for index, *call in steps:
        one(index, actors[index].step, *call)
    for index in range(2):
        one(index, actors[index].finish)
        processes[index].kill(signal.SIGKILL)
    engine.run(until=engine.now + 300 * 10**9)
    left = host.tcp.alive(), host.kernel.skbs_alive, host.system.open_files.count
    assert left == (0, 0, 0), f"sockets, packets and files left: {left}"
    host.kernel.power_off()
    return results[: len(steps)]


# -- this machine ------------------------------------------------------------------------------


class Linux:
    """Two processes in a network namespace of their own, which run sequence after sequence.

    Both know the sequence; a byte in a pipe is the permission to go on.
    """

    def __init__(self, isolate: Callable[[], None]) -> None:
        self._pipes = [os.pipe() for _ in range(6)]
        (self._to0, self._to1, self._from0, self._from1, self._token0, self._token1) = self._pipes
        self._sequence = 0
        self.pids: list[int] = []
        self._isolate = isolate

    def start(self) -> None:
        pid = os.fork()
        if pid == 0:
            self._first()
        self.pids.append(pid)
        ready = pickle.loads(_receive(self._from0[0]))
        if ready != "ready":
            raise OSError(ready)

    def _first(self) -> None:
        """The first process: makes the namespace and the second one in it.  Never returns."""
        try:
            self._isolate()
        except OSError as exc:
            _send(self._from0[1], pickle.dumps(str(exc)))
            os._exit(1)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        if os.fork() == 0:
            self._serve(1, self._to1[0], self._from1[1], self._token1[0], self._token0[1])
        _send(self._from0[1], pickle.dumps("ready"))
        self._serve(0, self._to0[0], self._from0[1], self._token0[0], self._token1[1])

    def _serve(self, me: int, orders: int, answers: int, go: int, pass_on: int) -> None:
        """Never returns; ends when it is told so by an empty sequence."""
        import select
        import time

        while True:
            ports, pause, steps = pickle.loads(_receive(orders))
            if not steps:
                os._exit(0)
            actor = Actor(so, select, _fionread, ports)
            results = []
            for number, (index, *call) in enumerate(steps):
                if index != me:
                    continue
                if number and steps[number - 1][0] != me:
                    os.read(go, 1)
                results.append((number, actor.step(*call)))
                if pause:
                    time.sleep(pause)
                if number + 1 < len(steps) and steps[number + 1][0] != me:
                    os.write(pass_on, b"x")
            _send(answers, pickle.dumps(results))
            _receive(orders)  # both have done all their steps
            actor.finish()

    def run(self, steps: Sequence[Step], pause: float = 0.0) -> list[Any]:
        """What each step gave; `pause` seconds after each."""
        self._sequence += 1
        first = 1024 + 2 * self._sequence % 30_000
        order = pickle.dumps(((first, first + 1), pause, list(steps)))
        for pipe in (self._to0, self._to1):
            _send(pipe[1], order)
        answers = [*pickle.loads(_receive(self._from0[0])), *pickle.loads(_receive(self._from1[0]))]
        for pipe in (self._to0, self._to1):
            _send(pipe[1], b"")
        return [value for _, value in sorted(answers, key=lambda answer: answer[0])]

    def stop(self) -> None:
        for pipe in (self._to0, self._to1):
            _send(pipe[1], pickle.dumps(((), 0.0, [])))
        for pid in self.pids:
            os.waitpid(pid, 0)
        for reader, writer in self._pipes:
            os.close(reader)
            os.close(writer)


def _fionread(sock: Any) -> int:
    return int(struct.unpack("i", fcntl.ioctl(sock, termios.FIONREAD, bytes(4)))[0])


def _send(fd: int, data: bytes) -> None:
    data = len(data).to_bytes(4, "big") + data
    while data:
        data = data[os.write(fd, data) :]


def _receive(fd: int) -> bytes:
    size = int.from_bytes(_read(fd, 4), "big")
    return _read(fd, size)


def _read(fd: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = os.read(fd, size - len(data))
        if not piece:
            raise EOFError("the other process is gone")
        data += piece
    return data


@contextmanager
def linux(isolate: Callable[[], None]) -> Iterator[Linux]:
    """OSError where a namespace cannot be had."""
    kernel = Linux(isolate)
    kernel.start()
    try:
        yield kernel
    finally:
        kernel.stop()
