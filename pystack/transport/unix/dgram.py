"""AF_UNIX datagrams: to a name or to a peer, kept whole and in order, never lost.

A sender waits while the receiver's queue is full, except when both are connected to each other.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence

from pystack.transport.sock import (
    MSG_DONTWAIT,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    Address,
    Cmsg,
    Message,
    Sock,
    os_error,
)
from pystack.transport.unix.base import (
    RCV_SHUTDOWN,
    READABLE,
    SEND_SHUTDOWN,
    WRITABLE,
    State,
    UnixSock,
)
from pystack.transport.unix.message import UnixMessage, control_of, dgram_truesize

_OVERHEAD = 32  # a datagram must be that much shorter than the send buffer


class DgramSock(UnixSock):
    """SOCK_DGRAM; `peer` is where it sends to, which need not be connected back."""

    def connect(self, address: Address) -> None:
        """EPERM if the other is connected to a third."""
        if not address:
            raise os_error(errno.EINVAL)
        if self.passcred:
            self.autobind()
        other = self.unix.find(address, self.type)
        if other.peer not in (None, self):
            raise os_error(errno.EPERM)
        old, self.peer = self.peer, other
        self.state = State.ESTABLISHED
        if old is not None and old is not other:
            self._left(old)
        self.wake(WRITABLE)

    def socketpair(self, other: Sock) -> None:
        assert isinstance(other, DgramSock)
        self.peer, other.peer = other, self
        self.state = other.state = State.ESTABLISHED
        self.peer_cred = other.peer_cred = self.unix.credentials()

    def sendmsg(
        self,
        data: memoryview,
        flags: int,
        address: Address | None = None,
        control: Sequence[Cmsg] = (),
    ) -> int:
        if flags & MSG_OOB:
            raise os_error(errno.EOPNOTSUPP)
        if self.passcred:
            self.autobind()
        check_room(self, data)
        if address is None and self.peer is None:
            raise os_error(errno.ENOTCONN)
        other = self.peer if address is None else self.unix.find(address, self.type)
        assert other is not None
        if other.peer not in (None, self):
            raise os_error(errno.EPERM)
        if other.dead:
            self._peer_died(other)
            raise os_error(errno.ECONNREFUSED)
        return send(self, other, data, flags, control)

    def recvmsg(self, n: int, flags: int) -> Message:
        return receive(self, n, flags)

    def poll(self) -> int:
        """Not writable while a connected receiver that does not answer has no room."""
        mask = super().poll()
        other = self.peer
        if mask & WRITABLE and other is not None and other.peer is not self and other.full():
            if other.dead:
                return mask
            other.senders[self] = None
            mask &= ~WRITABLE
        return mask

    def inq(self) -> int:
        """Of the first datagram."""
        return next(map(len, self.messages()), 0)

    def _peer_died(self, other: UnixSock) -> None:
        if self.peer is other:
            self.peer = None
            self.state = State.CLOSE
            self._left(other)

    def _left(self, old: UnixSock) -> None:
        """What the old peer sent is lost; it is told if it was connected to us."""
        if self.queue:
            self.purge()
            self.made_room()
            if not old.dead and old.peer is self:
                old.sk_err = errno.ECONNRESET
                old.wake()


def check_room(sk: UnixSock, data: memoryview) -> None:
    """EMSGSIZE, a pending error, EPIPE after a shutdown, EAGAIN (`sock_alloc_send_pskb`)."""
    if len(data) > sk.sk_sndbuf - _OVERHEAD:
        raise os_error(errno.EMSGSIZE)
    if sk.sk_err:
        raise os_error(sk.sock_error())
    if sk.sk_shutdown & SEND_SHUTDOWN:
        raise os_error(errno.EPIPE)
    if sk.wmem_queued >= sk.sk_sndbuf:
        sk.blocked_on = None
        raise sk.would_block()


def send(
    sk: UnixSock, other: UnixSock, data: memoryview, flags: int, control: Sequence[Cmsg]
) -> int:
    """One message to `other` (`unix_dgram_sendmsg`)."""
    if flags & MSG_OOB:
        raise os_error(errno.EOPNOTSUPP)
    check_room(sk, data)
    if other.dead or other.sk_shutdown & RCV_SHUTDOWN:
        raise os_error(errno.EPIPE)
    if other is not sk and other.peer is not sk and other.full():
        raise sk.wait_for_room(other)
    sk.enqueue(other, bytes(data), dgram_truesize(len(data)), control)
    sk.kernel.cpu.charge_copy(len(data))
    other.wake(READABLE)
    return len(data)


def receive(sk: UnixSock, n: int, flags: int) -> Message:
    """The first message, cut to `n` bytes (`__unix_dgram_recvmsg`)."""
    if flags & MSG_OOB:
        raise os_error(errno.EOPNOTSUPP)
    if sk.sk_err:
        raise os_error(sk.sock_error())
    peek = bool(flags & MSG_PEEK)
    index, skip = sk.peek_at(map(len, sk.messages())) if peek else (0, 0)
    if index == len(sk.queue):
        if sk.sk_shutdown & RCV_SHUTDOWN and not flags & MSG_DONTWAIT:
            return Message(b"")
        raise sk.would_block()
    message = sk.queue[index]
    assert isinstance(message, UnixMessage)
    control = control_of(message, sk.passcred, peek)
    data = message.data[skip : skip + n]
    sk.peeked(len(data) if peek else -len(message.data))
    if not peek:
        sk.queue.popleft()
        sk.detach(message)
        sk.consumed(message)
        sk.made_room()
    sk.kernel.cpu.charge_copy(len(data))
    left = len(message.data) - skip
    cut = MSG_TRUNC if left > n else 0
    return Message(data, message.sender.name or None, control, cut, left)
