"""A transport in thirty lines a verb: connected pairs inside one kernel, for tests of `uapi`."""

from __future__ import annotations

import errno
import os
import socket as so
from collections import deque
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP

from pystack.core.kernel import Kernel
from pystack.core.wait import WaitQueue
from pystack.transport.sock import Message

LATENCY = 1000  # ns for a handshake
ANY, LOOPBACK = bytes(4), b"\x7f\0\0\x01"


def err(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class FakeNet:
    """The sockets of one kernel; `buffer` bytes fit between two ends."""

    def __init__(self, kernel: Kernel, buffer: int = 65536) -> None:
        self.kernel = kernel
        self.buffer = buffer
        self.listeners: dict[int, FakeSock] = {}
        self.next_port = 40000
        self.alive: set[FakeSock] = set()

    def socket(self) -> FakeSock:
        return FakeSock(self)


class FakeSock:
    family, type, protocol = so.AF_INET, so.SOCK_STREAM, so.IPPROTO_TCP

    def __init__(self, net: FakeNet) -> None:
        self.net = net
        self.kernel = net.kernel
        self.wq = WaitQueue()
        self.state = "closed"
        self.err = self.sk_err = 0
        self.fin = False  # the peer has shut down its side
        self.sent_fin = False
        self.received = bytearray()
        self.peer: FakeSock | None = None
        self.queue: deque[FakeSock] = deque()
        self.backlog = 0
        self.sk_uid = self.sk_rxhash = 0
        self.sk_rcvlowat = 1
        self.sk_linger: int | None = None
        self.local = (ANY, 0)
        self.remote: tuple[bytes, int] | None = None
        self.options: dict[tuple[int, int], int | bytes] = {}
        net.alive.add(self)

    def init(self) -> None:
        """For everybody."""

    def take_error(self) -> int:
        number, self.err = self.err, 0
        return number

    def bind(self, address: tuple[bytes, int]) -> None:
        if self.local[1]:
            raise err(errno.EINVAL)
        port = address[1] or self.pick_port()
        if port in self.net.listeners:
            raise err(errno.EADDRINUSE)
        self.local = (address[0], port)

    def pick_port(self) -> int:
        self.net.next_port += 1
        return self.net.next_port

    def listen(self, backlog: int) -> None:
        if self.state not in ("closed", "listen"):
            raise err(errno.EINVAL)
        self.local = (self.local[0], self.local[1] or self.pick_port())
        self.state, self.backlog = "listen", backlog
        self.net.listeners[self.local[1]] = self

    def connect(self, address: tuple[bytes, int]) -> None:
        if self.err:
            raise err(self.take_error())
        match self.state:
            case "connecting":
                raise err(errno.EALREADY)
            case "done":
                self.state = "established"
            case "closed":
                self.local = (LOOPBACK, self.local[1] or self.pick_port())
                self.remote = address
                self.state = "connecting"
                self.kernel.engine.call_later(LATENCY, self.handshake)
                raise err(errno.EINPROGRESS)
            case _:
                raise err(errno.EISCONN)

    def handshake(self) -> None:
        if self.state != "connecting":
            return
        assert self.remote is not None
        listener = self.net.listeners.get(self.remote[1])
        if listener is None or len(listener.queue) > listener.backlog:
            self.state, self.err = "closed", errno.ECONNREFUSED
            self.wq.wake(EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP)
            return
        child = FakeSock(self.net)
        child.local, child.remote = (LOOPBACK, listener.local[1]), self.local
        child.state, self.state = "established", "done"
        child.peer, self.peer = self, child
        listener.queue.append(child)
        self.wq.wake(EPOLLOUT)
        listener.wq.wake(EPOLLIN)

    def accept(self, flags: int) -> FakeSock:
        if self.state != "listen":
            raise err(errno.EINVAL)
        if not self.queue:
            raise err(errno.EAGAIN)
        return self.queue.popleft()

    def room(self) -> int:
        return 0 if self.peer is None else self.net.buffer - len(self.peer.received)

    def sendmsg(
        self, data: memoryview, flags: int, address: object = None, control: object = ()
    ) -> int:
        if self.err:
            raise err(self.take_error())
        if self.sent_fin or self.peer is None:
            raise err(errno.EPIPE)
        data = data[: self.room()]
        if not data:
            raise err(errno.EAGAIN)
        self.peer.received += data
        self.peer.wq.wake(EPOLLIN)
        return len(data)

    def recvmsg(self, n: int, flags: int) -> Message:
        if self.received:
            data = bytes(self.received[:n])
            if not flags & so.MSG_PEEK:
                del self.received[:n]
                if self.peer is not None:
                    self.peer.wq.wake(EPOLLOUT)
            return Message(data)
        if self.err:
            raise err(self.take_error())
        if self.fin:
            return Message(b"")
        if self.state in ("closed", "listen"):
            raise err(errno.ENOTCONN)
        raise err(errno.EAGAIN)

    def inq(self) -> int:
        if self.state == "listen":
            raise err(errno.EINVAL)
        return len(self.received)

    def at_mark(self) -> bool:
        return False

    def outq(self) -> int:
        return 0

    def shutdown(self, how: int) -> None:
        if not 0 <= how <= 2:
            raise err(errno.EINVAL)
        if self.state not in ("established", "done"):
            raise err(errno.ENOTCONN)
        if how != so.SHUT_WR:
            self.fin = True
        if how != so.SHUT_RD:
            self.send_fin()
        self.wq.wake(EPOLLIN | EPOLLOUT | EPOLLHUP | EPOLLRDHUP)

    def send_fin(self) -> None:
        self.sent_fin = True
        if self.peer is not None:
            self.peer.fin = True
            self.peer.wq.wake(EPOLLIN | EPOLLRDHUP)

    def close(self) -> None:
        self.net.alive.discard(self)
        if self.state == "listen":
            del self.net.listeners[self.local[1]]
            for child in self.queue:
                child.received += b"?"  # makes the close a reset
                child.close()
        peer, self.peer, self.state = self.peer, None, "closed"
        if peer is None:
            return
        peer.fin = True
        if self.received:
            peer.err, peer.peer = errno.ECONNRESET, None
            peer.wq.wake(EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLRDHUP)
        else:
            peer.wq.wake(EPOLLIN | EPOLLRDHUP)

    def poll(self) -> int:
        if self.state == "listen":
            return EPOLLIN if self.queue else 0
        mask = EPOLLERR if self.err else 0
        if self.state == "closed" or (self.fin and self.sent_fin):
            mask |= EPOLLHUP
        if self.received or self.fin:
            mask |= EPOLLIN
        if self.fin:
            mask |= EPOLLRDHUP
        if self.state == "closed" or self.sent_fin or self.err or self.room() > 0:
            mask |= EPOLLOUT
        return mask if self.state != "connecting" else 0

    def may_send(self) -> bool:
        return bool(self.poll() & (EPOLLOUT | EPOLLERR | EPOLLHUP))

    def getsockname(self) -> tuple[bytes, int]:
        return self.local

    def getpeername(self) -> tuple[bytes, int]:
        if self.remote is None or self.state in ("closed", "connecting"):
            raise err(errno.ENOTCONN)
        return self.remote

    def accepted_from(self) -> tuple[bytes, int]:
        if self.remote is None:
            raise err(errno.ENOTCONN)
        return self.remote

    @property
    def opening(self) -> bool:
        return self.state == "connecting"

    def setsockopt(self, level: int, name: int, value: int | bytes) -> None:
        if name not in (so.SO_REUSEADDR, so.SO_KEEPALIVE):
            raise err(errno.ENOPROTOOPT)
        self.options[level, name] = value

    def getsockopt(self, level: int, name: int) -> int | bytes:
        if (level, name) == (so.SOL_SOCKET, so.SO_ERROR):
            return self.take_error()
        return self.options.get((level, name), 0)
