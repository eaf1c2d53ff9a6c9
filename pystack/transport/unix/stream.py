"""AF_UNIX byte streams."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from pystack.transport.sock import MSG_OOB, MSG_PEEK, Address, Cmsg, Message, os_error
from pystack.transport.sockopt import SOCK_OOBINLINE
from pystack.transport.unix.base import RCV_SHUTDOWN, READABLE, SEND_SHUTDOWN, State
from pystack.transport.unix.connected import ConnectedSock
from pystack.transport.unix.message import (
    UnixMessage,
    control_of,
    dgram_truesize,
    stream_piece,
    stream_truesize,
)


class StreamSock(ConnectedSock):
    """SOCK_STREAM.  The queue holds an urgent byte's message until what is behind it is read, be
    the byte read or not: it is the mark."""

    def sendmsg(
        self,
        data: memoryview,
        flags: int,
        address: Address | None = None,
        control: Sequence[Cmsg] = (),
    ) -> int:
        """As many packets as there is room for; files go with the first byte.

        MSG_OOB makes the last byte the urgent one, in a packet of its own.
        """
        urgent = bool(flags & MSG_OOB)
        if urgent and not len(data):
            raise os_error(errno.EOPNOTSUPP)
        if address is not None:
            connected = self.state is State.ESTABLISHED
            raise os_error(errno.EISCONN if connected else errno.EOPNOTSUPP)
        peer = self.peer
        if peer is None:
            raise os_error(errno.ENOTCONN)
        if self.sk_shutdown & SEND_SHUTDOWN or peer.dead or peer.sk_shutdown & RCV_SHUTDOWN:
            raise os_error(errno.EPIPE)
        sent, usual = 0, len(data) - urgent
        while sent < usual and self.wmem_queued < self.sk_sndbuf:
            n = stream_piece(usual - sent, self.sk_sndbuf)
            piece = bytes(data[sent : sent + n])
            self.enqueue(peer, piece, stream_truesize(n), () if sent else control)
            sent += n
        if urgent and sent == usual and self.wmem_queued < self.sk_sndbuf:
            byte = bytes(data[sent:])
            peer.oob = self.enqueue(peer, byte, dgram_truesize(1), () if sent else control)
            sent += 1
        if len(data) and not sent:
            raise self.would_block()
        self.kernel.cpu.charge_copy(sent)
        if sent:
            peer.wake(READABLE)
        return sent

    def recvmsg(self, n: int, flags: int) -> Message:
        """Bytes up to `n`, but not past files, the mark, nor into what another sender wrote."""
        if self.state is not State.ESTABLISHED:
            raise os_error(errno.EINVAL)
        peek = bool(flags & MSG_PEEK)
        if flags & MSG_OOB:
            return self._receive_urgent(peek)
        message = self._peek(n) if peek else self._read(n)
        if message is not None:
            self.kernel.cpu.charge_copy(len(message.data))
            return message
        if self.sk_err:
            raise os_error(self.sock_error())
        if self.sk_shutdown & RCV_SHUTDOWN:
            return Message(b"")
        raise self.would_block()

    def _read(self, n: int) -> Message | None:
        """None: nothing is there (`unix_stream_read_generic`)."""
        parts: list[bytes] = []
        control: tuple[Cmsg, ...] = ()
        first: UnixMessage | None = None
        while self._to_data(0, False, bool(parts)) is not None:
            message = self._at(0)
            if first is None:
                first, control = message, control_of(message, self.passcred, peek=False)
            elif self.passcred and first.cred != message.cred:
                break  # one call never mixes what two senders wrote
            parts.append(message.data[message.off : message.off + n])
            size = len(parts[-1])
            message.off += size
            n -= size
            self.peeked(-size)
            passed = message.files
            if passed:
                control = control_of(message, self.passcred, peek=False)
                self.detach(message)
            if len(message):
                break
            self.queue.popleft()
            self.consumed(message)
            if passed or not n:
                break
        return None if first is None else _told(parts, first, control)

    def _peek(self, n: int) -> Message | None:
        """It goes on when it has all it wants, until it comes to files, as Linux does."""
        parts: list[bytes] = []
        control: tuple[Cmsg, ...] = ()
        first: UnixMessage | None = None
        skip = max(self.sk_peek_off, 0)
        at = self._to_data(0, True, False)
        while at is not None:
            message = self._at(at)
            if skip >= len(message):
                skip -= len(message)
                at = self._to_data(at + 1, True, bool(parts))
                continue
            if first is None:
                first, control = message, control_of(message, self.passcred, peek=True)
            elif self.passcred and first.cred != message.cred:
                break
            start = message.off + skip
            parts.append(message.data[start : start + n])
            n -= len(parts[-1])
            self.peeked(len(parts[-1]))
            if message.files:
                if message is not first:
                    control = control_of(message, self.passcred, peek=True)
                break
            skip, following = 0, at + 1
            at = self._to_data(following, True, any(parts))
            if at is None and following < len(self.queue) and not any(parts):
                return None  # stopped at the mark with nothing: as if there was nothing
        return None if first is None else _told(parts, first, control)

    # -- the urgent byte -------------------------------------------------------------------

    def _at(self, index: int) -> UnixMessage:
        message = self.queue[index]
        assert isinstance(message, UnixMessage)
        return message

    def _to_data(self, at: int, peek: bool, copied: bool) -> int | None:
        """Where the next message to read is, `at` or behind; None: nowhere (`manage_oob`).

        Nothing is read across the mark; a byte there that nobody has read as urgent is lost.
        """
        queue = self.queue
        if at == len(queue):
            return None
        message = self._at(at)
        if len(message) and message is not self.oob:
            return at
        if not len(message):
            if copied and self.oob is None:
                return None
            if peek:
                at += 1
            else:
                queue.popleft()
                self.consumed(message)
            if at == len(queue):
                return None
        if queue[at] is not self.oob:
            return at
        if copied:
            return None
        inline = self.sk_flags & SOCK_OOBINLINE
        if peek:
            at += not inline
        else:
            lost, self.oob = self._at(at), None
            if not inline:
                queue.popleft()
                self.drop(lost)
        return at if at < len(queue) else None

    def _receive_urgent(self, peek: bool) -> Message:
        """EINVAL without an urgent byte, or where it is read with the others
        (`unix_stream_recv_urg`)."""
        message = self.oob
        if message is None or self.sk_flags & SOCK_OOBINLINE:
            raise os_error(errno.EINVAL)
        if not peek:
            self.oob = None
            index = self.queue.index(message)
            if index and not len(self._at(index - 1)):
                self.consumed(self._at(index - 1))
                del self.queue[index - 1]
            message.off = 1
        return Message(message.data, flags=MSG_OOB)  # 1, even for who has no room for it

    def at_mark(self) -> bool:
        """The next byte is the urgent one, or the first behind it."""
        if not self.queue or self.state is State.LISTEN:
            return False
        first = self._at(0)
        if first is self.oob:
            return True
        behind = self.queue[1] if len(self.queue) > 1 else None
        return not len(first) and (self.oob is None or behind is self.oob)


def _told(parts: list[bytes], first: UnixMessage, control: tuple[Cmsg, ...]) -> Message:
    return Message(b"".join(parts), first.sender.name or None, control)
