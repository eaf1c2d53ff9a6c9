"""What LOG writes (`nf_log_syslog.c`): one line into the kernel's log, and a tracepoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.core.headers.icmp import ICMP_HLEN
from pystack.core.headers.ipv4 import IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP
from pystack.core.headers.tcp import TCP_HLEN, TcpHeader
from pystack.net.netfilter.packet import IPPROTO_ICMPV6, Packet, parse
from pystack.net.netfilter.xt_values import text_of

if TYPE_CHECKING:
    from pystack.net.netfilter.xt_family import Family

_TCP_SEQ, _TCP_OPTIONS = 1, 2
_FLAG_NAMES = [(0x80 >> i, n) for i, n in enumerate("CWR ECE URG ACK PSH RST SYN FIN".split())]
_NAMES = {IPPROTO_TCP: "TCP", IPPROTO_UDP: "UDP", IPPROTO_ICMP: "ICMP", IPPROTO_ICMPV6: "ICMPv6"}


def log_packet(family: Family, packet: Packet, prefix: str, level: int, flags: int) -> None:
    """`level` is syslog's; `flags` those of xt_LOG."""
    state = packet.state
    indev = state.indev.name if state.indev is not None else ""
    outdev = state.outdev.name if state.outdev is not None else ""
    line = f"{prefix}IN={indev} OUT={outdev} {_mac(packet)}{_packet(packet, flags)}"
    if packet.skb.mark:
        line += f"MARK={packet.skb.mark:#x} "
    family.log(level, packet.skb.packet_id, line)


def _mac(packet: Packet) -> str:
    skb = packet.skb
    if packet.state.indev is None or skb.head or skb.off < 14:
        return ""
    return "MAC=" + ":".join(f"{byte:02x}" for byte in skb.buf[skb.off - 14 : skb.off]) + " "


def _packet(packet: Packet, flags: int) -> str:
    source = text_of(int.from_bytes(packet.src, "big"), packet.version)
    target = text_of(int.from_bytes(packet.dst, "big"), packet.version)
    line = f"SRC={source} DST={target} LEN={packet.length + packet.skb.data_len} "
    if packet.version == 4:
        line += f"TOS=0x{packet.tos & 0x1E:02X} PREC=0x{packet.tos & 0xE0:02X} TTL={packet.ttl} "
        line += f"ID={packet.identification} "
        line += "DF " if packet.dont_fragment else ""
        line += "MF " if packet.more_fragments else ""
        line += f"FRAG:{packet.fragment_offset >> 3} " if packet.fragment_offset else ""
    else:
        line += f"TC={packet.tos} HOPLIMIT={packet.ttl} FLOWLBL=0 "
    name = _NAMES.get(packet.protocol, str(packet.protocol))
    return f"{line}PROTO={name} {_transport(packet, flags)}"


def _transport(packet: Packet, flags: int) -> str:
    data = packet.transport
    if packet.fragment_offset:
        return ""
    if packet.protocol == IPPROTO_TCP and len(data) >= TCP_HLEN:
        return _tcp(data, flags)
    if packet.protocol == IPPROTO_UDP and len(data) >= 8:
        ports = f"SPT={data[0] << 8 | data[1]} DPT={data[2] << 8 | data[3]} "
        return f"{ports}LEN={data[4] << 8 | data[5]} "
    if packet.protocol in (IPPROTO_ICMP, IPPROTO_ICMPV6) and len(data) >= ICMP_HLEN:
        return _icmp(packet, data)
    return ""


def _tcp(data: bytes, flags: int) -> str:
    header = TcpHeader.parse(data)
    line = f"SPT={header.sport} DPT={header.dport} "
    if flags & _TCP_SEQ:
        line += f"SEQ={header.seq} ACK={header.ack} "
    line += f"WINDOW={header.window} RES=0x{(data[12] & 0xF) << 2:02X} "
    line += "".join(f"{name} " for bit, name in _FLAG_NAMES if header.flags & bit)
    line += f"URGP={header.urgent} "
    options = data[TCP_HLEN : header.header_length]
    if flags & _TCP_OPTIONS and options:
        line += f"OPT ({options.hex().upper()}) "
    return line


def _icmp(packet: Packet, data: bytes) -> str:
    line = f"TYPE={data[0]} CODE={data[1]} "
    if data[0] in (0, 8, 128, 129):
        return f"{line}ID={data[4] << 8 | data[5]} SEQ={data[6] << 8 | data[7]} "
    inner = parse(packet.skb, packet.thoff + ICMP_HLEN)
    if data[0] in (3, 4, 11) and packet.version == 4 and inner is not None:
        source = text_of(int.from_bytes(inner.src, "big"), 4)
        target = text_of(int.from_bytes(inner.dst, "big"), 4)
        line += f"[SRC={source} DST={target} LEN={inner.length} "
        line += f"PROTO={_NAMES.get(inner.protocol, str(inner.protocol))} ] "
    return line
