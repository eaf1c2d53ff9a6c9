"""User data: in from sendmsg, out to recvmsg, and what poll says (`net/ipv4/tcp.c`).

Called by `TcpSock` under the lock.  Nothing here waits.
"""

from __future__ import annotations

import errno
from select import (
    EPOLLERR,
    EPOLLHUP,
    EPOLLIN,
    EPOLLOUT,
    EPOLLRDHUP,
    EPOLLRDNORM,
    EPOLLWRBAND,
    EPOLLWRNORM,
)
from typing import TYPE_CHECKING

from pystack.transport.sock import (
    MSG_EOR,
    MSG_MORE,
    MSG_OOB,
    MSG_PEEK,
    RCV_SHUTDOWN,
    SEND_SHUTDOWN,
    SHUT_MASK,
    os_error,
)
from pystack.transport.tcp import delack, output, rcvbuf, tso
from pystack.transport.tcp.congestion import restart_after_idle
from pystack.transport.tcp.mss import current_mss
from pystack.transport.tcp.segment import SEGMENT_OVERHEAD
from pystack.transport.tcp.seq import after, seq_add, seq_diff
from pystack.transport.tcp.state import OPENING, CaState, TcpState
from pystack.transport.tcp.stats import BUSY, SNDBUF_LIMITED
from pystack.transport.tcp.window import expand_sndbuf

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock

READABLE = EPOLLIN | EPOLLRDNORM
WRITABLE = EPOLLOUT | EPOLLWRNORM
_CAN_SEND = (TcpState.ESTABLISHED, TcpState.CLOSE_WAIT)


def sendmsg(sk: TcpSock, data: memoryview, flags: int) -> int:
    """Copy what there is room for and send what may go (`tcp_sendmsg_locked`)."""
    _check_can_send(sk, flags)
    if not len(data):
        return 0
    if not sk.unsent:
        restart_after_idle(sk)
    copied = _fill(sk, data, flags)
    if copied < len(data):
        sk.nospace = True
        if not copied:
            raise sk.would_block()
    sk.kernel.cpu.charge_copy(copied)
    if flags & MSG_EOR and copied == len(data) and sk.unsent.chunks:
        sk.unsent.chunks[-1].eor = True
    # Whoever must wait for room cannot add more: what there is goes now.
    more = flags & MSG_MORE and copied == len(data)
    if sk.unsent and (not more or _forced_push(sk)):
        _mark_push(sk)
    nonagle = output.NAGLE_CORK if more else sk.nonagle
    if copied < len(data):
        nonagle = output.NAGLE_PUSH
    output.push_pending(sk, nonagle)
    return copied


def _fill(sk: TcpSock, data: memoryview, flags: int) -> int:
    """Copy into packets up to the size goal; a full one may go while the next is filled."""
    mss = current_mss(sk)
    goal = tso.size_goal(sk, mss)
    unsent, copied = sk.unsent, 0
    while copied < len(data):
        room = unsent.room(goal)
        new = not room
        if new:
            if not memory_free(sk):
                break
            room = goal
            sk.nonagle &= ~output.NAGLE_PUSH
            sk.wmem_queued += SEGMENT_OVERHEAD
            if not unsent:
                sk.stats.chrono.begin(sk.kernel.now, BUSY)
        piece = memoryview(bytes(data[copied : copied + room]))
        if not copied and not new:
            unsent.chunks[-1].push = False
        unsent.append(piece, new)
        copied += len(piece)
        sk.wmem_queued += len(piece)
        sk.write_seq = seq_add(sk.write_seq, len(piece))
        if unsent.chunks[-1].length >= goal and copied < len(data):
            _push_full(sk)
    return copied


def _push_full(sk: TcpSock) -> None:
    """A packet is full and there is more to come."""
    if _forced_push(sk):
        _mark_push(sk)
        output.push_pending(sk, output.NAGLE_PUSH)
    elif len(sk.unsent.chunks) == 1:
        output.write_xmit(sk, output.NAGLE_PUSH, push_one=True)


def _forced_push(sk: TcpSock) -> bool:
    """Half of the largest window has been written since the last push: the peer should read."""
    return after(sk.write_seq, seq_add(sk.pushed_seq, sk.max_window >> 1))


def _mark_push(sk: TcpSock) -> None:
    if sk.unsent.chunks:
        sk.unsent.chunks[-1].push = True
        sk.pushed_seq = sk.write_seq


def memory_free(sk: TcpSock, wake: int = 0) -> bool:
    """Room for a packet more, and not too much unsent (`sk_stream_memory_free`).

    With `wake` 1 only half as much may be unsent, lest the writer wakes for little.
    """
    if sk.wmem_queued >= sk.sk_sndbuf:
        return False
    lowat = sk.notsent_lowat or sk.kernel.sysctl["net.ipv4.tcp_notsent_lowat"]
    return seq_diff(sk.write_seq, sk.snd_nxt) << wake < lowat


def _check_can_send(sk: TcpSock, flags: int) -> None:
    """EPIPE, or the error that is pending (`sk_stream_error`); EAGAIN while connecting."""
    if flags & MSG_OOB:
        raise os_error(errno.EOPNOTSUPP)
    if sk.state in OPENING and not sk.sk_err and not sk.sk_shutdown & SEND_SHUTDOWN:
        sk.nospace = True
        raise sk.would_block()
    if sk.sk_err or sk.sk_shutdown & SEND_SHUTDOWN or sk.state not in _CAN_SEND:
        raise os_error(sk.sock_error() or errno.EPIPE)


def recvmsg(sk: TcpSock, n: int, flags: int) -> bytes:
    """Up to `n` bytes; b"" at the end of the stream (`tcp_recvmsg_locked`)."""
    if sk.state is TcpState.LISTEN:
        raise os_error(errno.ENOTCONN)
    if flags & MSG_OOB:
        raise os_error(errno.EINVAL)  # no urgent data is there
    if sk.receive_queue:
        return _peek(sk, n) if flags & MSG_PEEK else _read(sk, n)
    if sk.done or n == 0:
        return b""
    if sk.sk_err:
        raise os_error(sk.sock_error())
    if sk.sk_shutdown & RCV_SHUTDOWN:
        return b""
    if sk.state is TcpState.CLOSE:
        raise os_error(errno.ENOTCONN)
    raise sk.would_block()


def _peek(sk: TcpSock, n: int) -> bytes:
    views: list[memoryview] = []
    seq, length = sk.copied_seq, 0
    for skb in sk.receive_queue:
        if length >= n:
            break
        start = seq_diff(seq, skb.cb.seq)
        views += skb.views(start)
        length += len(skb) - start
        seq = seq_add(seq, len(skb) - start)
    return _copy(sk, views, length, n)


def _copy(sk: TcpSock, views: list[memoryview], length: int, n: int) -> bytes:
    """The first `n` of the `length` bytes in `views`: the one copy on the way to the user."""
    if length > n:
        excess = length - n
        while excess >= len(views[-1]):
            excess -= len(views.pop())
        if excess:
            views[-1] = views[-1][:-excess]
    data = b"".join(views)
    sk.kernel.cpu.charge_copy(len(data))
    return data


def _read(sk: TcpSock, n: int) -> bytes:
    """Consume; a packet whose last byte is read goes back to where it came from."""
    views: list[memoryview] = []
    queue, done = sk.receive_queue, []
    seq, length = sk.copied_seq, 0
    while queue and length < n:
        skb = queue[0]
        start = seq_diff(seq, skb.cb.seq)
        left = len(skb) - start
        views += skb.views(start)
        length += left
        if length <= n:
            seq = seq_add(seq, left)
            done.append(queue.pop(0))
    data = _copy(sk, views, length, n)
    sk.copied_seq = seq_add(sk.copied_seq, len(data))
    for skb in done:
        rcvbuf.release(sk, skb)
    delack.after_read(sk, len(data))
    return data


def check_space(sk: TcpSock) -> None:
    """ACKs made room: a larger window wants a larger buffer; wake writers (`tcp_new_space`)."""
    if sk.cw.state is not CaState.LOSS and not sk.sndbuf_locked and sk.rtx.in_flight < sk.cw.cwnd:
        expand_sndbuf(sk)
    wake_writers(sk)


def wake_writers(sk: TcpSock) -> None:
    """`sk_stream_write_space`."""
    if sk.nospace and is_writeable(sk):
        sk.nospace = False
        chrono = sk.stats.chrono
        if chrono.type == SNDBUF_LIMITED:
            chrono.end(sk.kernel.now, SNDBUF_LIMITED, idle=not sk.rtx and not sk.unsent)
        sk.wake(EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND)


def is_writeable(sk: TcpSock) -> bool:
    """At least a third of the buffer is free, lest writers wake for crumbs."""
    return sk.sk_sndbuf - sk.wmem_queued >= sk.wmem_queued >> 1 and memory_free(sk, 1)


def poll(sk: TcpSock) -> int:
    """EPOLL mask (`tcp_poll`)."""
    if sk.state is TcpState.LISTEN:
        return READABLE if sk.accept_queue else 0
    mask = 0
    shutdown = sk.sk_shutdown
    if shutdown == SHUT_MASK or sk.state is TcpState.CLOSE:
        mask |= EPOLLHUP
    if shutdown & RCV_SHUTDOWN:
        mask |= READABLE | EPOLLRDHUP
    if sk.state not in OPENING:
        if sk.receive_queue and seq_diff(sk.rcv_nxt, sk.copied_seq) >= sk.sk_rcvlowat:
            mask |= READABLE
        if shutdown & SEND_SHUTDOWN or is_writeable(sk):
            mask |= WRITABLE
        else:
            sk.nospace = True
    if sk.sk_err:
        mask |= EPOLLERR
    return mask


def inq(sk: TcpSock) -> int:
    """EINVAL for a listener."""
    if sk.state is TcpState.LISTEN:
        raise os_error(errno.EINVAL)
    if sk.state in OPENING or not sk.receive_queue:
        return 0
    return seq_diff(sk.rcv_nxt, sk.copied_seq) - sk.done


def outq(sk: TcpSock) -> int:
    if sk.state is TcpState.LISTEN:
        raise os_error(errno.EINVAL)
    if sk.state in OPENING:
        return 0
    return seq_diff(sk.write_seq, sk.snd_una)


def outq_nsd(sk: TcpSock) -> int:
    if sk.state is TcpState.LISTEN:
        raise os_error(errno.EINVAL)
    return 0 if sk.state in OPENING else seq_diff(sk.write_seq, sk.snd_nxt)
