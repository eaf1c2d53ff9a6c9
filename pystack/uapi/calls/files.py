"""Descriptors: read, write, dup, fcntl, ioctl (`fs/read_write.c`, `fs/fcntl.c`)."""

from __future__ import annotations

import errno
import fcntl as fc
import os
import termios
from collections.abc import Sequence

from pystack.transport.sock import os_error
from pystack.uapi.calls.base import Buffer, Calls
from pystack.uapi.files import File
from pystack.uapi.table import syscall

FIONCLEX, FIOCLEX = 0x5450, 0x5451
CLOSE_RANGE_CLOEXEC = 4


class FileCalls(Calls):
    @syscall
    def read(self, fd: int, count: int) -> bytes:
        with self._mode(fd, os.O_WRONLY).get() as file:
            return file.read(count)

    @syscall
    def write(self, fd: int, data: Buffer) -> int:
        with self._mode(fd, os.O_RDONLY).get() as file:
            return self._or_sigpipe(file, lambda: file.write(data), 0)

    @syscall
    def readv(self, fd: int, sizes: Sequence[int]) -> bytes:
        """As one read of all `sizes` together."""
        with self._mode(fd, os.O_WRONLY).get() as file:
            return file.read(sum(sizes))

    @syscall
    def writev(self, fd: int, buffers: Sequence[Buffer]) -> int:
        with self._mode(fd, os.O_RDONLY).get() as file:
            return self._or_sigpipe(file, lambda: file.write(b"".join(buffers)), 0)

    @syscall
    def close(self, fd: int) -> None:
        self._table.close(fd)

    @syscall
    def close_range(self, first: int, last: int, flags: int = 0) -> None:
        """Close, or mark close-on-exec, every descriptor from `first` to `last`."""
        if flags & ~CLOSE_RANGE_CLOEXEC or first > last:
            raise os_error(errno.EINVAL)
        for fd in [fd for fd, _ in self._table if first <= fd <= last]:
            if flags:
                self._table.set_cloexec(fd, True)
            else:
                self._table.close(fd)

    @syscall
    def lseek(self, fd: int, offset: int, whence: int) -> int:
        return self._table.file(fd).lseek(offset, whence)

    @syscall
    def dup(self, oldfd: int) -> int:
        return self._table.dup(oldfd)

    @syscall
    def dup2(self, oldfd: int, newfd: int) -> int:
        if oldfd == newfd:
            self._table.file(oldfd)
            return newfd
        return self._table.dup_to(oldfd, newfd)

    @syscall
    def dup3(self, oldfd: int, newfd: int, flags: int) -> int:
        if oldfd == newfd or flags & ~os.O_CLOEXEC:
            raise os_error(errno.EINVAL)
        return self._table.dup_to(oldfd, newfd, bool(flags & os.O_CLOEXEC))

    @syscall
    def fcntl(self, fd: int, cmd: int, arg: int = 0) -> int:
        file = self._table.file(fd)
        match cmd:
            case fc.F_DUPFD:
                return self._table.dup(fd, arg)
            case fc.F_DUPFD_CLOEXEC:
                return self._table.dup(fd, arg, cloexec=True)
            case fc.F_GETFD:
                return fc.FD_CLOEXEC if self._table.cloexec(fd) else 0
            case fc.F_SETFD:
                self._table.set_cloexec(fd, bool(arg & fc.FD_CLOEXEC))
            case fc.F_GETFL:
                return file.flags
            case fc.F_SETFL:
                file.set_flags(arg)
            case _:
                return file.fcntl(cmd, arg)
        return 0

    @syscall
    def ioctl(self, fd: int, request: int, arg: int = 0) -> int:
        """`arg` is the value passed in; what Linux writes through a pointer is the result."""
        file = self._table.file(fd)
        if request == termios.FIONBIO:
            file.set_flags(file.flags & ~os.O_NONBLOCK | (os.O_NONBLOCK if arg else 0))
        elif request in (FIOCLEX, FIONCLEX):
            self._table.set_cloexec(fd, request == FIOCLEX)
        else:
            return file.ioctl(request, arg)
        return 0

    @syscall
    def unlink(self, path: str | bytes) -> None:
        """Of a socket node; ENOENT."""
        self._system.unix.nodes.unlink(os.fsencode(path))

    def _mode(self, fd: int, forbidden: int) -> File:
        """The file, opened so that it can be read or written; else EBADF."""
        file = self._table.file(fd)
        if file.flags & os.O_ACCMODE == forbidden:
            raise os_error(errno.EBADF)
        return file
