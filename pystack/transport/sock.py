"""What every transport's socket has: errors, buffers, a wait queue, and the lock with its backlog.

Called by `pystack.uapi` from tasks; a transport derives from `Sock`.  A socket never blocks its
caller for data or room: it raises EAGAIN, and the caller waits on `wq`.
"""

from __future__ import annotations

import errno
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from select import EPOLLERR, EPOLLHUP, EPOLLOUT
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from pystack.core.kernel import Kernel
from pystack.core.skb import SkBuff
from pystack.core.wait import WaitQueue, wait_event

if TYPE_CHECKING:
    from pystack.dev.netdev import NetDevice
    from pystack.transport.reuseport import ReuseportGroup

Address = Any
"""A socket address; the shape tells the family.

AF_INET `(ip, port)`, the ip 4 bytes in network order; AF_INET6 `(ip, port, flowinfo, scope_id)`,
16 bytes; AF_PACKET `(ifindex, protocol, pkttype, hatype, addr)`; AF_UNIX bytes: a path, an
abstract name with its leading 0, or b"" for none."""

Cmsg = tuple[int, int, Any]
"""Control data: level, type, and its bytes; for SCM_RIGHTS the open files, inside the kernel."""


class Message(NamedTuple):
    """What `recvmsg` gives.  A stream gives data only.

    `flags` are msg_flags (MSG_TRUNC, MSG_CTRUNC, ...); `length` is that of a whole datagram, of
    which `data` may be a part.
    """

    data: bytes
    address: Address | None = None
    control: tuple[Cmsg, ...] = ()
    flags: int = 0
    length: int = 0


SKB_STRUCT = 256  # sizeof(struct sk_buff), aligned
SKB_SHARED_INFO = 320  # sizeof(struct skb_shared_info)
SKB_SMALL_HEAD = 704  # SKB_SMALL_HEAD_CACHE_SIZE: small buffers come from a cache of their own
PAGE_SIZE = 4096
SKB_MIN_TRUESIZE = 2048 + SKB_STRUCT  # TCP_SKB_MIN_TRUESIZE
WAKE_ALL = 1 << 30
NO_LIMIT = 0xFFFFFFFFFFFFFFFF  # of a pacing rate
RCV_SHUTDOWN = 1  # `sk_shutdown`
SEND_SHUTDOWN = 2
SHUT_MASK = 3

# The module `socket` has these as IntFlag, whose `&` costs more than the rest of a short call.
MSG_OOB = int(socket.MSG_OOB)
MSG_PEEK = int(socket.MSG_PEEK)
MSG_DONTWAIT = int(socket.MSG_DONTWAIT)
MSG_WAITALL = int(socket.MSG_WAITALL)
MSG_NOSIGNAL = int(socket.MSG_NOSIGNAL)
MSG_MORE = int(socket.MSG_MORE)
MSG_EOR = int(socket.MSG_EOR)
MSG_TRUNC = int(socket.MSG_TRUNC)
MSG_CTRUNC = int(socket.MSG_CTRUNC)
MSG_ERRQUEUE = int(socket.MSG_ERRQUEUE)
MSG_CMSG_CLOEXEC = int(socket.MSG_CMSG_CLOEXEC)


class NoWaiting(BlockingIOError):
    """EAGAIN that a call does not wait for: all ports are taken, the error queue is empty."""

    def __init__(self) -> None:
        super().__init__(errno.EAGAIN, os.strerror(errno.EAGAIN))


def os_error(number: int) -> OSError:
    """The exception for an errno, of the subclass CPython has for it."""
    return OSError(number, os.strerror(number))


def truesize(skb: SkBuff) -> int:
    """Memory a received packet holds, as Linux would charge it; computed once."""
    size = skb.truesize
    if not size:
        size = skb.truesize = sum([_buffer_truesize(len(part.buf)) for part in skb.parts()])
    return size


@cache
def _buffer_truesize(size: int) -> int:
    """Bytes of a buffer, rounded up as the allocator rounds, and of `struct sk_buff`."""
    size += SKB_SHARED_INFO
    if size <= SKB_SMALL_HEAD:
        return SKB_STRUCT + SKB_SMALL_HEAD
    if size <= PAGE_SIZE:
        return SKB_STRUCT + (1 << (size - 1).bit_length())
    return SKB_STRUCT + -(-size // PAGE_SIZE) * PAGE_SIZE


class SockLock:
    """`lock_sock`, `bh_lock_sock` and the backlog (`net/core/sock.c`).

    A task holds it with `with sk.lock:`.  Code that transmits lets interrupts in, so packets and
    timers of the same socket may come meanwhile: they wait here and are dealt with, in order, when
    the holder releases.
    """

    __slots__ = (
        *("_backlog", "_deferred", "_receive", "_waiters"),
        *("backlog_len", "kernel", "owned"),
    )

    def __init__(self, kernel: Kernel, receive: Callable[[SkBuff], None]) -> None:
        self.kernel = kernel
        self.owned = False
        self.backlog_len = 0  # bytes of truesize
        self._receive = receive
        self._backlog: list[SkBuff] = []  # here an empty deque would be half of a connection
        self._deferred: list[Callable[[], None]] = []
        self._waiters = WaitQueue()

    def __enter__(self) -> None:
        if self.owned:
            wait_event(self.kernel, self._waiters, lambda: not self.owned, exclusive=True)
        self.owned = True

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    def release(self) -> None:
        """Work off what came meanwhile, then let go (`release_sock`)."""
        while self._backlog or self._deferred:
            if self._backlog:
                skb = self._backlog.pop(0)
                self.backlog_len -= truesize(skb)
                self._receive(skb)
            else:
                self._deferred.pop(0)()
        self.owned = False
        self._waiters.wake()

    def deliver(self, skb: SkBuff, limit: int) -> bool:
        """From softirq: receive `skb` now or from the backlog; False if that is full."""
        if self.owned:
            size = truesize(skb)
            if self.backlog_len + size > limit:
                return False
            self.backlog_len += size
            self._backlog.append(skb)
            return True
        self.owned = True
        self._receive(skb)
        self.release()
        return True

    def run(self, fn: Callable[[], None]) -> None:
        """From a timer: call `fn` under the lock, now or when the holder releases it."""
        if self.owned:
            if fn not in self._deferred:
                self._deferred.append(fn)
            return
        self.owned = True
        fn()
        self.release()


class Sock(ABC):
    """A transport-level socket.  It knows no file descriptor; errors are OSError with errno."""

    __slots__ = (
        *("dead", "family", "kernel", "lock", "protocol", "rcvbuf_locked", "reuseport"),
        *("rmem_alloc", "sk_bound_dev_if", "sk_drops", "sk_err", "sk_err_soft", "sk_flags"),
        *(
            "sk_cookie",
            "sk_incoming_cpu",
            "sk_keepalive",
            "sk_linger",
            "sk_mark",
            "sk_max_pacing_rate",
        ),
        *("sk_peek_off", "sk_priority", "sk_rcvbuf", "sk_rcvlowat", "sk_reuse", "sk_reuseport"),
        *(
            "sk_shutdown",
            "sk_sndbuf",
            "sk_rxhash",
            "sk_tsflags",
            "sk_tskey",
            "sk_uid",
            "sndbuf_locked",
            "type",
        ),
        *("sndbuf_locked", "type", "wmem_queued", "wq"),
    )

    def __init__(self, kernel: Kernel, family: int, type_: int, protocol: int) -> None:
        self.kernel = kernel
        self.family = family
        self.type = type_
        self.protocol = protocol
        self.wq = WaitQueue()
        self.lock = SockLock(kernel, self.backlog_rcv)
        self.dead = False  # SOCK_DEAD: no file refers to it any more
        self.sk_err = 0
        self.sk_rxhash = 0  # the flow of what it receives, where packets are steered
        self.sk_err_soft = 0
        self.sk_shutdown = 0
        self.sk_rcvbuf = 0
        self.sk_sndbuf = 0
        self.sk_rcvlowat = 1
        self.rcvbuf_locked = False  # set by SO_RCVBUF: the kernel must not change it
        self.sndbuf_locked = False
        self.rmem_alloc = 0  # bytes of truesize in the receive queues
        self.wmem_queued = 0
        self.sk_uid = 0
        self.sk_linger: int | None = None  # seconds; None: SO_LINGER is off
        self.sk_drops = 0  # packets there was no room for
        self.sk_cookie = 0  # SO_COOKIE, once it has been asked for
        self._init_options()

    @property
    def peeks_at_offset(self) -> bool:
        """There is SO_PEEK_OFF."""
        return self.family == socket.AF_UNIX

    def _init_options(self) -> None:
        """What `sockopt` sets; flags are its SOCK_* and SOF_TIMESTAMPING_*."""
        self.sk_flags = self.sk_tsflags = self.sk_tskey = 0
        self.sk_reuse = self.sk_reuseport = False
        self.reuseport: ReuseportGroup | None = None
        self.sk_keepalive = False
        self.sk_bound_dev_if = 0  # ifindex; 0: any device
        self.sk_incoming_cpu = -1
        self.sk_mark = self.sk_priority = 0
        self.sk_max_pacing_rate = NO_LIMIT  # bytes a second
        self.sk_peek_off = -1  # SO_PEEK_OFF; -1: off

    def init(self) -> None:
        """Made for the user `sk_uid`: EPERM or EACCES if he may not have one (`sk_prot->init`)."""

    @property
    def connecting(self) -> bool:
        """A connect of this socket has begun and has not been reported yet."""
        return False

    @property
    def opening(self) -> bool:
        """The handshake runs."""
        return False

    @property
    def listening(self) -> bool:
        return False

    @property
    def has_peer(self) -> bool:
        """A datagram socket is connected."""
        return False

    def sock_error(self) -> int:
        """The pending error, which is thereby taken."""
        number, self.sk_err = self.sk_err, 0
        return number

    def peek_at(self, lengths: Iterable[int]) -> tuple[int, int]:
        """Which of the queued datagrams MSG_PEEK shows, and from which byte on (SO_PEEK_OFF)."""
        index, skip = 0, max(self.sk_peek_off, 0)
        for length in lengths:
            if skip < length or not skip:
                break
            index, skip = index + 1, skip - length
        return index, skip

    def peeked(self, n: int) -> None:
        """So many bytes more have been shown; less than 0: taken from the front."""
        if self.sk_peek_off >= 0:
            self.sk_peek_off = max(self.sk_peek_off + n, 0)

    def wake(self, mask: int = 0) -> None:
        """Wake whoever waits for `mask`; 0 names no event and wakes everybody."""
        self.wq.wake(mask, 1 if mask else WAKE_ALL)

    def would_block(self) -> OSError:
        return os_error(errno.EAGAIN)

    @abstractmethod
    def backlog_rcv(self, skb: SkBuff) -> None:
        """Process one packet; the lock is held."""

    @abstractmethod
    def bind(self, address: Address) -> None: ...

    def socketpair(self, other: Sock) -> None:
        """Connect two new sockets to each other; EOPNOTSUPP (`sock_no_socketpair`)."""
        raise os_error(errno.EOPNOTSUPP)

    def may_send(self) -> bool:
        """Would a `sendmsg` or `connect` that gave EAGAIN get on now?"""
        return bool(self.poll() & (EPOLLOUT | EPOLLERR | EPOLLHUP))

    def listen(self, backlog: int) -> None:
        """EOPNOTSUPP for what takes no connections (`sock_no_listen`)."""
        raise os_error(errno.EOPNOTSUPP)

    @abstractmethod
    def connect(self, address: Address | None) -> None:
        """EINPROGRESS while the handshake runs; call again for its outcome.  None: AF_UNSPEC."""

    def accept(self, flags: int) -> Sock:
        """The next connection; EAGAIN when there is none.  MSG_DONTWAIT: nobody will wait."""
        raise os_error(errno.EOPNOTSUPP)

    @abstractmethod
    def sendmsg(
        self,
        data: memoryview,
        flags: int,
        address: Address | None = None,
        control: Sequence[Cmsg] = (),
    ) -> int:
        """Bytes taken, of a stream at least one; EAGAIN when there is no room."""

    @abstractmethod
    def recvmsg(self, n: int, flags: int) -> Message:
        """Up to `n` bytes; b"" at the end of the stream.  EAGAIN when there is nothing."""

    @abstractmethod
    def shutdown(self, how: int) -> None: ...

    def begin_close(self) -> bool:
        """What `close` does before SO_LINGER waits; False: there is nothing to wait for."""
        return self.closing

    @property
    def closing(self) -> bool:
        """After `begin_close`: something sent is not acknowledged yet."""
        return False

    @abstractmethod
    def close(self) -> None:
        """The last reference is gone; the protocol may go on without it."""

    @abstractmethod
    def poll(self) -> int:
        """EPOLL mask."""

    @abstractmethod
    def inq(self) -> int:
        """Bytes that can be read (SIOCINQ)."""

    def at_mark(self) -> bool:
        """Is the next byte the one sent out of band (SIOCATMARK)?  Of a stream only."""
        return False

    @abstractmethod
    def outq(self) -> int:
        """Bytes not yet acknowledged (SIOCOUTQ)."""

    def outq_nsd(self) -> int:
        """Bytes not yet sent (SIOCOUTQNSD); ENOTTY for what has no such queue."""
        raise os_error(errno.ENOTTY)

    @abstractmethod
    def getsockname(self) -> Address: ...

    @abstractmethod
    def getpeername(self) -> Address: ...

    def accepted_from(self) -> Address:
        """The peer as accept tells it, be the connection dead or not (`inet_getname`, peer 2)."""
        return self.getpeername()

    def devices(self) -> Iterable[NetDevice]:
        """Those SO_BINDTODEVICE may name."""
        return ()

    @abstractmethod
    def setsockopt(self, level: int, name: int, value: int | bytes) -> None: ...

    @abstractmethod
    def getsockopt(self, level: int, name: int) -> int | bytes: ...
