"""Sockets as files: blocking, timeouts and socket-level options over a transport `Sock`.

Called by `syscalls` and `epoll`; calls `pystack.transport`, which never blocks.  Whatever would
block raises EAGAIN there; here the thread waits on the socket's queue and tries again.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket as so
import struct
import termios
from collections.abc import Callable, Sequence
from functools import partial
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLPRI, EPOLLRDHUP
from typing import TypeVar

from pystack.core.wait import WaitQueue
from pystack.transport.sock import (
    MSG_DONTWAIT,
    MSG_ERRQUEUE,
    MSG_OOB,
    MSG_PEEK,
    MSG_WAITALL,
    Address,
    Cmsg,
    Message,
    NoWaiting,
    Sock,
    os_error,
)
from pystack.uapi.block import Deadline, ProcessExit, wait_on
from pystack.uapi.files import File, OpenFiles, discard

T = TypeVar("T")
WAIT_READ = EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP
WAIT_WRITE = EPOLLOUT | EPOLLERR | EPOLLHUP
SIOCATMARK = 0x8905
SIOCOUTQNSD = 0x894B
_TIMEVAL = struct.Struct("=qq")
_SOCK_FPROG = struct.Struct("@HP")
SO_ATTACH_FILTER = 26
_TIMEOUTS: dict[int, str] = {so.SO_RCVTIMEO: "rcvtimeo", so.SO_SNDTIMEO: "sndtimeo"}
_STRINGS = {(so.SOL_SOCKET, so.SO_BINDTODEVICE)}
_READ_ONLY = {so.SO_TYPE, so.SO_ERROR, so.SO_DOMAIN, so.SO_PROTOCOL, so.SO_ACCEPTCONN}


class SocketFile(File):
    """Owns `sk`: the last `put` closes it.  `rcvtimeo` and `sndtimeo` in ns; None: no limit."""

    __slots__ = ("kernel", "rcvtimeo", "sk", "sndtimeo")

    def __init__(self, open_files: OpenFiles, sk: Sock, flags: int = 0) -> None:
        super().__init__(open_files, os.O_RDWR | flags & os.O_NONBLOCK)
        self.sk = sk
        self.kernel = sk.kernel
        self.rcvtimeo: int | None = None
        self.sndtimeo: int | None = None

    @property
    def sock(self) -> Sock:
        return self.sk

    @property
    def sigpipe(self) -> bool:
        return self.sk.type == so.SOCK_STREAM

    @property
    def wq(self) -> WaitQueue:
        return self.sk.wq

    def poll(self) -> int:
        return self.sk.poll()

    def release(self) -> None:
        if self.sk.sk_linger:
            self._linger(self.sk.sk_linger)
        self.sk.close()

    def _linger(self, seconds: int) -> None:
        """SO_LINGER: close() waits for the last ACK, even of a socket that does not block.

        A signal ends the wait and not the close; a process that exits does not wait.
        """
        if not self.sk.begin_close():
            return
        timeout = seconds * 1_000_000_000
        try:
            wait_on(self.kernel, self.wq, 0, lambda: not self.sk.closing, timeout)
        except (InterruptedError, ProcessExit):
            return

    def read(self, n: int) -> bytes:
        message = self.recvmsg(n, 0)
        discard(message)
        return message.data

    def write(self, data: bytes | bytearray | memoryview) -> int:
        return self.sendmsg(data, 0)

    # -- data ------------------------------------------------------------------------------

    def recvmsg(self, n: int, flags: int) -> Message:
        """Up to `n` bytes, b"" at the end; with MSG_WAITALL `n` unless the stream ends or fails."""
        if flags & MSG_OOB and self.sk.type == so.SOCK_STREAM and not flags & MSG_ERRQUEUE:
            return self.sk.recvmsg(n, flags)  # never waits
        self._record_flow()
        if self.nonblocking:
            flags |= MSG_DONTWAIT
        deadline = self._deadline(self.rcvtimeo, flags)
        if self.sk.type != so.SOCK_STREAM or flags & MSG_ERRQUEUE:
            return self._retry(partial(self.sk.recvmsg, n, flags), WAIT_READ, deadline)
        target = n if flags & MSG_WAITALL else min(self.sk.sk_rcvlowat, n)
        if flags & MSG_PEEK and target > 1 and not self._is_unix:
            return self._peek_all(n, target, flags, deadline)
        return self._receive_all(n, target, flags, deadline)

    def _receive_all(self, n: int, target: int, flags: int, deadline: Deadline) -> Message:
        """At least `target` bytes of a stream."""
        try:
            message = self._retry(partial(self.sk.recvmsg, n, flags), WAIT_READ, deadline)
        except BlockingIOError:
            if n or self._is_unix or self.nonblocking or flags & MSG_DONTWAIT:
                raise
            return Message(b"")  # TCP has waited, and is asked for nothing
        size = len(message.data)
        if size >= target or flags & (MSG_PEEK | MSG_ERRQUEUE):
            return message
        parts, part = [message.data], message
        while size < target and part.data and not part.control:  # never past control data
            more = partial(self._receive_more, n - size, flags)
            try:
                part = self._retry(more, WAIT_READ | EPOLLPRI, deadline)
            except OSError:
                break
            parts.append(part.data)
            size += len(part.data)
        return message._replace(data=b"".join(parts), control=part.control)

    def _record_flow(self) -> None:
        """Its packets shall come to the CPU where they are wanted (`sock_rps_record_flow`)."""
        if self.sk.sk_rxhash:
            self.kernel.sock_flows.record(self.sk.sk_rxhash, self.kernel.cpu.index)

    def _receive_more(self, n: int, flags: int) -> Message:
        """Data first: an error that comes after some stays with the socket for the next call.

        What comes behind the mark of urgent data is for the next call as well.
        """
        ends = self.sk.poll() & EPOLLERR or self.sk.at_mark()
        return Message(b"") if ends else self.sk.recvmsg(n, flags)

    def _peek_all(self, n: int, target: int, flags: int, deadline: Deadline) -> Message:
        """MSG_PEEK takes nothing away, so more is waited for by looking at all of it again."""
        peek = partial(self.sk.recvmsg, n, flags)
        message = self._retry(peek, WAIT_READ, deadline)
        if not message.data:
            return message
        ends = EPOLLRDHUP | EPOLLERR | EPOLLHUP | EPOLLPRI
        wait_on(
            self.kernel,
            self.wq,
            WAIT_READ | EPOLLPRI,
            lambda: self.sk.inq() >= target or bool(self.sk.poll() & ends),
            deadline.left(),
        )
        return peek()

    def sendmsg(
        self,
        data: bytes | bytearray | memoryview,
        flags: int,
        address: Address | None = None,
        control: Sequence[Cmsg] = (),
    ) -> int:
        """All of `data`, unless it fails half-way; non-blocking: what there is room for.

        `control` goes with the first byte.
        """
        self._record_flow()
        view = memoryview(data).cast("B")
        deadline = self._deadline(self.sndtimeo, flags)
        send = partial(self.sk.sendmsg, view, flags, address, control)
        sent = self._retry(send, WAIT_WRITE, deadline)
        while 0 < sent < len(view):
            more = partial(self._send_more, view[sent:], flags, address)
            try:
                n = self._retry(more, WAIT_WRITE, deadline)
            except OSError:
                break
            if n == 0:
                break
            sent += n
        return sent

    def _send_more(self, data: memoryview, flags: int, address: Address | None) -> int:
        """As `_receive_more`: what has been sent is reported before the error."""
        if self.sk.poll() & (EPOLLERR | EPOLLHUP):
            return 0
        return self.sk.sendmsg(data, flags, address)

    # -- connections -----------------------------------------------------------------------

    def bind(self, address: Address) -> None:
        self._check_family(address)
        self.sk.bind(address)

    def connect(self, address: Address | None) -> None:
        """EINPROGRESS when non-blocking or SO_SNDTIMEO runs out; the handshake then goes on.

        None is AF_UNSPEC: no peer any more.
        """
        if address is not None:
            self._check_family(address)
        deadline = self._deadline(self.sndtimeo, 0)
        waited = False
        while True:
            try:
                self.sk.connect(address)
                return
            except BlockingIOError as exc:  # EINPROGRESS, EALREADY; EAGAIN: the backlog is full
                if deadline.left() == 0 or (exc.errno == errno.EAGAIN and not self._is_unix):
                    raise
            except OSError as exc:
                if exc.errno == errno.EISCONN and waited:
                    return
                raise
            waited = True
            if not wait_on(self.kernel, self.wq, WAIT_WRITE, self._connected, deadline.left()):
                raise os_error(errno.EAGAIN if self._is_unix else errno.EINPROGRESS)
            if self.sk.sk_err and not self.sk.connecting:  # somebody shut it down meanwhile
                raise os_error(self.sk.sock_error())

    def _connected(self) -> bool:
        """By state (`inet_wait_for_connect`): poll may tell of an earlier shutdown all the time.

        An AF_UNIX socket waits for room in the listener's backlog.
        """
        return self.sk.may_send() if self._is_unix else not self.sk.opening

    @property
    def _is_unix(self) -> bool:
        return self.sk.family == so.AF_UNIX

    def accept(self) -> Sock:
        """The next established connection; of several waiting threads one is woken for each."""
        deadline = self._deadline(self.rcvtimeo, 0)
        accept = partial(self.sk.accept, MSG_DONTWAIT if self.nonblocking else 0)
        return self._retry(accept, WAIT_READ, deadline, exclusive=True)

    def _check_family(self, address: Address) -> None:
        if self.sk.family == so.AF_INET and (len(address) != 2 or len(address[0]) != 4):
            raise os_error(errno.EAFNOSUPPORT)

    # -- options ---------------------------------------------------------------------------

    def ioctl(self, request: int, arg: int) -> int:
        if request == termios.FIONREAD:
            return self.sk.inq()
        if request == termios.TIOCOUTQ:
            return self.sk.outq()
        if request == SIOCATMARK and (self.sk.type == so.SOCK_STREAM or self._is_unix):
            if self.sk.type != so.SOCK_STREAM:
                raise os_error(errno.EOPNOTSUPP)
            return int(self.sk.at_mark())
        if request == SIOCOUTQNSD:
            return self.sk.outq_nsd()
        return super().ioctl(request, arg)

    def setsockopt(self, level: int, name: int, value: int | bytes) -> None:
        if level == so.SOL_SOCKET:
            if name in _TIMEOUTS:
                setattr(self, _TIMEOUTS[name], _parse_timeval(value))
                return
            if name in _READ_ONLY:
                raise os_error(errno.ENOPROTOOPT)
            if name == SO_ATTACH_FILTER:
                value = _filter_from_user(value)
        short = isinstance(value, bytes) and len(value) < 4
        if short and level != so.IPPROTO_IP and (level, name) not in _STRINGS:
            raise os_error(errno.EINVAL)
        self.sk.setsockopt(level, name, value)

    def getsockopt(self, level: int, name: int) -> int | bytes:
        """An int, or bytes for options that are structures."""
        if level == so.SOL_SOCKET:
            if name in _TIMEOUTS:
                timeout = getattr(self, _TIMEOUTS[name]) or 0
                return _TIMEVAL.pack(*divmod(timeout // 1000, 1_000_000))
            fixed = {
                so.SO_TYPE: self.sk.type,
                so.SO_DOMAIN: self.sk.family,
                so.SO_PROTOCOL: self.sk.protocol,
            }.get(name)
            if fixed is not None:
                return int(fixed)
        return self.sk.getsockopt(level, name)

    # -- waiting ---------------------------------------------------------------------------

    def _deadline(self, timeout: int | None, flags: int) -> Deadline:
        if self.nonblocking or flags & MSG_DONTWAIT:
            timeout = 0
        return Deadline(self.kernel, timeout)

    def _retry(
        self, attempt: Callable[[], T], mask: int, deadline: Deadline, exclusive: bool = False
    ) -> T:
        """`attempt()` as often as it takes to not raise EAGAIN, waiting for `mask` in between."""
        while True:
            try:
                return attempt()
            except NoWaiting:
                raise
            except BlockingIOError:
                left = deadline.left()
                if left == 0:
                    raise
            ready = self.sk.may_send if mask == WAIT_WRITE else partial(self._has, mask)
            wait_on(self.kernel, self.wq, mask, ready, left, exclusive)

    def _has(self, mask: int) -> bool:
        return bool(self.sk.poll() & mask)


def _filter_from_user(value: int | bytes) -> bytes:
    """The instructions a `struct sock_fprog` points to: a program's memory is the interpreter's."""
    if isinstance(value, int) or len(value) != _SOCK_FPROG.size:
        raise os_error(errno.EINVAL)
    length, address = _SOCK_FPROG.unpack(value)
    if not address:
        raise os_error(errno.EFAULT)
    return ctypes.string_at(address, length * 8)


def _parse_timeval(value: int | bytes) -> int | None:
    """struct timeval to ns; zero means no limit (`sock_set_timeout`)."""
    if isinstance(value, int) or len(value) < _TIMEVAL.size:
        raise os_error(errno.EINVAL)
    seconds, micros = _TIMEVAL.unpack_from(value)
    if not 0 <= micros < 1_000_000:
        raise os_error(errno.EDOM)
    if seconds < 0:
        return 0
    return (seconds * 1_000_000 + micros) * 1000 or None
