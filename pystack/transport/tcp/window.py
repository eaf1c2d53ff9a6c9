"""The receive window: how much we offer (RFC 9293, 3.8.6.2.2; `tcp_select_window`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.core.headers.tcp import MAX_WSCALE
from pystack.core.skb import SkBuff
from pystack.core.sysctl import Sysctl
from pystack.transport.sock import truesize
from pystack.transport.tcp.seq import SEQ_MASK

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock

MAX_UNSCALED = 65535


def win_from_space(sysctl: Sysctl, space: int) -> int:
    """The part of a buffer that payload may fill; the rest is overhead."""
    scale = sysctl["net.ipv4.tcp_adv_win_scale"]
    return space >> -scale if scale <= 0 else space - (space >> scale)


def space_from_win(sysctl: Sysctl, win: int) -> int:
    """The buffer of which payload may fill `win`."""
    scale = sysctl["net.ipv4.tcp_adv_win_scale"]
    return win << -scale if scale <= 0 else (win << scale) // ((1 << scale) - 1)


def full_space(sk: TcpSock) -> int:
    return win_from_space(sk.kernel.sysctl, sk.sk_rcvbuf)


def free_space(sk: TcpSock) -> int:
    used = sk.rmem_alloc + sk.lock.backlog_len
    return win_from_space(sk.kernel.sysctl, max(0, sk.sk_rcvbuf - used))


def initial_window(
    sysctl: Sysctl, space: int, mss: int, clamp: int, scaling: bool
) -> tuple[int, int, int]:
    """(rcv_wnd, window_clamp, rcv_wscale) for a SYN (`tcp_select_initial_window`).

    The scale must do for the largest buffer the socket may ever get, for it cannot change later.
    """
    clamp = clamp or MAX_UNSCALED << MAX_WSCALE
    space = min(clamp, max(space, 0))
    if space > mss:
        space -= space % mss
    rcv_wnd = min(space, MAX_UNSCALED)
    wscale = 0
    if scaling:
        largest = max(space, sysctl.vector("net.ipv4.tcp_rmem")[2], sysctl["net.core.rmem_max"])
        wscale = min(max(min(largest, clamp).bit_length() - 16, 0), MAX_WSCALE)
    return rcv_wnd, min(MAX_UNSCALED << wscale, clamp), wscale


def wanted_clamp(sk: TcpSock) -> int:
    """The largest window the user allows: TCP_WINDOW_CLAMP, and what SO_RCVBUF holds; 0: any."""
    clamp: int = sk.clamp_wanted
    if sk.rcvbuf_locked:
        clamp = min(clamp or full_space(sk), full_space(sk))
    return clamp


def receive_window(sk: TcpSock) -> int:
    """What is left of the window last offered, in bytes."""
    return max(0, sk.rcv_wnd - ((sk.rcv_nxt - sk.rcv_wup) & SEQ_MASK))


def choose_window(sk: TcpSock) -> int:
    """What to offer now, regardless of what was offered (`__tcp_select_window`).

    Less than a segment is not worth offering: that is silly window avoidance.
    """
    sysctl, rcvbuf = sk.kernel.sysctl, sk.sk_rcvbuf
    allowed = win_from_space(sysctl, rcvbuf)
    full = min(sk.window_clamp, allowed)
    mss = min(sk.ack.rcv_mss, full)
    if mss <= 0:
        return 0
    used = sk.rmem_alloc + sk.lock.backlog_len
    space = win_from_space(sysctl, max(0, rcvbuf - used)) if used else allowed
    if space < full >> 1:
        sk.ack.quick = 0
        space -= space % (1 << sk.rcv_wscale)
        if space < allowed >> 4 or space < mss:
            return 0
    space = min(space, sk.rcv_ssthresh)
    if sk.rcv_wscale:
        return _align(space, sk.rcv_wscale)
    window = sk.rcv_wnd
    if window <= space - mss or window > space:
        return space - space % mss
    if mss == full and space > window + (full >> 1):
        return space
    return window


def select_window(sk: TcpSock) -> int:
    """The window field of the segment being sent; its right edge never moves left."""
    mib = sk.kernel.mib
    old = sk.rcv_wnd
    current = receive_window(sk)
    new = choose_window(sk)
    if new < current:
        if new == 0:
            mib["TcpExtTCPWantZeroWindowAdv"] += 1
        new = _align(current, sk.rcv_wscale)
    new = min(new, MAX_UNSCALED << sk.rcv_wscale)
    sk.rcv_wnd = new
    sk.rcv_wup = sk.rcv_nxt
    if new == 0 and old:
        mib["TcpExtTCPToZeroWindowAdv"] += 1
    elif new and not old:
        mib["TcpExtTCPFromZeroWindowAdv"] += 1
    return new >> sk.rcv_wscale


def _align(window: int, wscale: int) -> int:
    return -(-window >> wscale) << wscale


def init_buffer_space(sk: TcpSock) -> None:
    """The connection is there: fit window and threshold to the buffer (`tcp_init_buffer_space`)."""
    if not sk.sndbuf_locked:
        expand_sndbuf(sk)
    sk.window_clamp = min(sk.window_clamp, full_space(sk))
    sk.rcv_ssthresh = min(sk.rcv_ssthresh, sk.window_clamp)


def grow_window(sk: TcpSock, skb: SkBuff) -> None:
    """Offer more as long as packets use their memory well (`tcp_grow_window`)."""
    if sk.rcv_ssthresh >= sk.window_clamp:
        return
    room = min(sk.window_clamp, free_space(sk)) - sk.rcv_ssthresh
    if room <= 0:
        return
    sysctl = sk.kernel.sysctl
    memory = win_from_space(sysctl, truesize(skb))
    if memory <= len(skb):
        grow = 2 * sk.advmss
    else:
        memory >>= 1
        limit = win_from_space(sysctl, sysctl.vector("net.ipv4.tcp_rmem")[2]) >> 1
        while sk.rcv_ssthresh <= limit and memory > len(skb):
            memory >>= 1
            limit >>= 1
        grow = 2 * sk.ack.rcv_mss if sk.rcv_ssthresh <= limit else 0
    if grow:
        sk.rcv_ssthresh += min(room, max(grow, 2 * len(skb)))
        sk.ack.quick |= 1


def expand_sndbuf(sk: TcpSock) -> None:
    """Room for twice the congestion window (`tcp_sndbuf_expand`)."""
    size = max(sk.mss_clamp, sk.mss_cache) + 320 + 320
    per_mss = (1 << (size - 1).bit_length()) + 256
    segments = max(sk.cw.cwnd, 10, sk.reordering + 1)
    wanted = min(2 * segments * per_mss, sk.kernel.sysctl.vector("net.ipv4.tcp_wmem")[2])
    sk.sk_sndbuf = max(sk.sk_sndbuf, wanted)
