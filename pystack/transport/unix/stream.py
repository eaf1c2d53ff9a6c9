"""AF_UNIX connections: byte streams, and sequences of packets.

`connect` makes both ends at once and queues one for `accept`.  A packet is a datagram of a
connection, so `SeqpacketSock` sends and receives as `dgram` does.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence

from pystack.transport.sock import (
    MSG_DONTWAIT,
    MSG_OOB,
    MSG_PEEK,
    Address,
    Cmsg,
    Message,
    Sock,
    os_error,
)
from pystack.transport.unix import dgram
from pystack.transport.unix.base import (
    RCV_SHUTDOWN,
    READABLE,
    SEND_SHUTDOWN,
    SHUTDOWN_MASK,
    State,
    UnixSock,
)
from pystack.transport.unix.message import (
    UnixMessage,
    control_of,
    stream_piece,
    stream_truesize,
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

    def accept(self) -> Sock:
        if self.state is not State.LISTEN:
            raise os_error(errno.EINVAL)
        if not self.queue:
            if self.sk_shutdown & RCV_SHUTDOWN:
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


class StreamSock(ConnectedSock):
    """SOCK_STREAM."""

    def sendmsg(
        self,
        data: memoryview,
        flags: int,
        address: Address | None = None,
        control: Sequence[Cmsg] = (),
    ) -> int:
        """As many packets as there is room for; files go with the first byte."""
        if flags & MSG_OOB:
            raise os_error(errno.EOPNOTSUPP)
        if address is not None:
            connected = self.state is State.ESTABLISHED
            raise os_error(errno.EISCONN if connected else errno.EOPNOTSUPP)
        peer = self.peer
        if peer is None:
            raise os_error(errno.ENOTCONN)
        if self.sk_shutdown & SEND_SHUTDOWN or peer.dead or peer.sk_shutdown & RCV_SHUTDOWN:
            raise os_error(errno.EPIPE)
        sent = 0
        while sent < len(data) and self.wmem_queued < self.sk_sndbuf:
            n = stream_piece(len(data) - sent, self.sk_sndbuf)
            piece = bytes(data[sent : sent + n])
            self.enqueue(peer, piece, stream_truesize(n), () if sent else control)
            sent += n
        if len(data) and not sent:
            raise self.would_block()
        self.kernel.cpu.charge_copy(sent)
        peer.wake(READABLE)
        return sent

    def recvmsg(self, n: int, flags: int) -> Message:
        """Bytes up to `n`, but not past files, nor into what another sender wrote."""
        if self.state is not State.ESTABLISHED:
            raise os_error(errno.EINVAL)
        if flags & MSG_OOB:
            raise os_error(errno.EOPNOTSUPP)
        if n == 0:
            return Message(b"")
        if not self.queue:
            if self.sk_err:
                raise os_error(self.sock_error())
            if self.sk_shutdown & RCV_SHUTDOWN:
                return Message(b"")
            raise self.would_block()
        return self._peek(n) if flags & MSG_PEEK else self._read(n)

    def _read(self, n: int) -> Message:
        parts: list[bytes] = []
        first = message = self.queue[0]
        assert isinstance(first, UnixMessage) and isinstance(message, UnixMessage)
        control: tuple[Cmsg, ...] = control_of(first, self.passcred, peek=False)
        while n > 0 and self._same_sender(first):
            message = self.queue[0]
            assert isinstance(message, UnixMessage)
            parts.append(message.data[message.off : message.off + n])
            message.off += len(parts[-1])
            n -= len(parts[-1])
            if message.files:
                control = control_of(message, self.passcred, peek=False)
            stop = bool(message.files)
            self.detach(message)
            if not message:
                self.queue.popleft()
                self.consumed(message)
            if stop:
                break
        return self._message(parts, first, control)

    def _peek(self, n: int) -> Message:
        parts: list[bytes] = []
        first = self.queue[0]
        assert isinstance(first, UnixMessage)
        control: tuple[Cmsg, ...] = ()
        for message in self.messages():
            if n <= 0 or not self._glue(first, message):
                break
            parts.append(message.data[message.off : message.off + n])
            n -= len(parts[-1])
            control = control_of(message, self.passcred, peek=True)
            if message.files:
                break
        return self._message(parts, first, control)

    def _same_sender(self, first: UnixMessage) -> bool:
        return bool(self.queue) and self._glue(first, self.queue[0])

    def _glue(self, first: UnixMessage, message: object) -> bool:
        """With credentials asked for, one call never mixes those of two senders."""
        assert isinstance(message, UnixMessage)
        return not self.passcred or first.cred == message.cred

    def _message(
        self, parts: list[bytes], first: UnixMessage, control: tuple[Cmsg, ...]
    ) -> Message:
        data = b"".join(parts)
        self.kernel.cpu.charge_copy(len(data))
        return Message(data, first.sender.name or None, control)


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
        return dgram.send(self, self.peer, data, flags, control)

    def recvmsg(self, n: int, flags: int) -> Message:
        if self.state is not State.ESTABLISHED:
            raise os_error(errno.ENOTCONN)
        if not self.queue and not self.sk_err and self.sk_shutdown & RCV_SHUTDOWN:
            return Message(b"")
        return dgram.receive(self, n, flags & ~MSG_DONTWAIT)
