"""eventfd: a counter to wait for (`fs/eventfd.c`)."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from select import EPOLLIN, EPOLLOUT

from pystack.core.kernel import Kernel
from pystack.core.wait import WaitQueue
from pystack.transport.sock import os_error
from pystack.uapi.block import wait_on
from pystack.uapi.files import File, OpenFiles

ULLONG_MAX = (1 << 64) - 1
_COUNT = struct.Struct("=Q")


class EventFd(File):
    """`count` stays below 2^64 - 1: a write that would reach it waits."""

    __slots__ = ("_wq", "count", "kernel", "semaphore")

    def __init__(
        self, open_files: OpenFiles, kernel: Kernel, count: int, flags: int, semaphore: bool
    ) -> None:
        super().__init__(open_files, os.O_RDWR | flags)
        self.kernel = kernel
        self.count = count
        self.semaphore = semaphore
        self._wq = WaitQueue()

    @property
    def wq(self) -> WaitQueue:
        return self._wq

    def lseek(self, offset: int, whence: int) -> int:
        return 0  # noop_llseek

    def poll(self) -> int:
        mask = EPOLLIN if self.count else 0
        return mask | EPOLLOUT if self.count < ULLONG_MAX - 1 else mask

    def read(self, n: int) -> bytes:
        """The count, which becomes 0; of a semaphore 1, by which it goes down."""
        if n < _COUNT.size:
            raise os_error(errno.EINVAL)
        self._wait(EPOLLIN, lambda: self.count > 0)
        value = 1 if self.semaphore else self.count
        self.count -= value
        self._wq.wake(EPOLLOUT)
        return _COUNT.pack(value)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        if len(data) != _COUNT.size:
            raise os_error(errno.EINVAL)
        (value,) = _COUNT.unpack(data)
        if value == ULLONG_MAX:
            raise os_error(errno.EINVAL)
        self._wait(EPOLLOUT, lambda: ULLONG_MAX - self.count > value)
        self.count += value
        self._wq.wake(EPOLLIN)
        return _COUNT.size

    def _wait(self, mask: int, condition: Callable[[], bool]) -> None:
        if condition():
            return
        if self.nonblocking:
            raise os_error(errno.EAGAIN)
        wait_on(self.kernel, self._wq, mask, condition)
