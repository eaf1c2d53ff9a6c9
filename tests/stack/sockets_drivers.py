"""Two hosts whose sockets the state machine calls: simulated ones, and this machine's kernel."""

from __future__ import annotations

import errno
import itertools
import os
import select as real_select
import socket as real_socket
import struct
import threading
import time
from collections.abc import Callable
from select import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP
from typing import Any

from pystack.core.task import TaskState
from pystack.dev.wire import Impairment
from pystack.uapi.process import Process
from pystack.uapi.selectmod import SelectModule
from pystack.uapi.sockmod import SocketModule
from wire2app.netsim.net import SECOND, Net

SETTLE = 0.3  # s: longer than a delayed ACK
READABLE = POLLIN | POLLRDHUP


def outcome(call: Callable[..., Any], *args: Any) -> Any:
    """A call's result, or the name of its errno."""
    try:
        return call(*args)
    except OSError as exc:
        return errno.errorcode.get(exc.errno or 0, repr(exc))


class Waiting:
    done = False


class Driver:
    """What is the same for both."""

    def set_reuseaddr(self, sock: Any, on: bool) -> None:
        sock.setsockopt(real_socket.SOL_SOCKET, real_socket.SO_REUSEADDR, on)

    def set_linger_zero(self, sock: Any) -> None:
        linger = struct.pack("ii", 1, 0)
        sock.setsockopt(real_socket.SOL_SOCKET, real_socket.SO_LINGER, linger)

    def so_error(self, sock: Any) -> str:
        number = sock.getsockopt(real_socket.SOL_SOCKET, real_socket.SO_ERROR)
        return errno.errorcode[number] if number else ""

    def accept(self, sock: Any) -> Any:
        """The connection, its own name and the peer's."""
        child, address = sock.accept()
        child.setblocking(False)
        return child, child.getsockname(), address

    def connect_blocking(self, sock: Any, address: tuple[str, int]) -> None:
        sock.setblocking(True)
        try:
            sock.connect(address)
        finally:
            sock.setblocking(False)

    def readable(self, mask: int) -> bool:
        """Does it end a wait for something to read?"""
        return bool(mask & (READABLE | POLLHUP | POLLERR))

    @staticmethod
    def poll_once(select: Any, sock: Any, events: int, timeout: float | None) -> int:
        poll = select.poll()
        poll.register(sock, events)
        return sum(int(ready) for _, ready in poll.poll(timeout))


class SimDriver(Driver):
    time_is_free = True

    def __init__(self) -> None:
        self.net = Net(1, Impairment())
        self.processes = [
            Process(host.kernel, host.system, f"p{number}")
            for number, host in enumerate(self.net.hosts)
        ]
        self.modules = [(SocketModule(p), SelectModule(p)) for p in self.processes]
        for process, (_, select) in zip(self.processes, self.modules, strict=True):
            process.start(select.poll().poll)  # for ever

    def address(self, host: int, port: int) -> tuple[str, int]:
        return f"10.0.0.{host + 1}", 5000 + port

    def call_quick(self, host: int, fn: Callable[..., Any], *args: Any) -> Any:
        """Without the time for packets afterwards."""
        task = self.processes[host].thread(fn, *args, daemon=True)
        engine = self.net.engine
        engine.run(until=engine.now + SECOND, stop=lambda: task.state is TaskState.DEAD)
        assert task.state is TaskState.DEAD, f"{fn} {args} does not end\n{self.net.state()}"
        process = self.processes[host]
        assert not process.tracebacks, process.tracebacks[0]
        return task.result

    def call(self, host: int, fn: Callable[..., Any], *args: Any) -> Any:
        result = self.call_quick(host, fn, *args)
        self.settle(SETTLE)
        return result

    def settle(self, seconds: float) -> None:
        self.net.engine.run(until=self.net.engine.now + int(seconds * SECOND))

    def socket(self, host: int) -> Any:
        sock = self.modules[host][0].socket()
        sock.setblocking(False)
        return sock

    def poll(self, host: int, sock: Any) -> int:
        events = READABLE | POLLOUT
        select = self.modules[host][1]
        return int(self.call_quick(host, self.poll_once, select, sock, events, 0))

    def state(self, host: int, sock: Any) -> str | None:
        file: Any = self.processes[host].files.file(sock.fileno())
        return str(file.sk.state.name)

    def wait_readable(self, host: int, sock: Any) -> Waiting:
        waiting = Waiting()

        def wait() -> None:
            self.poll_once(self.modules[host][1], sock, READABLE, None)
            waiting.done = True

        self.processes[host].thread(wait, daemon=True)
        self.settle(SETTLE)
        return waiting

    def woken(self, waiting: Waiting) -> bool:
        return waiting.done

    def finish(self, socks: list[Any]) -> None:
        """Processes end without having closed anything; then nothing may be left."""
        for sock in socks:
            sock.detach()
        for process in self.processes:
            process.kill()
        self.net.run(*self.processes)
        self.net.finish()


class LinuxDriver(Driver):
    """Both hosts are addresses of the loopback device, of this process alone.  Ports are new for
    each example, since those before leave TIME_WAITs."""

    time_is_free = False
    _ports = itertools.cycle(range(20000, 32000, 2))

    def __init__(self) -> None:
        self.first_port = next(self._ports)

    def address(self, host: int, port: int) -> tuple[str, int]:
        high, low = divmod(os.getpid() & 0xFFFF, 256)
        return f"127.{77 + host}.{high}.{low}", self.first_port + port

    def call_quick(self, host: int, fn: Callable[..., Any], *args: Any) -> Any:
        return fn(*args)

    def call(self, host: int, fn: Callable[..., Any], *args: Any) -> Any:
        result = fn(*args)
        self.settle(0.0005)
        return result

    def settle(self, seconds: float) -> None:
        time.sleep(seconds)

    def socket(self, host: int) -> Any:
        sock = real_socket.socket()
        sock.setblocking(False)
        return sock

    def poll(self, host: int, sock: Any) -> int:
        return self.poll_once(real_select, sock, READABLE | POLLOUT, 0)

    def state(self, host: int, sock: Any) -> None:
        """TCP_INFO has it, but only of what is no TIME_WAIT: the model's names say less."""

    def wait_readable(self, host: int, sock: Any) -> Waiting:
        waiting = Waiting()

        def wait() -> None:
            self.poll_once(real_select, sock, READABLE, 30_000)
            waiting.done = True

        threading.Thread(target=wait, daemon=True).start()
        self.settle(0.002)
        return waiting

    def woken(self, waiting: Waiting) -> bool:
        until = time.monotonic() + 1
        while not waiting.done and time.monotonic() < until:
            time.sleep(0.001)
        return waiting.done

    def finish(self, socks: list[Any]) -> None:
        for sock in socks:
            self.set_linger_zero(sock)
            sock.close()
