"""Sockets: from `socket` to `getsockopt` (`net/socket.c`)."""

from __future__ import annotations

import errno
import socket as so
from collections.abc import Sequence

from pystack.transport.packet.ring import FrameRing
from pystack.transport.packet.sock import PacketSock
from pystack.transport.sock import MSG_CMSG_CLOEXEC, Address, Cmsg, Message, Sock, os_error
from pystack.uapi import scm
from pystack.uapi.calls.base import Buffer, Calls
from pystack.uapi.files import discard
from pystack.uapi.sockfile import SocketFile
from pystack.uapi.table import syscall


class SocketCalls(Calls):
    @syscall
    def socket(self, domain: int, type: int, protocol: int) -> int:
        flags = type & ~0xF
        if flags & ~(so.SOCK_NONBLOCK | so.SOCK_CLOEXEC):
            raise os_error(errno.EINVAL)
        sk = self._system.create_sock(domain, type & 0xF, protocol)
        sk.sk_uid = self.process.uid
        try:
            sk.init()
            fd = self._table.reserve()
        except OSError:
            sk.close()
            raise
        return self._install_sock(fd, sk, flags)

    @syscall
    def socketpair(self, domain: int, type: int, protocol: int) -> tuple[int, int]:
        """Two sockets connected to each other."""
        flags = type & ~0xF
        if flags & ~(so.SOCK_NONBLOCK | so.SOCK_CLOEXEC):
            raise os_error(errno.EINVAL)
        first, second = (self._system.create_sock(domain, type & 0xF, protocol) for _ in range(2))
        try:
            first.socketpair(second)
            files = self._pair_files(first, second, flags)
        except OSError:
            first.close()
            second.close()
            raise
        return self._install_pair(*files, bool(flags & so.SOCK_CLOEXEC))

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
                return new, sk.accepted_from()
            except OSError:  # it has been disconnected meanwhile
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
            return self._or_sigpipe(file, lambda: file.sendmsg(data, flags, address), flags)

    @syscall
    def recvfrom(self, fd: int, n: int, flags: int = 0) -> Message:
        """A TCP socket names no sender."""
        with self._socket(fd) as file:
            message = file.recvmsg(n, flags)
            discard(message)
            return message

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
            return self._or_sigpipe(file, lambda: file.sendmsg(data, flags, address, passed), flags)

    @syscall
    def recvmsg(self, fd: int, n: int, controllen: int = 0, flags: int = 0) -> Message:
        """Control data up to `controllen` bytes, in `CMSG_SPACE`s; the rest is MSG_CTRUNC."""
        with self._socket(fd) as file:
            message = file.recvmsg(n, flags)
            message = message._replace(flags=message.flags | flags & MSG_CMSG_CLOEXEC)
            if not message.control:
                return message
            cloexec = bool(flags & MSG_CMSG_CLOEXEC)
            return scm.receive(self._table, message, controllen, cloexec)

    @syscall
    def mmap(self, fd: int, length: int) -> memoryview:
        """A packet socket's ring, shared with the kernel; ENODEV for what cannot be mapped."""
        file = self._table.file(fd)
        sk = file.sock
        if not isinstance(sk, PacketSock):
            raise os_error(errno.ENODEV)
        return sk.mmap(length)

    @syscall
    def packet_page(self, fd: int, slot: int) -> memoryview | None:
        """Not of Linux: the page a NIC wrote, of a ring with PACKET_RX_PAGES; None if copied."""
        return self._frames(fd).page(slot)

    @syscall
    def packet_release(self, fd: int, slot: int) -> None:
        """Not of Linux: give a slot, and its page, back."""
        self._frames(fd).release(slot)

    def _frames(self, fd: int) -> FrameRing:
        sk = self._table.file(fd).sock
        if not isinstance(sk, PacketSock) or not isinstance(sk.rx_ring, FrameRing):
            raise os_error(errno.EINVAL)
        return sk.rx_ring

    def interface_names(self) -> dict[str, int]:
        """ifindex by name, as `if_nameindex` has them from netlink."""
        return {dev.name: dev.ifindex for dev in self._system.interfaces()}

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

    def _socket(self, fd: int) -> SocketFile:
        """The socket `fd` means, with a reference: it outlives a close by another thread."""
        file = self._table.file(fd)
        if not isinstance(file, SocketFile):
            raise os_error(errno.ENOTSOCK)
        return file.get()

    def _pair_files(self, first: Sock, second: Sock, flags: int) -> tuple[SocketFile, SocketFile]:
        """Both, or ENFILE and neither; then the sockets are still the caller's."""
        opened = self._system.open_files
        if opened.count + 2 > opened.limit:
            raise os_error(errno.ENFILE)
        return SocketFile(opened, first, flags), SocketFile(opened, second, flags)

    def _install_sock(self, fd: int, sk: Sock, flags: int) -> int:
        try:
            file = SocketFile(self._system.open_files, sk, flags)
        except OSError:
            self._table.unreserve(fd)
            sk.close()
            raise
        return self._table.install(fd, file, bool(flags & so.SOCK_CLOEXEC))
