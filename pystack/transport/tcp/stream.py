"""User data in from sendmsg, and what poll says (`net/ipv4/tcp.c`).

Called by `TcpSock` under the lock.  Nothing here waits.  The way out is in `receive`.
"""

from __future__ import annotations

import errno
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

from pystack.transport.sock import (
    MSG_EOR,
    MSG_MORE,
    MSG_OOB,
    RCV_SHUTDOWN,
    SEND_SHUTDOWN,
    SHUT_MASK,
    os_error,
)
from pystack.transport.tcp import output, rate, tso, urgent
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
    _check_can_send(sk)
    if not len(data):
        return 0
    rate.check_app_limited(sk)
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
    if flags & MSG_OOB and sk.unsent:
        urgent.mark(sk)
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
        if unsent.chunks[-1].length >= goal and copied < len(data) and not flags & MSG_OOB:
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


def _check_can_send(sk: TcpSock) -> None:
    """EPIPE, or the error that is pending (`sk_stream_error`); EAGAIN while connecting."""
    if sk.state in OPENING and not sk.sk_err and not sk.sk_shutdown & SEND_SHUTDOWN:
        sk.nospace = True
        raise sk.would_block()
    if sk.sk_err or sk.sk_shutdown & SEND_SHUTDOWN or sk.state not in _CAN_SEND:
        raise os_error(sk.sock_error() or errno.EPIPE)


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
        target = sk.sk_rcvlowat
        if sk.urgent is not None:
            target += urgent.hidden_byte(sk)
            mask |= EPOLLPRI if sk.urgent.data & urgent.VALID else 0
        if sk.receive_queue and seq_diff(sk.rcv_nxt, sk.copied_seq) >= target:
            mask |= READABLE
        if shutdown & SEND_SHUTDOWN or is_writeable(sk):
            mask |= WRITABLE
        else:
            sk.nospace = True
    if sk.sk_err:
        mask |= EPOLLERR
    return mask


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
