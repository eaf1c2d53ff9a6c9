"""Urgent data: one byte out of band, and the mark where it was (RFC 9293, 3.8.5; `tcp_check_urg`).

Linux's interpretation (RFC 6093, 3.1): on the wire the pointer is one past the urgent byte; that
byte is taken out of the stream unless SO_OOBINLINE is set, and a new one replaces one not read.
Called by `transmit` and `stream` for what is sent, by `input` and `receive` for what comes.
"""

from __future__ import annotations

import errno
from select import EPOLLIN, EPOLLPRI, EPOLLRDBAND, EPOLLRDNORM
from typing import TYPE_CHECKING

from pystack.core.headers.tcp import TH_SYN, TH_URG
from pystack.core.skb import SkBuff
from pystack.transport.sock import MSG_PEEK, RCV_SHUTDOWN, os_error
from pystack.transport.sockopt import SOCK_OOBINLINE
from pystack.transport.tcp import rcvbuf
from pystack.transport.tcp.segment import RxSegment
from pystack.transport.tcp.seq import SEQ_MASK, after, before, seq_add, seq_diff
from pystack.transport.tcp.state import TcpState

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock

# What `Urgent.data` holds beside the byte itself
NONE = 0
VALID = 0x100  # the byte has come
NOTYET = 0x200  # it is announced
READ = 0x400
_POINTER_AT = 18  # in the TCP header
_FARTHEST = 0xFFFF


class Urgent:
    """Of a connection that has sent or received urgent data.

    `snd_up`: one past the urgent byte sent, None once that is acknowledged.  `seq`: the number of
    the urgent byte received, or announced, if `data` is not NONE.
    """

    __slots__ = ("data", "seq", "snd_up")

    def __init__(self) -> None:
        self.snd_up: int | None = None
        self.seq = 0
        self.data = NONE


# -- sending -------------------------------------------------------------------------------


def mark(sk: TcpSock) -> None:
    """The last byte written is urgent (`tcp_mark_urg`)."""
    if sk.urgent is None:
        sk.urgent = Urgent()
    sk.urgent.snd_up = sk.write_seq


def sending(sk: TcpSock) -> bool:
    """Urgent mode: the peer has not acknowledged the urgent byte yet (`tcp_urg_mode`)."""
    return sk.urgent is not None and sk.urgent.snd_up is not None


def acknowledged(urgent: Urgent, snd_una: int) -> None:
    if urgent.snd_up is not None and not after(urgent.snd_up, snd_una):
        urgent.snd_up = None


def pointer(sk: TcpSock, urgent: Urgent, seq: int) -> int:
    """The urgent pointer of a segment that begins at `seq`; 0: it bears none."""
    up = urgent.snd_up
    if up is None or not before(seq, up):
        return 0
    if seq_diff(up, seq) <= _FARTHEST:
        return seq_diff(up, seq)
    # Farther away than the field can tell: at least that something is.
    return _FARTHEST if after(seq_add(seq, _FARTHEST), sk.snd_nxt) else 0


# -- receiving -----------------------------------------------------------------------------


def receive_segment(sk: TcpSock, skb: SkBuff, segment: RxSegment) -> None:
    """Note an urgent pointer, and the urgent byte when it comes (`tcp_urg`)."""
    if segment.flags & TH_URG:
        _announced(sk, skb, segment)
    urgent = sk.urgent
    if urgent is None or urgent.data != NOTYET:
        return
    offset = (urgent.seq - segment.seq - bool(segment.flags & TH_SYN)) & SEQ_MASK
    if offset < len(skb):
        urgent.data = VALID | skb.views(offset)[0][0]
        if not sk.dead:
            sk.wake(EPOLLIN | EPOLLPRI | EPOLLRDNORM | EPOLLRDBAND)


def _announced(sk: TcpSock, skb: SkBuff, segment: RxSegment) -> None:
    """`tcp_check_urg`: an old pointer, or one not beyond the one we know, says nothing."""
    at = skb.transport_header + _POINTER_AT
    value = int.from_bytes(skb.buf[at : at + 2], "big")
    seq = seq_add(segment.seq, value - 1 if value else 0)
    if after(sk.copied_seq, seq) or before(seq, sk.rcv_nxt):
        return
    urgent = sk.urgent
    if urgent is None:
        urgent = sk.urgent = Urgent()
    elif urgent.data and not after(seq, urgent.seq):
        return
    elif urgent.data and _at_mark(sk, urgent) and not inline(sk) and sk.receive_queue:
        skip_byte(sk)  # the next byte to read was urgent: it must not become normal data now
    urgent.data, urgent.seq = NOTYET, seq


def _at_mark(sk: TcpSock, urgent: Urgent) -> bool:
    return urgent.data != NONE and urgent.seq == sk.copied_seq


def at_mark(sk: TcpSock) -> bool:
    """The next byte is, or was, the urgent one (SIOCATMARK)."""
    return sk.urgent is not None and _at_mark(sk, sk.urgent)


def inline(sk: TcpSock) -> bool:
    """SO_OOBINLINE: the urgent byte is in the stream as any other."""
    return bool(sk.sk_flags & SOCK_OOBINLINE)


def hidden_byte(sk: TcpSock) -> bool:
    """The next byte is the urgent one, and not for those who read the stream."""
    return at_mark(sk) and not inline(sk)


def before_mark(sk: TcpSock, urgent: Urgent, n: int) -> int:
    """How many of `n` bytes may be read in one go: reading stops at the mark."""
    offset = (urgent.seq - sk.copied_seq) & SEQ_MASK
    return min(n, offset) if urgent.data and offset else n


def skip_byte(sk: TcpSock) -> None:
    """Leave the urgent byte out of the stream."""
    sk.copied_seq = seq_add(sk.copied_seq, 1)
    if sk.receive_queue and not before(sk.copied_seq, sk.receive_queue[0].cb.end_seq):
        rcvbuf.release(sk, sk.receive_queue.pop(0))
    passed_mark(sk)


def passed_mark(sk: TcpSock) -> None:
    """Something has been read: the mark may be behind."""
    urgent = sk.urgent
    if urgent is not None and urgent.data and after(sk.copied_seq, urgent.seq):
        urgent.data = NONE


def receive(sk: TcpSock, n: int, flags: int) -> bytes:
    """recv(MSG_OOB): the urgent byte, once; never waits for it (`tcp_recv_urg`).

    EINVAL if there is none, EAGAIN if it is only announced.
    """
    urgent = sk.urgent
    if inline(sk) or urgent is None or urgent.data in (NONE, READ):
        raise os_error(errno.EINVAL)
    if sk.state is TcpState.CLOSE and not sk.done:
        raise os_error(errno.ENOTCONN)
    if urgent.data & VALID:
        byte = urgent.data & 0xFF
        if not flags & MSG_PEEK:
            urgent.data = READ
        return bytes([byte])[:n]
    if sk.state is TcpState.CLOSE or sk.sk_shutdown & RCV_SHUTDOWN:
        return b""
    raise sk.would_block()
