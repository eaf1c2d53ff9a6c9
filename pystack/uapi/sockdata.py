"""The data calls of `socket.socket`: send, receive, with addresses and control data."""

from __future__ import annotations

import select as sel
import socket as so
from collections.abc import Iterable
from typing import Any

from pystack.transport.sock import MSG_TRUNC, Cmsg, Message
from pystack.uapi.sockaddr import from_kernel, packet_to_kernel, to_kernel
from pystack.uapi.socktime import TimedSocket
from pystack.uapi.syscalls import Buffer

_CHUNK = 8192
_Received = tuple[bytes, list[Cmsg], int, Any]


class DataSocket(TimedSocket):
    __slots__ = ()

    def _target(self, address: Any, call: str) -> Any:
        if self.family == so.AF_PACKET:
            return packet_to_kernel(address, self._sys.interface_names(), call)
        return to_kernel(self.family, address, self._hosts, call)

    def _shown(self, address: Any) -> Any:
        """A kernel's address as programs are given it."""
        if self.family == so.AF_PACKET:
            names = {index: name for name, index in self._sys.interface_names().items()}
            return from_kernel(self.family, address, names)
        return from_kernel(self.family, address)

    def _receive(self, bufsize: int, flags: int, call: str) -> Message:
        if bufsize < 0:
            raise ValueError(f"negative buffersize in {call}")
        return self._call(
            lambda: self._sys.recvfrom(self._fd, bufsize, flags), sel.POLLIN, self._deadline()
        )

    def _address(self, message: Message) -> Any:
        return None if message.address is None else self._shown(message.address)

    def recvfrom(self, bufsize: int, flags: int = 0) -> tuple[bytes, Any]:
        message = self._receive(bufsize, flags, "recvfrom")
        return _returned(message, flags), self._address(message)

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Of no bytes it is no system call (`sock_recv_guts`)."""
        return _returned(self._receive(bufsize, flags, "recv"), flags) if bufsize else b""

    def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        view = memoryview(buffer).cast("B")
        if nbytes < 0:
            raise ValueError("negative buffersize in recv_into")
        if nbytes > len(view):
            raise ValueError("buffer too small for requested bytes")
        if not view:
            return 0, None
        message = self._receive(nbytes or len(view), flags, "recvfrom_into")
        view[: len(message.data)] = message.data
        return _count(message, flags), self._address(message)

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
        target = self._target(args[-1], "sendto")
        return self._call(
            lambda: self._sys.sendto(self._fd, data, flags, target), sel.POLLOUT, self._deadline()
        )

    def sendmsg(
        self,
        buffers: Iterable[Buffer],
        ancdata: Iterable[tuple[int, int, Buffer]] = (),
        flags: int = 0,
        address: Any = None,
    ) -> int:
        pieces = [bytes(buffer) for buffer in buffers]
        control = [(level, type_, bytes(data)) for level, type_, data in ancdata]
        target = None if address is None else self._target(address, "sendmsg")
        return self._call(
            lambda: self._sys.sendmsg(self._fd, pieces, flags, target, control),
            sel.POLLOUT,
            self._deadline(),
        )

    def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0) -> _Received:
        """`(data, ancdata, msg_flags, address)`."""
        message = self._recvmsg(bufsize, ancbufsize, flags)
        control, address = list(message.control), self._address(message)
        return message.data[:bufsize], control, message.flags, address

    def recvmsg_into(
        self, buffers: Iterable[Any], ancbufsize: int = 0, flags: int = 0
    ) -> tuple[int, list[Cmsg], int, Any]:
        """`(nbytes, ancdata, msg_flags, address)`; fills one buffer after the other."""
        views = [memoryview(buffer).cast("B") for buffer in buffers]
        message = self._recvmsg(sum(map(len, views)), ancbufsize, flags)
        left = memoryview(message.data)
        for view in views:
            view[: len(left)] = left[: len(view)]
            left = left[len(view) :]
        control, address = list(message.control), self._address(message)
        return _count(message, flags), control, message.flags, address

    def _recvmsg(self, bufsize: int, ancbufsize: int, flags: int) -> Message:
        if bufsize < 0:
            raise ValueError("negative buffer size in recvmsg()")
        if not 0 <= ancbufsize <= 0x7FFFFFFF:
            raise ValueError("invalid ancillary data buffer length")
        return self._call(
            lambda: self._sys.recvmsg(self._fd, bufsize, ancbufsize, flags),
            sel.POLLIN,
            self._deadline(),
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


def _count(message: Message, flags: int) -> int:
    """What the system call returned: with MSG_TRUNC the length of the whole datagram."""
    return max(message.length, len(message.data)) if flags & MSG_TRUNC else len(message.data)


def _returned(message: Message, flags: int) -> bytes:
    """CPython makes its bytes as long as the call returned; what was not received is 0 here."""
    return message.data.ljust(_count(message, flags), b"\0")
