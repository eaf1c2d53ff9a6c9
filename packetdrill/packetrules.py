"""The packet half of the grammar: its rules as methods, which make a `Packet` of a parse tree.

Called by lark through `parser`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lark import Token, Transformer, v_args

from packetdrill import script as ast
from packetdrill import tcpopts
from packetdrill.errors import ScriptSyntaxError
from packetdrill.tcpopts import Option
from pystack.core.headers.tcp import (
    OPT_EOL,
    OPT_MSS,
    OPT_NOP,
    OPT_SACK_PERMITTED,
    OPT_WSCALE,
)


def _plain(kind: int, size: int = 0) -> Callable[..., Option]:
    """A transformer method for an option that holds one number of `size` bytes, or nothing."""

    def build(self: PacketRules, children: list[Any]) -> Option:
        value = int(self.symbol(children[0]), 0) if children else 0
        if value >= 1 << 8 * size and size:
            raise ScriptSyntaxError(f"option value {value} out of range", children[0].line)
        return Option(kind, value.to_bytes(size, "big"))

    return build


def _blob(kind: int, lead: bytes = b"") -> Callable[..., Option]:
    def build(self: PacketRules, children: list[Any]) -> Option:
        text = self.symbol(children[0]) if children else ""
        if len(text) % 2:
            raise ScriptSyntaxError("odd number of hex digits", children[0].line)
        return Option(kind, lead + bytes.fromhex(text))

    return build


def _number(token: Token, bits: int, what: str, base: int = 10) -> int:
    """A field of `bits` bits; ScriptSyntaxError, with the line, for a number that does not fit."""
    value = int(token, base)
    if not 0 <= value < 1 << bits:
        raise ScriptSyntaxError(f"{what} {value} out of range", token.line or 0, "syntax")
    return value


class Tagged(dict[str, Any]):
    """Parts of a packet, merged into it by the rule above."""


class PacketRules(Transformer[Token, Any]):
    """Rules of the packet half of the grammar."""

    def __init__(self, defines: Mapping[str, str]) -> None:
        super().__init__()
        self._defines = defines

    def symbol(self, token: Token) -> str:
        """A number as written, or what a symbol was defined to be."""
        if token.type != "SYMBOL":
            return str(token)
        if token not in self._defines:
            message = f"symbol {token} is not defined (--define={token}=...)"
            raise ScriptSyntaxError(message, token.line or 0, "symbol")
        return self._defines[token]

    opt_nop = _plain(OPT_NOP)
    opt_eol = _plain(OPT_EOL)
    opt_mss = _plain(OPT_MSS, 2)
    opt_wscale = _plain(OPT_WSCALE, 1)
    opt_sack_ok = _plain(OPT_SACK_PERMITTED)
    opt_md5 = _blob(tcpopts.OPT_MD5)
    opt_fastopen = _blob(tcpopts.OPT_FASTOPEN)
    opt_fastopen_exp = _blob(tcpopts.OPT_EXPERIMENT, tcpopts.FASTOPEN_MAGIC)

    def opt_sack(self, c: list[Any]) -> Option:
        edges = [_number(token, 32, "SACK edge") for token in c]
        return tcpopts.sack(list(zip(edges[::2], edges[1::2], strict=True)))

    def opt_timestamps(self, c: list[Any]) -> Option:
        return tcpopts.timestamps(_number(c[0], 32, "TS val"), _number(c[1], 32, "TS ecr"))

    def opt_accecn(self, c: list[Any]) -> Option:
        kind = tcpopts.OPT_ACCECN1 if c[0] == "e1b" else tcpopts.OPT_ACCECN0
        return Option(kind, b"".join(int(value).to_bytes(3, "big") for value in c[1::2]))

    def option_list(self, c: list[Any]) -> Tagged:
        return Tagged(options=tuple(c[1:-1]))

    def any_options(self, c: list[Any]) -> Tagged:
        return Tagged(options=None)

    def ports(self, c: list[Any]) -> Tagged:
        return Tagged(sport=_number(c[0], 16, "port"), dport=_number(c[2], 16, "port"))

    def seq(self, c: list[Any]) -> Tagged:
        start, end = (_number(token, 32, "sequence number") for token in c[:2])
        length = _number(c[2], 16, "payload length")
        if end != start + length:
            message = f"sequence range {start}:{end} does not span {length} bytes"
            raise ScriptSyntaxError(message, c[0].line, "syntax")
        return Tagged(seq=start, length=length)

    def ack(self, c: list[Any]) -> Tagged:
        return Tagged(ack=_number(c[0], 32, "ack number"))

    def win(self, c: list[Any]) -> Tagged:
        return Tagged(window=_number(c[0], 16, "window"))

    def urg(self, c: list[Any]) -> Tagged:
        return Tagged(urgent=_number(c[0], 16, "urgent pointer"))

    def tcp(self, c: list[Any]) -> Tagged:
        parts = {key: v for child in c if isinstance(child, Tagged) for key, v in child.items()}
        ports = {key: parts.pop(key) for key in ("sport", "dport") if key in parts}
        flags = next(str(child) for child in c if isinstance(child, Token))
        return Tagged(transport=ast.Tcp(flags.replace("-", ""), **parts), **ports)

    def udp(self, c: list[Any]) -> Tagged:
        ports = c[0] if isinstance(c[0], Tagged) else {}
        return Tagged(transport=ast.Udp(_number(c[-1], 16, "payload length")), **ports)

    def mtu(self, c: list[Any]) -> Tagged:
        return Tagged(mtu=int(c[0]))

    def echo_id(self, c: list[Any]) -> Tagged:
        return Tagged(id=int(c[0]))

    def echoed_udp(self, c: list[Any]) -> Tagged:
        return Tagged(echoed=ast.Echoed("udp", int(c[0])))

    def echoed_raw(self, c: list[Any]) -> Tagged:
        return Tagged(echoed=ast.Echoed("raw", int(c[0])))

    def echoed_tcp(self, c: list[Any]) -> Tagged:
        return Tagged(echoed=ast.Echoed("tcp", c[0]["length"], c[0]["seq"]))

    def icmp(self, c: list[Any]) -> Tagged:
        names = [str(child) for child in c if isinstance(child, Token)]
        parts = {key: v for child in c if isinstance(child, Tagged) for key, v in child.items()}
        code = names[1] if len(names) > 1 else None
        return Tagged(transport=ast.Icmp(names[0], code, **parts))

    def ecn(self, c: list[Any]) -> Tagged:
        return Tagged(ecn=str(c[0]))

    def tos(self, c: list[Any]) -> Tagged:
        return Tagged(tos=_number(c[0], 8, "tos", 16))

    def flowlabel(self, c: list[Any]) -> Tagged:
        return Tagged(flowlabel=_number(c[0], 20, "flowlabel", 16))

    def ttl(self, c: list[Any]) -> Tagged:
        return Tagged(ttl=_number(c[0], 8, "ttl"))

    def ip_info(self, c: list[Any]) -> Tagged:
        fields = {key: value for part in c for key, value in part.items()}
        return Tagged(ip=ast.IpInfo(**fields))

    def encap(self, c: list[Any]) -> Tagged:
        return Tagged(encapsulation="PSP")

    def outer_ip(self, c: list[Any]) -> Tagged:
        return Tagged(encapsulation="IP in IP")

    def outer_gre(self, c: list[Any]) -> Tagged:
        return Tagged(encapsulation="GRE")

    @v_args(meta=True)
    def packet(self, meta: Any, c: list[Any]) -> ast.Packet:
        parts = {key: value for child in c[1:] for key, value in child.items()}
        packet = ast.Packet(inbound=c[0] == "<", **parts)
        _check_packet(packet, meta.line)
        return packet


def _check_packet(packet: ast.Packet, line: int) -> None:
    """What the grammar allows and the language does not."""
    tcp = packet.transport
    if not isinstance(tcp, ast.Tcp):
        return
    if packet.inbound and tcp.options is None:
        raise ScriptSyntaxError("<...> stands for the options of outbound packets only", line)
    if packet.inbound and tcp.window is None:
        raise ScriptSyntaxError("window must be specified for inbound packets", line, "syntax")
    if tcp.options is not None:
        size = len(tcpopts.pack(tcp.options))
        if size % 4 or size > 40:
            message = f"TCP options of {size} bytes: not whole words, or more than 40"
            raise ScriptSyntaxError(message, line, "syntax")
