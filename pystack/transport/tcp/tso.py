"""How much goes out in one piece: the size of a queued packet, and of a burst.

Linux keeps written data in packets of many segments that the NIC (or the last moment in software)
cuts up.  This host cuts them at once, yet what is held back, where PSH is set and what the send
buffer is charged follow the large packets (`net/ipv4/tcp_output.c`).  Called by `output` and
`stream`.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from pystack.transport.tcp.constants import MSEC, USEC
from pystack.transport.tcp.mss import bound_to_half_window
from pystack.transport.tcp.seq import seq_diff
from pystack.transport.tcp.state import CaState

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock

GSO_MAX_SIZE = 65536 - 320 - 1  # less room for the headers
PACING_SHIFT = 10  # a burst is what goes out in a millisecond
_SS_RATIO = "net.ipv4.tcp_pacing_ss_ratio"
_CA_RATIO = "net.ipv4.tcp_pacing_ca_ratio"
_RTT_LOG = "net.ipv4.tcp_tso_rtt_log"
_MIN_SEGMENTS = "net.ipv4.tcp_min_tso_segs"


class Defer(enum.Enum):
    """Why a piece waits for the next ACK."""

    NOT = 0
    FOR_MORE = 1  # the application may add to it
    CWND = 2
    RWND = 3


def pacing_rate(sk: TcpSock) -> int:
    """Bytes a second: the window in an RTT, and more while it grows (`tcp_update_pacing_rate`)."""
    cw, sysctl = sk.cw, sk.kernel.sysctl
    ratio = sysctl[_SS_RATIO if cw.cwnd < cw.ssthresh >> 1 else _CA_RATIO]
    rate = sk.mss_cache * ratio * 80_000 * max(cw.cwnd, sk.rtx.packets_out)
    return min(rate // (sk.rtt.srtt_us or 1), sk.sk_max_pacing_rate)


def burst_segments(sk: TcpSock, mss: int) -> int:
    """Segments that go out in one piece (`tcp_tso_autosize`): a path that is short, so that ACKs
    come often anyway, gets large ones."""
    sysctl = sk.kernel.sysctl
    size = pacing_rate(sk) >> PACING_SHIFT
    min_rtt = sk.rtt.min_us
    if min_rtt is not None:
        shift = min_rtt >> sysctl[_RTT_LOG]
        if shift < 32:
            size += GSO_MAX_SIZE >> shift
    return max(min(size, GSO_MAX_SIZE) // mss, sysctl[_MIN_SEGMENTS])


def size_goal(sk: TcpSock, mss: int) -> int:
    """Bytes a queued packet is filled to (`tcp_xmit_size_goal`)."""
    return max(bound_to_half_window(sk, GSO_MAX_SIZE) // mss, 1) * mss


def should_defer(sk: TcpSock, length: int, is_tail: bool, burst: int) -> Defer:
    """Better wait for the next ACK, which will allow a larger piece? (`tcp_tso_should_defer`)

    `length`: of the oldest packet, `is_tail`: it is also the last.  Only while ACKs come fast.
    """
    now, rtx = sk.kernel.now, sk.rtx
    if sk.cw.state >= CaState.RECOVERY or now - sk.lsndtime >= MSEC or not rtx:
        return Defer.NOT
    window = seq_diff(sk.wnd_end, sk.snd_nxt)
    cwnd = (sk.cw.cwnd - rtx.in_flight) * sk.mss_cache
    limit = min(window, cwnd)
    if limit >= burst * sk.mss_cache or (not is_tail and limit >= length):
        return Defer.NOT
    if limit >= _worth_sending(sk):
        return Defer.NOT
    if now - rtx.head.sent_at <= (sk.rtt.srtt_us >> 4) * USEC:
        return Defer.NOT  # the ACK is more than half an RTT away
    if limit <= length:
        return Defer.CWND if cwnd < window else Defer.RWND
    return Defer.NOT if is_tail and sk.unsent.fin else Defer.FOR_MORE


def _worth_sending(sk: TcpSock) -> int:
    """Bytes that need not wait to become more: a third of the window."""
    divisor = sk.kernel.sysctl["net.ipv4.tcp_tso_win_divisor"]
    if divisor:
        return min(sk.snd_wnd, sk.cw.cwnd * sk.mss_cache) // divisor
    return 3 * sk.mss_cache + 1
