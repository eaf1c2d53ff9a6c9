"""The calls of `pystack.uapi.syscalls.Syscalls` on this machine's kernel, by way of libc."""

from __future__ import annotations

import ctypes
import os
from typing import Any


class RealSys:
    """The calls of `Syscalls` on this machine's kernel."""

    read, write = staticmethod(os.read), staticmethod(os.write)
    close, lseek = staticmethod(os.close), staticmethod(os.lseek)
    dup, dup2 = staticmethod(os.dup), staticmethod(os.dup2)

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)

    def _call(self, name: str, *args: Any) -> int:
        result = int(getattr(self._libc, name)(*args))
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result

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

    def epoll_create1(self, flags: int) -> int:
        return self._call("epoll_create1", flags)

    def epoll_ctl(self, epfd: int, op: int, fd: int, event: tuple[int, int] | None = None) -> None:
        events, data = event or (0, 0)
        raw = events.to_bytes(4, "little") + data.to_bytes(8, "little")
        self._call("epoll_ctl", epfd, op, fd, ctypes.c_char_p(raw))

    def epoll_wait(self, epfd: int, maxevents: int, timeout_ms: int) -> list[tuple[int, int]]:
        raw = ctypes.create_string_buffer(12 * max(maxevents, 1))
        n = self._call("epoll_wait", epfd, raw, maxevents, timeout_ms)
        data = bytes(raw)
        return [
            (
                int.from_bytes(data[i : i + 4], "little"),
                int.from_bytes(data[i + 4 : i + 12], "little"),
            )
            for i in range(0, 12 * n, 12)
        ]
