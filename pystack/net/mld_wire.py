"""Messages of multicast listener discovery: RFC 2710's, RFC 3810's, and their router alert.

Read and written by `mld`.
"""

from __future__ import annotations

from pystack.core.headers.ipv6 import ALL_NODES, IPPROTO_ICMPV6, IPV6_HLEN, NEXTHDR_HOP
from pystack.core.skb import SkBuff

V1_QUERY_LENGTH, V2_QUERY_LENGTH = 24, 28
GROUP = slice(8, 24)
ROUTER_ALERT = bytes((IPPROTO_ICMPV6, 0, 5, 2, 0, 0, 1, 0))  # hop-by-hop header (RFC 2711)


def reported(group: bytes) -> bool:
    """All-nodes, and what does not leave the interface, nobody asks for (RFC 3810, 6)."""
    return group != ALL_NODES and group[1] & 15 > 1


def alerts_routers(skb: SkBuff) -> bool:
    """Is MLD's router alert among the hop-by-hop options?  They have been checked before."""
    start = skb.network_header
    if skb.buf[start + 6] != NEXTHDR_HOP:
        return False
    at = start + IPV6_HLEN + 2
    end = at + (skb.buf[start + IPV6_HLEN + 1] << 3) + 6
    while at < end:
        if bytes(skb.buf[at : at + 4]) == ROUTER_ALERT[2:6]:
            return True
        at += 1 if not skb.buf[at] else 2 + skb.buf[at + 1]
    return False


def well_formed(message: bytes) -> bool:
    """MLDv2's; a general one has no sources."""
    if len(message) < V2_QUERY_LENGTH:
        return False
    sources = int.from_bytes(message[26:28], "big")
    return len(message) >= V2_QUERY_LENGTH + 16 * sources and (not sources or any(message[GROUP]))


def exponential(code: int, bits: int) -> int:
    """A float with a mantissa of so many `bits`, if the highest one of its bits is set (RFC 3810,
    5.1.3 and 5.1.9)."""
    if code < 8 << bits:
        return code
    return (code & (1 << bits) - 1 | 1 << bits) << ((code >> bits & 7) + 3)
