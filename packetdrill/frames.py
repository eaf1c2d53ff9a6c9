"""Packets as the matcher sees them, and their bytes on the wire.

`decode` reads what the host sent; `encode` writes what the script injects, checksums included.
Both know IPv4 and IPv6, TCP, UDP and ICMP.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from packetdrill import tcpopts
from packetdrill.tcpopts import Option
from pystack.core.checksum import checksum
from pystack.core.headers.ipv4 import IP_HLEN, IPPROTO_TCP, IPPROTO_UDP, Ipv4Header
from pystack.core.headers.tcp import TCP_HLEN, TcpHeader

IP6_HLEN = 40
IPPROTO_ICMP, IPPROTO_ICMPV6 = 1, 58
ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD
_IP6 = struct.Struct("!IHBB16s16s")
_UDP = struct.Struct("!HHHH")
_ICMP = struct.Struct("!BBHI")
FLAG_LETTERS = "FSRP.UEW"  # bit 0 first
_AE = 0x100


@dataclass(frozen=True)
class IpFields:
    """`ecn` and TOS are one byte, `tos`; `ttl` is the hop limit of IPv6."""

    version: int
    src: bytes = b""
    dst: bytes = b""
    tos: int = 0
    ttl: int = 64
    flowlabel: int = 0


@dataclass(frozen=True)
class TcpFields:
    """`flags`: FIN is bit 0, as in the header; AE, the ninth, is 0x100."""

    sport: int
    dport: int
    seq: int
    ack: int
    flags: int
    window: int
    urgent: int = 0
    options: tuple[Option, ...] = ()

    @property
    def syn(self) -> bool:
        return bool(self.flags & 2)


@dataclass(frozen=True)
class UdpFields:
    sport: int
    dport: int


@dataclass(frozen=True)
class IcmpFields:
    """`word`: the 32 bits behind the checksum."""

    type: int
    code: int
    word: int = 0


@dataclass(frozen=True)
class Frame:
    """One IP packet; `when` (ns) is its time on the wire."""

    ip: IpFields
    transport: TcpFields | UdpFields | IcmpFields
    payload: bytes = b""
    when: int = field(default=0, compare=False)

    @property
    def tcp(self) -> TcpFields | None:
        return self.transport if isinstance(self.transport, TcpFields) else None


def flag_bits(text: str) -> int:
    """TCP flags from the letters of the language; an ACE digit sets AE, CWR and ECE."""
    bits = 0
    for letter in text:
        if letter in FLAG_LETTERS:
            bits |= 1 << FLAG_LETTERS.index(letter)
        elif letter == "A":
            bits |= _AE
        else:
            ace = int(letter)
            bits |= (ace & 1) << 6 | (ace >> 1 & 1) << 7 | (ace >> 2) << 8
    return bits


def ace_of(flags: int) -> int:
    """The AccECN counter in the header (RFC 9768, 3.2.1)."""
    return flags >> 6 & 1 | (flags >> 7 & 1) << 1 | flags >> 8 << 2


def flag_text(bits: int) -> str:
    """In tcpdump's order."""
    letters = [letter for letter in "SFRPAEWU." if letter != "A" and bits & flag_bits(letter)]
    return ("".join(letters) + ("A" if bits & _AE else "")) or "-"


# -- reading ---------------------------------------------------------------------------------


def decode(packet: bytes, when: int) -> Frame | None:
    """An IP packet; None for a protocol that scripts have no word for, or a fragment of one.

    ValueError or struct.error if it is malformed.
    """
    if packet[0] >> 4 == 6:
        first, length, protocol, ttl, src, dst = _IP6.unpack_from(packet)
        ip = IpFields(6, src, dst, first >> 20 & 0xFF, ttl, first & 0xFFFFF)
        body = packet[IP6_HLEN : IP6_HLEN + length]
    else:
        header = Ipv4Header.parse(packet)
        protocol = header.protocol
        ip = IpFields(4, header.src, header.dst, header.tos, header.ttl)
        body = packet[header.header_length : header.total_length]
        if checksum(packet[: header.header_length]):
            raise ValueError("bad outbound IP checksum")
    if protocol == IPPROTO_TCP:
        return _decode_tcp(ip, body, when)
    if protocol == IPPROTO_UDP:
        sport, dport, length, _ = _UDP.unpack_from(body)
        return Frame(ip, UdpFields(sport, dport), body[_UDP.size : length], when)
    if protocol in (IPPROTO_ICMP, IPPROTO_ICMPV6):
        kind, code, _, word = _ICMP.unpack_from(body)
        return Frame(ip, IcmpFields(kind, code, word), body[_ICMP.size :], when)
    return None


def _decode_tcp(ip: IpFields, body: bytes, when: int) -> Frame:
    tcp = TcpHeader.parse(body)
    flags = tcp.flags | (body[12] & 1) << 8
    options = tcpopts.parse(body[TCP_HLEN : tcp.header_length])
    fields = TcpFields(
        tcp.sport, tcp.dport, tcp.seq, tcp.ack, flags, tcp.window, tcp.urgent, options
    )
    return Frame(ip, fields, body[tcp.header_length :], when)


# -- writing ---------------------------------------------------------------------------------


def encode(frame: Frame) -> bytes:
    """The IP packet, with valid checksums."""
    ip, transport = frame.ip, frame.transport
    if isinstance(transport, TcpFields):
        protocol, body, at = IPPROTO_TCP, _encode_tcp(transport) + frame.payload, 16
    elif isinstance(transport, UdpFields):
        length = _UDP.size + len(frame.payload)
        header = _UDP.pack(transport.sport, transport.dport, length, 0)
        protocol, body, at = IPPROTO_UDP, header + frame.payload, 6
    else:
        protocol = IPPROTO_ICMP if ip.version == 4 else IPPROTO_ICMPV6
        header = _ICMP.pack(transport.type, transport.code, 0, transport.word)
        body, at = header + frame.payload, 2
    start = 0
    if protocol != IPPROTO_ICMP:
        start = int.from_bytes(ip.src + ip.dst, "big") + protocol + len(body)
    value = checksum(body, start) or (0xFFFF if protocol == IPPROTO_UDP else 0)
    body = body[:at] + value.to_bytes(2, "big") + body[at + 2 :]
    return encode_ip(ip, protocol, len(body)) + body


def encode_ip(ip: IpFields, protocol: int, length: int) -> bytes:
    """The IP header in front of `length` bytes."""
    if ip.version == 6:
        first = 6 << 28 | ip.tos << 20 | ip.flowlabel
        return _IP6.pack(first, length, protocol, ip.ttl, ip.src, ip.dst)
    header = Ipv4Header(IP_HLEN + length, protocol, ip.src, ip.dst, ip.ttl, 0, 0, ip.tos)
    return header.pack()


def _encode_tcp(tcp: TcpFields) -> bytes:
    options = tcpopts.pack(tcp.options)
    header = bytearray(
        TcpHeader(
            tcp.sport,
            tcp.dport,
            tcp.seq & 0xFFFFFFFF,
            tcp.ack & 0xFFFFFFFF,
            tcp.flags & 0xFF,
            tcp.window,
            0,
            tcp.urgent,
            TCP_HLEN + len(options),
        ).pack()
    )
    header[12] |= tcp.flags >> 8 & 1
    return bytes(header) + options


# -- text ------------------------------------------------------------------------------------


def to_text(frame: Frame) -> str:
    """As tcpdump and packetdrill write it: `P. 1:1001(1000) ack 1 win 257 <nop,...>`."""
    length = len(frame.payload)
    transport = frame.transport
    if isinstance(transport, UdpFields):
        return f"udp ({length})"
    if isinstance(transport, IcmpFields):
        return f"icmp type {transport.type} code {transport.code}"
    ecn = ("", "[ect1] ", "[ect0] ", "[ce] ")[frame.ip.tos & 3]
    seq = transport.seq
    text = f"{ecn}{flag_text(transport.flags)} {seq}:{(seq + length) & 0xFFFFFFFF}({length})"
    if transport.flags & 0x10:
        text += f" ack {transport.ack}"
    text += f" win {transport.window}"
    if transport.urgent:
        text += f" urg {transport.urgent}"
    if transport.options:
        text += " " + tcpopts.to_text(transport.options)
    return text
