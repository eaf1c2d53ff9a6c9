"""Pipes: a ring of pages between two ends (`fs/pipe.c`).

Made by the call `pipe2`.  Data goes into the last page if all of it fits there, else into new
ones, so how much a pipe holds depends on the sizes written, as in Linux.
"""

from __future__ import annotations

import errno
import fcntl as fc
import os
import termios
from collections import deque
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDNORM, EPOLLWRNORM

from pystack.core.kernel import Kernel
from pystack.core.wait import WaitQueue
from pystack.transport.sock import os_error
from pystack.uapi.block import wait_on
from pystack.uapi.files import File, OpenFiles

PAGE_SIZE = 4096
PIPE_DEF_BUFFERS = 16
PIPE_MAX_SIZE = 1 << 20  # fs.pipe-max-size
_READABLE, _WRITABLE = EPOLLIN | EPOLLRDNORM, EPOLLOUT | EPOLLWRNORM


class Pipe:
    """What both ends share.  `pages` are the filled slots, `packets` whether each is a message."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.pages: deque[bytearray] = deque()
        self.packets: deque[bool] = deque()
        self._room = 0  # left in the last page
        self.slots = PIPE_DEF_BUFFERS
        self.readers = self.writers = 1
        self.rd_wait, self.wr_wait = WaitQueue(), WaitQueue()

    @property
    def full(self) -> bool:
        return len(self.pages) >= self.slots

    def put(self, data: memoryview, packet: bool) -> int:
        """As much as there is room for."""
        taken = 0
        first = len(data) % PAGE_SIZE
        if first and first <= self._room and self.pages and not (packet or self.packets[-1]):
            self.pages[-1] += data[:first]
            self._room -= first
            taken = first
        while taken < len(data) and not self.full:
            piece = data[taken : taken + PAGE_SIZE]
            self.pages.append(bytearray(piece))
            self.packets.append(packet)
            self._room = PAGE_SIZE - len(piece)
            taken += len(piece)
        return taken

    def take(self, n: int) -> bytes:
        """Up to `n` bytes; of a packet what does not fit is lost."""
        parts = []
        while n and self.pages:
            page = self.pages[0]
            parts.append(bytes(page[:n]))
            n -= len(parts[-1])
            del page[: len(parts[-1])]
            packet = self.packets[0]
            if packet or not page:
                self.pages.popleft()
                self.packets.popleft()
            if packet:
                break
        return b"".join(parts)

    def resize(self, size: int) -> int:
        """F_SETPIPE_SZ: a power of two of pages; EBUSY if more is in use."""
        slots = 1 << max(-(-size // PAGE_SIZE) - 1, 0).bit_length()
        if size < 0 or slots * PAGE_SIZE > 1 << 31:
            raise os_error(errno.EINVAL)
        if slots < len(self.pages):
            raise os_error(errno.EBUSY)
        self.slots = slots
        self.wr_wait.wake(_WRITABLE)
        return slots * PAGE_SIZE


class PipeEnd(File):
    """What both kinds of end can do."""

    __slots__ = ("pipe",)

    def __init__(self, open_files: OpenFiles, pipe: Pipe, flags: int) -> None:
        super().__init__(open_files, flags)
        self.pipe = pipe

    def ioctl(self, request: int, arg: int) -> int:
        if request == termios.FIONREAD:
            return sum(map(len, self.pipe.pages))
        return super().ioctl(request, arg)

    def fcntl(self, cmd: int, arg: int) -> int:
        if cmd == fc.F_GETPIPE_SZ:
            return self.pipe.slots * PAGE_SIZE
        if cmd == fc.F_SETPIPE_SZ:
            return self.pipe.resize(arg)
        return super().fcntl(cmd, arg)


class PipeReader(PipeEnd):
    __slots__ = ()

    @property
    def wq(self) -> WaitQueue:
        return self.pipe.rd_wait

    def poll(self) -> int:
        mask = _READABLE if self.pipe.pages else 0
        return mask if self.pipe.writers else mask | EPOLLHUP

    def read(self, n: int) -> bytes:
        """What is there; b"" when nobody can write any more."""
        pipe = self.pipe
        if n == 0:
            return b""
        if not pipe.pages and pipe.writers:
            if self.nonblocking:
                raise os_error(errno.EAGAIN)
            wait_on(
                pipe.kernel,
                pipe.rd_wait,
                EPOLLIN | EPOLLHUP,
                lambda: bool(pipe.pages) or not pipe.writers,
                exclusive=True,
            )
        was_full = pipe.full
        data = pipe.take(n)
        pipe.kernel.cpu.charge_copy(len(data))
        if was_full and not pipe.full:
            pipe.wr_wait.wake(_WRITABLE)
        if pipe.pages:
            pipe.rd_wait.wake(_READABLE)  # for the next reader
        return data

    def release(self) -> None:
        self.pipe.readers = 0
        self.pipe.wr_wait.wake(_WRITABLE | EPOLLERR | EPOLLHUP, nr_exclusive=1 << 30)


class PipeWriter(PipeEnd):
    __slots__ = ()

    @property
    def wq(self) -> WaitQueue:
        return self.pipe.wr_wait

    def poll(self) -> int:
        mask = 0 if self.pipe.full else _WRITABLE
        return mask if self.pipe.readers else mask | EPOLLERR

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """All of it, unless non-blocking; EPIPE when nobody reads."""
        pipe, view, sent = self.pipe, memoryview(data).cast("B"), 0
        packet = bool(self.flags & os.O_DIRECT)
        while sent < len(view):
            if not pipe.readers:
                break
            sent += pipe.put(view[sent:], packet)
            pipe.rd_wait.wake(_READABLE)
            if sent == len(view) or self.nonblocking:
                break
            try:
                wait_on(
                    pipe.kernel,
                    pipe.wr_wait,
                    EPOLLOUT | EPOLLERR,
                    lambda: not pipe.full or not pipe.readers,
                    exclusive=True,
                )
            except InterruptedError:
                if not sent:
                    raise
                break
        pipe.kernel.cpu.charge_copy(sent)
        if sent or not view:
            return sent
        raise os_error(errno.EAGAIN if pipe.readers else errno.EPIPE)

    def release(self) -> None:
        self.pipe.writers = 0
        self.pipe.rd_wait.wake(_READABLE | EPOLLHUP, nr_exclusive=1 << 30)


def make_pipe(kernel: Kernel, open_files: OpenFiles, flags: int) -> tuple[PipeReader, PipeWriter]:
    """ENFILE when there is no room for two files."""
    pipe = Pipe(kernel)
    reader = PipeReader(open_files, pipe, os.O_RDONLY | flags & os.O_NONBLOCK)
    try:
        return reader, PipeWriter(open_files, pipe, os.O_WRONLY | flags)
    except OSError:
        reader.put()
        raise
