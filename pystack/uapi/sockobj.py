"""`socket.socket` for one simulated process: CPython's class over our system calls.

Follows Modules/socketmodule.c and Lib/socket.py call by call, so that a trace of a program looks
as it does on Linux: a socket with a timeout is non-blocking underneath, and polls first.
"""

from __future__ import annotations

import errno
import fcntl
import io
import select as sel
import socket as so
import warnings
from typing import Any, Self

from pystack.transport.sock import os_error
from pystack.uapi.sockdata import DataSocket
from pystack.uapi.syscalls import Buffer

_TYPE_FLAGS = so.SOCK_NONBLOCK | so.SOCK_CLOEXEC


class SimSocket(DataSocket):
    """The module facade derives `socket` from this, bound to a process."""

    __slots__ = ("_closed", "_io_refs")

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
            self._sys.getsockname(fileno)  # as CPython: is it a socket?
            family = self._option(fileno, so.SO_DOMAIN) if family == -1 else family
            type = self._option(fileno, so.SO_TYPE) if type == -1 else type
            proto = self._option(fileno, so.SO_PROTOCOL) if proto == -1 else proto
            self._fd = fileno
        self._kind = so.AddressFamily(family), so.SocketKind(type & ~_TYPE_FLAGS), max(proto, 0)
        if type & so.SOCK_NONBLOCK:
            self._timeout = 0.0
        elif self._defaults.timeout is not None:
            self.settimeout(self._defaults.timeout)

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
            self._sys.process.abandoned.append(fd)
            text = f"unclosed <socket.socket fd={fd}>"  # a repr would make system calls
            warnings.warn(text, ResourceWarning, source=self, stacklevel=2)

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
        if fd >= 0 and not self._sys.process.running:
            self._sys.process.abandoned.append(fd)  # called as its owner was collected
        elif fd >= 0:
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

    # -- connections -----------------------------------------------------------------------

    def bind(self, address: Any) -> None:
        self._sys.bind(self._fd, self._target(address, "bind"))

    def listen(self, backlog: int | None = None) -> None:
        self._sys.listen(self._fd, min(so.SOMAXCONN, 128) if backlog is None else max(backlog, 0))

    def _accept(self) -> tuple[int, Any]:
        fd, address = self._call(
            lambda: self._sys.accept4(self._fd, so.SOCK_CLOEXEC), sel.POLLIN, self._deadline()
        )
        return fd, self._shown(address)

    def accept(self) -> tuple[Self, Any]:
        fd, address = self._accept()
        return self.__class__(self.family, self.type, self.proto, fileno=fd), address

    def connect(self, address: Any) -> None:
        target = self._target(address, "connect")
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
        return self._shown(self._sys.getsockname(self._fd))

    def getpeername(self) -> Any:
        return self._shown(self._sys.getpeername(self._fd))

    # -- files -----------------------------------------------------------------------------

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
