"""Files and descriptors: what an integer means to a process (`fs/file.c`, `fs/file_table.c`).

Called by `syscalls`; a kind of file derives from `File` (`sockfile`, `epoll`, `Console`).
"""

from __future__ import annotations

import errno
import fcntl as fc
import os
import socket as so
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from itertools import count
from select import EPOLLIN, EPOLLOUT, EPOLLRDNORM, EPOLLWRNORM
from typing import TYPE_CHECKING, Self

from pystack.core.wait import WaitQueue
from pystack.transport.sock import Message, Sock, os_error
from pystack.uapi.fdmap import FdBitmap

if TYPE_CHECKING:
    from pystack.uapi.epoll import EpollItem

SETFL_MASK = os.O_APPEND | os.O_NONBLOCK | os.O_ASYNC | getattr(os, "O_DIRECT", 0)


class OpenFiles:
    """How many files a host has open, and may (`fs.file-nr`, `fs.file-max`)."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.count = 0
        self.next_ino = count(1)


class File(ABC):
    """An open file: what several descriptors may share, flags included.

    It is born with one reference; `release` runs when the last one is put.  `ino` is the number
    of its inode.  Operations a kind of file lacks fail as Linux's missing `file_operations` do.
    """

    __slots__ = ("_open_files", "epoll_items", "flags", "ino", "refs")

    def __init__(self, open_files: OpenFiles, flags: int = os.O_RDWR) -> None:
        if open_files.count >= open_files.limit:
            raise os_error(errno.ENFILE)
        open_files.count += 1
        self._open_files = open_files
        self.ino = next(open_files.next_ino)
        self.refs = 1
        self.flags = flags
        self.epoll_items: tuple[EpollItem, ...] = ()  # interests of epoll instances in this file

    @property
    def sock(self) -> Sock | None:
        """The socket, if it is one."""
        return None

    @property
    def sigpipe(self) -> bool:
        """Writing where nobody reads sends SIGPIPE."""
        return True

    @property
    def nonblocking(self) -> bool:
        return bool(self.flags & os.O_NONBLOCK)

    @property
    @abstractmethod
    def wq(self) -> WaitQueue:
        """Woken with `EPOLL*` masks whenever `poll()` may have changed."""

    @abstractmethod
    def poll(self) -> int:
        """The `EPOLL*` events that hold now."""

    def read(self, n: int) -> bytes:
        raise os_error(errno.EINVAL)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        raise os_error(errno.EINVAL)

    def lseek(self, offset: int, whence: int) -> int:
        raise os_error(errno.ESPIPE)

    def ioctl(self, request: int, arg: int) -> int:
        raise os_error(errno.ENOTTY)

    def fcntl(self, cmd: int, arg: int) -> int:
        """What is not the same for every file; EBADF for calls that only pipes know."""
        raise os_error(errno.EBADF if cmd in (fc.F_GETPIPE_SZ, fc.F_SETPIPE_SZ) else errno.EINVAL)

    def set_flags(self, flags: int) -> None:
        """F_SETFL: the access mode stays."""
        self.flags = self.flags & ~SETFL_MASK | flags & SETFL_MASK

    def release(self) -> None:
        """The last reference is gone."""

    def get(self) -> Self:
        """Take a reference; `with file.get():` puts it back."""
        self.refs += 1
        return self

    def put(self) -> None:
        """Drop a reference.  Epoll forgets a file before it is released (`eventpoll_release`)."""
        self.refs -= 1
        if self.refs == 0:
            for item in self.epoll_items:
                item.epoll.forget(item)
            self._open_files.count -= 1
            self.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.put()


def discard(message: Message) -> None:
    """Let go of files that came with a message whose receiver has no room for them."""
    for level, type_, data in message.control:
        if level == so.SOL_SOCKET and type_ == so.SCM_RIGHTS:
            for file in data:
                file.put()


class Console(File):
    """Standard input, output and error: reads end at once, what is written is kept in `output`.

    `watch`, if set, is called with each write, as it happens.
    """

    def __init__(self, open_files: OpenFiles) -> None:
        super().__init__(open_files)
        self.output = bytearray()
        self.watch: Callable[[bytes], None] | None = None
        self._wq = WaitQueue()

    @property
    def wq(self) -> WaitQueue:
        return self._wq

    def poll(self) -> int:
        return EPOLLIN | EPOLLRDNORM | EPOLLOUT | EPOLLWRNORM

    def read(self, n: int) -> bytes:
        return b""

    def write(self, data: bytes | bytearray | memoryview) -> int:
        self.output += data
        if self.watch is not None:
            self.watch(bytes(data))
        return len(data)


class FileTable:
    """The descriptors of one process.  `limit` is RLIMIT_NOFILE: every descriptor is below it;
    `hard` is how far the process may raise it.

    A new descriptor is always the lowest free one.  Making a file takes two steps, so that
    running out of descriptors is known before anything is done: `reserve`, then `install`.
    """

    def __init__(self, limit: int, hard: int) -> None:
        self.limit, self.hard = limit, hard
        self._files: dict[int, File] = {}
        self._used = FdBitmap()
        self._cloexec: set[int] = set()

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[tuple[int, File]]:
        """Open descriptors with their files, in ascending order."""
        return iter(sorted(self._files.items()))

    def file(self, fd: int) -> File:
        """EBADF if `fd` is not open."""
        file = self._files.get(fd)
        if file is None:
            raise os_error(errno.EBADF)
        return file

    def find(self, fd: int) -> File | None:
        return self._files.get(fd)

    def reserve(self, minimum: int = 0) -> int:
        """The lowest free descriptor from `minimum` on; EMFILE if that is the limit."""
        fd = self._used.lowest_clear(minimum)
        if fd >= self.limit:
            raise os_error(errno.EMFILE)
        self._used.set(fd)
        return fd

    def unreserve(self, fd: int) -> None:
        self._used.clear(fd)

    def install(self, fd: int, file: File, cloexec: bool = False) -> int:
        """Make a reserved descriptor mean `file`; takes over the caller's reference."""
        self._files[fd] = file
        self.set_cloexec(fd, cloexec)
        return fd

    def dup(self, fd: int, minimum: int = 0, cloexec: bool = False) -> int:
        """F_DUPFD: EINVAL if `minimum` is not below the limit."""
        file = self.file(fd)
        if not 0 <= minimum < self.limit:
            raise os_error(errno.EINVAL)
        new = self.reserve(minimum)
        return self.install(new, file.get(), cloexec)

    def dup_to(self, old: int, new: int, cloexec: bool = False) -> int:
        """`new` becomes another `old`; what it was is closed.  EBUSY if it is only reserved."""
        if not 0 <= new < self.limit:
            raise os_error(errno.EBADF)
        file = self.file(old)
        replaced = self._files.get(new)
        if replaced is None and self._used.test(new):
            raise os_error(errno.EBUSY)
        self._used.set(new)
        self.install(new, file.get(), cloexec)
        if replaced is not None:
            replaced.put()
        return new

    def close(self, fd: int) -> None:
        file = self.file(fd)
        del self._files[fd]
        self._cloexec.discard(fd)
        self._used.clear(fd)
        file.put()

    def clone(self) -> FileTable:
        """What a child inherits (`dup_fd`): the same files under the same numbers."""
        table = FileTable(self.limit, self.hard)
        for fd, file in self:
            table._used.set(fd)
            table.install(fd, file.get(), fd in self._cloexec)
        return table

    def close_on_exec(self) -> None:
        for fd in sorted(self._cloexec):
            self.close(fd)

    def close_all(self) -> None:
        for fd, _ in self:
            self.close(fd)

    def cloexec(self, fd: int) -> bool:
        self.file(fd)
        return fd in self._cloexec

    def set_cloexec(self, fd: int, on: bool) -> None:
        self.file(fd)
        if on:
            self._cloexec.add(fd)
        else:
            self._cloexec.discard(fd)
