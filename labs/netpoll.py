"""Netpoll as Go does it: park on EAGAIN, be woken by the poller (`runtime/netpoll_epoll.go`).

Descriptors are non-blocking and registered once, edge-triggered, for reading and writing.  A call
is tried first; only when the kernel says EAGAIN does its goroutine park, and the poller, run by
the scheduler when nobody else can, wakes it.  So a thousand connections read like a thousand
blocking ones and cost one thread.

    conn.read(n):  recv -> data                         no poller involved
                   recv -> EAGAIN -> park ... epoll_wait -> ready -> recv -> data

The modules are handed in: those of a simulated process, or the interpreter's own.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial
from typing import Any

from labs.goroutines import Channel, Goroutine, Scheduler, Timer

KEEPALIVE = 15  # seconds, net.ListenConfig's and net.Dialer's default
BACKLOG = 128


class PollDesc:
    """What the poller knows of a descriptor: who waits to read, who to write (`pollDesc`)."""

    def __init__(self, poll: Netpoll, sock: Any) -> None:
        self.poll, self.sock = poll, sock
        self.waiting: dict[str, Goroutine | None] = {"r": None, "w": None}
        self.seen = {"r": False, "w": False}  # an edge that came when nobody waited
        self.timers: dict[str, Timer | None] = {"r": None, "w": None}
        self.expired = {"r": False, "w": False}

    def set_deadline(self, mode: str, seconds: float | None) -> None:
        """From now; None: none.  A call that waits beyond it raises TimeoutError."""
        timer = self.timers[mode]
        if timer is not None:
            timer.stop()
        self.expired[mode] = seconds is not None and seconds <= 0
        later = seconds is not None and seconds > 0
        self.timers[mode] = (
            self.poll.scheduler.after(seconds or 0, lambda: self._expire(mode)) if later else None
        )
        if self.expired[mode]:
            self.wake(mode)

    def _expire(self, mode: str) -> None:
        self.expired[mode] = True
        self.wake(mode)

    def wake(self, mode: str) -> None:
        goroutine, self.waiting[mode] = self.waiting[mode], None
        if goroutine is None:
            self.seen[mode] = True
        else:
            self.poll.scheduler.ready(goroutine)

    def wait(self, mode: str) -> None:
        """Park until an edge, a deadline or a close (`netpollblock`)."""
        self.check(mode)
        if self.seen[mode]:
            self.seen[mode] = False
            return
        self.waiting[mode] = self.poll.scheduler.current()
        self.poll.scheduler.park()
        self.check(mode)

    def check(self, mode: str) -> None:
        if self.sock.fileno() < 0:
            raise OSError(errno.EBADF, "use of closed network connection")
        if self.expired[mode]:
            raise TimeoutError("i/o timeout")


class Netpoll:
    """The poller of one scheduler.  `socket` and `select` are the process's modules."""

    def __init__(self, scheduler: Scheduler, socket: Any, select: Any) -> None:
        self.scheduler, self.socket, self.select = scheduler, socket, select
        self.epoll = select.epoll()
        self.descs: dict[int, PollDesc] = {}
        self.waits = 0
        scheduler.poller = self

    def open(self, sock: Any) -> PollDesc:
        """Register a socket for the rest of its life."""
        sock.setblocking(False)
        desc = self.descs[sock.fileno()] = PollDesc(self, sock)
        s = self.select
        self.epoll.register(sock, s.EPOLLIN | s.EPOLLOUT | s.EPOLLRDHUP | s.EPOLLET)
        return desc

    def close(self, desc: PollDesc) -> None:
        """Whoever waits is told so."""
        self.descs.pop(desc.sock.fileno(), None)
        desc.sock.close()
        for mode in "rw":
            timer = desc.timers[mode]
            if timer is not None:
                timer.stop()
            desc.wake(mode)

    def wait(self, timeout: float | None) -> None:
        self.waits += 1
        s = self.select
        for fd, events in self.epoll.poll(timeout):
            desc = self.descs.get(fd)
            if desc is None:
                continue
            if events & (s.EPOLLIN | s.EPOLLRDHUP | s.EPOLLHUP | s.EPOLLERR):
                desc.wake("r")
            if events & (s.EPOLLOUT | s.EPOLLHUP | s.EPOLLERR):
                desc.wake("w")

    # -- package net -----------------------------------------------------------------------

    def listen(self, host: str, port: int, backlog: int = BACKLOG) -> Listener:
        sock = self.socket.socket()
        sock.setsockopt(self.socket.SOL_SOCKET, self.socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(backlog)
        return Listener(self.open(sock))

    def dial(self, host: str, port: int, timeout: float | None = None) -> Conn:
        """Connect; TimeoutError after `timeout` seconds."""
        sock = self.socket.socket()
        sock.setblocking(False)
        error = sock.connect_ex((host, port))
        desc = self.open(sock)
        try:
            if error == errno.EINPROGRESS:
                desc.set_deadline("w", timeout)
                desc.wait("w")
                desc.set_deadline("w", None)
                error = sock.getsockopt(self.socket.SOL_SOCKET, self.socket.SO_ERROR)
            if error:
                raise OSError(error, os.strerror(error))
        except OSError:
            self.close(desc)
            raise
        return Conn(desc)


class Waiting:
    """What listeners and connections have in common."""

    def __init__(self, desc: PollDesc) -> None:
        self.desc = desc

    def _try(self, mode: str, call: Callable[[], Any]) -> Any:
        """The pattern of `internal/poll.FD`: try, and park on EAGAIN."""
        self.desc.check(mode)
        while True:
            try:
                return call()
            except BlockingIOError:
                self.desc.wait(mode)

    def close(self) -> None:
        self.desc.poll.close(self.desc)


class Listener(Waiting):
    def accept(self) -> Conn:
        sock, _ = self._try("r", self.desc.sock.accept)
        return Conn(self.desc.poll.open(sock))

    def set_deadline(self, seconds: float | None) -> None:
        self.desc.set_deadline("r", seconds)


class Conn(Waiting):
    """No delay, and keep-alive every 15 s, as Go sets them."""

    def __init__(self, desc: PollDesc) -> None:
        super().__init__(desc)
        so = desc.poll.socket
        desc.sock.setsockopt(so.IPPROTO_TCP, so.TCP_NODELAY, 1)
        desc.sock.setsockopt(so.SOL_SOCKET, so.SO_KEEPALIVE, 1)
        desc.sock.setsockopt(so.IPPROTO_TCP, so.TCP_KEEPIDLE, KEEPALIVE)
        desc.sock.setsockopt(so.IPPROTO_TCP, so.TCP_KEEPINTVL, KEEPALIVE)

    def read(self, n: int) -> bytes:
        """Up to `n` bytes; b"" at the end."""
        data: bytes = self._try("r", lambda: self.desc.sock.recv(n))
        return data

    def write(self, data: bytes) -> None:
        """All of it."""
        view = memoryview(data)
        while view:
            view = view[self._try("w", partial(self.desc.sock.send, view)) :]

    def set_read_deadline(self, seconds: float | None) -> None:
        self.desc.set_deadline("r", seconds)

    def set_write_deadline(self, seconds: float | None) -> None:
        self.desc.set_deadline("w", seconds)

    def close_write(self) -> None:
        self.desc.sock.shutdown(self.desc.poll.socket.SHUT_WR)


def echo_server(poll: Netpoll, host: str, port: int, connections: int) -> int:
    """A goroutine a connection, `connections` of them; returns the bytes echoed."""
    scheduler = poll.scheduler
    done: Channel[int] = Channel(scheduler)

    def serve(conn: Conn) -> None:
        echoed = 0
        while data := conn.read(4096):
            conn.write(data)
            echoed += len(data)
        conn.close()
        done.send(echoed)

    def accept(listener: Listener) -> None:
        for _ in range(connections):
            scheduler.go(serve, listener.accept())
        listener.close()

    scheduler.go(accept, poll.listen(host, port, backlog=1024))
    return sum(done.receive() for _ in range(connections))


def echo_clients(poll: Netpoll, host: str, port: int, connections: int) -> int:
    """A goroutine a connection, all open at once; returns how many had the right answer."""
    scheduler = poll.scheduler
    right: Channel[bool] = Channel(scheduler)
    opened: Channel[None] = Channel(scheduler)
    go_on: Channel[None] = Channel(scheduler, connections)

    def ask(number: int) -> None:
        conn = poll.dial(host, port, timeout=10)
        opened.send(None)
        go_on.receive()
        message = b"%d" % number * 100
        conn.write(message)
        conn.close_write()
        answer = b""
        while data := conn.read(1000):
            answer += data
        conn.close()
        right.send(answer == message)

    for number in range(connections):
        scheduler.go(ask, number)
    for _ in range(connections):
        opened.receive()
    for _ in range(connections):
        go_on.send(None)
    return sum(right.receive() for _ in range(connections))
