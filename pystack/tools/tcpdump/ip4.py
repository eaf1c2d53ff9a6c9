"""IPv4 and IGMP (`print-ip.c`, `print-igmp.c`)."""

from __future__ import annotations

from pystack.core.checksum import ones_sum
from pystack.tools.tcpdump.dissect import Dissector, IpPacket, bits, should_be
from pystack.tools.tcpdump.groups import group_records
from pystack.tools.tcpdump.icmp import icmp_print
from pystack.tools.tcpdump.tcp import tcp_print
from pystack.tools.tcpdump.udp import udp_print

HEADER = 20
OFFSET_MASK = 0x1FFF
PROTOCOLS = {
    **{1: "ICMP", 2: "IGMP", 6: "TCP", 17: "UDP", 41: "IPv6", 58: "ICMPv6", 0: "Options"},
    **{43: "Routing", 44: "Fragment", 59: "no next header", 60: "Options"},
}
_FLAGS = ((0x2000, "+"), (0x4000, "DF"), (0x8000, "rsvd"))
_WRONG = {6: ", wrong link-layer encapsulation"}
_WITH_PORTS = (6, 17, 132, 33)
_OPTIONS = {
    **{0: "EOL", 1: "NOP", 7: "RR", 68: "timestamp", 82: "traceroute", 130: "security"},
    **{131: "LSRR", 137: "SSRR", 148: "RA"},
}


def ip_print(d: Dissector, data: bytes) -> None:
    d.protocol = "ip"
    if data and data[0] >> 4 != 4:
        d.print(f"IP{data[0] >> 4}{_WRONG.get(data[0] >> 4, '')} (invalid)")
        return
    if not d.options.link:
        d.print("IP ")
    d.need(data, HEADER)
    hlen, total = (data[0] & 15) << 2, d.u16(data, 2)
    if hlen < HEADER:
        d.print(f"bad-hlen {hlen}")
        return
    if total > len(data):
        d.print(f"truncated-ip - {total - len(data)} bytes missing! ")
        d.missing = total - len(data)
        data += bytes(d.missing)
    if total < hlen:
        d.print(f"bad-len {total}")
        return
    data = data[:total]
    if d.options.verbose:
        _verbose(d, data, hlen)
    fragment, protocol = d.u16(data, 6), data[9]
    packet = IpPacket(4, data[12:16], data[16:20], protocol, True, bool(fragment & 0x2000))
    if fragment & OFFSET_MASK:
        name = PROTOCOLS.get(protocol, "").lower() if d.options.names else ""
        d.print(f"{packet.src_text} > {packet.dst_text}: {name or f'ip-proto-{protocol}'}")
        return
    if protocol not in _WITH_PORTS:
        d.print(f"{packet.src_text} > {packet.dst_text}: ")
    demux(d, data[hlen:], packet, min(total, len(data)) - hlen)


def demux(d: Dissector, data: bytes, packet: IpPacket, length: int) -> None:
    """The transport of either IP (`ip_demux_print`)."""
    if packet.protocol == 6:
        tcp_print(d, data, packet)
    elif packet.protocol == 17:
        udp_print(d, data, packet)
    elif packet.protocol == 1 and packet.version == 4:
        icmp_print(d, data, packet.fragment, lambda inner: ip_print(d, inner))
    elif packet.protocol == 2:
        _igmp_print(d, data)
    else:
        name = {4: "ip-proto", 6: "ip-proto"}[packet.version]
        d.print(f" {name}-{packet.protocol} {length}")


def _verbose(d: Dissector, data: bytes, hlen: int) -> None:
    tos, fragment, protocol = data[1], d.u16(data, 6), data[9]
    d.print(f"(tos 0x{tos:x}" + ("", ",ECT(1)", ",ECT(0)", ",CE")[tos & 3])
    if data[8]:
        d.print(f", ttl {data[8]}")
    d.print(
        f", id {d.u16(data, 4)}, offset {(fragment & OFFSET_MASK) * 8}, "
        f"flags [{bits(_FLAGS, fragment, ', ')}], "
        f"proto {PROTOCOLS.get(protocol, 'unknown')} ({protocol}), length {d.u16(data, 2)}"
    )
    if hlen > HEADER:
        with d.part(data, hlen) as header:
            d.print(f", options ({_ip_options(d, header[HEADER:])})")
    checksum = 0xFFFF ^ ones_sum(data[:hlen])
    if checksum:
        found = d.u16(data, 10)
        d.print(f", bad cksum {found:x} (->{should_be(found, checksum):x})!")
    d.print(")\n    ")


def _ip_options(d: Dissector, data: bytes) -> str:
    shown, at = [], 0
    while at < len(data):
        kind = data[at]
        text = _OPTIONS.get(kind, f"unknown {kind}")
        if kind in (0, 1):
            shown.append(text)
            at += 1
            if kind == 0:
                break
            continue
        length = d.u8(data, at + 1)
        if length < 2 or at + length > len(data):
            return ",".join([*shown, f"{text} [bad length {length}]"])
        option = data[at : at + length]
        if kind in (7, 131, 137):
            text += _recorded(d, option)
        elif kind == 148 and length == 4:
            text += "" if not d.u16(option, 2) else f" value {d.u16(option, 2)}"
        shown.append(text)
        at += length
    return ",".join(shown)


def _recorded(d: Dissector, option: bytes) -> str:
    """Addresses of a route, a mark at the pointer (`ip_printroute`)."""
    pointer = option[2] - 1
    text = ""
    for at in range(3, len(option) - 3, 4):
        text += f" {d.ip4(option, at)}" + ("," if pointer > at else "")
    return text


# -- IGMP ----------------------------------------------------------------------------------


def _igmp_print(d: Dissector, data: bytes) -> None:
    d.protocol = "igmp"
    kind = d.u8(data, 0)
    if kind == 0x11:
        d.print("igmp query")
        _igmp_query(d, data)
    elif kind in (0x12, 0x16):
        d.print(f"igmp v{1 if kind == 0x12 else 2} report {d.ip4(data, 4)}")
    elif kind == 0x17:
        d.print(f"igmp leave {d.ip4(data, 4)}")
    elif kind == 0x22:
        d.print("igmp v3 report")
        group_records(d, data, d.ip4, 4)
    else:
        d.print(f"igmp-{kind}")
    if d.options.verbose and len(data) >= 4 and ones_sum(data) != 0xFFFF:
        d.print(f" bad igmp cksum {d.u16(data, 2):x}!")


def _igmp_query(d: Dissector, data: bytes) -> None:
    code = d.u8(data, 1)
    if len(data) < 12:
        d.print(" v2" if code else " v1")
        if code and code != 100:
            d.print(f" [max resp time {code}]")
        if d.u32(data, 4):
            d.print(f" [gaddr {d.ip4(data, 4)}]")
        return
    d.print(" v3")
    if code != 100:
        time = code if code < 128 else (code & 15 | 16) << ((code >> 4 & 7) + 3)
        d.print(f" [max resp time {time * 0.1:.1f}s]")
    if d.u32(data, 4):
        sources = d.u16(data, 10)
        d.print(f" [gaddr {d.ip4(data, 4)}" + (f", {sources} source(s)" if sources else "") + "]")
