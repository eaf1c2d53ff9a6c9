"""Filter expressions in pcap's syntax (pcap-filter(7)).

libpcap compiles them where it is installed.  Elsewhere `Subset` understands the common part: host,
net, port, portrange, protocols, `tcp[tcpflags]`, greater, less, and, or, not.
"""

from __future__ import annotations

import ipaddress
import operator
from collections.abc import Callable
from functools import cache

from lark import Lark, Token, v_args
from lark.exceptions import UnexpectedInput, VisitError

from pystack.core.headers.ethernet import ETH_HLEN, ETH_P_ARP, ETH_P_IP, ETH_P_IPV6
from pystack.tools.logic import Logic
from pystack.tools.names import port_of
from pystack.tools.tcpdump import libpcap
from pystack.tools.tool import ToolError

Test = Callable[[bytes], bool]
_GRAMMAR = r"""
start: expression
expression: term (_OR term)*
term: factor (_AND factor)*
?factor: _NOT factor                                  -> negate
    | "(" expression ")"
    | "ether" [DIRECTION] ["host"] MAC                -> ether
    | [PROTO] [DIRECTION] "port" WORD                 -> port
    | [PROTO] [DIRECTION] "portrange" WORD            -> portrange
    | [PROTO] [DIRECTION] "net" WORD                  -> net
    | [PROTO] [DIRECTION] "host" WORD                 -> host
    | DIRECTION WORD                                  -> side
    | PROTO                                           -> proto
    | "greater" NUMBER                                -> greater
    | "less" NUMBER                                   -> less
    | access "&" mask RELATION NUMBER                 -> masked
    | access RELATION value                           -> compared
access: PROTO "[" index "]"
index: FIELD | NUMBER | NUMBER ":" NUMBER
mask: value | "(" value ("|" value)* ")"
value: FLAG | NUMBER
DIRECTION.3: /(src|dst)(?![\w.:-])/
PROTO.3: /(tcp|udp|icmp6|icmp|igmp|arp|ip6|ip)(?![\w.:-])/
_OR.3: /or(?![\w.:-])|\|\|/
_AND.3: /and(?![\w.:-])|&&/
_NOT.3: /not(?![\w.:-])|!(?!=)/
FIELD.3: /tcpflags|icmptype|icmpcode/
FLAG.3: /tcp-(syn|ack|fin|rst|push|urg|ece|cwr)/
RELATION: "!=" | ">=" | "<=" | "==" | "=" | ">" | "<"
NUMBER.2: /0x[0-9a-f]+(?![\w.-])|\d+(?![\w.-])/
MAC.2: /([0-9a-f]{1,2}:){5}[0-9a-f]{1,2}/
WORD: /[\w.:\/-]+/
%ignore /\s+/
"""
_FLAGS = ("fin", "syn", "rst", "push", "ack", "urg", "ece", "cwr")
_FIELDS = {"tcpflags": 13, "icmptype": 0, "icmpcode": 1}
_PROTOCOLS = {"tcp": 6, "udp": 17, "icmp": 1, "igmp": 2, "icmp6": 58}
_TYPES = {"ip": ETH_P_IP, "ip6": ETH_P_IPV6, "arp": ETH_P_ARP}
_FRAGMENT = 44  # IPv6's fragment header
_WITH_PORTS = (6, 17, 132)
_RELATIONS: dict[str, Callable[[int, int], bool]] = {
    **{"=": operator.eq, "==": operator.eq, "!=": operator.ne},
    **{">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le},
}


def filter_of(expression: str) -> Test:
    """The test that `expression` asks for; ToolError.  An empty one lets everything through."""
    if not expression.strip():
        return lambda frame: True
    lib = libpcap.library()
    if lib is not None:
        return libpcap.compile_filter(lib, expression)
    return subset(expression)


def subset(expression: str) -> Test:
    """Without libpcap."""
    try:
        test: Test = _ToTest().transform(_lark().parse(expression))
    except UnexpectedInput:
        raise ToolError("tcpdump: can't parse filter expression: syntax error") from None
    except VisitError as exc:
        if isinstance(exc.orig_exc, ToolError):
            raise exc.orig_exc from None
        raise
    return test


@cache
def _lark() -> Lark:
    return Lark(_GRAMMAR, parser="earley", lexer="dynamic")


class _View:
    """Where things are in a frame; what is not there is empty, or -1."""

    def __init__(self, frame: bytes) -> None:
        self.kind = int.from_bytes(frame[12:14], "big")
        self.src = self.dst = b""
        self.protocol = self.at = self.fragment = -1  # fragment: what IPv6's header names
        self.later = False  # a fragment other than the first
        if self.kind == ETH_P_IP and len(frame) > ETH_HLEN + 9:
            self.src, self.dst = frame[26:30], frame[30:34]
            self.protocol = frame[23]
            self.at = ETH_HLEN + ((frame[14] & 15) << 2)
            self.later = bool(int.from_bytes(frame[20:22], "big") & 0x1FFF)
        elif self.kind == ETH_P_IPV6 and len(frame) >= ETH_HLEN + 40:
            self.src, self.dst = frame[22:38], frame[38:54]
            self.protocol, self.at = frame[20], ETH_HLEN + 40
            self.fragment = frame[54] if self.protocol == _FRAGMENT and len(frame) > 54 else -1
        elif self.kind == ETH_P_ARP and len(frame) >= ETH_HLEN + 28:
            self.src, self.dst = frame[28:32], frame[38:42]


@v_args(inline=True)
class _ToTest(Logic[bytes]):
    def proto(self, name: Token) -> Test:
        return _protocol_test(str(name))

    def greater(self, number: Token) -> Test:
        return lambda frame: len(frame) >= int(number, 0)

    def less(self, number: Token) -> Test:
        return lambda frame: len(frame) <= int(number, 0)

    def ether(self, direction: Token | None, address: Token) -> Test:
        mac = bytes(int(part, 16) for part in address.split(":"))
        return _sided(direction, lambda f: f[6:12] == mac, lambda f: f[:6] == mac)

    def side(self, direction: Token, word: Token) -> Test:
        return self.host(None, direction, word)

    def host(self, proto: Token | None, direction: Token | None, word: Token) -> Test:
        try:
            address = ipaddress.ip_address(str(word)).packed
        except ValueError:
            raise ToolError(f"tcpdump: unknown host '{word}'") from None
        return _of(
            proto,
            _sided(
                direction,
                lambda frame: _View(frame).src == address,
                lambda frame: _View(frame).dst == address,
            ),
        )

    def net(self, proto: Token | None, direction: Token | None, word: Token) -> Test:
        try:
            network = ipaddress.ip_network(_full(str(word)))
        except ValueError as exc:
            raise ToolError(f"tcpdump: {exc}") from None

        def inside(address: bytes) -> bool:
            same = len(address) == network.max_prefixlen // 8
            return same and ipaddress.ip_address(address) in network

        return _of(
            proto,
            _sided(
                direction,
                lambda frame: inside(_View(frame).src),
                lambda frame: inside(_View(frame).dst),
            ),
        )

    def port(self, proto: Token | None, direction: Token | None, word: Token) -> Test:
        number = port_of(str(word))
        if number is None:
            raise ToolError(f"tcpdump: unknown port '{word}'")
        return _of(proto, _ports(direction, number, number))

    def portrange(self, proto: Token | None, direction: Token | None, word: Token) -> Test:
        low, _, high = str(word).partition("-")
        if not (low.isdigit() and high.isdigit()):
            raise ToolError(f"tcpdump: unknown port in range '{word}'")
        return _of(proto, _ports(direction, int(low), int(high)))

    # -- bytes of a header -----------------------------------------------------------------

    def value(self, token: Token) -> int:
        if token.type == "FLAG":
            return 1 << _FLAGS.index(str(token).removeprefix("tcp-"))
        return int(token, 0)

    def mask(self, *values: int) -> int:
        result = 0
        for value in values:
            result |= value
        return result

    def index(self, *tokens: Token) -> tuple[int, int]:
        at = _FIELDS.get(str(tokens[0]))
        if at is None:
            at = int(tokens[0], 0)
        return at, int(tokens[1], 0) if len(tokens) > 1 else 1

    def access(self, proto: Token, index: tuple[int, int]) -> Callable[[bytes], int | None]:
        at, size = index
        test = _protocol_test(str(proto))

        def read(frame: bytes) -> int | None:
            view = _View(frame)
            inner = str(proto) in _PROTOCOLS
            wrong = inner and (view.kind != ETH_P_IP or view.later)  # IPv4 only, as libpcap
            if wrong or not test(frame):
                return None
            start = (view.at if inner else ETH_HLEN) + at
            return int.from_bytes(frame[start : start + size], "big")

        return read

    def masked(
        self, read: Callable[[bytes], int | None], mask: int, relation: Token, number: Token
    ) -> Test:
        def test(frame: bytes) -> bool:
            value = read(frame)
            return value is not None and _RELATIONS[relation](value & mask, int(number, 0))

        return test

    def compared(self, read: Callable[[bytes], int | None], relation: Token, value: int) -> Test:
        def test(frame: bytes) -> bool:
            found = read(frame)
            return found is not None and _RELATIONS[relation](found, value)

        return test


def _protocol_test(name: str) -> Test:
    if name in _TYPES:
        return lambda frame: _View(frame).kind == _TYPES[name]
    number = _PROTOCOLS[name]

    def test(frame: bytes) -> bool:
        view = _View(frame)
        return number in (view.protocol, view.fragment)

    return test


def _of(proto: Token | None, test: Test) -> Test:
    if proto is None:
        return test
    wanted = _protocol_test(str(proto))
    return lambda frame: wanted(frame) and test(frame)


def _sided(direction: Token | None, src: Test, dst: Test) -> Test:
    if direction is None:
        return lambda frame: src(frame) or dst(frame)
    return src if direction == "src" else dst


def _ports(direction: Token | None, low: int, high: int) -> Test:
    def at(offset: int) -> Test:
        def test(frame: bytes) -> bool:
            view = _View(frame)
            start = view.at + offset
            if view.protocol not in _WITH_PORTS or view.later or len(frame) < start + 2:
                return False
            return low <= int.from_bytes(frame[start : start + 2], "big") <= high

        return test

    return _sided(direction, at(0), at(2))


def _full(text: str) -> str:
    """`10.77` is 10.77.0.0/16."""
    if "/" in text or ":" in text:
        return text
    parts = text.split(".")
    return ".".join([*parts, *["0"] * (4 - len(parts))]) + f"/{8 * len(parts)}"
