"""What receive has to find out about a frame, from its bytes: the reference of the RTL's parser.

Sources: RFC 791, 768, 9293, 8200; Microsoft "RSS hashing types" for the Toeplitz hash.  A fragment,
a routing header with segments left and a chain that ends in neither TCP nor UDP have no L4.
"""

from __future__ import annotations

from dataclasses import dataclass

from pystack.dev.drivers.w2a_regs import HashType

ETH_IPV4, ETH_IPV6, TAGS = 0x0800, 0x86DD, (0x8100, 0x88A8)
HOP_BY_HOP, TCP, UDP, ROUTING, FRAGMENT, DESTINATION = 0, 6, 17, 43, 44, 60
FAR = 168  # where L4 is too far in for a header split

# The key of Microsoft's verification suite.
MICROSOFT_KEY = bytes.fromhex(
    "6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa"
)


@dataclass(frozen=True)
class Rss:
    """What is hashed; `rss_ctrl`."""

    key: bytes = MICROSOFT_KEY
    ipv4: bool = True
    ipv4_tcp: bool = True
    ipv4_udp: bool = True
    ipv6: bool = True
    ipv6_tcp: bool = True
    ipv6_udp: bool = True

    @property
    def control(self) -> int:
        flags = (self.ipv4, self.ipv4_tcp, self.ipv4_udp, self.ipv6, self.ipv6_tcp, self.ipv6_udp)
        return sum(flag << bit for bit, flag in enumerate(flags))


@dataclass(frozen=True)
class Facts:
    """`header_len`: of all headers up to the payload, 0 without L4 or without payload."""

    tci: int | None = None
    hash_type: HashType = HashType.NONE
    hash: int = 0
    header_len: int = 0
    ip_ok: bool = False
    l4_ok: bool = False
    l4_bad: bool = False


@dataclass
class _Packet:
    """As far as the headers were walked."""

    addresses: bytes = b""
    header_ok: bool = False
    l4: int | None = None  # offset in the frame
    protocol: int = 0
    end: int = 0  # where the packet says that it ends


def toeplitz(key: bytes, data: bytes) -> int:
    bits = int.from_bytes(key, "big")
    size, result = 8 * len(key), 0
    for i in range(8 * len(data)):
        if data[i // 8] >> (7 - i % 8) & 1:
            result ^= bits >> (size - 32 - i) & 0xFFFFFFFF
    return result


def ones_sum(data: bytes) -> int:
    """RFC 1071, not complemented."""
    total = sum(
        int.from_bytes(data[i : i + 2].ljust(2, b"\0"), "big") for i in range(0, len(data), 2)
    )
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def facts_of(frame: bytes, rss: Rss) -> Facts:
    at, tci = 12, None
    for _ in range(2):
        if _u16(frame, at) in TAGS:
            tci = _u16(frame, at + 2) if tci is None else tci
            at += 4
    kind = _u16(frame, at)
    packet = _Packet()
    if kind == ETH_IPV4:
        packet = _ipv4(frame, at + 2)
    elif kind == ETH_IPV6:
        packet = _ipv6(frame, at + 2)
    hash_type, value = _hash(frame, packet, rss)
    ok, bad = _l4(frame, packet)
    header = _header_len(frame, packet)
    return Facts(tci, hash_type, value, header, packet.header_ok, ok, bad)


def is_tagged(frame: bytes) -> bool:
    return _u16(frame, 12) in TAGS


def _u16(frame: bytes, at: int) -> int:
    return int.from_bytes(frame[at : at + 2], "big")


def _ipv4(frame: bytes, at: int) -> _Packet:
    packet = _Packet()
    head, total = frame[at : at + 20], _u16(frame, at + 2)
    if len(head) < 8 or head[0] >> 4 != 4:
        return packet
    size = 4 * (head[0] & 15)
    if size < 20 or total < size or len(frame) < at + size:
        return packet
    packet.addresses = head[12:20]
    packet.header_ok = ones_sum(frame[at : at + size]) == 0xFFFF
    packet.end = at + total
    packet.protocol = head[9]
    if packet.protocol in (TCP, UDP) and not _u16(head, 6) & 0x3FFF:
        packet.l4 = at + size
    return packet


def _ipv6(frame: bytes, at: int) -> _Packet:
    packet = _Packet()
    if len(frame) < at + 40 or frame[at] >> 4 != 6:
        return packet
    packet.addresses = frame[at + 8 : at + 40]
    packet.end = at + 40 + _u16(frame, at + 4)
    end = min(packet.end, len(frame))
    following, at = frame[at + 6], at + 40
    while following in (HOP_BY_HOP, ROUTING, DESTINATION):
        if at + 8 > end or (following == ROUTING and frame[at + 3]):
            return packet
        following, at = frame[at], at + 8 + 8 * frame[at + 1]
        if at > end:
            return packet
    packet.protocol = following
    if following in (TCP, UDP):
        packet.l4 = at
    return packet


def _hash(frame: bytes, packet: _Packet, rss: Rss) -> tuple[HashType, int]:
    if not packet.addresses:
        return HashType.NONE, 0
    ipv4 = len(packet.addresses) == 8
    if packet.l4 is not None and packet.l4 + 4 <= min(packet.end, len(frame)):
        tcp = packet.protocol == TCP
        wanted = (
            (rss.ipv4_tcp if tcp else rss.ipv4_udp)
            if ipv4
            else (rss.ipv6_tcp if tcp else rss.ipv6_udp)
        )
        if wanted:
            ports = frame[packet.l4 : packet.l4 + 4]
            value = toeplitz(rss.key, packet.addresses + ports)
            return (HashType.TCP if tcp else HashType.UDP), value
    if rss.ipv4 if ipv4 else rss.ipv6:
        return HashType.ADDRESSES, toeplitz(rss.key, packet.addresses)
    return HashType.NONE, 0


def _l4(frame: bytes, packet: _Packet) -> tuple[bool, bool]:
    """(right, wrong); neither if it may not be judged."""
    if packet.l4 is None or packet.end > len(frame):
        return False, False
    body = frame[packet.l4 : packet.end]
    if packet.protocol == UDP:
        if len(body) < 8 or _u16(body, 4) != len(body):
            return False, False
        if _u16(body, 6) == 0:
            return False, len(packet.addresses) == 32
    elif len(body) < 20:
        return False, False
    pseudo = packet.addresses + len(body).to_bytes(4, "big") + bytes([0, packet.protocol])
    right = ones_sum(pseudo + body) == 0xFFFF
    return right, not right


def _header_len(frame: bytes, packet: _Packet) -> int:
    if packet.l4 is None or packet.l4 >= FAR:
        return 0
    size = 8
    if packet.protocol == TCP:
        size = 4 * (frame[packet.l4 + 12] >> 4) if packet.l4 + 12 < len(frame) else 0
        if size < 20:
            return 0
    end = packet.l4 + size
    return end if packet.end > end and len(frame) > end else 0
