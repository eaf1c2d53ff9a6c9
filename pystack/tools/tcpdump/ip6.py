"""IPv6 and its extension headers (`print-ip6.c`, `print-ip6opts.c`, `print-frag6.c`)."""

from __future__ import annotations

from pystack.tools.tcpdump.dissect import Dissector, IpPacket
from pystack.tools.tcpdump.icmp6 import icmp6_print
from pystack.tools.tcpdump.ip4 import PROTOCOLS, demux

HEADER = 40
HOP_BY_HOP, ROUTING, FRAGMENT, OPTIONS = 0, 43, 44, 60
_WRONG = {4: ", wrong link-layer encapsulation"}
_WITH_PORTS = (6, 17, 132, 33)


def ip6_print(d: Dissector, data: bytes) -> None:
    d.protocol = "ip6"
    d.need(data, HEADER)
    if data[0] >> 4 != 6:
        d.print(f"IP{data[0] >> 4}{_WRONG.get(data[0] >> 4, '')} (invalid)")
        return
    if not d.options.link:
        d.print("IP6 ")
    payload, following = d.u16(data, 4), data[6]
    if payload + HEADER > len(data):
        d.missing = payload + HEADER - len(data)
        d.print(f"truncated-ip6 - {d.missing} bytes missing!")
        data += bytes(d.missing)
    if d.options.verbose:
        _verbose(d, data, payload)
    data = data[: payload + HEADER]
    src, dst = data[8:24], data[24:40]
    if following not in _WITH_PORTS:
        d.print(f"{d.ip6(data, 8)} > {d.ip6(data, 24)}: ")
    _headers(d, data, src, dst, following)


def _verbose(d: Dissector, data: bytes, payload: int) -> None:
    flow = d.u32(data, 0)
    d.print("(")
    if flow & 0x0FF00000:
        d.print(f"class 0x{flow >> 20 & 0xFF:02x}, ")
    if flow & 0xFFFFF:
        d.print(f"flowlabel 0x{flow & 0xFFFFF:05x}, ")
    name = PROTOCOLS.get(data[6], "unknown")
    d.print(f"hlim {data[7]}, next-header {name} ({data[6]}) payload length: {payload}) ")


def _headers(d: Dissector, data: bytes, src: bytes, dst: bytes, following: int) -> None:
    """Extension headers, then the transport."""
    at, fragmented = HEADER, False
    while following in (HOP_BY_HOP, ROUTING, FRAGMENT, OPTIONS):
        if at >= len(data):
            return
        here = data[at:]
        if following == FRAGMENT:
            if not _fragment(d, data, at):
                return
            fragmented, length = True, 8
        else:
            length = (d.u8(here, 1) + 1) << 3
            d.need(here, length)
            with d.part(here, length) as header:
                _extension(d, following, header)
        following, at = here[0], at + length
    direct = at == HEADER
    packet = IpPacket(6, src, dst, following, direct, fragmented)
    if following == 58:
        icmp6_print(d, data[at:], packet)
    elif following == 59:
        d.print("no next header")
    else:
        demux(d, data[at:], packet, len(data) - at)


def _fragment(d: Dissector, data: bytes, at: int) -> bool:
    """Whether more of it can be looked at."""
    d.protocol = "frag6"
    offset = d.u16(data, at + 2) & 0xFFF8
    name = f"0x{d.u32(data, at + 4):08x}:" if d.options.verbose else ""
    d.print(f"frag ({name}{offset}|{len(data) - at - 8})")
    if offset:
        return False
    d.print(" ")
    return len(data) > at + 8


def _extension(d: Dissector, kind: int, header: bytes) -> None:
    if kind == ROUTING:
        d.print(f"srcrt (len={header[1]}, type={d.u8(header, 2)}, segleft={d.u8(header, 3)}) ")
        return
    d.print("HBH " if kind == HOP_BY_HOP else "DSTOPT ")
    if d.options.verbose:
        _options(d, header)


def _options(d: Dissector, header: bytes) -> None:
    at = 2
    while at < len(header):
        kind = header[at]
        if kind == 0:
            d.print("(pad1)")
            at += 1
            continue
        length = d.u8(header, at + 1)
        if kind == 1:
            d.print("(padn)")
        elif kind == 5 and length == 2:
            d.print(f"(rtalert: 0x{d.u16(header, at + 2):04x}) ")
        elif kind == 0xC2 and length == 4:
            d.print(f"(jumbo: {d.u32(header, at + 2)}) ")
        else:
            d.print(f"(opt_type 0x{kind:02x}: len={length})")
        at += 2 + length
    d.print(" ")
