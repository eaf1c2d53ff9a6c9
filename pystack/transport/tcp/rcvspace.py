"""Receive-buffer autotuning: room for what the application reads in a round trip, and as much
again (`tcp_rcv_space_adjust`, called dynamic right-sizing).

`input` and `delack` measure the receiver's round-trip time, `receive` adjusts after each read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.core.skb import SkBuff
from pystack.transport.tcp import transmit
from pystack.transport.tcp.constants import INIT_CWND, MSEC, USEC
from pystack.transport.tcp.segment import RxSegment
from pystack.transport.tcp.seq import SEQ_MASK, before, seq_add, seq_diff
from pystack.transport.tcp.window import space_from_win, win_from_space

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock


class RcvSpace:
    """`space`: bytes read in the last round trip.  `seq` and `time`: where and when the current
    measurement of it began.  `rtt_us`: 8 times the receiver's RTT, 0 if none is known; measured
    over one window from `rtt_time` until `rtt_seq`, or by time stamps."""

    __slots__ = ("last_tsecr", "rtt_seq", "rtt_time", "rtt_us", "seq", "space", "time")

    def __init__(self) -> None:
        self.space = self.seq = self.time = 0
        self.rtt_us = self.rtt_seq = 0
        self.rtt_time: int | None = None
        self.last_tsecr = 0


def init(sk: TcpSock) -> None:
    space = sk.rcv_space
    space.space = min(sk.rcv_ssthresh, sk.rcv_wnd, INIT_CWND * sk.advmss)
    space.seq, space.time = sk.copied_seq, sk.kernel.now


# -- the receiver's round-trip time --------------------------------------------------------


def measure(sk: TcpSock) -> None:
    """Without time stamps: a window's worth of data takes a round trip at least."""
    space, now = sk.rcv_space, sk.kernel.now
    if space.rtt_time is not None:
        if before(sk.rcv_nxt, space.rtt_seq):
            return
        _update(sk, max((now - space.rtt_time) // USEC, 1), by_window=True)
    space.rtt_seq = seq_add(sk.rcv_nxt, sk.rcv_wnd)
    space.rtt_time = now


def measure_echo(sk: TcpSock, skb: SkBuff, segment: RxSegment) -> None:
    """A full segment echoes the time stamp of the ACK that allowed it."""
    stamps, space = segment.options.timestamps, sk.rcv_space
    if stamps is None or stamps[1] == space.last_tsecr:
        return
    space.last_tsecr = stamps[1]
    if len(skb) >= sk.ack.rcv_mss:
        ticks = (transmit.timestamp(sk) - stamps[1]) & SEQ_MASK
        if 0 < ticks <= SEQ_MASK >> 1:
            _update(sk, ticks * (MSEC // USEC), by_window=False)


def _update(sk: TcpSock, sample: int, by_window: bool) -> None:
    """`tcp_rcv_rtt_update`: the least, for a window may take longer than a round trip; an echo
    may only raise it while the application keeps up."""
    space = sk.rcv_space
    old = space.rtt_us
    if not old or sample << 3 < old:
        space.rtt_us = sample << 3
    elif not by_window and sk.rcv_nxt == sk.copied_seq:
        space.rtt_us = old - (old >> 3) + sample


# -- the buffer ----------------------------------------------------------------------------


def adjust(sk: TcpSock) -> None:
    """The application has read: once a round trip see how much that was."""
    space, now = sk.rcv_space, sk.kernel.now
    if not space.rtt_us or (now - space.time) // USEC < space.rtt_us >> 3:
        return
    # What still waits was not read in time: it needs no larger buffer.
    waiting = seq_diff(sk.rcv_nxt, sk.copied_seq)
    copied = seq_diff(sk.copied_seq, space.seq) - waiting
    if copied > space.space:
        _grow(sk, copied)
    space.seq, space.time = sk.copied_seq, now


def _grow(sk: TcpSock, copied: int) -> None:
    """Twice as much, and more while the sender's rate still rises (`tcp_rcvbuf_grow`)."""
    space, sysctl = sk.rcv_space, sk.kernel.sysctl
    old, space.space = space.space, copied
    if sk.rcvbuf_locked or not sysctl["net.ipv4.tcp_moderate_rcvbuf"]:
        return
    window = 2 * copied
    window += 2 * (window * (copied - old) // max(old, 1))
    if sk.ofo:
        window += seq_diff(sk.ofo.last_end, sk.rcv_nxt)
    rcvbuf = min(space_from_win(sysctl, window), sysctl.vector("net.ipv4.tcp_rmem")[2])
    if rcvbuf > sk.sk_rcvbuf:
        sk.sk_rcvbuf = rcvbuf
        sk.window_clamp = win_from_space(sysctl, rcvbuf)
