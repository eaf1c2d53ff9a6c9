"""How NAT changes the bytes of a packet, or of one that an ICMP error quotes.

Compare `nf_nat_proto.c`.  Called by `nat`.
"""

from __future__ import annotations

import enum

from pystack.core.checksum import checksum
from pystack.core.headers.icmp import ICMP_HLEN
from pystack.core.headers.ipv4 import IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP
from pystack.core.skb import SkBuff
from pystack.net.hooks import Change, Sum, read, rewrite
from pystack.net.netfilter.conn import Status
from pystack.net.netfilter.packet import IPPROTO_ICMPV6, Headers, parse
from pystack.net.netfilter.tuples import Tuple

PORTS = (IPPROTO_TCP, IPPROTO_UDP)
ICMPS = (IPPROTO_ICMP, IPPROTO_ICMPV6)


class Manip(enum.Enum):
    SRC = "src"
    DST = "dst"

    @property
    def bit(self) -> Status:
        return Status.SRC_NAT if self is Manip.SRC else Status.DST_NAT

    @property
    def done(self) -> Status:
        return Status.SRC_NAT_DONE if self is Manip.SRC else Status.DST_NAT_DONE

    @property
    def other(self) -> Manip:
        return Manip.DST if self is Manip.SRC else Manip.SRC


def change_packet(skb: SkBuff, headers: Headers, target: Tuple, manip: Manip) -> None:
    """Give a packet, or one quoted in an error, the target's source or destination."""
    start, at = headers.start, headers.thoff
    source = manip is Manip.SRC
    address = target.src if source else target.dst
    transport = _transport_sums(headers)
    sums = transport if headers.protocol != IPPROTO_ICMP else ()
    if headers.version == 4:
        sums = (Sum(start + 10), *sums)
        where = start + (12 if source else 16)
    else:
        where = start + (8 if source else 24)
    changes = [Change(where, address, sums)]
    if headers.fragment_offset == 0:
        if headers.protocol in PORTS and len(headers.transport) >= 4:
            port = target.sport if source else target.dport
            changes.append(Change(at + (0 if source else 2), port.to_bytes(2, "big"), transport))
        elif _is_query(headers):
            changes.append(Change(at + 4, target.sport.to_bytes(2, "big"), transport))
    rewrite(skb, changes)
    if start == 0:
        if source:
            skb.saddr = address
        else:
            skb.daddr = address


def _is_query(headers: Headers) -> bool:
    """Is it an ICMP message with an identifier?"""
    if headers.protocol not in ICMPS or len(headers.transport) < ICMP_HLEN:
        return False
    kind = headers.transport[0]
    if headers.protocol == IPPROTO_ICMPV6:
        return kind in (128, 129)
    return kind in (0, 8, 13, 14, 15, 16, 17, 18)


def _transport_sums(headers: Headers) -> tuple[Sum, ...]:
    """Where the transport's checksum is, if the packet has it."""
    at, available = headers.thoff, len(headers.transport)
    if headers.fragment_offset:
        return ()
    if headers.protocol == IPPROTO_TCP and available >= 20:
        return (Sum(at + 16),)
    if headers.protocol == IPPROTO_UDP and available >= 8:
        return (Sum(at + 6, optional=True),)
    if headers.protocol in ICMPS and available >= 4:
        return (Sum(at + 2),)
    return ()


def sum_icmp(skb: SkBuff) -> None:
    """The checksum of an ICMP message whose text has changed."""
    headers = parse(skb)
    assert headers is not None, "parsed before"
    length = headers.length - headers.thoff
    data = read(skb, headers.thoff, length)
    start = 0
    if headers.protocol == IPPROTO_ICMPV6:
        start = int.from_bytes(headers.src + headers.dst, "big") + headers.protocol + length
    value = checksum(data[:2] + b"\0\0" + data[4:], start)
    rewrite(skb, [Change(headers.thoff + 2, value.to_bytes(2, "big"))])
