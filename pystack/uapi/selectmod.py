"""The `select` module of one simulated process: `select`, `poll` and `epoll` objects."""

from __future__ import annotations

import errno
import math
import select as sel
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from pystack.transport.sock import os_error
from pystack.uapi.epoll import EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD
from pystack.uapi.process import Process
from pystack.uapi.syscalls import Syscalls

FD_SETSIZE = 1024


def to_fd(obj: Any) -> int:
    """A descriptor, or the `fileno()` of an object, with CPython's errors."""
    fd = obj if isinstance(obj, int) else None
    if fd is None:
        method = getattr(obj, "fileno", None)
        if method is None:
            raise TypeError("argument must be an int, or have a fileno() method.")
        fd = method()
        if not isinstance(fd, int):
            raise TypeError("fileno() returned a non-integer")
    if fd < 0:
        raise ValueError(f"file descriptor cannot be a negative integer ({fd})")
    return fd


def to_milliseconds(timeout: float | None, unit: int) -> int:
    """A timeout of `unit` ms each, rounded up; -1 for none or a negative one."""
    return -1 if timeout is None or timeout < 0 else math.ceil(timeout * unit)


class SimPoll:
    """`select.poll()`."""

    _sys: ClassVar[Syscalls]

    def __init__(self) -> None:
        self._events: dict[int, int] = {}

    def register(self, fd: Any, eventmask: int = sel.POLLIN | sel.POLLPRI | sel.POLLOUT) -> None:
        self._events[to_fd(fd)] = eventmask

    def modify(self, fd: Any, eventmask: int) -> None:
        number = to_fd(fd)
        if number not in self._events:
            raise os_error(errno.ENOENT)
        self._events[number] = eventmask

    def unregister(self, fd: Any) -> None:
        del self._events[to_fd(fd)]

    def poll(self, timeout: float | None = None) -> list[tuple[int, int]]:
        """`timeout` in ms."""
        fds = list(self._events.items())
        result = self._sys.poll(fds, to_milliseconds(timeout, 1))
        return [(fd, events) for (fd, _), events in zip(fds, result, strict=True) if events]


class SimEpoll:
    """`select.epoll()`."""

    _sys: ClassVar[Syscalls]

    def __init__(self, sizehint: int = -1, flags: int = 0) -> None:
        if sizehint < -1 or sizehint == 0:
            raise ValueError("negative sizehint")
        self._fd = self._sys.epoll_create1(sel.EPOLL_CLOEXEC)

    @classmethod
    def fromfd(cls, fd: int) -> Self:
        epoll = cls.__new__(cls)
        epoll._fd = fd
        return epoll

    def __enter__(self) -> Self:
        self.fileno()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        fd, self._fd = getattr(self, "_fd", -1), -1
        if fd >= 0:
            self._sys.process.abandoned.append(fd)

    @property
    def closed(self) -> bool:
        return self._fd < 0

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0 and not self._sys.process.running:
            self._sys.process.abandoned.append(fd)  # called as its owner was collected
        elif fd >= 0:
            self._sys.close(fd)

    def fileno(self) -> int:
        if self._fd < 0:
            raise ValueError("I/O operation on closed epoll object")
        return self._fd

    def register(self, fd: Any, eventmask: int = sel.EPOLLIN | sel.EPOLLPRI | sel.EPOLLOUT) -> None:
        self._ctl(EPOLL_CTL_ADD, fd, eventmask)

    def modify(self, fd: Any, eventmask: int) -> None:
        self._ctl(EPOLL_CTL_MOD, fd, eventmask)

    def unregister(self, fd: Any) -> None:
        self._ctl(EPOLL_CTL_DEL, fd, 0)

    def _ctl(self, op: int, fd: Any, events: int) -> None:
        number = to_fd(fd)
        self._sys.epoll_ctl(self.fileno(), op, number, (events, number))

    def poll(self, timeout: float | None = None, maxevents: int = -1) -> list[tuple[int, int]]:
        """`timeout` in seconds."""
        if maxevents == -1:
            maxevents = FD_SETSIZE - 1
        elif maxevents < 1:
            raise ValueError(f"maxevents must be greater than 0, got {maxevents}")
        ready = self._sys.epoll_wait(self.fileno(), maxevents, to_milliseconds(timeout, 1000))
        return [(fd, events) for events, fd in ready]


class SelectModule:
    """Stands in for `select`; constants are the real module's."""

    __name__ = "select"
    error = OSError

    def __init__(self, process: Process) -> None:
        self._sys = process.sys
        for name in filter(str.isupper, dir(sel)):
            setattr(self, name, getattr(sel, name))
        bound = {"_sys": process.sys}
        self.poll: type[SimPoll] = type("poll", (SimPoll,), bound)
        self.epoll: type[SimEpoll] = type("epoll", (SimEpoll,), bound)

    def __getattr__(self, name: str) -> Any:
        """Only reached for what is not simulated."""
        raise AttributeError(f"module 'select' has no attribute {name!r} on a simulated host")

    def select(
        self,
        rlist: Sequence[Any],
        wlist: Sequence[Any],
        xlist: Sequence[Any],
        timeout: float | None = None,
    ) -> tuple[list[Any], list[Any], list[Any]]:
        """The ready objects of each list; `timeout` in seconds."""
        if timeout is not None and timeout < 0:
            raise ValueError("timeout must be non-negative")
        lists = [[(to_fd(obj), obj) for obj in objs] for objs in (rlist, wlist, xlist)]
        if any(fd >= FD_SETSIZE for pairs in lists for fd, _ in pairs):
            raise ValueError("filedescriptor out of range in select()")
        micros = None if timeout is None else math.ceil(timeout * 1_000_000)
        fds = [[fd for fd, _ in pairs] for pairs in lists]
        ready = self._sys.select(fds[0], fds[1], fds[2], micros)
        read, write, exceptional = (
            [obj for fd, obj in pairs if fd in set(found)]
            for pairs, found in zip(lists, ready, strict=True)
        )
        return read, write, exceptional
