"""The calls of `pystack.uapi.syscalls.Syscalls` on this machine's kernel, by way of libc."""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterable
from typing import Any, cast

from pystack.transport.sock import Message
from pystack.uapi.rusage import Rusage
from pystack.uapi.signals import Action, Restart

_SECOND = 1_000_000_000


class RealSys:
    """The calls of `Syscalls` on this machine's kernel."""

    write = staticmethod(os.write)

    def mmap(self, fd: int, length: int) -> memoryview:
        return memoryview(mmap.mmap(fd, length))

    unlink = staticmethod(os.unlink)
    close, lseek = staticmethod(os.close), staticmethod(os.lseek)
    dup2 = staticmethod(os.dup2)

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)

    def _call(self, name: str, *args: Any) -> int:
        result = int(getattr(self._libc, name)(*args))
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result

    def read(self, fd: int, count: int) -> bytes:
        """Unlike `os.read` this shows EINTR."""
        buffer = ctypes.create_string_buffer(max(count, 1))
        length = self._call("read", fd, buffer, count)
        return buffer.raw[:length]

    def dup(self, oldfd: int) -> int:
        return self._call("dup", oldfd)

    def pipe2(self, flags: int = 0) -> tuple[int, int]:
        fds = (ctypes.c_int * 2)()
        self._call("pipe2", fds, flags)
        return fds[0], fds[1]

    def eventfd2(self, initval: int, flags: int = 0) -> int:
        return self._call("eventfd", initval, flags)

    def timerfd_create(self, clockid: int, flags: int = 0) -> int:
        return self._call("timerfd_create", clockid, flags)

    def timerfd_settime(
        self, fd: int, flags: int, value: int, interval: int = 0
    ) -> tuple[int, int]:
        new, old = (ctypes.c_long * 4)(), (ctypes.c_long * 4)()
        new[:] = [*divmod(interval, _SECOND), *divmod(value, _SECOND)]
        self._call("timerfd_settime", fd, flags, new, old)
        return old[2] * _SECOND + old[3], old[0] * _SECOND + old[1]

    def timerfd_gettime(self, fd: int) -> tuple[int, int]:
        old = (ctypes.c_long * 4)()
        self._call("timerfd_gettime", fd, old)
        return old[2] * _SECOND + old[3], old[0] * _SECOND + old[1]

    def clock_gettime(self, clockid: int) -> int:
        return time.clock_gettime_ns(clockid)

    def close_range(self, first: int, last: int, flags: int = 0) -> None:
        self._call("close_range", first, last, flags)

    def fork(self, fn: Callable[..., Any], *args: Any) -> int:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                fn(*args)
                status = 0
            except SystemExit as exc:
                status = exc.code if isinstance(exc.code, int) else 1
            finally:
                os._exit(status)
        return pid

    def wait4(self, pid: int, options: int = 0) -> tuple[int, int, Any]:
        return os.wait4(pid, options)

    def connect(self, fd: int, address: tuple[bytes, int] | None) -> None:
        """None: AF_UNSPEC."""
        raw = bytes(16)
        if address is not None:
            ip, port = address
            raw = struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + ip + bytes(8)
        self._call("connect", fd, raw, len(raw))

    def recvfrom(self, fd: int, n: int, flags: int = 0) -> Message:
        buffer = ctypes.create_string_buffer(max(n, 1))
        length = self._call("recv", fd, buffer, n, flags)
        return Message(buffer.raw[:length])

    def getrusage(self, who: int) -> Rusage:
        used = resource.getrusage(who)
        times = round(used.ru_utime * _SECOND), round(used.ru_stime * _SECOND)
        return Rusage(*times, used.ru_nvcsw, used.ru_nivcsw)

    getpid, getppid = staticmethod(os.getpid), staticmethod(os.getppid)
    kill = staticmethod(os.kill)

    def prlimit64(self, limit: int, limits: tuple[int, int] | None = None) -> tuple[int, int]:
        old = resource.getrlimit(limit)
        if limits is not None:
            new = (ctypes.c_long * 2)(*limits)
            self._call("setrlimit", limit, new)
        return old

    def rt_sigaction(self, signum: int, action: Action | None = None) -> None:
        """Of a Python process: the handler runs soon after the call it interrupted."""
        if action is not None:
            signal.signal(signum, cast(Any, action.handler))
            signal.siginterrupt(signum, action.restart is not Restart.SYSCALL)

    def setitimer(self, which: int, value: int, interval: int = 0) -> tuple[int, int]:
        old, again = signal.setitimer(which, value / _SECOND, interval / _SECOND)
        return round(old * _SECOND), round(again * _SECOND)

    def pause(self) -> None:
        self._call("pause")

    def clock_nanosleep(self, ns: int) -> None:
        request = (ctypes.c_long * 2)(*divmod(ns, _SECOND))
        self._call("nanosleep", request, None)

    def dup3(self, oldfd: int, newfd: int, flags: int) -> int:
        return self._call("dup3", oldfd, newfd, flags)

    def fcntl(self, fd: int, cmd: int, arg: int = 0) -> int:
        return self._call("fcntl", fd, cmd, arg)

    def ioctl(self, fd: int, request: int, arg: int = 0) -> int:
        box = ctypes.c_int(arg)
        self._call("ioctl", fd, ctypes.c_ulong(request), ctypes.byref(box))
        return box.value

    def socket(self, domain: int, type: int, protocol: int) -> int:
        return self._call("socket", domain, type, protocol)

    def listen(self, fd: int, backlog: int) -> None:
        self._call("listen", fd, backlog)

    def shutdown(self, fd: int, how: int) -> None:
        self._call("shutdown", fd, how)

    def accept4(self, fd: int, flags: int = 0) -> int:
        return self._call("accept4", fd, None, None, flags)

    def poll(self, fds: list[tuple[int, int]], timeout_ms: int) -> list[int]:
        array = (ctypes.c_uint64 * len(fds))()
        for i, (fd, events) in enumerate(fds):
            array[i] = (fd & 0xFFFFFFFF) | events << 32
        self._call("poll", array, len(fds), timeout_ms)
        return [value >> 48 for value in array]

    def epoll_pwait2(
        self,
        epfd: int,
        maxevents: int,
        timeout_ns: int | None,
        sigmask: Iterable[int] | None = None,
    ) -> list[tuple[int, int]]:
        """By number: libc may be older than the call."""
        raw = ctypes.create_string_buffer(12 * max(maxevents, 1))
        timeout = None if timeout_ns is None else (ctypes.c_long * 2)(*divmod(timeout_ns, _SECOND))
        mask = None
        if sigmask is not None:
            mask = ctypes.byref(ctypes.c_uint64(sum(1 << (n - 1) for n in sigmask)))
        n = self._call("syscall", 441, epfd, raw, maxevents, timeout, mask, ctypes.c_ulong(8))
        return _epoll_events(bytes(raw), n)

    def rt_sigprocmask(self, how: int, mask: Iterable[int]) -> frozenset[int]:
        return frozenset(map(int, signal.pthread_sigmask(how, mask)))

    def epoll_create1(self, flags: int) -> int:
        return self._call("epoll_create1", flags)

    def epoll_ctl(self, epfd: int, op: int, fd: int, event: tuple[int, int] | None = None) -> None:
        events, data = event or (0, 0)
        raw = events.to_bytes(4, "little") + data.to_bytes(8, "little")
        self._call("epoll_ctl", epfd, op, fd, ctypes.c_char_p(raw))

    def epoll_wait(self, epfd: int, maxevents: int, timeout_ms: int) -> list[tuple[int, int]]:
        raw = ctypes.create_string_buffer(12 * max(maxevents, 1))
        n = self._call("epoll_wait", epfd, raw, maxevents, timeout_ms)
        return _epoll_events(bytes(raw), n)


def _epoll_events(data: bytes, n: int) -> list[tuple[int, int]]:
    """`struct epoll_event`, packed: events and the number given with them."""
    return [
        (int.from_bytes(data[i : i + 4], "little"), int.from_bytes(data[i + 4 : i + 12], "little"))
        for i in range(0, 12 * n, 12)
    ]
