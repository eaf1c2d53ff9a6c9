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
_HOP, _ROUTING, _FRAGMENT, _DEST = 0, 43, 44, 60  # IPv6 extension headers
_UDP_HLEN, _TCP_HLEN = 8, 20


@dataclass
class Dissected:
    """Offsets count from the frame's first byte; 0: there is no such header.

    `addresses` and `ports` are what the hash is made of.  `headers` is where the payload begins,
    0 for a frame that is not to be split.
    """

    network: int = 0
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
    if found.transport:
        _transport(frame, found, end)
    return found


def _word(frame: bytes, at: int) -> int:
    return int.from_bytes(frame[at : at + 2], "big")


def _ipv4(frame: bytes, at: int, found: Dissected) -> int:
    """Returns where the packet ends."""
    if len(frame) < at + 20 or frame[at] >> 4 != 4:
        return 0
    length = (frame[at] & 15) << 2
    end = at + _word(frame, at + 2)
    if length < 20 or end < at + length or end > len(frame):
        return 0
    found.network = at
    found.addresses = frame[at + 12 : at + 20]
    found.ip_ok = ones_sum(frame[at : at + length]) == 0xFFFF
    fragment = _word(frame, at + 6) & 0x3FFF
    found.protocol = frame[at + 9]
    if not fragment and found.ip_ok:
        found.transport = at + length
    return end


def _ipv6(frame: bytes, at: int, found: Dissected) -> int:
    end = at + 40 + _word(frame, at + 4)
    if len(frame) < at + 40 or frame[at] >> 4 != 6 or end > len(frame):
        return 0
    found.network = at
    found.addresses = frame[at + 8 : at + 40]
    following, at = frame[at + 6], at + 40
    while following in (_HOP, _ROUTING, _DEST):
        if at + 8 > end:
            return 0
        following, at = frame[at], at + ((frame[at + 1] + 1) << 3)
    found.protocol = following
    if following != _FRAGMENT and at <= end:
        found.transport = at
    return end


def _transport(frame: bytes, found: Dissected, end: int) -> None:
    at, protocol = found.transport, found.protocol
    if protocol == IPPROTO_TCP and end - at >= _TCP_HLEN:
        size = frame[at + 12] >> 4 << 2
        length = end - at
        checked = size >= _TCP_HLEN and at + size <= end
    elif protocol == IPPROTO_UDP and end - at >= _UDP_HLEN:
        size, length = _UDP_HLEN, _word(frame, at + 4)
        checked = length == end - at and _word(frame, at + 6) != 0
    else:
        found.transport = 0
        return
    found.ports = frame[at : at + 4]
    found.headers = at + size
    if checked:
        start = int.from_bytes(found.addresses, "big") + protocol + length
        found.l4_ok = ones_sum(frame[at : at + length], start) == 0xFFFF
        found.l4_bad = not found.l4_ok
