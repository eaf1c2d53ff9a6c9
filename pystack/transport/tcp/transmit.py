"""One segment onto the wire: header, options, checksum (`__tcp_transmit_skb`).

Called by `output` (data), `delack` (ACKs) and whoever closes; calls `Inet.send`, which may let
interrupts in: the socket is locked, so its state is as it was when `Inet.send` returns.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NamedTuple

from pystack.core.checksum import ones_sum
from pystack.core.drop import Drop
from pystack.core.headers.ipv4 import IPPROTO_TCP, pseudo_header_sum
from pystack.core.headers.tcp import (
    TCP_HLEN,
    TH_ACK,
    TH_FIN,
    TH_RST,
    TH_SYN,
    TH_URG,
    TcpOptions,
    pack_segment_header,
    timestamp_option,
)
from pystack.core.skb import CHECKSUM_PARTIAL, EMPTY, SkBuff
from pystack.net.route import Route
from pystack.transport.inetsock import ip_dont_fragment
from pystack.transport.tcp import ecn, urgent
from pystack.transport.tcp.constants import INVALID_RATELIMIT, MSEC
from pystack.transport.tcp.mss import sack_room
from pystack.transport.tcp.seq import SEQ_MASK, after, before, seq_add, seq_diff
from pystack.transport.tcp.state import TcpState
from pystack.transport.tcp.window import select_window

if TYPE_CHECKING:
    from pystack.core.kernel import Kernel
    from pystack.transport.tcp.sock import TcpSock
    from pystack.transport.tcp.tables import FourTuple


class Offload(NamedTuple):
    """What is left to the device: the checksum, and to cut the text into `gso_size` bytes."""

    checksum: bool
    gso_size: int = 0


IN_SOFTWARE = Offload(checksum=False)
_CHECKSUM_ONLY = Offload(checksum=True)
_CHECKSUM = 16  # in TCP's header


def build(
    kernel: Kernel,
    tuple4: FourTuple,
    seq: int,
    ack: int,
    flags: int,
    window: int,
    options: bytes = b"",
    data: memoryview = EMPTY,
    urgent: int = 0,
    offload: Offload = IN_SOFTWARE,
) -> SkBuff:
    """A segment from `tuple4`'s local end to its remote one, with its checksum, ready for IP; the
    payload is not copied."""
    saddr, sport, daddr, dport = tuple4
    length = TCP_HLEN + len(options) + len(data)
    skb = SkBuff(kernel, data)
    if offload.checksum:
        start = pseudo_header_sum(saddr, daddr, IPPROTO_TCP, 0 if offload.gso_size else length)
        skb.ip_summed, skb.gso_size = CHECKSUM_PARTIAL, offload.gso_size
        skb.csum_length, skb.csum_offset = length, _CHECKSUM
    else:
        start = pseudo_header_sum(saddr, daddr, IPPROTO_TCP, length)
        if data:
            start += ones_sum(data)
    skb.head = pack_segment_header(
        *(sport, dport, seq, ack, flags, window, options, start, urgent),
        partial=offload.checksum,
    )
    return skb


def timestamp(sk: TcpSock) -> int:
    """TSval: a clock of 1 ms with an offset nobody knows (RFC 7323, 5.4)."""
    return (sk.kernel.now // MSEC + sk.ts_offset) & SEQ_MASK


def can_gso(sk: TcpSock) -> bool:
    """May a packet of many segments go to the device's queue (`sk_can_gso`)?"""
    if sk.route is None:
        return False
    features = sk.route.dev.features
    return features["tx"] and features["gso"]


def transmit(
    sk: TcpSock, seq: int, flags: int, data: memoryview = EMPTY, gso_size: int = 0
) -> bool:
    """Send one segment of this connection, or with `gso_size` several in one piece; ACK, window
    and options are filled in.

    False if it did not get beyond the queue of our own device.
    """
    kernel = sk.kernel
    kernel.charge(kernel.costs.tcp_packet)
    if flags & TH_SYN:
        options, window = _syn_options(sk), min(sk.rcv_wnd, 65535)
    else:
        options, window = _options(sk), select_window(sk)
    ack = sk.rcv_nxt if flags & TH_ACK else 0
    tuple4 = sk.laddr, sk.lport, sk.raddr, sk.rport
    v4 = len(sk.laddr) == 4
    tos = sk.tos if v4 else sk.tclass
    if sk.ecn is not None and not flags & TH_SYN:
        more, bits = ecn.mark(sk, sk.ecn, seq, len(data) > 0)
        tos |= bits
        flags |= more
    pointer = 0
    if sk.urgent is not None:
        pointer = urgent.pointer(sk, sk.urgent, seq)
        flags |= TH_URG if pointer else 0
    route = sk.route
    offload = IN_SOFTWARE
    if route is not None and route.dev.features["tx"]:
        offload = Offload(checksum=True, gso_size=gso_size) if gso_size else _CHECKSUM_ONLY
    skb = build(kernel, tuple4, seq, ack, flags, window, options, data, pointer, offload)
    if flags & TH_ACK:
        sk.ack.sent()
        sk.delack_timer.delete()
    segments = -(-len(data) // gso_size) if gso_size else 1
    _count(sk, seq, flags, len(data), segments)
    tracepoint = sk.tcp.tp_transmit
    if tracepoint.enabled:
        tracepoint(skb.packet_id, seq, len(data), flags)
    if route is None or route.obsolete:
        route = _route_again(sk, skb)
        if route is None:
            return True
    if sk.dst_pending_confirm:
        sk.dst_pending_confirm = False
        sk.inet.confirm_neigh(route, sk.raddr)
    error = sk.inet.send(
        skb,
        route,
        sk.laddr,
        sk.raddr,
        IPPROTO_TCP,
        ttl=sk.ttl if v4 else sk.hop_limit,
        tos=tos,
        dont_fragment=ip_dont_fragment(sk, route),
        identification=sk.number_packets(segments),
    )
    return error != errno.ENOBUFS


def _count(sk: TcpSock, seq: int, flags: int, length: int, segments: int) -> None:
    """What is sent again is not among TcpOutSegs."""
    sk.stats.segs_out += segments
    if length:
        _data_sent(sk, length, segments)
    end_seq = seq_add(seq, length + bool(flags & (TH_SYN | TH_FIN)))
    if seq == end_seq or after(end_seq, sk.snd_nxt):
        sk.kernel.mib["TcpOutSegs"] += segments


def _route_again(sk: TcpSock, skb: SkBuff) -> Route | None:
    """None if there is no way any more: the segment is dropped, the timer tries again."""
    try:
        sk.route = sk.find_route()
    except OSError as exc:
        sk.sk_err_soft = exc.errno or 0
        sk.kernel.drop(skb, Drop.IP_NO_ROUTE)
        return None
    return sk.route


def _data_sent(sk: TcpSock, length: int, segments: int) -> None:
    """`tcp_event_data_sent`: data that follows data received soon is an answer."""
    now, ack, stats = sk.kernel.now, sk.ack, sk.stats
    stats.data_segs_out += segments
    stats.bytes_sent += length
    if not sk.rtx.in_flight:
        sk.cw.algorithm.tx_start()
    sk.lsndtime = now
    if now - ack.lrcvtime < ack.ato:
        ack.pingpong = min(ack.pingpong + 1, 255)


def _options(sk: TcpSock) -> bytes:
    """Options of a segment in a synchronised state."""
    stamp = timestamp_option(timestamp(sk), sk.ts_recent) if sk.tstamp_ok else b""
    if not (sk.sack_ok and sk.sacks):
        return stamp
    blocks = sk.sacks.take(sack_room(sk))
    sk.sacks.dsack = None
    return stamp + TcpOptions(sack=blocks).pack()


def _syn_options(sk: TcpSock) -> bytes:
    """What a SYN offers; a SYN-ACK (crossed SYNs) offers the same."""
    sysctl = sk.kernel.sysctl
    stamps = sysctl["net.ipv4.tcp_timestamps"]
    return TcpOptions(
        mss=sk.advmss,
        wscale=sk.rcv_wscale if sysctl["net.ipv4.tcp_window_scaling"] else None,
        sack_permitted=bool(sysctl["net.ipv4.tcp_sack"]),
        timestamps=(timestamp(sk), sk.ts_recent) if stamps else None,
    ).pack()


def acceptable_seq(sk: TcpSock) -> int:
    """SND.NXT, unless the peer has shrunk its window below it (`tcp_acceptable_seq`)."""
    end = sk.wnd_end
    if not before(end, sk.snd_nxt) or (
        sk.wscale_ok and seq_diff(sk.snd_nxt, end) < 1 << sk.rcv_wscale
    ):
        return sk.snd_nxt
    return end


def send_ack(sk: TcpSock) -> None:
    if sk.state is not TcpState.CLOSE:
        transmit(sk, acceptable_seq(sk), TH_ACK)


def send_active_reset(sk: TcpSock) -> None:
    """Abort: tell the peer (RFC 9293, 3.10.5)."""
    sk.kernel.mib["TcpOutRsts"] += 1
    transmit(sk, acceptable_seq(sk), TH_ACK | TH_RST)


def rate_limited(sk: TcpSock, counter: str) -> bool:
    """At most two answers a second to segments that might be answers to ours.

    Two confused peers would otherwise ping-pong for ever (`tcp_oow_rate_limited`).
    """
    now = sk.kernel.now
    if sk.last_oow_ack_time is not None and now - sk.last_oow_ack_time < INVALID_RATELIMIT:
        sk.kernel.mib[counter] += 1
        return True
    sk.last_oow_ack_time = now
    return False


def send_challenge_ack(sk: TcpSock) -> None:
    """A suspicious RST, SYN or ACK: a genuine peer will answer with the exact number (RFC 5961)."""
    if not rate_limited(sk, "TcpExtTCPACKSkippedChallenge"):
        sk.kernel.mib["TcpExtTCPChallengeACK"] += 1
        send_ack(sk)
