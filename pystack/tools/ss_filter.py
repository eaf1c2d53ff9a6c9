"""The filters of `ss`: `state established`, `( dport = :80 or src 10.0.0.0/8 )`.

`man ss`, `misc/ssfilter.y`: words are separated by blanks, parentheses too.
"""

from __future__ import annotations

import socket as so
from collections.abc import Callable, Sequence
from functools import cache
from ipaddress import ip_address, ip_network
from typing import Any

from lark import Lark, v_args
from lark.exceptions import UnexpectedInput, VisitError

from pystack.tools.diag import Entry
from pystack.tools.logic import Logic
from pystack.tools.names import port_of
from pystack.tools.tool import ToolError
from pystack.transport.tcp.state import TcpState

Test = Callable[[Entry], bool]

ALL = frozenset(TcpState)
CONNECTED = ALL - {TcpState.CLOSE, TcpState.LISTEN}
BUCKET = frozenset({TcpState.SYN_RECV, TcpState.TIME_WAIT})
SS_CONN = CONNECTED - BUCKET  # what is shown unless asked otherwise
_NAMES = {
    "established": TcpState.ESTABLISHED,
    "syn-sent": TcpState.SYN_SENT,
    "syn-recv": TcpState.SYN_RECV,
    "syn-rcv": TcpState.SYN_RECV,
    "fin-wait-1": TcpState.FIN_WAIT1,
    "fin-wait-2": TcpState.FIN_WAIT2,
    "time-wait": TcpState.TIME_WAIT,
    "unconnected": TcpState.CLOSE,
    "close": TcpState.CLOSE,
    "closed": TcpState.CLOSE,
    "close-wait": TcpState.CLOSE_WAIT,
    "last-ack": TcpState.LAST_ACK,
    "listening": TcpState.LISTEN,
    "listen": TcpState.LISTEN,
    "closing": TcpState.CLOSING,
}
_SETS = {
    "all": ALL,
    "connected": CONNECTED,
    "synchronized": CONNECTED - {TcpState.SYN_SENT},
    "bucket": BUCKET,
    "big": ALL - BUCKET,
}
# A word ends at a blank; what is no keyword is an address or port.
_GRAMMAR = r"""
start: expression
expression: term (_OR term)*
term: expr (_AND? expr)*
?expr: "(" expression ")"
    | _NOT expr               -> negate
    | SIDE [compare] WORD     -> match
    | "dev" [equality] WORD   -> device
    | "fwmark" [equality] WORD -> mark
compare: GE | LE | NE | EQ | GT | LT
equality: NE | EQ
SIDE.2: /(dst|src|dport|sport)(?=\s|$)/
_OR.2: /(\|\|?|or)(?=\s|$)/
_AND.2: /(&&?|and)(?=\s|$)/
_NOT.2: /(!|not)(?=\s|$)/
GE.2: /(>=|geq?)(?=\s|$)/
LE.2: /(<=|leq?)(?=\s|$)/
NE.2: /(!=|neq?)(?=\s|$)/
EQ.2: /(==?|eq)(?=\s|$)/
GT.2: /(>|gt)(?=\s|$)/
LT.2: /(<|lt)(?=\s|$)/
WORD: /(?![()](\s|$))\S+/
%ignore /\s+/
"""


def states(name: str) -> frozenset[TcpState]:
    """What `state NAME` means."""
    key = name.lower()
    if key in _SETS:
        return _SETS[key]
    if key not in _NAMES:
        raise ToolError(f"ss: wrong state name: {name}", 255)
    return frozenset({_NAMES[key]})


def expression(words: Sequence[str], ifindex: Callable[[str], int]) -> Test:
    """The test that `words` ask for; `ifindex(name)` is that of a device, 0 if there is none."""
    if not words:
        return lambda entry: True
    try:
        tree = _lark().parse(" ".join(words))
        test: Test = _ToTest(ifindex).transform(tree)
    except UnexpectedInput:
        raise ToolError(
            'ss: bison bellows (while parsing filter): "syntax error!" Sorry.', 255
        ) from None
    except VisitError as exc:
        if isinstance(exc.orig_exc, ToolError):
            raise exc.orig_exc from None
        raise
    return test


@cache
def _lark() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", lexer="contextual")


@v_args(inline=True)
class _ToTest(Logic[Entry]):
    def __init__(self, ifindex: Callable[[str], int]) -> None:
        super().__init__()
        self._ifindex = ifindex

    def compare(self, operator: Any) -> str:
        return str(operator.type)

    equality = compare

    def match(self, side: str, operator: str | None, word: str) -> Test:
        if side in ("dport", "sport"):
            return _port_test(side, operator or "EQ", word)
        if operator not in (None, "EQ"):
            raise ToolError('ss: bison bellows (while parsing filter): "syntax error!" Sorry.', 255)
        return _host_test(side, word)

    def device(self, operator: str | None, word: str) -> Test:
        index = self._ifindex(word)
        if not index:
            raise ToolError("ss: Cannot parse device.")
        return lambda entry: (entry.ifindex == index) == (operator != "NE")

    def mark(self, operator: str | None, word: str) -> Test:
        value, _, mask = word.partition("/")
        try:
            want, bits = int(value, 0), int(mask or "0xffffffff", 0)
        except ValueError:
            raise ToolError(f"ss: Cannot parse mark {word}.") from None
        wanted = operator != "NE"
        return lambda entry: ((getattr(entry.sk, "sk_mark", 0) & bits) == want & bits) == wanted


_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "EQ": lambda a, b: a == b,
    "NE": lambda a, b: a != b,
    "GE": lambda a, b: a >= b,
    "LE": lambda a, b: a <= b,
    "GT": lambda a, b: a > b,
    "LT": lambda a, b: a < b,
}


def _port_test(side: str, operator: str, word: str) -> Test:
    port, compare = _port(word.removeprefix(":")), _COMPARE[operator]
    if side == "sport":
        return lambda entry: entry.lport >= 0 and compare(entry.lport, port)
    return lambda entry: entry.rport >= 0 and compare(entry.rport, port)


def _port(word: str) -> int:
    port = port_of(word)
    if port is None:
        raise ToolError(f'Error: "{word}" does not look like a port.')
    return port


def _host_test(side: str, word: str) -> Test:
    """`10.0.0.1`, `10.0.0.0/8:80`, `[fd00::1]:80`, `:80`, `*:80`, `/run/*` of AF_UNIX."""
    ours = side == "src"
    if word.startswith(("unix:", "/", "@")):
        return _unix_test(ours, word.removeprefix("unix:"))
    host, port = _split(word)
    network = None
    if host not in ("", "*"):
        try:
            network = ip_network(host, strict=False)
        except ValueError:
            raise ToolError(f'Error: an inet prefix is expected rather than "{host}".') from None

    def test(entry: Entry) -> bool:
        if entry.family not in (so.AF_INET, so.AF_INET6):
            return False
        address, number = (entry.laddr, entry.lport) if ours else (entry.raddr, entry.rport)
        if port is not None and number != port:
            return False
        return network is None or _inside(address, network)

    return test


def _inside(address: bytes, network: Any) -> bool:
    """A mapped address is in IPv4's networks, too (`inet_addr_match`)."""
    ip = ip_address(address)
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped if network.version == 4 and mapped is not None else ip) in network


def _split(word: str) -> tuple[str, int | None]:
    if word.startswith("["):
        host, _, port = word[1:].partition("]")
    elif word.startswith("*"):
        host, port = "*", word[1:]
    else:
        start = word.find("/") + 1
        at = word.rfind(":", start)
        host, port = (word[:at], word[at:]) if at >= 0 else (word, "")
    port = port.removeprefix(":")
    return host, _port(port) if port not in ("", "*") else None


def _unix_test(ours: bool, pattern: str) -> Test:
    from fnmatch import fnmatchcase

    def test(entry: Entry) -> bool:
        if entry.family != so.AF_UNIX:
            return False
        name = (entry.laddr if ours else entry.raddr).replace(b"\0", b"@").decode(errors="replace")
        return fnmatchcase(name, pattern)

    return test
