"""User data out to recvmsg (`tcp_recvmsg_locked`, `net/ipv4/tcp.c`).

Called by `TcpSock` under the lock.  Nothing here waits.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from pystack.transport.sock import MSG_OOB, MSG_PEEK, RCV_SHUTDOWN, os_error
from pystack.transport.tcp import delack, rcvbuf, rcvspace, urgent
from pystack.transport.tcp.seq import before, seq_add, seq_diff
from pystack.transport.tcp.state import OPENING, TcpState

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock


def recvmsg(sk: TcpSock, n: int, flags: int) -> bytes:
    """Up to `n` bytes; b"" at the end of the stream (`tcp_recvmsg_locked`)."""
    if sk.state is TcpState.LISTEN:
        raise os_error(errno.ENOTCONN)
    if flags & MSG_OOB:
        return urgent.receive(sk, n, flags)
    peek = bool(flags & MSG_PEEK)
    hidden = 0 if sk.urgent is None else _to_mark(sk, n, peek)
    if peek:
        hidden += max(sk.sk_peek_off, 0)
    if sk.receive_queue and (not hidden or seq_diff(sk.rcv_nxt, sk.copied_seq) > hidden):
        if sk.urgent is not None and not hidden:
            n = urgent.before_mark(sk, sk.urgent, n)
        return _peek(sk, n, hidden) if peek else _read(sk, n)
    if sk.done:
        return b""
    if sk.sk_err:
        raise os_error(sk.sock_error())
    if sk.sk_shutdown & RCV_SHUTDOWN:
        return b""
    if sk.state is TcpState.CLOSE:
        raise os_error(errno.ENOTCONN)
    raise sk.would_block()


def _to_mark(sk: TcpSock, n: int, peek: bool) -> int:
    """The urgent byte, if it is the next one, is passed over; of a peek 1 says so instead."""
    if not n or not sk.receive_queue or not urgent.hidden_byte(sk):
        return 0
    if not peek:
        urgent.skip_byte(sk)
    return int(peek)


def _peek(sk: TcpSock, n: int, hidden: int) -> bytes:
    """`hidden`: bytes at the front that are not shown."""
    views: list[memoryview] = []
    seq, length = seq_add(sk.copied_seq, hidden), 0
    for skb in sk.receive_queue:
        if length >= n:
            break
        start = seq_diff(seq, skb.cb.seq)
        if start >= len(skb):
            continue
        views += skb.views(start)
        length += len(skb) - start
        seq = seq_add(seq, len(skb) - start)
    data = _copy(sk, views, length, n)
    sk.peeked(len(data))
    return data


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
    sk.peeked(-len(data))
    if sk.urgent is not None:
        urgent.passed_mark(sk)
    for skb in done:
        rcvbuf.release(sk, skb)
    rcvspace.adjust(sk)
    delack.after_read(sk, len(data))
    return data


def inq(sk: TcpSock) -> int:
    """Bytes to be read, up to the mark; EINVAL for a listener (`tcp_inq`)."""
    if sk.state is TcpState.LISTEN:
        raise os_error(errno.EINVAL)
    if sk.state in OPENING or not sk.receive_queue:
        return 0
    mark = sk.urgent
    if mark is not None and mark.data and not urgent.inline(sk) and before(mark.seq, sk.rcv_nxt):
        return seq_diff(mark.seq, sk.copied_seq)
    return seq_diff(sk.rcv_nxt, sk.copied_seq) - sk.done
