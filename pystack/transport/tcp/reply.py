"""Segments without a socket behind them: resets, and ACKs of mini-sockets.

Compare `tcp_v4_send_reset` and `tcp_v4_send_ack`.  The socket-less sender has no lock, so nothing
may be touched after `Ipv4.send` has let interrupts in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pystack.core.drop import Drop
from pystack.core.headers.ipv4 import IPPROTO_TCP
from pystack.core.headers.tcp import TH_ACK, TH_RST, timestamp_option
from pystack.core.skb import SkBuff
from pystack.transport.inetsock import ip_dont_fragment
from pystack.transport.tcp.segment import RxSegment
from pystack.transport.tcp.tables import Key, key_of
from pystack.transport.tcp.transmit import build

if TYPE_CHECKING:
    from pystack.transport.tcp.protocol import Tcp
    from pystack.transport.tcp.sock import TcpSock


def send_reset(tcp: Tcp, skb: SkBuff) -> None:
    """Refuse a segment (RFC 9293, 3.10.7.1); never answers a RST."""
    segment: RxSegment = skb.cb
    if segment.flags & TH_RST:
        return
    if segment.flags & TH_ACK:
        seq, ack, flags = segment.ack, 0, TH_RST
    else:
        seq, ack, flags = 0, segment.end_seq, TH_RST | TH_ACK
    tcp.kernel.mib["TcpOutRsts"] += 1
    ends = skb.daddr, segment.dport, skb.saddr, segment.sport
    send(tcp, key_of(*ends, skb.dev.ifindex), seq, ack, flags, 0)


@dataclass(slots=True)
class BareAck:
    """An ACK of a mini-socket; `timestamps` is (TSval, TSecr)."""

    key: Key
    seq: int
    ack: int
    window: int
    timestamps: tuple[int, int] | None = None


def send_bare_ack(tcp: Tcp, what: BareAck) -> None:
    options = b"" if what.timestamps is None else timestamp_option(*what.timestamps)
    send(tcp, what.key, what.seq, what.ack, TH_ACK, what.window, options)


def send(
    tcp: Tcp,
    key: Key,
    seq: int,
    ack: int,
    flags: int,
    window: int,
    options: bytes = b"",
    sk: TcpSock | None = None,
) -> None:
    """Route and send a segment without payload, as `sk` would have it, or whole, as Linux's
    `ipv4.tcp_sk` would."""
    kernel = tcp.kernel
    kernel.charge(kernel.costs.tcp_packet)
    saddr, sport, daddr, dport, oif = key
    skb = build(kernel, (saddr, sport, daddr, dport), seq, ack, flags, window, options)
    kernel.mib["TcpOutSegs"] += 1
    if tcp.tp_transmit.enabled:
        tcp.tp_transmit(skb.packet_id, seq, 0, flags)
    inet = tcp.inets[len(saddr)]
    try:
        route = inet.route(daddr, saddr, oif=oif)
    except OSError:
        kernel.drop(skb, Drop.IP_NO_ROUTE)
        return
    dont_fragment = sk is None or ip_dont_fragment(sk, route)
    inet.send(skb, route, saddr, daddr, IPPROTO_TCP, dont_fragment=dont_fragment)
