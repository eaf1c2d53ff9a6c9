"""`conntrack`: its options -L, -C, -F, -D and -S, in the tool's format (conntrack-tools)."""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Callable

from pystack.core.headers.ipv4 import IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP
from pystack.net.netfilter.conn import SECOND, Conn, Status
from pystack.net.netfilter.conntrack import Conntrack
from pystack.net.netfilter.packet import IPPROTO_ICMPV6
from pystack.net.netfilter.tuples import Tuple
from pystack.net.netfilter.xt import XtablesError
from pystack.net.netfilter.xt_values import protocol

_NAMES = {
    IPPROTO_TCP: "tcp",
    IPPROTO_UDP: "udp",
    IPPROTO_ICMP: "icmp",
    IPPROTO_ICMPV6: "icmpv6",
}
_STATS = (
    "found invalid insert insert_failed drop early_drop error search_restart clash_resolve"
).split()


def conntrack(table: Conntrack, command: str) -> str:
    """What the tool prints; XtablesError for what it does not know."""
    words = shlex.split(command)
    if words[:1] == ["conntrack"]:
        del words[0]
    action = words.pop(0) if words else ""
    chosen = [conn for conn in table if _fits(conn, words)]
    if action in ("-L", "--dump"):
        return "".join(f"{line(conn)}\n" for conn in chosen)
    if action in ("-C", "--count"):
        return f"{len(table)}\n"
    if action in ("-F", "--flush"):
        table.flush()
        return ""
    if action in ("-D", "--delete"):
        for conn in chosen:
            table.destroy(conn)
        return "".join(f"{line(conn)}\n" for conn in chosen)
    if action in ("-S", "--stats"):
        numbers = " ".join(f"{name}={table.stats[name]}" for name in _STATS)
        return f"cpu=0   \t{numbers}\n"
    raise XtablesError(f"conntrack: unknown option `{action}'")


_FILTERS: dict[tuple[str, ...], Callable[[Conn, str], bool]] = {
    ("-p", "--proto"): lambda conn, text: conn.tuples[0].protocol == protocol(text),
    ("-s", "--orig-src", "--src"): lambda conn, text: _text(conn.tuples[0].src) == text,
    ("-d", "--orig-dst", "--dst"): lambda conn, text: _text(conn.tuples[0].dst) == text,
    ("-r", "--reply-src"): lambda conn, text: _text(conn.tuples[1].src) == text,
    ("-q", "--reply-dst"): lambda conn, text: _text(conn.tuples[1].dst) == text,
    ("--sport", "--orig-port-src"): lambda conn, text: conn.tuples[0].sport == int(text),
    ("--dport", "--orig-port-dst"): lambda conn, text: conn.tuples[0].dport == int(text),
    ("-m", "--mark"): lambda conn, text: conn.mark == int(text, 0),
    ("-f", "--family"): lambda conn, text: len(conn.tuples[0].src) == (16 if text == "ipv6" else 4),
}


def _fits(conn: Conn, words: list[str]) -> bool:
    if len(words) % 2:
        raise XtablesError(f"conntrack: option `{words[-1]}' requires an argument")
    for option, value in zip(words[::2], words[1::2], strict=True):
        test = next((test for names, test in _FILTERS.items() if option in names), None)
        if test is None:
            raise XtablesError(f"conntrack: unknown option `{option}'")
        if not test(conn, value):
            return False
    return True


def line(conn: Conn) -> str:
    original, reply = conn.tuples
    left = max((conn.expires - conn.kernel.now) // SECOND, 0)
    text = f"{_NAMES.get(original.protocol, 'unknown'):<8} {original.protocol} {left} "
    if original.protocol == IPPROTO_TCP:
        text += f"{conn.track.name} "
    accounting = bool(conn.kernel.sysctl["net.netfilter.nf_conntrack_acct"])
    text += _tuple(original, conn, 0, accounting)
    text += "" if conn.status & Status.SEEN_REPLY else "[UNREPLIED] "
    text += _tuple(reply, conn, 1, accounting)
    text += "[ASSURED] " if conn.status & Status.ASSURED else ""
    return f"{text}mark={conn.mark} use=1"


def _tuple(key: Tuple, conn: Conn, direction: int, accounting: bool) -> str:
    text = f"src={_text(key.src)} dst={_text(key.dst)} "
    if key.protocol in (IPPROTO_TCP, IPPROTO_UDP):
        text += f"sport={key.sport} dport={key.dport} "
    elif key.protocol in (IPPROTO_ICMP, IPPROTO_ICMPV6):
        text += f"type={key.dport >> 8} code={key.dport & 0xFF} id={key.sport} "
    if accounting:
        packets, size = conn.counters[direction]
        text += f"packets={packets} bytes={size} "
    return text


def _text(address: bytes) -> str:
    return str(ipaddress.ip_address(address))
