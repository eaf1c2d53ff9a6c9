"""getsockopt(TCP_INFO): `struct tcp_info` as Linux 6 lays it out (`tcp_get_info`).

Called by `sockopt`.  Fields are in the struct's order; what this host does not do stays 0.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from pystack.transport.tcp import rate
from pystack.transport.tcp.constants import MSEC, USEC
from pystack.transport.tcp.seq import seq_diff
from pystack.transport.tcp.state import TcpState
from pystack.transport.tcp.tso import pacing_rate

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock

_LAYOUT = struct.Struct("=8B24I4Q6I4Q2I2Q6I2HI")
_U32_MAX = 0xFFFFFFFF
# TCPI_OPT_*
OPT_TIMESTAMPS = 1
OPT_SACK = 2
OPT_WSCALE = 4
OPT_ECN = 8
OPT_ECN_SEEN = 16


# The fields as the struct has them; `wscales` and `app_limited` are its bit fields.
_NAMES = (
    "state ca_state retransmits probes backoff options wscales app_limited "
    "rto ato snd_mss rcv_mss unacked sacked lost retrans fackets last_data_sent last_ack_sent "
    "last_data_recv last_ack_recv pmtu rcv_ssthresh rtt rttvar snd_ssthresh snd_cwnd advmss "
    "reordering rcv_rtt rcv_space total_retrans "
    "pacing_rate max_pacing_rate bytes_acked bytes_received "
    "segs_out segs_in notsent_bytes min_rtt data_segs_in data_segs_out "
    "delivery_rate busy_time rwnd_limited sndbuf_limited "
    "delivered delivered_ce bytes_sent bytes_retrans dsack_dups reord_seen rcv_ooopack snd_wnd "
    "rcv_wnd rehash total_rto total_rto_recoveries total_rto_time"
).split()
_OF_LISTENER = {"state", "max_pacing_rate", "reordering", "snd_cwnd", "unacked", "sacked"}


def tcp_info(sk: TcpSock) -> bytes:
    """All of `struct tcp_info`; the caller cuts it to the length asked for."""
    return _LAYOUT.pack(*_values(sk))


def fields(sk: TcpSock) -> dict[str, int]:
    """The same by name, for `ss -i`."""
    return dict(zip(_NAMES, _values(sk), strict=True))


def _values(sk: TcpSock) -> tuple[int, ...]:
    values = _all_values(sk)
    if sk.state is not TcpState.LISTEN:
        return values
    known = zip(_NAMES, values, strict=True)
    return tuple(value if name in _OF_LISTENER else 0 for name, value in known)


def _all_values(sk: TcpSock) -> tuple[int, ...]:
    return (
        *_bytes(sk),
        *_words(sk),
        *_rates_and_bytes(sk),
        *_segments(sk),
        *_limits(sk),
        *_deliveries(sk),
    )


def _options(sk: TcpSock) -> int:
    options = OPT_TIMESTAMPS if sk.tstamp_ok else 0
    options |= OPT_SACK if sk.sack_ok else 0
    if sk.ecn is not None:
        options |= OPT_ECN | (OPT_ECN_SEEN if sk.ecn.seen else 0)
    options |= OPT_WSCALE if sk.wscale_ok else 0
    return options


def _bytes(sk: TcpSock) -> tuple[int, ...]:
    """Eight bytes; the last two hold bit fields: window scales, and whether the delivery rate was
    limited by the application."""
    scales = sk.snd_wscale | sk.rcv_wscale << 4 if sk.wscale_ok else 0
    counts = (min(n, 255) for n in (sk.retransmits, sk.probes_out, sk.backoff))
    return sk.state, sk.cw.state, *counts, _options(sk), scales, sk.rate.was_app_limited


def _words(sk: TcpSock) -> tuple[int, ...]:
    """From `tcpi_rto` to `tcpi_total_retrans`; times in us, since when something was in ms."""
    rtx, rtt, now = sk.rtx, sk.rtt, sk.kernel.now
    unacked, sacked = rtx.packets_out, rtx.sacked_out
    if sk.state is TcpState.LISTEN:
        unacked, sacked = len(sk.accept_queue), sk.max_ack_backlog
    return (
        rtt.rto // USEC,
        sk.ack.ato // USEC,
        sk.mss_cache,
        sk.ack.rcv_mss,
        unacked,
        sacked,
        rtx.lost_out,
        rtx.retrans_out,
        0,  # fackets: gone since Linux 4.15
        *((now - then) // MSEC for then in (sk.lsndtime, now, sk.ack.lrcvtime, sk.rcv_tstamp)),
        sk.pmtu,
        sk.rcv_ssthresh,
        rtt.srtt_us >> 3,
        rtt.mdev_us >> 2,
        sk.cw.ssthresh,
        sk.cw.cwnd,
        sk.advmss,
        sk.reordering,
        sk.rcv_space.rtt_us >> 3,
        sk.rcv_space.space,
        sk.total_retrans,
    )


def _rates_and_bytes(sk: TcpSock) -> tuple[int, int, int, int]:
    return pacing_rate(sk), sk.sk_max_pacing_rate, sk.bytes_acked, sk.stats.bytes_received


def _segments(sk: TcpSock) -> tuple[int, ...]:
    stats = sk.stats
    notsent = 0 if sk.state is TcpState.LISTEN else max(seq_diff(sk.write_seq, sk.snd_nxt), 0)
    min_rtt = _U32_MAX if sk.rtt.min_us is None else sk.rtt.min_us
    return (
        *(stats.segs_out, stats.segs_in, notsent, min_rtt),
        *(stats.data_segs_in, stats.data_segs_out),
    )


def _limits(sk: TcpSock) -> tuple[int, int, int, int]:
    """The delivery rate, and the time spent busy, limited by the peer's window, by our buffer."""
    busy, window, buffer = sk.stats.chrono.times(sk.kernel.now)
    return rate.bytes_per_second(sk), busy // USEC, window // USEC, buffer // USEC


def _deliveries(sk: TcpSock) -> tuple[int, ...]:
    stats = sk.stats
    return (
        *(stats.delivered, stats.delivered_ce, stats.bytes_sent, stats.bytes_retrans),
        *(stats.dsack_dups, stats.reord_seen, stats.rcv_ooopack, sk.snd_wnd, sk.rcv_wnd),
        0,  # rehash: there is no flow label to choose anew
        *(stats.total_rto, stats.total_rto_recoveries, stats.total_rto_time),
    )
