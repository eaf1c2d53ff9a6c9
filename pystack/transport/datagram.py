"""What UDP, raw and ping sockets have in common: a queue of datagrams, and buffers' limits.

`net/core/datagram.c`, `net/core/sock.c`.  A protocol queues what it receives with `queue_rcv`, in
softirq and without the lock: nothing between two waits touches the queue.  `output` sends.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from functools import partial
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
from typing import TYPE_CHECKING, ClassVar

from pystack.core.drop import Drop
from pystack.core.kernel import Kernel
from pystack.net.inet import Inets
from pystack.transport import control, errqueue, mcast
from pystack.transport.inetaddr import to_user
from pystack.transport.inetsock import InetSock
from pystack.transport.sock import (
    MSG_DONTWAIT,
    MSG_ERRQUEUE,
    MSG_PEEK,
    MSG_TRUNC,
    RCV_SHUTDOWN,
    SEND_SHUTDOWN,
    SHUT_MASK,
    Address,
    Message,
    os_error,
    truesize,
)
from pystack.transport.sockopt import SOCK_SELECT_ERR_QUEUE

if TYPE_CHECKING:
    from pystack.core.skb import SkBuff

READABLE = EPOLLIN | EPOLLRDNORM
WRITABLE = EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND


class DatagramSock(InetSock):
    """`wmem_queued` counts the truesize of what is on its way out (`sk_wmem_alloc`)."""

    __slots__ = ("receive_queue",)
    rcvbuf_full: ClassVar[Drop]

    def __init__(
        self, kernel: Kernel, inets: Inets, family: int, type_: int, protocol: int
    ) -> None:
        super().__init__(kernel, inets, family, type_, protocol)
        self.sk_rcvbuf = kernel.sysctl["net.core.rmem_default"]
        self.sk_sndbuf = kernel.sysctl["net.core.wmem_default"]
        self.receive_queue: deque[SkBuff] = deque()

    @property
    def has_peer(self) -> bool:
        return any(self.raddr)

    # -- softirq side ----------------------------------------------------------------------

    def backlog_rcv(self, skb: SkBuff) -> None:
        self.queue_rcv(skb)

    def queue_rcv(self, skb: SkBuff) -> bool:
        """Queue a packet that starts at its user data, or drop it silently (`sock_queue_rcv_skb`).

        One may go beyond the limit, so that there is always room for one.
        """
        if self.rmem_alloc > self.sk_rcvbuf:
            self.sk_drops += 1
            self.kernel.drop(skb, self.rcvbuf_full)
            return False
        self.rmem_alloc += truesize(skb)
        self.receive_queue.append(skb)
        self.wake(EPOLLIN | EPOLLRDNORM)
        return True

    def report_error(self, number: int) -> None:
        """The next call will fail with it."""
        self.sk_err = number
        self.wake(EPOLLERR)

    # -- receiving -------------------------------------------------------------------------

    def recvmsg(self, n: int, flags: int) -> Message:
        """The next datagram, cut to `n` bytes; a pending error goes first."""
        if flags & MSG_ERRQUEUE:
            return errqueue.receive(self, n)
        if self.sk_err:
            raise os_error(self.sock_error())
        peek = bool(flags & MSG_PEEK)
        index, skip = self.peek_at(map(len, self.receive_queue)) if peek else (0, 0)
        if index == len(self.receive_queue):
            # shut down: who would wait is told so, who would not is told nothing new
            if self.sk_shutdown & RCV_SHUTDOWN and not flags & MSG_DONTWAIT:
                return Message(b"")
            raise self.would_block()
        skb = self.receive_queue[index]
        message = self._message(skb, skip, n)
        self.peeked(len(message.data) if peek else -len(message.data))
        if not peek:
            self.receive_queue.popleft()
            self.rmem_alloc -= truesize(skb)
            skb.free()
        return message

    def _message(self, skb: SkBuff, skip: int, n: int) -> Message:
        """`n` bytes of it from byte `skip` on."""
        length = len(skb)
        views = skb.views(skip)
        data = bytes(views[0][:n]) if len(views) == 1 else b"".join(views)[:n]
        self.kernel.cpu.charge_copy(len(data))
        self.count_received(skb)
        cut = MSG_TRUNC if len(data) < length - skip else 0
        return Message(data, self.source(skb), control.received(self, skb), cut, length)

    def source(self, skb: SkBuff) -> Address:
        """Who sent `skb`, as the user sees it."""
        return to_user(self.family, skb.saddr, 0, skb.dev.ifindex)

    def count_received(self, skb: SkBuff) -> None:
        """A datagram is about to be given to the user."""

    def inq(self) -> int:
        """The length of the next datagram; 0 also if there is none."""
        return len(self.receive_queue[0]) if self.receive_queue else 0

    # -- sending ---------------------------------------------------------------------------

    def check_can_send(self) -> None:
        """A pending error, EPIPE after shutdown, EAGAIN without room (`sock_alloc_send_pskb`)."""
        if self.sk_err:
            raise os_error(self.sock_error())
        if self.sk_shutdown & SEND_SHUTDOWN:
            raise os_error(errno.EPIPE)
        if self.wmem_queued >= self.sk_sndbuf:
            raise self.would_block()

    def charge(self, skb: SkBuff) -> Callable[[], None]:
        """Count a packet on its way out; the result is called when it has left."""
        size = truesize(skb)
        self.wmem_queued += size
        return partial(self._wfree, size)

    def _wfree(self, size: int) -> None:
        self.wmem_queued -= size
        if self.writeable:
            self.wake(WRITABLE)

    @property
    def writeable(self) -> bool:
        """Half of the buffer is free (`sock_writeable`)."""
        return self.wmem_queued < self.sk_sndbuf >> 1

    def outq(self) -> int:
        return self.wmem_queued

    # -- the rest --------------------------------------------------------------------------

    def poll(self) -> int:
        """`datagram_poll`."""
        mask = 0
        if self.sk_err or self.error_queue:
            mask |= EPOLLERR
            if self.error_queue and self.sk_flags & SOCK_SELECT_ERR_QUEUE:
                mask |= EPOLLPRI
        if self.sk_shutdown & RCV_SHUTDOWN:
            mask |= EPOLLRDHUP | READABLE
        if self.sk_shutdown == SHUT_MASK:
            mask |= EPOLLHUP
        if self.receive_queue:
            mask |= READABLE
        if self.writeable:
            mask |= WRITABLE
        return mask

    def shutdown(self, how: int) -> None:
        """Takes effect even on an unconnected socket, which is told ENOTCONN (`inet_shutdown`)."""
        if not 0 <= how <= 2:
            raise os_error(errno.EINVAL)
        self.sk_shutdown |= how + 1
        self.wake()
        if not self.has_peer:
            raise os_error(errno.ENOTCONN)

    def release(self) -> None:
        """What is queued is lost, memberships end."""
        mcast.leave_all(self)
        self.error_queue = None
        while self.receive_queue:
            skb = self.receive_queue.popleft()
            self.rmem_alloc -= truesize(skb)
            skb.free()
        self.dead = True
