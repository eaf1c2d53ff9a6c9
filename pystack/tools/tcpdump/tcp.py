"""TCP (`print-tcp.c`)."""

from __future__ import annotations

from pystack.tools.tcpdump.dissect import Dissector, IpPacket, bits, should_be
from pystack.tools.tcpdump.lines import payload_print

HEADER = 20
FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
_FLAGS = (
    *((FIN, "F"), (SYN, "S"), (RST, "R"), (PSH, "P"), (ACK, ".")),
    *((URG, "U"), (64, "E"), (128, "W")),
)
_OPTIONS = {
    **{0: "eol", 1: "nop", 2: "mss", 3: "wscale", 4: "sackOK", 5: "sack", 6: "echo"},
    **{7: "echoreply", 8: "TS", 19: "md5", 28: "uto", 29: "tcp-ao", 30: "mptcp", 34: "tfo"},
    254: "exp",
}
_SIZES = {2: 2, 3: 1, 8: 8, 28: 2}  # bytes behind kind and length
_U32 = 0xFFFFFFFF


def tcp_print(d: Dissector, data: bytes, packet: IpPacket) -> None:
    d.protocol = "tcp"
    if len(data) - d.missing < 4:
        d.print(f"{packet.src_text} > {packet.dst_text}: [|tcp]")
        return
    sport, dport = d.u16(data, 0), d.u16(data, 2)
    ports = d.port(sport, "tcp"), d.port(dport, "tcp")
    if packet.direct:
        d.print(f"{packet.src_text}.{ports[0]} > {packet.dst_text}.{ports[1]}: ")
    else:
        d.print(f"{ports[0]} > {ports[1]}: ")
    d.need(data, HEADER)
    hlen, flags = data[12] >> 4 << 2, data[13]
    if hlen < HEADER:
        over = f"{len(data) - hlen} [bad hdr length {hlen} - too short, < {HEADER}]"
        d.print(f" tcp {over}")
        return
    seq, ack = d.u32(data, 4), d.u32(data, 8)
    d.print(f"Flags [{bits(_FLAGS, flags, '')}]")
    base = 0, 0
    if not d.options.absolute and flags & ACK:
        seq, ack, base = _relative(d, packet, (sport, dport), seq, ack, bool(flags & SYN))
    if hlen > len(data):
        d.print(f" [bad hdr length {hlen} - too long, > {len(data)}]")
        return
    if d.options.verbose and not packet.fragment and not d.missing:
        _checksum(d, data, packet)
    length = len(data) - hlen
    if d.options.verbose > 1 or length or flags & (SYN | FIN | RST):
        d.print(f", seq {seq}" + (f":{(seq + length) & _U32}" if length else ""))
    if flags & ACK:
        d.print(f", ack {ack}")
    d.print(f", win {d.u16(data, 14)}")
    if flags & URG:
        d.print(f", urg {d.u16(data, 18)}")
    if hlen > HEADER:
        with d.part(data, hlen) as header:
            right = _options_print(d, header[HEADER:], base[1])
        if not right:
            return
    d.print(f", length {length}")
    if length:
        payload_print(d, data[hlen : len(data) - d.missing], sport, dport, bool(flags & RST))


def _relative(
    d: Dissector, packet: IpPacket, ports: tuple[int, int], seq: int, ack: int, syn: bool
) -> tuple[int, int, tuple[int, int]]:
    """Numbers counted from those of the first segment seen, or of the last SYN; and the two they
    are counted from, ours and the peer's.  One entry serves both directions."""
    sport, dport = ports
    reverse = sport > dport or (sport == dport and packet.src > packet.dst)
    key = (
        (packet.dst, packet.src, dport, sport)
        if reverse
        else (packet.src, packet.dst, sport, dport)
    )
    known = d.sequences.get(key)
    if known is None or syn:
        first = (ack - 1) & _U32
        base = seq, first
        d.sequences[key] = (first, seq) if reverse else (seq, first)
        return seq, ack, base
    base = (known[1], known[0]) if reverse else known
    return (seq - base[0]) & _U32, (ack - base[1]) & _U32, base


def _checksum(d: Dissector, data: bytes, packet: IpPacket) -> None:
    found, checksum = d.u16(data, 16), packet.checksum(data, 6)
    d.print(f", cksum 0x{found:04x}")
    d.print(f" (incorrect -> 0x{should_be(found, checksum):04x})" if checksum else " (correct)")


def _options_print(d: Dissector, data: bytes, peer: int) -> bool:
    """False for a malformed one, at which the line ends."""
    d.print(", options [")
    at, comma = 0, ""
    while at < len(data):
        kind = data[at]
        d.print(comma)
        comma = ","
        at += 1
        if kind in (0, 1):
            d.print(_OPTIONS[kind])
            if kind == 0:
                break
            continue
        if at >= len(data) or not 2 <= data[at] <= len(data) - at + 1:
            return _bad(d, at > 1)
        body = data[at + 1 : at + data[at] - 1]
        d.print(_OPTIONS.get(kind, f"unknown-{kind}"))
        if len(body) < _SIZES.get(kind, 0):
            return _bad(d, at > 1)
        d.print(_option_text(d, kind, body, peer))
        if kind in _SIZES and len(body) > _SIZES[kind]:
            d.print(f"[len {len(body) + 2}]")
        at += len(body) + 1
    d.print("]")
    return True


def _bad(d: Dissector, later: bool) -> bool:
    d.print("[bad opt]" + ("]" if later else ""))
    return False


def _option_text(d: Dissector, kind: int, body: bytes, peer: int) -> str:
    if kind == 2:
        return f" {d.u16(body, 0)}"
    if kind == 3:
        return f" {body[0]}"
    if kind == 8:
        return f" val {d.u32(body, 0)} ecr {d.u32(body, 4)}"
    if kind == 5:
        return _sack(d, body, peer)
    if kind == 4:
        return ""
    if kind == 34:
        return "  cookie " + body.hex() if body else "  cookiereq"
    return f" 0x{body.hex()}" if body else ""


def _sack(d: Dissector, body: bytes, peer: int) -> str:
    if len(body) % 8:
        return " invalid sack"
    text = f" {len(body) // 8} "
    for at in range(0, len(body), 8):
        edges = [(d.u32(body, at + part) - peer) & _U32 for part in (0, 4)]
        text += f"{{{edges[0]}:{edges[1]}}}"
    return text
