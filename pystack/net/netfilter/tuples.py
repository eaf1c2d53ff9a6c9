"""What tells connections apart (`struct nf_conntrack_tuple`), and its inverse."""

from __future__ import annotations

from typing import NamedTuple

from pystack.core.headers.icmp import ICMP_ECHO, ICMP_ECHOREPLY
from pystack.core.headers.ipv4 import IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP
from pystack.net.netfilter.packet import IPPROTO_ICMPV6, Headers

ICMP_TIMESTAMP, ICMP_TIMESTAMPREPLY = 13, 14
ICMP_INFO_REQUEST, ICMP_INFO_REPLY = 15, 16
ICMP_ADDRESS, ICMP_ADDRESSREPLY = 17, 18
ICMPV6_ECHO_REQUEST, ICMPV6_ECHO_REPLY = 128, 129

ICMP_REQUESTS = (ICMP_ECHO, ICMP_TIMESTAMP, ICMP_INFO_REQUEST, ICMP_ADDRESS)
ICMPV6_REQUESTS = (ICMPV6_ECHO_REQUEST,)
_REQUESTS = {
    IPPROTO_ICMP: {
        ICMP_ECHO: ICMP_ECHOREPLY,
        ICMP_TIMESTAMP: ICMP_TIMESTAMPREPLY,
        ICMP_INFO_REQUEST: ICMP_INFO_REPLY,
        ICMP_ADDRESS: ICMP_ADDRESSREPLY,
    },
    IPPROTO_ICMPV6: {ICMPV6_ECHO_REQUEST: ICMPV6_ECHO_REPLY},
}
_OPPOSITE = {
    protocol: {**pairs, **{reply: request for request, reply in pairs.items()}}
    for protocol, pairs in _REQUESTS.items()
}


class Tuple(NamedTuple):
    """One direction.  Of ICMP `sport` is the identifier, `dport` type << 8 | code; of protocols
    without ports both are 0.  Addresses are 4 or 16 bytes."""

    src: bytes
    dst: bytes
    protocol: int
    sport: int
    dport: int

    def invert(self) -> Tuple:
        """That of the replies."""
        if self.protocol in _OPPOSITE:
            opposite = _OPPOSITE[self.protocol][self.dport >> 8]
            port = opposite << 8 | self.dport & 0xFF
            return Tuple(self.dst, self.src, self.protocol, self.sport, port)
        return Tuple(self.dst, self.src, self.protocol, self.dport, self.sport)


def tuple_of(headers: Headers) -> Tuple | None:
    """A packet's; None if it is too short, a later fragment, or an ICMP message without a flow."""
    protocol, data = headers.protocol, headers.transport
    if headers.fragment_offset:
        return None
    if protocol in (IPPROTO_TCP, IPPROTO_UDP):
        ports = headers.ports
        return None if ports is None else Tuple(headers.src, headers.dst, protocol, *ports)
    if protocol in _OPPOSITE:
        if len(data) < 8 or data[0] not in _OPPOSITE[protocol]:
            return None
        identifier = data[4] << 8 | data[5]
        return Tuple(headers.src, headers.dst, protocol, identifier, data[0] << 8 | data[1])
    return Tuple(headers.src, headers.dst, protocol, 0, 0)
