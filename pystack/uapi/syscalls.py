"""The system calls of one process: descriptors in, Linux's results and errnos out.

An errno is an `OSError`.  Buffers are `bytes`, socket addresses `(ip bytes, port)`, timeouts in
the unit the call has in Linux.  The work is in the files behind the descriptors.  Called by the
module facades (`sockmod`, `selectmod`, `timemod`).
"""

from __future__ import annotations

import errno
import fcntl as fc
import os
import select as sel
import signal
import socket as so
import termios
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from pystack.core.wait import WaitQueue
from pystack.transport.sock import (
    MSG_CMSG_CLOEXEC,
    MSG_NOSIGNAL,
    Address,
    Cmsg,
    Message,
    Sock,
    os_error,
)
from pystack.uapi import scm
from pystack.uapi.block import ProcessExit, wait_on
from pystack.uapi.epoll import Epoll
from pystack.uapi.files import File
from pystack.uapi.poll import SELECT_EXCEPT, SELECT_READ, SELECT_WRITE, wait_any
from pystack.uapi.sockfile import SocketFile
from pystack.uapi.table import syscall

if TYPE_CHECKING:
    from pystack.uapi.process import Process

Buffer = bytes | bytearray | memoryview
FIONCLEX, FIOCLEX = 0x5450, 0x5451
TIMER_SLACK_NS = 50_000  # even a sleep of zero gives up the CPU (prctl(2), PR_SET_TIMERSLACK)
_MS, _US = 1_000_000, 1_000  # ns


class Syscalls:
    def __init__(self, process: Process) -> None:
        self.process = process
        self._kernel = process.kernel
        self._system = process.system
        self._table = process.files

    # -- files -----------------------------------------------------------------------------

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

    # -- sockets ---------------------------------------------------------------------------

    @syscall
    def socket(self, domain: int, type: int, protocol: int) -> int:
        flags = type & ~0xF
        if flags & ~(so.SOCK_NONBLOCK | so.SOCK_CLOEXEC):
            raise os_error(errno.EINVAL)
        sk = self._system.create_sock(domain, type & 0xF, protocol)
        sk.sk_uid = self.process.uid
        try:
            fd = self._table.reserve()
        except OSError:
            sk.close()
            raise
        return self._install_sock(fd, sk, flags)

    @syscall
    def bind(self, fd: int, address: Address) -> None:
        with self._socket(fd) as file:
            file.bind(address)

    @syscall
    def listen(self, fd: int, backlog: int) -> None:
        with self._socket(fd) as file:
            file.sk.listen(backlog)

    @syscall
    def accept4(self, fd: int, flags: int = 0) -> tuple[int, Address]:
        """The descriptor is reserved first, so that EMFILE costs no connection."""
        if flags & ~(so.SOCK_NONBLOCK | so.SOCK_CLOEXEC):
            raise os_error(errno.EINVAL)
        with self._socket(fd) as file:
            new = self._table.reserve()
            try:
                sk = file.accept()
            except BaseException:
                self._table.unreserve(new)
                raise
            new = self._install_sock(new, sk, flags)
            try:
                return new, sk.getpeername()
            except OSError:  # reset meanwhile
                self._table.close(new)
                raise os_error(errno.ECONNABORTED) from None

    @syscall
    def connect(self, fd: int, address: Address) -> None:
        with self._socket(fd) as file:
            file.connect(address)

    @syscall
    def sendto(self, fd: int, data: Buffer, flags: int = 0, address: Address | None = None) -> int:
        """A stream socket ignores `address`, as Linux's TCP does."""
        with self._socket(fd) as file:
            return self._or_sigpipe(lambda: file.sendmsg(data, flags, address), flags)

    @syscall
    def recvfrom(self, fd: int, n: int, flags: int = 0) -> Message:
        """A stream socket names no sender."""
        with self._socket(fd) as file:
            return file.recvmsg(n, flags)

    @syscall
    def sendmsg(
        self,
        fd: int,
        buffers: Sequence[Buffer],
        flags: int = 0,
        address: Address | None = None,
        control: Sequence[Cmsg] = (),
    ) -> int:
        """The data of `control` is bytes; descriptors for SCM_RIGHTS are ints in them."""
        with self._socket(fd) as file, scm.sending(self._table, control) as passed:
            data = buffers[0] if len(buffers) == 1 else b"".join(buffers)
            return self._or_sigpipe(lambda: file.sendmsg(data, flags, address, passed), flags)

    @syscall
    def recvmsg(self, fd: int, n: int, controllen: int = 0, flags: int = 0) -> Message:
        """Control data up to `controllen` bytes, in `CMSG_SPACE`s; the rest is MSG_CTRUNC."""
        with self._socket(fd) as file:
            message = file.recvmsg(n, flags)
            if not message.control:
                return message
            cloexec = bool(flags & MSG_CMSG_CLOEXEC)
            return scm.receive(self._table, message, controllen, cloexec)

    @syscall
    def shutdown(self, fd: int, how: int) -> None:
        with self._socket(fd) as file:
            file.sk.shutdown(how)

    @syscall
    def getsockname(self, fd: int) -> Address:
        with self._socket(fd) as file:
            return file.sk.getsockname()

    @syscall
    def getpeername(self, fd: int) -> Address:
        with self._socket(fd) as file:
            return file.sk.getpeername()

    @syscall
    def setsockopt(self, fd: int, level: int, name: int, value: int | bytes) -> None:
        with self._socket(fd) as file:
            file.setsockopt(level, name, value)

    @syscall
    def getsockopt(self, fd: int, level: int, name: int) -> int | bytes:
        with self._socket(fd) as file:
            return file.getsockopt(level, name)

    # -- waiting ---------------------------------------------------------------------------

    @syscall
    def poll(self, fds: Sequence[tuple[int, int]], timeout_ms: int) -> list[int]:
        """The events of each `(fd, events)`; POLLNVAL for one not open, negative ones skipped."""
        if len(fds) > self._table.limit:
            raise os_error(errno.EINVAL)
        result = [0] * len(fds)
        opened = []
        with self._hold(fd for fd, _ in fds) as files:
            for index, (fd, events) in enumerate(fds):
                file = files.get(fd)
                if file is not None:
                    opened.append((index, file, events | sel.POLLERR | sel.POLLHUP))
                elif fd >= 0:
                    result[index] = sel.POLLNVAL
            timeout = 0 if any(result) else _nanoseconds(timeout_ms, _MS)
            found = wait_any(self._kernel, [(file, mask) for _, file, mask in opened], timeout)
        for (index, _, _), events in zip(opened, found, strict=True):
            result[index] = events
        return result

    @syscall
    def select(
        self,
        readfds: Sequence[int],
        writefds: Sequence[int],
        exceptfds: Sequence[int],
        timeout_us: int | None,
    ) -> tuple[list[int], list[int], list[int]]:
        """The ready ones of each set, in its order; EBADF if any is not open."""
        if timeout_us is not None and timeout_us < 0:
            raise os_error(errno.EINVAL)
        masks: dict[int, int] = {}
        kinds = (readfds, SELECT_READ), (writefds, SELECT_WRITE), (exceptfds, SELECT_EXCEPT)
        for fds, mask in kinds:
            for fd in fds:
                self._table.file(fd)
                masks[fd] = masks.get(fd, 0) | mask
        with self._hold(masks) as files:
            waits = [(files[fd], mask) for fd, mask in masks.items()]
            timeout = None if timeout_us is None else timeout_us * _US
            events = dict(zip(masks, wait_any(self._kernel, waits, timeout), strict=True))
        read, write, exceptional = ([fd for fd in fds if events[fd] & mask] for fds, mask in kinds)
        return read, write, exceptional

    @syscall
    def epoll_create1(self, flags: int) -> int:
        if flags & ~sel.EPOLL_CLOEXEC:
            raise os_error(errno.EINVAL)
        fd = self._table.reserve()
        try:
            epoll = Epoll(self._system.open_files, self._kernel)
        except OSError:
            self._table.unreserve(fd)
            raise
        return self._table.install(fd, epoll, bool(flags & sel.EPOLL_CLOEXEC))

    @syscall
    def epoll_ctl(self, epfd: int, op: int, fd: int, event: tuple[int, Any] | None = None) -> None:
        """`event` is (events, data)."""
        file, events_data = self._table.file(epfd), event or (0, None)
        target = self._table.file(fd)
        if not isinstance(file, Epoll):
            raise os_error(errno.EINVAL)
        file.ctl(op, fd, target, *events_data)

    @syscall
    def epoll_wait(self, epfd: int, maxevents: int, timeout_ms: int) -> list[tuple[int, Any]]:
        """Up to `maxevents` of (events, data)."""
        if maxevents <= 0:
            raise os_error(errno.EINVAL)
        with self._table.file(epfd).get() as file:
            if not isinstance(file, Epoll):
                raise os_error(errno.EINVAL)
            return file.wait(maxevents, _nanoseconds(timeout_ms, _MS))

    # -- the process -----------------------------------------------------------------------

    @syscall
    def getpid(self) -> int:
        return self.process.pid

    @syscall
    def clock_nanosleep(self, ns: int) -> None:
        if ns < 0:
            raise os_error(errno.EINVAL)
        wait_on(self._kernel, WaitQueue(), 0, lambda: False, ns or TIMER_SLACK_NS)

    @syscall
    def exit_group(self, status: int) -> NoReturn:
        self.process.begin_exit(status & 0xFF)
        raise ProcessExit

    # -- helpers ---------------------------------------------------------------------------

    def _socket(self, fd: int) -> SocketFile:
        """The socket `fd` means, with a reference: it outlives a close by another thread."""
        file = self._table.file(fd)
        if not isinstance(file, SocketFile):
            raise os_error(errno.ENOTSOCK)
        return file.get()

    def _install_sock(self, fd: int, sk: Sock, flags: int) -> int:
        try:
            file = SocketFile(self._system.open_files, sk, flags)
        except OSError:
            self._table.unreserve(fd)
            sk.close()
            raise
        return self._table.install(fd, file, bool(flags & so.SOCK_CLOEXEC))

    @contextmanager
    def _hold(self, fds: Iterable[int]) -> Iterator[dict[int, File]]:
        """The open ones of `fds`, each with a reference."""
        files = {fd: file.get() for fd in set(fds) if (file := self._table.find(fd)) is not None}
        try:
            yield files
        finally:
            for file in files.values():
                file.put()

    def _or_sigpipe(self, send: Callable[[], int], flags: int) -> int:
        """Writing to a stream that cannot take it kills, unless the process ignores SIGPIPE."""
        try:
            return send()
        except BrokenPipeError:
            if not flags & MSG_NOSIGNAL and signal.SIGPIPE not in self.process.ignored:
                self.process.begin_exit(-signal.SIGPIPE)
                raise ProcessExit from None
            raise


def _nanoseconds(timeout: int, unit: int) -> int | None:
    """A negative timeout waits for ever."""
    return None if timeout < 0 else timeout * unit
