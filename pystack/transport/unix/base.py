"""What all AF_UNIX sockets share: names, peers, buffers, options, their end.

`stream` and `dgram` derive from it.  Nothing here comes from a device, and nothing waits.
"""

from __future__ import annotations

import errno
import socket as so
from collections import deque
from collections.abc import Iterable, Sequence
from enum import Enum
from select import (
    EPOLLERR,
    EPOLLHUP,
    EPOLLIN,
    EPOLLOUT,
    EPOLLPRI,
    EPOLLRDHUP,
    EPOLLRDNORM,
    EPOLLWRBAND,
    EPOLLWRNORM,
)
from typing import TYPE_CHECKING

from pystack.core.skb import SkBuff
from pystack.transport import sockopt
from pystack.transport.sock import Address, Cmsg, Sock, os_error
from pystack.transport.unix.message import Credentials, OpenFile, UnixMessage

if TYPE_CHECKING:
    from pystack.transport.unix.protocol import Unix

RCV_SHUTDOWN, SEND_SHUTDOWN, SHUTDOWN_MASK = 1, 2, 3
READABLE, WRITABLE = EPOLLIN | EPOLLRDNORM, EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND


class State(Enum):
    CLOSE = "close"
    LISTEN = "listen"
    ESTABLISHED = "established"


class UnixSock(Sock):
    """`queue` has messages, or, of a listener, connections that wait to be accepted."""

    def __init__(self, unix: Unix, type_: int) -> None:
        super().__init__(unix.kernel, so.AF_UNIX, type_, 0)
        self.unix = unix
        self.state = State.CLOSE
        self.name = b""
        self.peer: UnixSock | None = None
        self.queue: deque[UnixMessage | UnixSock] = deque()
        self.oob: UnixMessage | None = (
            None  # the message in `queue` that is an urgent byte nobody has read
        )
        self.embryo = False  # connected, not yet accepted
        self.passcred = False
        self.peer_cred = Credentials(0, -1 & 0xFFFFFFFF, -1 & 0xFFFFFFFF)
        self.max_ack_backlog = unix.kernel.sysctl["net.unix.max_dgram_qlen"]
        self.sk_sndbuf = unix.kernel.sysctl["net.core.wmem_default"]
        self.sk_rcvbuf = unix.kernel.sysctl["net.core.rmem_default"]
        self.blocked_on: UnixSock | None = None  # whose queue was full
        self.senders: dict[UnixSock, None] = {}  # who waits for room in `queue`
        unix.inflight.socks.add(self)

    def backlog_rcv(self, skb: SkBuff) -> None:
        raise AssertionError("no device delivers to an AF_UNIX socket")

    # -- names -----------------------------------------------------------------------------

    def bind(self, address: Address) -> None:
        """To a path, a name beginning with 0, or, for b"", to one that is free."""
        if self.name and address:
            if address[0]:
                self.unix.nodes.check_free(address)
            raise os_error(errno.EINVAL)
        self.name = self.name or self.unix.bind(self, address)

    def autobind(self) -> None:
        self.bind(b"")

    def getsockname(self) -> Address:
        return self.name

    def getpeername(self) -> Address:
        if self.peer is None:
            raise os_error(errno.ENOTCONN)
        return self.peer.name

    # -- messages --------------------------------------------------------------------------

    def full(self) -> bool:
        """No room for another message, or connection (`unix_recvq_full`)."""
        return len(self.queue) > self.max_ack_backlog

    def wait_for_room(self, other: UnixSock) -> OSError:
        """EAGAIN, and a wake-up when `other` has taken something from its queue."""
        self.blocked_on = other
        other.senders[self] = None
        return self.would_block()

    def made_room(self) -> None:
        """Wake those whom `wait_for_room` has noted."""
        senders, self.senders = self.senders, {}
        for sk in senders:
            sk.wake(WRITABLE)

    def may_send(self) -> bool:
        other = self.blocked_on
        if other is not None and other.full() and not other.dead:
            other.senders[self] = None
            return False
        return super().may_send()

    def enqueue(
        self, other: UnixSock, data: bytes, truesize: int, control: Sequence[Cmsg]
    ) -> UnixMessage:
        """Put a message, with what `control` has it take along, into the queue of `other`."""
        mine = self.unix.credentials()
        cred, passed = self._scm(control, mine)
        if cred is None and (self.passcred or other.passcred or other.embryo):
            cred = mine
        files = self.unix.inflight.attach(passed, mine.uid)
        message = UnixMessage(self, data, truesize, cred, files, mine.uid)
        other.queue.append(message)
        self.wmem_queued += truesize
        return message

    def _scm(
        self, control: Sequence[Cmsg], mine: Credentials
    ) -> tuple[Credentials | None, tuple[OpenFile, ...]]:
        """Credentials somebody states, and files (`__scm_send`)."""
        cred: Credentials | None = None
        files: tuple[OpenFile, ...] = ()
        for level, type_, data in control:
            if level != so.SOL_SOCKET:
                continue
            if type_ == so.SCM_RIGHTS:
                files += data
            elif type_ == so.SCM_CREDENTIALS:
                cred = self._check_credentials(data, mine)
            else:
                raise os_error(errno.EINVAL)
        return cred, files

    def _check_credentials(self, data: bytes, mine: Credentials) -> Credentials:
        """Only root may say that it is somebody else (`scm_check_creds`)."""
        try:
            cred = Credentials.parse(data)
        except ValueError:
            raise os_error(errno.EINVAL) from None
        if mine.uid and cred != mine:
            raise os_error(errno.EPERM)
        if not self.unix.alive(cred.pid):
            raise os_error(errno.ESRCH)
        return cred

    def consumed(self, message: UnixMessage) -> None:
        """The message has been read or dropped: its sender has room (`sock_wfree`)."""
        sender = message.sender
        sender.wmem_queued -= message.truesize
        if not sender.dead and sender.writable():
            sender.wake(WRITABLE)

    def detach(self, message: UnixMessage) -> None:
        """Its files are the receiver's now."""
        self.unix.inflight.detach(message.files, message.uid)
        message.files = ()

    # -- state -----------------------------------------------------------------------------

    def writable(self) -> bool:
        return self.state is not State.LISTEN and self.wmem_queued << 2 <= self.sk_sndbuf

    def poll(self) -> int:
        mask = EPOLLERR if self.sk_err else 0
        if self.sk_shutdown == SHUTDOWN_MASK:
            mask |= EPOLLHUP
        if self.sk_shutdown & RCV_SHUTDOWN:
            mask |= EPOLLRDHUP | READABLE
        if self.queue:
            mask |= READABLE
        if self.oob is not None:
            mask |= EPOLLPRI
        if self.type != so.SOCK_DGRAM and self.state is State.CLOSE:
            mask |= EPOLLHUP
        return mask | WRITABLE if self.writable() else mask

    def shutdown(self, how: int) -> None:
        """Of a connection both ends (`unix_shutdown`)."""
        if not so.SHUT_RD <= how <= so.SHUT_RDWR:
            raise os_error(errno.EINVAL)
        mode = how + 1
        self.sk_shutdown |= mode
        if self.peer is not None and self.type != so.SOCK_DGRAM:
            crossed = (mode & RCV_SHUTDOWN) << 1 | (mode & SEND_SHUTDOWN) >> 1
            self.peer.sk_shutdown |= crossed
            self.peer.wake()
        self.wake()

    def close(self) -> None:
        """`unix_release_sock`."""
        self.dead = True
        self.sk_shutdown = SHUTDOWN_MASK
        if self.name:
            self.unix.release(self)
        unread = self.state is not State.LISTEN and any(map(len, self.messages()))
        self.state = State.CLOSE
        self.unix.inflight.socks.discard(self)
        self.disconnect(unread or self.embryo)
        self.purge()
        self.made_room()
        self.unix.inflight.collect()

    def disconnect(self, reset: bool) -> None:
        """Tell the peer; `reset`: it has sent what nobody has read."""

    def purge(self) -> None:
        """Drop all that is queued."""
        while self.queue:
            entry = self.queue.popleft()
            if isinstance(entry, UnixSock):
                entry.close()
                continue
            self.drop(entry)
        self.oob = None

    def drop(self, message: UnixMessage) -> None:
        """It is out of the queue, and nobody has read it."""
        files = message.files
        self.detach(message)
        self.consumed(message)
        for file in files:
            file.put()

    def messages(self) -> Iterable[UnixMessage]:
        return (entry for entry in self.queue if isinstance(entry, UnixMessage))

    def outq(self) -> int:
        return self.wmem_queued

    # -- options ---------------------------------------------------------------------------

    def setsockopt(self, level: int, name: int, value: int | bytes) -> None:
        if level != so.SOL_SOCKET:
            raise os_error(errno.EOPNOTSUPP)  # `sock_no_setsockopt`
        if name == so.SO_PASSCRED:
            self.passcred = bool(value if isinstance(value, int) else any(value[:4]))
        else:
            sockopt.set_option(self, name, value)

    def getsockopt(self, level: int, name: int) -> int | bytes:
        if level != so.SOL_SOCKET:
            raise os_error(errno.EOPNOTSUPP)
        if name == so.SO_PASSCRED:
            return int(self.passcred)
        if name == so.SO_PEERCRED:
            return self.peer_cred.pack()
        return sockopt.get_option(self, name)

    @property
    def listening(self) -> bool:
        return self.state is State.LISTEN
