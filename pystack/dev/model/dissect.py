"""What the receive parser knows of a frame: where its headers are, its checksums, its flow.

Ethernet with up to two VLAN tags, IPv4 with options, IPv6 with extension headers, TCP, UDP
(docs/rings.md, "What the receive flags mean").
"""

from __future__ import annotations

from dataclasses import dataclass

from pystack.core.checksum import ones_sum
from pystack.core.headers.ethernet import ETH_P_8021Q, ETH_P_IP, ETH_P_IPV6
from pystack.core.headers.ipv4 import IPPROTO_TCP, IPPROTO_UDP

ETH_P_8021AD = 0x88A8
TAGS = (ETH_P_8021Q, ETH_P_8021AD)
_HOP, _ROUTING, _DEST = 0, 43, 60  # IPv6 extension headers
_UDP_HLEN, _TCP_HLEN = 8, 20


FAR = 168  # where TCP or UDP is too far in for a header split


@dataclass
class Dissected:
    """Offsets count from the frame's first byte; 0: there is no such header.

    `addresses` and `ports` are what the hash is made of.  `headers` is where the payload begins,
    0 for a frame that is not to be split.
    """

    transport: int = 0
    headers: int = 0
    protocol: int = 0  # TCP or UDP where `transport` is set
    addresses: bytes = b""
    ports: bytes = b""
    ip_ok: bool = False
    l4_ok: bool = False
    l4_bad: bool = False


def dissect(frame: bytes) -> Dissected:
    """Never fails: of a frame that is broken, it says no more than is whole."""
    found = Dissected()
    at = 12
    for _ in range(2):
        if _word(frame, at) in TAGS:
            at += 4
    ethertype, at = _word(frame, at), at + 2
    if ethertype == ETH_P_IP:
        end = _ipv4(frame, at, found)
    elif ethertype == ETH_P_IPV6:
        end = _ipv6(frame, at, found)
    else:
        return found
    if found.protocol not in (IPPROTO_TCP, IPPROTO_UDP):
        found.transport = 0
    if found.transport:
        _transport(frame, found, end)
    return found


def _word(frame: bytes, at: int) -> int:
    return int.from_bytes(frame[at : at + 2], "big")


def _ipv4(frame: bytes, at: int, found: Dissected) -> int:
    """Returns where the packet says that it ends."""
    if len(frame) < at + 20 or frame[at] >> 4 != 4:
        return 0
    length = (frame[at] & 15) << 2
    end = at + _word(frame, at + 2)
    if length < 20 or min(end, len(frame)) < at + length:
        return 0
    found.addresses = frame[at + 12 : at + 20]
    found.ip_ok = ones_sum(frame[at : at + length]) == 0xFFFF
    found.protocol = frame[at + 9]
    if not _word(frame, at + 6) & 0x3FFF:  # no fragment
        found.transport = at + length
    return end


def _ipv6(frame: bytes, at: int, found: Dissected) -> int:
    if len(frame) < at + 40 or frame[at] >> 4 != 6:
        return 0
    end = at + 40 + _word(frame, at + 4)
    here = min(end, len(frame))
    found.addresses = frame[at + 8 : at + 40]
    following, at = frame[at + 6], at + 40
    while following in (_HOP, _ROUTING, _DEST):
        if at + 8 > here or (following == _ROUTING and frame[at + 3]):
            return end  # not whole, or not yet at the address that the checksum has
        following, at = frame[at], at + ((frame[at + 1] + 1) << 3)
    found.protocol = following
    found.transport = at if at <= here else 0
    return end


def _transport(frame: bytes, found: Dissected, end: int) -> None:
    at, tcp = found.transport, found.protocol == IPPROTO_TCP
    if at + 4 <= min(end, len(frame)):
        found.ports = frame[at : at + 4]
    size = frame[at + 12] >> 4 << 2 if tcp and at + 12 < len(frame) else _UDP_HLEN
    if size >= (_TCP_HLEN if tcp else _UDP_HLEN) and at + size < min(end, len(frame)) and at < FAR:
        found.headers = at + size
    length = end - at
    if end > len(frame) or length < (_TCP_HLEN if tcp else _UDP_HLEN):
        return
    if not tcp and _word(frame, at + 4) != length:
        return
    if not tcp and not _word(frame, at + 6):
        found.l4_bad = len(found.addresses) == 32
        return
    start = int.from_bytes(found.addresses, "big") + found.protocol + length
    found.l4_ok = ones_sum(frame[at:end], start) == 0xFFFF
    found.l4_bad = not found.l4_ok
