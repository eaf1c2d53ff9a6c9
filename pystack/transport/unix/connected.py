"""AF_UNIX connections: what both kinds share, and sequences of packets.

`connect` makes both ends at once and queues one for `accept`.  A packet is a datagram of a
connection, so `SeqpacketSock` sends and receives as `dgram` does.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence

from pystack.transport.sock import MSG_DONTWAIT, Address, Cmsg, Message, Sock, os_error
from pystack.transport.unix import dgram
from pystack.transport.unix.base import (
    RCV_SHUTDOWN,
    READABLE,
    SHUTDOWN_MASK,
    State,
    UnixSock,
)


class ConnectedSock(UnixSock):
    """What both kinds of connection share."""

    def listen(self, backlog: int) -> None:
        """EINVAL unless bound; again to change the backlog."""
        if not self.name or self.state is State.ESTABLISHED:
            raise os_error(errno.EINVAL)
        somaxconn = self.kernel.sysctl["net.core.somaxconn"]
        self.max_ack_backlog = min(backlog & 0xFFFFFFFF, somaxconn)
        self.made_room()
        self.state = State.LISTEN
        self.peer_cred = self.unix.credentials()

    def connect(self, address: Address) -> None:
        """EAGAIN while the listener's backlog is full (`unix_stream_connect`)."""
        if not address:
            raise os_error(errno.EINVAL)
        if self.passcred:
            self.autobind()
        other = self.unix.find(address, self.type)
        if other.state is not State.LISTEN or other.sk_shutdown & RCV_SHUTDOWN:
            raise os_error(errno.ECONNREFUSED)
        if other.full():
            raise self.wait_for_room(other)
        if self.state is not State.CLOSE:
            raise os_error(errno.EISCONN if self.state is State.ESTABLISHED else errno.EINVAL)
        new = type(self)(self.unix, self.type)
        new.embryo = True
        new.name, new.passcred = other.name, other.passcred
        self._join(new)
        self.peer_cred = other.peer_cred
        other.queue.append(new)
        other.wake(READABLE)

    def accept(self, flags: int) -> Sock:
        if self.state is not State.LISTEN:
            raise os_error(errno.EINVAL)
        if not self.queue:
            if self.sk_shutdown & RCV_SHUTDOWN and not flags & MSG_DONTWAIT:
                raise os_error(errno.EINVAL)
            raise self.would_block()
        new = self.queue.popleft()
        assert isinstance(new, UnixSock)
        new.embryo = False
        self.made_room()
        return new

    def socketpair(self, other: Sock) -> None:
        assert isinstance(other, ConnectedSock)
        self._join(other)
        self.peer_cred = other.peer_cred

    def _join(self, other: UnixSock) -> None:
        self.peer, other.peer = other, self
        self.blocked_on = None
        self.state = other.state = State.ESTABLISHED
        other.peer_cred = self.unix.credentials()

    def disconnect(self, reset: bool) -> None:
        """The other end can neither send nor receive; ECONNRESET there if data is lost."""
        peer, self.peer = self.peer, None
        if peer is None or peer.dead:
            return
        peer.sk_shutdown = SHUTDOWN_MASK
        if reset:
            peer.sk_err = errno.ECONNRESET
        peer.wake()

    def inq(self) -> int:
        if self.state is State.LISTEN:
            raise os_error(errno.EINVAL)
        return sum(map(len, self.messages()))


class SeqpacketSock(ConnectedSock):
    """SOCK_SEQPACKET."""

    def sendmsg(
        self,
        data: memoryview,
        flags: int,
        address: Address | None = None,
        control: Sequence[Cmsg] = (),
    ) -> int:
        """`address` is ignored."""
        if self.sk_err:
            raise os_error(self.sock_error())
        if self.state is not State.ESTABLISHED or self.peer is None:
            raise os_error(errno.ENOTCONN)
        if self.passcred:
            self.autobind()
        return dgram.send(self, self.peer, data, flags, control)

    def recvmsg(self, n: int, flags: int) -> Message:
        if self.state is not State.ESTABLISHED:
            raise os_error(errno.ENOTCONN)
        return dgram.receive(self, n, flags & ~MSG_DONTWAIT)
