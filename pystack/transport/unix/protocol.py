"""The AF_UNIX family of a network namespace, and what all namespaces of a host share."""

from __future__ import annotations

import errno
import socket as so
from collections.abc import Callable

from pystack.core.kernel import Kernel
from pystack.transport.sock import os_error
from pystack.transport.unix.base import UnixSock
from pystack.transport.unix.connected import SeqpacketSock
from pystack.transport.unix.dgram import DgramSock
from pystack.transport.unix.garbage import InFlight
from pystack.transport.unix.message import Credentials
from pystack.transport.unix.names import AbstractNames, SocketNodes
from pystack.transport.unix.stream import StreamSock


class UnixHost:
    """`alive(pid)` tells whether a process runs."""

    def __init__(self, alive: Callable[[int], bool]) -> None:
        self.nodes = SocketNodes()
        self.inflight = InFlight()
        self.alive = alive


class Unix:
    def __init__(self, kernel: Kernel, host: UnixHost) -> None:
        self.kernel = kernel
        self.nodes = host.nodes
        self.inflight = host.inflight
        self.alive = host.alive
        self._abstract = AbstractNames(kernel.rng)

    @property
    def types(self) -> dict[int, Callable[[], UnixSock]]:
        """What makes a socket of each type."""
        return {
            so.SOCK_STREAM: lambda: StreamSock(self, so.SOCK_STREAM),
            so.SOCK_DGRAM: lambda: DgramSock(self, so.SOCK_DGRAM),
            so.SOCK_RAW: lambda: DgramSock(self, so.SOCK_DGRAM),  # as BSD has it
            so.SOCK_SEQPACKET: lambda: SeqpacketSock(self, so.SOCK_SEQPACKET),
        }

    def credentials(self) -> Credentials:
        """Of the process that makes the call; the kernel's own are root's."""
        task = self.kernel.cpu.current
        process = None if task is None else task.process
        if process is None:
            return Credentials(0, 0, 0)
        return Credentials(process.pid, process.uid, process.uid)

    def bind(self, sk: UnixSock, address: bytes) -> bytes:
        """The name `sk` is bound to; EADDRINUSE."""
        if not address:
            return self._abstract.autobind(sk)
        if address[0] == 0:
            self._abstract.bind(address, sk)
            return address
        self.nodes.bind(address, sk)
        return address

    def release(self, sk: UnixSock) -> None:
        if sk.name[0] == 0:
            self._abstract.release(sk)
        else:
            self.nodes.release(sk.name, sk)

    def find(self, address: bytes, type_: int) -> UnixSock:
        """The socket of that name; EPROTOTYPE if it is of another type (`unix_find_other`)."""
        if not address:
            raise os_error(errno.EINVAL)
        if address[0] == 0:
            return self._abstract.find(type_, address)
        sk = self.nodes.find(address)
        if sk.type != type_:
            raise os_error(errno.EPROTOTYPE)
        return sk
