"""Answers to refused packets (`nf_reject_ipv4.c`, `nf_reject_ipv6.c`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.core.drop import Drop
from pystack.core.headers.ipv4 import IPPROTO_TCP
from pystack.core.headers.tcp import TH_ACK, TH_RST, pack_segment_header
from pystack.core.skb import SkBuff
from pystack.net.hooks import read
from pystack.net.netfilter.ct_tcp_types import parse as parse_segment
from pystack.net.netfilter.packet import Packet, checksum_good

if TYPE_CHECKING:
    from pystack.net.netfilter.xt_family import Family

TCP_RESET = "tcp-reset"
# By IP version, iptables' default first: type and code.
KINDS: dict[int, dict[str, tuple[int, int]]] = {
    4: {
        "icmp-port-unreachable": (3, 3),
        "icmp-net-unreachable": (3, 0),
        "icmp-host-unreachable": (3, 1),
        "icmp-proto-unreachable": (3, 2),
        "icmp-net-prohibited": (3, 9),
        "icmp-host-prohibited": (3, 10),
        "icmp-admin-prohibited": (3, 13),
    },
    6: {
        "icmp6-port-unreachable": (1, 4),
        "icmp6-no-route": (1, 0),
        "icmp6-adm-prohibited": (1, 1),
        "icmp6-addr-unreachable": (1, 3),
        "icmp6-policy-fail": (1, 5),
        "icmp6-reject-route": (1, 6),
    },
}
ALIASES = {
    "port-unreach": "icmp-port-unreachable",
    "net-unreach": "icmp-net-unreachable",
    "host-unreach": "icmp-host-unreachable",
    "proto-unreach": "icmp-proto-unreachable",
    "net-prohib": "icmp-net-prohibited",
    "host-prohib": "icmp-host-prohibited",
    "admin-prohib": "icmp-admin-prohibited",
    "tcp-rst": TCP_RESET,
    "no-route": "icmp6-no-route",
    "adm-prohibited": "icmp6-adm-prohibited",
    "addr-unreach": "icmp6-addr-unreachable",
}


def send_error(family: Family, packet: Packet, kind: str) -> None:
    """Nothing is said about later fragments, nor about packets that are broken."""
    if packet.fragment_offset or not checksum_good(packet.skb, packet):
        return
    icmp_type, code = KINDS[family.version][kind]
    if not packet.skb.head:
        family.inet.icmp_send(packet.skb, icmp_type, code, 0)
        return
    copy = as_received(packet)
    family.inet.icmp_send(copy, icmp_type, code, 0)
    copy.free()


def as_received(packet: Packet) -> SkBuff:
    """A packet this host sends, as ICMP wants to see one it has received."""
    skb = packet.skb
    data = read(skb, 0, len(skb))
    copy = SkBuff(skb.kernel, memoryview(data), packet_id=skb.packet_id)
    copy.transport_header = packet.thoff
    copy.saddr, copy.daddr, copy.protocol = packet.src, packet.dst, packet.protocol
    copy.tos, copy.dst, copy.dev, copy.nfct = skb.tos, skb.dst, packet.state.outdev, skb.nfct
    return copy


def send_reset(family: Family, packet: Packet) -> None:
    """RFC 9293, 3.10.7.1; never answers a RST."""
    segment = parse_segment(packet)
    header = None if segment is None else segment.header
    if segment is None or header is None or header.flags & TH_RST or packet.fragment_offset:
        return
    if not checksum_good(packet.skb, packet) or not family.inet.is_unicast(packet.dst):
        return
    if header.flags & TH_ACK:
        seq, ack, flags = header.ack, 0, TH_RST
    else:
        seq, ack, flags = 0, segment.end, TH_RST | TH_ACK
    inet, kernel = family.inet, packet.skb.kernel
    start = inet.pseudo_sum(packet.dst, packet.src, IPPROTO_TCP, 20)
    reset = SkBuff(kernel)
    reset.head = pack_segment_header(header.dport, header.sport, seq, ack, flags, 0, b"", start)
    reset.mark = packet.skb.mark
    if packet.skb.nfct is not None:
        reset.nfct = packet.skb.nfct.related()
    try:
        route = inet.route(packet.src)
    except OSError:
        kernel.drop(reset, Drop.IP_NO_ROUTE)
        return
    inet.send(reset, route, packet.dst, packet.src, IPPROTO_TCP)
