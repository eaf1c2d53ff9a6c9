"""The part of `socket.socket` under its timeouts: a non-blocking descriptor, polled first.

Follows Modules/socketmodule.c, so that a trace of a program looks as it does on Linux.
"""

from __future__ import annotations

import math
import socket as so
import termios
from collections.abc import Callable
from typing import ClassVar, TypeVar

from pystack.uapi.sockaddr import Hosts
from pystack.uapi.syscalls import Syscalls

T = TypeVar("T")


class SocketDefaults:
    """What `setdefaulttimeout` sets; seconds or None."""

    def __init__(self) -> None:
        self.timeout: float | None = None


def check_timeout(value: float | None) -> float | None:
    if value is None:
        return None
    seconds = float(value)
    if math.isnan(seconds):
        raise ValueError("Invalid value NaN (not a number)")
    if seconds < 0:
        raise ValueError("Timeout value out of range")
    return seconds


class TimedSocket:
    """`family` and `type` are of the descriptor `_fd`, -1 when closed; `_sys` its process."""

    __slots__ = ("_fd", "_kind", "_timeout")

    _sys: ClassVar[Syscalls]
    _hosts: ClassVar[Hosts]
    _defaults: ClassVar[SocketDefaults]
    _fd: int
    _timeout: float | None
    _kind: tuple[so.AddressFamily, so.SocketKind, int]

    @property
    def family(self) -> so.AddressFamily:
        return self._kind[0]

    @property
    def type(self) -> so.SocketKind:
        return self._kind[1]

    @property
    def proto(self) -> int:
        return self._kind[2]

    def _option(self, fd: int, name: int) -> int:
        value = self._sys.getsockopt(fd, so.SOL_SOCKET, name)
        assert isinstance(value, int)
        return value

    def settimeout(self, value: float | None) -> None:
        """None: blocking; 0: non-blocking; else seconds."""
        timeout = check_timeout(value)
        self._timeout = timeout
        self._sys.ioctl(self._fd, termios.FIONBIO, int(timeout is not None))

    def gettimeout(self) -> float | None:
        return self._timeout

    timeout = property(gettimeout)

    def setblocking(self, flag: bool) -> None:
        self.settimeout(None if flag else 0.0)

    def getblocking(self) -> bool:
        return self._timeout != 0.0

    def _deadline(self) -> float | None:
        return self._now() + self._timeout if self._timeout else None

    def _now(self) -> float:
        return self._sys.process.kernel.now / 1e9

    def _await(self, events: int, deadline: float) -> None:
        left = deadline - self._now()
        if left < 0 or not self._sys.poll([(self._fd, events)], math.ceil(left * 1000))[0]:
            raise TimeoutError("timed out")

    def _call(self, op: Callable[[], T], events: int, deadline: float | None) -> T:
        """`sock_call`: with a deadline, poll, try, and poll again after EAGAIN."""
        if deadline is None:
            return op()
        while True:
            self._await(events, deadline)
            try:
                return op()
            except BlockingIOError:
                continue
