"""ICMPv6, neighbour discovery and MLD (`print-icmp6.c`)."""

from __future__ import annotations

from pystack.tools.tcpdump.dissect import Dissector, IpPacket, bits, should_be
from pystack.tools.tcpdump.groups import group_records

_TYPES = {
    **{1: "destination unreachable", 2: "packet too big", 3: "time exceeded in-transit"},
    **{4: "parameter problem", 128: "echo request", 129: "echo reply"},
    **{130: "multicast listener query", 131: "multicast listener report"},
    **{132: "multicast listener done", 133: "router solicitation", 134: "router advertisement"},
    **{135: "neighbor solicitation", 136: "neighbor advertisement", 137: "redirect"},
    143: "multicast listener report v2",
}
_UNREACHABLE = {
    **{0: "unreachable route", 1: " unreachable prohibited", 2: "beyond scope"},
    **{3: "unreachable address", 4: "unreachable port"},
}
_PROBLEMS = {0: "erroneous", 1: "next header", 2: "option", 3: "incomplete header chain"}
_NA_FLAGS = ((1 << 31, "router"), (1 << 30, "solicited"), (1 << 29, "override"))
_RA_FLAGS = ((0x80, "managed"), (0x40, "other stateful"), (0x20, "home agent"))
_PREFIX_FLAGS = ((0x80, "onlink"), (0x40, "auto"), (0x20, "router"))
_PREFERENCES = {0: "medium", 1: "high", 3: "low"}
_OPTIONS = {
    **{1: "source link-address", 2: "destination link-address", 3: "prefix info"},
    **{4: "redirected header", 5: "mtu", 14: "nonce", 24: "route info", 25: "rdnss"},
}
_LENGTH_FIRST = (133, 134, 135, 136, 137)
_OPTIONS_AT = {133: 8, 134: 16, 135: 24, 136: 24, 137: 40}
FOREVER = 0xFFFFFFFF


def icmp6_print(d: Dissector, data: bytes, packet: IpPacket) -> None:
    d.protocol = "icmp6"
    if not data:
        d.print("ICMP6, length 0 (invalid)")
        return
    verbose = d.options.verbose
    if verbose and not packet.fragment and not d.missing:
        checksum, found = packet.checksum(data, 58), d.u16(data, 2)
        right = should_be(found, checksum)
        wrong = f"[bad icmp6 cksum 0x{found:04x} -> 0x{right:04x}!] "
        d.print(wrong if checksum else "[icmp6 sum ok] ")
    kind, code = data[0], d.u8(data, 1)
    d.print(f"ICMP6, {_TYPES.get(kind, f'unknown icmp6 type ({kind})')}")
    if verbose and kind in _LENGTH_FIRST:
        d.print(f", length {len(data)}")
    _body(d, data, kind, code)
    if kind in _OPTIONS_AT and verbose:
        _nd_options(d, data[_OPTIONS_AT[kind] :])
    if not verbose or kind not in _TYPES:
        d.print(f", length {len(data)}")


def _body(d: Dissector, data: bytes, kind: int, code: int) -> None:
    if kind == 1:
        _unreachable(d, data, code)
    elif kind == 2:
        d.print(f", mtu {d.u32(data, 4)}")
    elif kind == 3:
        d.print(f" for {d.ip6(data, 32)}" if code == 0 else " (reassembly)")
    elif kind == 4:
        what = _PROBLEMS.get(code)
        d.print(f", {what} - octet {d.u32(data, 4)}" if what else f", code-#{code}")
    elif kind in (128, 129):
        d.print(f", id {d.u16(data, 4)}, seq {d.u16(data, 6)}")
    elif kind == 130 and len(data) >= 28:
        _mld2_query(d, data)
    elif kind in (130, 131, 132):
        d.print(f"max resp delay: {d.u16(data, 4)} addr: {d.ip6(data, 8)}")
    elif kind == 134 and d.options.verbose:
        _advertisement(d, data)
    elif kind == 135:
        d.print(f", who has {d.ip6(data, 8)}")
    elif kind == 136:
        d.print(f", tgt is {d.ip6(data, 8)}")
        if d.options.verbose:
            d.print(f", Flags [{bits(_NA_FLAGS, d.u32(data, 4), ', ')}]")
    elif kind == 137:
        d.print(f", {d.ip6(data, 24)} to {d.ip6(data, 8)}")
    elif kind == 143:
        group_records(d, data, d.ip6, 16)


def _unreachable(d: Dissector, data: bytes, code: int) -> None:
    d.print(f", {_UNREACHABLE.get(code, f'unknown unreach code ({code})')}")
    target = d.ip6(data, 32)
    if code in (0, 1, 3):
        d.print(f" {target}")
    elif code == 2:
        d.print(f" {target}, source address {d.ip6(data, 16)}")
    elif code == 4:
        protocol, port = d.u8(data, 14), d.u16(data, 50)
        name = {6: "tcp", 17: "udp"}.get(protocol)
        if name is None:
            d.print(f", {target} protocol {protocol} port {port} unreachable")
        else:
            d.print(f", {target} {name} port {d.port(port, name)}")


def _advertisement(d: Dissector, data: bytes) -> None:
    flags = d.u8(data, 5)
    d.print(
        f"\n\thop limit {d.u8(data, 4)}, Flags [{bits(_RA_FLAGS, flags, ', ')}], "
        f"pref {_PREFERENCES.get(flags >> 3 & 3, 'reserved')}, router lifetime {d.u16(data, 6)}s, "
        f"reachable time {d.u32(data, 8)}ms, retrans timer {d.u32(data, 12)}ms"
    )


def _nd_options(d: Dissector, data: bytes) -> None:
    while data:
        kind, units = d.u8(data, 0), d.u8(data, 1)
        if units == 0:
            return
        size = units << 3
        name = _OPTIONS.get(kind, "unknown")
        d.print(f"\n\t  {name} option ({kind}), length {size} ({units}): ")
        d.need(data, size)
        option = data[:size]
        if kind in (1, 2):
            d.print(d.mac(option[2:8]))
        elif kind == 3:
            _prefix(d, option)
        elif kind == 5:
            d.print(f" {d.u32(option, 4)}" + (f", bad option length {size}" if units != 1 else ""))
        elif kind == 14:
            d.print(f" x{option[2:8].hex()}")
        if d.options.verbose > 1 or name == "unknown":
            _dump(d, option[2:])
        data = data[size:]


def _dump(d: Dissector, data: bytes) -> None:
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        words = " ".join(row[i : i + 2].hex() for i in range(0, len(row), 2))
        d.print(f"\n\t    0x{at:04x}:  {words}")


def _prefix(d: Dissector, option: bytes) -> None:
    def lifetime(seconds: int) -> str:
        return "infinity" if seconds == FOREVER else f"{seconds}s"

    flags = bits(_PREFIX_FLAGS, d.u8(option, 3), ", ")
    d.print(
        f"{d.ip6(option, 16)}/{option[2]}, Flags [{flags}], "
        f"valid time {lifetime(d.u32(option, 4))}, pref. time {lifetime(d.u32(option, 8))}"
    )


def _mld2_query(d: Dissector, data: bytes) -> None:
    code = d.u16(data, 4)
    delay = code if code < 0x8000 else (code & 0x0FFF | 0x1000) << ((code >> 12 & 7) + 3)
    d.print(" v2")
    if d.options.verbose:
        d.print(f" [max resp delay={delay}]")
        if delay:
            d.print(" [sflag]" if data[24] & 8 else "")
            d.print(f" [robustness={data[24] & 7}]" if data[24] & 7 else "")
            if data[25]:
                interval = (
                    data[25]
                    if data[25] < 128
                    else (data[25] & 15 | 16) << ((data[25] >> 4 & 7) + 3)
                )
                d.print(f" [qqi={interval}]")
    if any(data[8:24]):
        d.print(f" [gaddr {d.ip6(data, 8)}")
        sources = d.u16(data, 26)
        d.print(f", {sources} source(s)]" if sources else "]")
