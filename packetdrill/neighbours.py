"""Address resolution as the script's wire answers it: whoever is asked for is there."""

from __future__ import annotations

import struct

from packetdrill.frames import IP6_HLEN, IPPROTO_ICMPV6, IpFields, encode_ip
from pystack.core.checksum import checksum
from pystack.core.headers.arp import ARPOP_REPLY, ARPOP_REQUEST, ArpPacket

ROUTER_SOLICITATION, NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT = 133, 135, 136
MLD_FIRST, MLD_LAST, MLD2_REPORT = 130, 132, 143
_SOLICITED_OVERRIDE = 0x60000000
_ADVERTISEMENT = struct.Struct("!BBHI16sBB6s")


def arp_reply(request: ArpPacket | None, mac: bytes) -> bytes:
    """The answer to a request; nothing to anything else."""
    if request is None or request.op != ARPOP_REQUEST or request.sender_ip == bytes(4):
        return b""
    reply = ArpPacket(ARPOP_REPLY, mac, request.target_ip, request.sender_mac, request.sender_ip)
    return reply.pack()


def is_discovery(packet: bytes) -> bool:
    """Neighbour discovery or multicast listener discovery (RFC 4861, RFC 3810)."""
    if len(packet) <= IP6_HLEN:
        return False
    kind = packet[IP6_HLEN]
    if packet[6] != IPPROTO_ICMPV6:
        return packet[6] == 0  # hop-by-hop options: a listener report
    discovery = ROUTER_SOLICITATION <= kind <= NEIGHBOUR_ADVERTISEMENT
    return discovery or MLD_FIRST <= kind <= MLD_LAST or kind == MLD2_REPORT


def advertisement(packet: bytes, mac: bytes) -> bytes:
    """The answer to a neighbour solicitation; nothing to anything else (RFC 4861, 4.4)."""
    body = packet[IP6_HLEN:]
    source = packet[8:24]
    if packet[6] != IPPROTO_ICMPV6 or body[0] != NEIGHBOUR_SOLICITATION or source == bytes(16):
        return b""
    target = body[8:24]
    ip = IpFields(6, target, source, ttl=255)
    fields = (NEIGHBOUR_ADVERTISEMENT, 0, 0, _SOLICITED_OVERRIDE, target, 2, 1, mac)
    plain = _ADVERTISEMENT.pack(*fields)
    start = int.from_bytes(ip.src + ip.dst, "big") + IPPROTO_ICMPV6 + len(plain)
    value = checksum(plain, start).to_bytes(2, "big")
    return encode_ip(ip, IPPROTO_ICMPV6, len(plain)) + plain[:2] + value + plain[4:]
