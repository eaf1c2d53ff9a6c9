"""UDP (`print-udp.c`)."""

from __future__ import annotations

from pystack.tools.tcpdump.dissect import Dissector, IpPacket, should_be

HEADER = 8


def udp_print(d: Dissector, data: bytes, packet: IpPacket) -> None:
    d.protocol = "udp"
    sport, dport = (d.port(d.u16(data, at), "udp") for at in (0, 2))
    if packet.direct:
        d.print(f"{packet.src_text}.{sport} > {packet.dst_text}.{dport}: ")
    else:
        d.print(f"{sport} > {dport}: ")
    if len(data) < HEADER:
        d.print(f"[undersized-udp {len(data)} < {HEADER}] (invalid)")
        return
    length, found = d.u16(data, 4), d.u16(data, 6)
    if length < HEADER:
        d.print(f"[undersized-udplength {length} < {HEADER}] (invalid)")
        return
    if d.options.verbose and not packet.fragment and not d.missing:
        d.print(_checksum(data[:length], packet, found, d.options.verbose))
    d.print(f"UDP, length {length - HEADER}")


def _checksum(data: bytes, packet: IpPacket, found: int, verbose: int) -> str:
    """IPv4's is looked at with `-vv` only."""
    if packet.version == 4 and verbose == 1:
        return ""
    if packet.version == 4 and not found:
        return "[no cksum] "
    checksum = packet.checksum(data, 17)
    if not checksum:
        return "[udp sum ok] "
    return f"[bad udp cksum 0x{found:04x} -> 0x{should_be(found, checksum):04x}!] "
