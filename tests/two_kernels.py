"""Sequences of socket calls by two processes, on this machine's kernel and on a simulated host.

A sequence is a list of `(process, call, arguments...)`.  Both sides run it through the same
`Actor`, one for each process; only the modules under it differ.  Everything is on the loopback,
where Linux delivers before a call returns, and whoever waits does so with a short time-out.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import signal
import socket as so
import struct
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from actor import Actor
from both import machine_of
from leaks import left_over

from pystack.core.engine import VirtualEngine
from pystack.host import Host
from pystack.uapi.process import Process

Step = tuple[Any, ...]
SECOND = 10**9
SETTLE = 1_000_000  # ns between two calls on the simulated host
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

        def ask(sock: Any, request: int, sys: Any = process.sys) -> int:
            return int(sys.ioctl(sock.fileno(), request))

        actors.append(Actor(machine.socket, machine.select, ask, (7000, 7001)))
        processes.append(process)
    engine.run(until=engine.now + SETTLE)

    def one(index: int, call: Callable[..., Any], *args: Any) -> None:
        done = len(results) + 1
        processes[index].thread(lambda: results.append(call(*args)))
        engine.run(until=engine.now + SECOND, stop=lambda: len(results) == done)
        engine.run(until=engine.now + SETTLE)
        assert not processes[index].tracebacks, processes[index].tracebacks[0]

    for index, *call in steps:
        one(index, actors[index].step, *call)
    for index in range(2):
        one(index, actors[index].finish)
        processes[index].kill(signal.SIGKILL)
    engine.run(until=engine.now + 300 * SECOND)
    assert left_over(host) == {}
    host.kernel.power_off()
    return results[: len(steps)]


# -- this machine ------------------------------------------------------------------------------


class Linux:
    """Two processes in a network namespace of their own, which run sequence after sequence.

    Both know the sequence; a byte in a pipe is the permission to go on.
    """

    def __init__(self, isolate: Callable[[], None], folder: str) -> None:
        self._pipes = [os.pipe() for _ in range(6)]
        (self._to0, self._to1, self._from0, self._from1, self._token0, self._token1) = self._pipes
        self._sequence = 0
        self.pids: list[int] = []
        self._isolate, self._folder = isolate, folder

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
            os.chdir(self._folder)
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
            actor = Actor(so, select, _ioctl, ports)
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
            for path in actor.paths():
                with suppress(FileNotFoundError):
                    os.unlink(path)

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


def _ioctl(sock: Any, request: int) -> int:
    return int(struct.unpack("i", fcntl.ioctl(sock, request, bytes(4)))[0])


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
    with tempfile.TemporaryDirectory() as folder:
        kernel = Linux(isolate, folder)
        kernel.start()
        try:
            yield kernel
        finally:
            kernel.stop()
