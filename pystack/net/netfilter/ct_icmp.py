"""ICMP and ICMPv6 in connection tracking: echoes are flows, errors belong to others' flows.

Compare `nf_conntrack_proto_icmp.c` and `nf_conntrack_proto_icmpv6.c`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.core.headers.icmp import (
    ICMP_DEST_UNREACH,
    ICMP_HLEN,
    ICMP_PARAMETERPROB,
    ICMP_TIME_EXCEEDED,
)
from pystack.core.headers.icmpv6 import ND_OPT_REDIRECT_HDR, NDISC_REDIRECT
from pystack.core.headers.ipv4 import IPPROTO_ICMP
from pystack.core.sysctl import Sysctl
from pystack.net.hooks import Hook
from pystack.net.netfilter.conn import UNTRACKED, Conn, CtInfo, Ref, Track
from pystack.net.netfilter.packet import Packet, checksum_good, parse
from pystack.net.netfilter.tuples import ICMP_REQUESTS, ICMPV6_REQUESTS, tuple_of

if TYPE_CHECKING:
    from pystack.net.netfilter.conntrack import Conntrack

ICMP_SOURCE_QUENCH, ICMP_REDIRECT = 4, 5
ICMP_ERRORS = (
    ICMP_DEST_UNREACH,
    ICMP_SOURCE_QUENCH,
    ICMP_REDIRECT,
    ICMP_TIME_EXCEEDED,
    ICMP_PARAMETERPROB,
)
ICMPV6_ERRORS = range(128)
NDISC = (*range(130, 137), 143)  # MLD and neighbour discovery: never tracked
_REDIRECT_LENGTH, _OPTION_LENGTH = 40, 8


def packet(conn: Conn, protocol: int, sysctl: Sysctl) -> Track:
    """A request makes a flow, a reply alone does not."""
    kind = conn.tuples[0].dport >> 8
    icmp = protocol == IPPROTO_ICMP
    name = "icmp" if icmp else "icmpv6"
    if kind not in (ICMP_REQUESTS if icmp else ICMPV6_REQUESTS):
        return Track.INVALID
    conn.refresh(sysctl[f"net.netfilter.nf_conntrack_{name}_timeout"])
    return Track.ACCEPT


def receive(conntrack: Conntrack, packet: Packet) -> bool:
    """True: the message has been dealt with, as RELATED, UNTRACKED or INVALID.

    False: it may be a flow of its own (`nf_conntrack_icmpv4_error`).
    """
    data, skb = packet.transport, packet.skb
    icmp = packet.protocol == IPPROTO_ICMP
    if len(data) < ICMP_HLEN or packet.fragment_offset:
        conntrack.stats["invalid"] += 1
        return True
    if packet.state.hook is Hook.PRE_ROUTING and not checksum_good(skb, packet):
        conntrack.stats["invalid"] += 1
        return True
    if not icmp and data[0] in NDISC:
        skb.nfct = UNTRACKED
        return True
    quoted = ICMP_HLEN
    if not icmp and data[0] == NDISC_REDIRECT:
        quoted = _REDIRECT_LENGTH + _OPTION_LENGTH
        if not _quotes_first(data):
            return False
    elif data[0] not in (ICMP_ERRORS if icmp else ICMPV6_ERRORS):
        return False
    if not _related(conntrack, packet, quoted):
        conntrack.stats["invalid"] += 1
    return True


def _quotes_first(redirect: bytes) -> bool:
    """Only a redirect whose first option is the packet it is about is taken for an error
    (`nf_conntrack_icmpv6_redirect`); others are of no flow."""
    return len(redirect) > _REDIRECT_LENGTH and redirect[_REDIRECT_LENGTH] == ND_OPT_REDIRECT_HDR


def _related(conntrack: Conntrack, packet: Packet, at: int) -> bool:
    """Find the flow of the packet quoted `at` so many bytes (`nf_conntrack_inet_error`)."""
    inner = parse(packet.skb, packet.thoff + at)
    if inner is None or inner.version != packet.version:
        return False
    key = tuple_of(inner)
    if key is None:
        return False
    # The quoted packet is one that NAT may have changed: it is known by what answers it.
    conn = conntrack.lookup(key.invert())
    if conn is None:
        return False
    direction = int(conn.tuples[0] != key.invert())
    if packet.dst != conn.tuples[direction].dst:
        return False  # errors go to the sender of what they quote: this one lies
    packet.skb.nfct = Ref(conn, CtInfo.RELATED_REPLY if direction else CtInfo.RELATED)
    return True
