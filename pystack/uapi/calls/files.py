"""Descriptors: read, write, dup, fcntl, ioctl (`fs/read_write.c`, `fs/fcntl.c`)."""

from __future__ import annotations

import errno
import fcntl as fc
import os
import termios

from pystack.transport.sock import os_error
from pystack.uapi.calls.base import Buffer, Calls
from pystack.uapi.table import syscall

FIONCLEX, FIOCLEX = 0x5450, 0x5451


class FileCalls(Calls):
    @syscall
    def read(self, fd: int, count: int) -> bytes:
        with self._table.file(fd).get() as file:
            return file.read(count)

    @syscall
    def write(self, fd: int, data: Buffer) -> int:
        with self._table.file(fd).get() as file:
            return self._or_sigpipe(lambda: file.write(data), 0)

    @syscall
    def close(self, fd: int) -> None:
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
                raise os_error(errno.EINVAL)
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
