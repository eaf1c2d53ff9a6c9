"""ICMP (`print-icmp.c`)."""

from __future__ import annotations

from collections.abc import Callable

from pystack.core.checksum import ones_sum
from pystack.tools.tcpdump.dissect import Dissector, should_be

_UNREACHABLE = {
    0: "net {} unreachable",
    1: "host {} unreachable",
    5: "{} unreachable - source route failed",
    6: "net {} unreachable - unknown",
    7: "host {} unreachable - unknown",
    8: "{} unreachable - source host isolated",
    9: "net {} unreachable - admin prohibited",
    10: "host {} unreachable - admin prohibited",
    11: "net {} unreachable - tos prohibited",
    12: "host {} unreachable - tos prohibited",
    13: "host {} unreachable - admin prohibited filter",
    14: "host {} unreachable - host precedence violation",
    15: "host {} unreachable - precedence cutoff",
}
_REDIRECT = {
    0: "redirect {} to net {}",
    1: "redirect {} to host {}",
    2: "redirect-tos {} to net {}",
    3: "redirect-tos {} to host {}",
}
_NAMES = {
    **{4: "source quench", 10: "router solicitation", 15: "information request"},
    **{16: "information reply", 17: "address mask request"},
}
_ERRORS = (3, 4, 5, 11, 12)


def icmp_print(d: Dissector, data: bytes, fragment: bool, inner: Callable[[bytes], None]) -> None:
    """`inner` prints the packet that an error quotes."""
    d.protocol = "icmp"
    kind, code = d.u8(data, 0), d.u8(data, 1)
    d.print(f"ICMP {_text(d, data, kind, code)}, length {len(data)}")
    if d.options.verbose and not fragment and not d.missing:
        checksum = 0xFFFF ^ ones_sum(data)
        if checksum:
            found = d.u16(data, 2)
            d.print(f" (wrong icmp cksum {found:x} (->{should_be(found, checksum):x})!)")
    if d.options.verbose and kind in _ERRORS:
        d.print("\n\t")
        quoted = data[8:]
        total = d.u16(quoted, 2)
        d.missing = max(total - len(quoted), 0)
        inner(quoted + bytes(d.missing))
        d.missing = 0


def _text(d: Dissector, data: bytes, kind: int, code: int) -> str:
    if kind in (0, 8):
        what = "request" if kind == 8 else "reply"
        return f"echo {what}, id {d.u16(data, 4)}, seq {d.u16(data, 6)}"
    if kind == 3:
        return _unreachable(d, data, code)
    if kind == 5:
        form = _REDIRECT.get(code, f"redirect-#{code} {{}} to {{}}")
        return form.format(d.ip4(data, 24), d.ip4(data, 4))
    if kind == 11:
        d.need(data, 28)
        names = {0: "time exceeded in-transit", 1: "ip reassembly time exceeded"}
        return names.get(code, f"time exceeded-#{code}")
    if kind == 12:
        return (
            f"parameter problem - code {code}"
            if code
            else (f"parameter problem - octet {d.u8(data, 4)}")
        )
    if kind == 13:
        return f"time stamp query id {d.u16(data, 4)} seq {d.u16(data, 6)}"
    if kind == 14:
        times = [_time_of_day(d.u32(data, at)) for at in (8, 12, 16)]
        return (
            f"time stamp reply id {d.u16(data, 4)} seq {d.u16(data, 6)}: "
            f"org {times[0]}, recv {times[1]}, xmit {times[2]}"
        )
    return _NAMES.get(kind, f"type-#{kind}")


def _time_of_day(ms: int) -> str:
    seconds = ms // 1000
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms % 1000:03}"


def _unreachable(d: Dissector, data: bytes, code: int) -> str:
    target, protocol = d.ip4(data, 24), d.u8(data, 17)
    if code == 2:
        return f"{target} protocol {protocol} unreachable"
    if code == 3:
        port = d.u16(data, 8 + ((data[8] & 15) << 2) + 2)
        if protocol in (6, 17):
            name = "tcp" if protocol == 6 else "udp"
            return f"{target} {name} port {d.port(port, name)} unreachable"
        return f"{target} protocol {protocol} port {port} unreachable"
    if code == 4:
        mtu = d.u16(data, 6)
        return f"{target} unreachable - need to frag" + (f" (mtu {mtu})" if mtu else "")
    return _UNREACHABLE.get(code, f"{{}} unreachable - #{code}").format(target)
