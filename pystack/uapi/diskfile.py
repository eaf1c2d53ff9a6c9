"""Files on disk: a simulated host has this machine's, under descriptors of its own.

Made by `openat`.  They are always ready, and epoll refuses them (EPERM), as Linux's are.
"""

from __future__ import annotations

import errno
import os
from select import EPOLLIN, EPOLLOUT, EPOLLRDNORM, EPOLLWRNORM

from pystack.core.wait import WaitQueue
from pystack.transport.sock import os_error
from pystack.uapi.files import File, OpenFiles


class DiskFile(File):
    """Owns `fd`, a descriptor of this machine's."""

    __slots__ = ("_wq", "fd")

    def __init__(self, open_files: OpenFiles, fd: int, flags: int) -> None:
        super().__init__(open_files, flags & ~(os.O_CREAT | os.O_EXCL | os.O_TRUNC | os.O_CLOEXEC))
        self.fd = fd
        self._wq = WaitQueue()

    @property
    def wq(self) -> WaitQueue:
        return self._wq

    def poll(self) -> int:
        return EPOLLIN | EPOLLRDNORM | EPOLLOUT | EPOLLWRNORM

    def read(self, n: int) -> bytes:
        return os.read(self.fd, n)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        return os.write(self.fd, data)

    def lseek(self, offset: int, whence: int) -> int:
        return os.lseek(self.fd, offset, whence)

    def stat(self) -> os.stat_result:
        return os.fstat(self.fd)

    def truncate(self, length: int) -> None:
        os.ftruncate(self.fd, length)

    def release(self) -> None:
        os.close(self.fd)


def open_file(open_files: OpenFiles, path: str | bytes, flags: int, mode: int) -> DiskFile:
    """open(2); ENFILE at the host's limit."""
    if open_files.count >= open_files.limit:
        raise os_error(errno.ENFILE)
    return DiskFile(open_files, os.open(path, flags, mode), flags)
