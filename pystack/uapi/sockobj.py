"""`socket.socket` for one simulated process: CPython's class over our system calls.

Follows Modules/socketmodule.c and Lib/socket.py call by call, so that a trace of a program looks
as it does on Linux: a socket with a timeout is non-blocking underneath, and polls first.
"""

from __future__ import annotations

import errno
import fcntl
import io
import math
import select as sel
import socket as so
import termios
import warnings
from collections.abc import Callable
from typing import Any, ClassVar, Self, TypeVar

from pystack.transport.sock import os_error
from pystack.uapi.sockaddr import Hosts, from_kernel, to_kernel
from pystack.uapi.syscalls import Buffer, Syscalls

T = TypeVar("T")
_TYPE_FLAGS = so.SOCK_NONBLOCK | so.SOCK_CLOEXEC
_CHUNK = 8192


class SocketDefaults:
    """What `setdefaulttimeout` sets; seconds or None."""

    def __init__(self) -> None:
        self.timeout: float | None = None


def check_timeout(value: float | None) -> float | None:
    if value is None:
        return None
    seconds = float(value)
    if math.isnan(seconds):
        raise ValueError("Invalid value NaN (not a number)")
    if seconds < 0:
        raise ValueError("Timeout value out of range")
    return seconds


class SimSocket:
    """The module facade derives `socket` from this, bound to a process."""

    _sys: ClassVar[Syscalls]
    _hosts: ClassVar[Hosts]
    _defaults: ClassVar[SocketDefaults]

    def __init__(
        self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None
    ) -> None:
        self._fd = -1
        self._io_refs = 0
        self._closed = False
        self._timeout: float | None = None
        if fileno is None:
            family = so.AF_INET if family == -1 else family
            type = so.SOCK_STREAM if type == -1 else type
            self._fd = self._sys.socket(family, type | so.SOCK_CLOEXEC, max(proto, 0))
        else:
            if fileno < 0:
                raise ValueError("negative file descriptor")
            family = self._option(fileno, so.SO_DOMAIN) if family == -1 else family
            type = self._option(fileno, so.SO_TYPE) if type == -1 else type
            proto = self._option(fileno, so.SO_PROTOCOL) if proto == -1 else proto
            self._fd = fileno
        self.family = so.AddressFamily(family)
        self.type = so.SocketKind(type & ~_TYPE_FLAGS)
        self.proto = max(proto, 0)
        if type & so.SOCK_NONBLOCK:
            self._timeout = 0.0
        elif self._defaults.timeout is not None:
            self.settimeout(self._defaults.timeout)

    def _option(self, fd: int, name: int) -> int:
        value = self._sys.getsockopt(fd, so.SOL_SOCKET, name)
        assert isinstance(value, int)
        return value

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._closed:
            self.close()

    def __repr__(self) -> str:
        closed = " [closed]" if self._closed else ""
        return f"<socket.socket{closed} fd={self._fd}, family={self.family}, type={self.type}>"

    def __getstate__(self) -> None:
        raise TypeError("cannot pickle 'socket' object")

    def __del__(self) -> None:
        fd, self._fd = getattr(self, "_fd", -1), -1
        if fd >= 0:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            self._sys.process.abandoned.append(fd)

    # -- life ------------------------------------------------------------------------------

    def fileno(self) -> int:
        return self._fd

    def detach(self) -> int:
        self._closed = True
        fd, self._fd = self._fd, -1
        return fd

    def close(self) -> None:
        """The descriptor is closed once the files of `makefile` are, too."""
        self._closed = True
        if self._io_refs <= 0:
            self._real_close()

    def _real_close(self) -> None:
        fd = self.detach()
        if fd >= 0:
            try:
                self._sys.close(fd)
            except ConnectionResetError:
                return  # as CPython: a reset connection is closed all the same

    def _decref_socketios(self) -> None:
        """Called by `socket.SocketIO` when it is closed."""
        if self._io_refs > 0:
            self._io_refs -= 1
        if self._closed:
            self.close()

    def dup(self) -> Self:
        fd = self._sys.fcntl(self._fd, fcntl.F_DUPFD_CLOEXEC, 0)
        other = self.__class__(self.family, self.type, self.proto, fileno=fd)
        other.settimeout(self.gettimeout())
        return other

    def shutdown(self, how: int) -> None:
        self._sys.shutdown(self._fd, how)

    def get_inheritable(self) -> bool:
        return not self._sys.fcntl(self._fd, fcntl.F_GETFD)

    def set_inheritable(self, inheritable: bool) -> None:
        self._sys.fcntl(self._fd, fcntl.F_SETFD, 0 if inheritable else fcntl.FD_CLOEXEC)

    # -- timeouts --------------------------------------------------------------------------

    def settimeout(self, value: float | None) -> None:
        """None: blocking; 0: non-blocking; else seconds."""
        timeout = check_timeout(value)
        self._timeout = timeout
        self._sys.ioctl(self._fd, termios.FIONBIO, int(timeout is not None))

    def gettimeout(self) -> float | None:
        return self._timeout

    timeout = property(gettimeout)

    def setblocking(self, flag: bool) -> None:
        self.settimeout(None if flag else 0.0)

    def getblocking(self) -> bool:
        return self._timeout != 0.0

    def _deadline(self) -> float | None:
        return self._now() + self._timeout if self._timeout else None

    def _now(self) -> float:
        return self._sys.process.kernel.now / 1e9

    def _await(self, events: int, deadline: float) -> None:
        left = deadline - self._now()
        if left < 0 or not self._sys.poll([(self._fd, events)], math.ceil(left * 1000))[0]:
            raise TimeoutError("timed out")

    def _call(self, op: Callable[[], T], events: int, deadline: float | None) -> T:
        """`sock_call`: with a deadline, poll, try, and poll again after EAGAIN."""
        if deadline is None:
            return op()
        while True:
            self._await(events, deadline)
            try:
                return op()
            except BlockingIOError:
                continue

    # -- connections -----------------------------------------------------------------------

    def bind(self, address: Any) -> None:
        self._sys.bind(self._fd, to_kernel(self.family, address, self._hosts, "bind"))

    def listen(self, backlog: int | None = None) -> None:
        self._sys.listen(self._fd, min(so.SOMAXCONN, 128) if backlog is None else max(backlog, 0))

    def accept(self) -> tuple[Self, Any]:
        fd, address = self._call(
            lambda: self._sys.accept4(self._fd, so.SOCK_CLOEXEC), sel.POLLIN, self._deadline()
        )
        new = self.__class__(self.family, self.type, self.proto, fileno=fd)
        return new, from_kernel(self.family, address)

    def connect(self, address: Any) -> None:
        target = to_kernel(self.family, address, self._hosts, "connect")
        deadline = self._deadline()
        try:
            self._sys.connect(self._fd, target)
        except BlockingIOError as exc:
            if deadline is None or exc.errno != errno.EINPROGRESS:
                raise
            self._await(sel.POLLOUT | sel.POLLERR, deadline)
            error = self._option(self._fd, so.SO_ERROR)
            if error not in (0, errno.EISCONN):
                raise os_error(error) from None

    def connect_ex(self, address: Any) -> int:
        try:
            self.connect(address)
        except TimeoutError as exc:
            return exc.errno or errno.EWOULDBLOCK
        except so.gaierror:
            raise
        except OSError as exc:
            return exc.errno or 0
        return 0

    def getsockname(self) -> Any:
        return from_kernel(self.family, self._sys.getsockname(self._fd))

    def getpeername(self) -> Any:
        return from_kernel(self.family, self._sys.getpeername(self._fd))

    # -- data ------------------------------------------------------------------------------

    def recvfrom(self, bufsize: int, flags: int = 0) -> tuple[bytes, Any]:
        if bufsize < 0:
            raise ValueError("negative buffersize in recvfrom")
        data, address = self._call(
            lambda: self._sys.recvfrom(self._fd, bufsize, flags), sel.POLLIN, self._deadline()
        )
        return data, None if address is None else from_kernel(self.family, address)

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        if bufsize < 0:
            raise ValueError("negative buffersize in recv")
        return self.recvfrom(bufsize, flags)[0]

    def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        view = memoryview(buffer).cast("B")
        if nbytes < 0:
            raise ValueError("negative buffersize in recv_into")
        if nbytes > len(view):
            raise ValueError("buffer too small for requested bytes")
        if not view:
            return 0, None
        data, address = self.recvfrom(nbytes or len(view), flags)
        view[: len(data)] = data
        return len(data), address

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        return self.recvfrom_into(buffer, nbytes, flags)[0]

    def send(self, data: Buffer, flags: int = 0) -> int:
        return self._call(
            lambda: self._sys.sendto(self._fd, data, flags), sel.POLLOUT, self._deadline()
        )

    def sendall(self, data: Buffer, flags: int = 0) -> None:
        """All of `data` within one timeout."""
        view = memoryview(data).cast("B")
        deadline = self._deadline()
        while view:
            view = view[self._send_some(view, flags, deadline) :]

    def _send_some(self, view: memoryview, flags: int, deadline: float | None) -> int:
        return self._call(lambda: self._sys.sendto(self._fd, view, flags), sel.POLLOUT, deadline)

    def sendto(self, data: Buffer, *args: Any) -> int:
        """`sendto(data, address)` or `sendto(data, flags, address)`."""
        if not 1 <= len(args) <= 2:
            raise TypeError(f"sendto() takes 2 or 3 arguments ({1 + len(args)} given)")
        flags = args[0] if len(args) == 2 else 0
        target = to_kernel(self.family, args[-1], self._hosts, "sendto")
        return self._call(
            lambda: self._sys.sendto(self._fd, data, flags, target), sel.POLLOUT, self._deadline()
        )

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send a binary file to the end, or `count` bytes of it; returns how many."""
        if self._timeout == 0.0:
            raise ValueError("non-blocking sockets are not supported")
        if offset:
            file.seek(offset)
        total = 0
        while count is None or total < count:
            data = file.read(_CHUNK if count is None else min(_CHUNK, count - total))
            if not data:
                break
            self.sendall(data)
            total += len(data)
        return total

    def makefile(
        self,
        mode: str = "r",
        buffering: int | None = None,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> Any:
        """A file over the socket, as `socket.makefile`: raw, buffered or text by its arguments."""
        if not set(mode) <= {"r", "w", "b"}:
            raise ValueError(f"invalid mode {mode!r} (only r, w, b allowed)")
        reading = "r" in mode or "w" not in mode
        writing = "w" in mode
        raw_mode = "r" * reading + "w" * writing
        raw = so.SocketIO(self, raw_mode)  # type: ignore[arg-type]  # asks for our methods only
        self._io_refs += 1
        size = io.DEFAULT_BUFFER_SIZE if buffering is None or buffering < 0 else buffering
        if size == 0:
            if "b" not in mode:
                raise ValueError("unbuffered streams must be binary")
            return raw
        buffered: Any
        if reading and writing:
            buffered = io.BufferedRWPair(raw, raw, size)
        else:
            buffered = io.BufferedReader(raw, size) if reading else io.BufferedWriter(raw, size)
        if "b" in mode:
            return buffered
        text = io.TextIOWrapper(buffered, encoding, errors, newline)
        text.mode = mode  # type: ignore[misc]
        return text

    # -- options ---------------------------------------------------------------------------

    def setsockopt(self, level: int, name: int, value: int | Buffer) -> None:
        self._sys.setsockopt(
            self._fd, level, name, value if isinstance(value, int) else bytes(value)
        )

    def getsockopt(self, level: int, name: int, buflen: int = 0) -> int | bytes:
        """An int; with `buflen` up to that many bytes."""
        value = self._sys.getsockopt(self._fd, level, name)
        if buflen:
            if not 0 < buflen <= 1024:
                raise OSError("getsockopt buflen out of range")
            data = value.to_bytes(4, "little", signed=True) if isinstance(value, int) else value
            return data[:buflen]
        return value if isinstance(value, int) else int.from_bytes(value[:4], "little", signed=True)
