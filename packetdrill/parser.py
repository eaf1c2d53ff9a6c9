"""Script text to syntax tree, by lark (LALR with a contextual lexer).

Called by the runner with a file's text; the grammar is `grammar.lark`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any

from lark import Lark, Token, v_args
from lark.exceptions import UnexpectedInput, VisitError

from packetdrill import script as ast
from packetdrill.errors import ScriptSyntaxError
from packetdrill.packetrules import PacketRules, Tagged

NS = 1_000_000_000
_DEFINE = re.compile(r"^\s*--define=(\w+)=(\S+)", re.M)
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)", re.S)
_ESCAPES = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"0": b"\0"}


def parse(text: str, defines: Mapping[str, str] | None = None) -> ast.Script:
    """ScriptSyntaxError, with the line, if `text` is not packetdrill.

    `defines` and the script's own `--define=NAME=value` give the symbols inside packets.
    """
    try:
        tree = _lark().parse(text)
        own = {match[1]: match[2] for match in _DEFINE.finditer(text)}
        result: ast.Script = _ToScript({**(defines or {}), **own}).transform(tree)
    except UnexpectedInput as exc:
        where = exc.get_context(text, 40).rstrip()
        raise ScriptSyntaxError(f"syntax error\n{where}", exc.line, "syntax") from None
    except VisitError as exc:
        if isinstance(exc.orig_exc, ScriptSyntaxError):
            raise exc.orig_exc from None
        raise
    return result


@cache
def _lark() -> Lark:
    grammar = files("packetdrill").joinpath("grammar.lark").read_text()
    return Lark(grammar, parser="lalr", lexer="contextual", propagate_positions=True)


def _ns(text: str) -> int:
    return int(Decimal(text) * NS)


def _unquote(text: str) -> bytes:
    """The bytes of a C string literal."""

    def one(match: re.Match[bytes]) -> bytes:
        body = match[1]
        if body[:1] == b"x":
            return bytes((int(body[1:], 16),))
        if body.isdigit():
            return bytes((int(body, 8) & 0xFF,))
        return _ESCAPES.get(body, body)

    return _ESCAPE.sub(one, text[1:-1].encode())


class _ToScript(PacketRules):
    """Rules of scripts, events, system calls and expressions."""

    def relative(self, c: list[Any]) -> ast.When:
        return ast.When(ast.TimeKind.RELATIVE, _ns(c[0]))

    def absolute(self, c: list[Any]) -> ast.When:
        return ast.When(ast.TimeKind.ABSOLUTE, _ns(c[0]))

    def any_time(self, c: list[Any]) -> ast.When:
        return ast.When(ast.TimeKind.ANY)

    def absolute_range(self, c: list[Any]) -> ast.When:
        return ast.When(ast.TimeKind.ABSOLUTE_RANGE, _ns(c[0]), _ns(c[1]))

    def relative_range(self, c: list[Any]) -> ast.When:
        return ast.When(ast.TimeKind.RELATIVE_RANGE, _ns(c[0]), _ns(c[1]))

    def command(self, c: list[Any]) -> ast.Command:
        return ast.Command(c[0][1:-1], c[0].line)

    def code(self, c: list[Any]) -> ast.Code:
        return ast.Code(c[0][2:-2].strip(" \t"))

    def number(self, c: list[Any]) -> int:
        return int(c[0], 16) if c[0].type == "HEX" else int(c[0])

    def wild(self, c: list[Any]) -> ast.Wild:
        return ast.WILD

    def name(self, c: list[Any]) -> ast.Name:
        return ast.Name(str(c[0]))

    def string(self, c: list[Any]) -> bytes:
        return b"".join(_unquote(token) for token in c if token.type == "STRING")

    def arguments(self, c: list[Any]) -> tuple[Any, ...]:
        return tuple(child for child in c if child is not None)

    def call(self, c: list[Any]) -> ast.Call:
        return ast.Call(str(c[0]), c[1])

    def array(self, c: list[Any]) -> ast.Array:
        return ast.Array(tuple(child for child in c if child is not None))

    def item(self, c: list[Any]) -> tuple[Any, ...]:
        return tuple(c)

    def struct(self, c: list[Any]) -> ast.Struct:
        fields = {}
        values = []
        for item in c:
            if len(item) == 1:
                values.append(item[0])
            elif isinstance(item[0], (ast.Name, ast.Call)):
                fields[item[0].name] = item[1]
            else:
                raise ScriptSyntaxError("a field of a structure needs a name", 0, "syntax")
        return ast.Struct(fields, tuple(values))

    def either(self, c: list[Any]) -> ast.Either:
        return ast.Either(tuple(c))

    def until(self, c: list[Any]) -> Tagged:
        return Tagged(until=_ns(c[1]))

    def failure(self, c: list[Any]) -> Tagged:
        return Tagged(errno=str(c[0]))

    def syscall(self, c: list[Any]) -> ast.Syscall:
        notes = [child for child in c if isinstance(child, Token) and child.type == "NOTE"]
        tagged = {k: v for child in c if isinstance(child, Tagged) for k, v in child.items()}
        rest = [child for child in c if not isinstance(child, Tagged) and child not in notes]
        name, args, result = rest
        return ast.Syscall(str(name), args, result, **tagged)

    @v_args(meta=True)
    def event(self, meta: Any, c: list[Any]) -> ast.Event:
        when, action = c
        if when.kind.is_range and when.end < when.start:
            raise ScriptSyntaxError("time range is backwards", meta.line, "syntax")
        outbound = isinstance(action, ast.Packet) and not action.inbound
        if not outbound and (when.kind.is_range or when.kind is ast.TimeKind.ANY):
            message = "a time range or * can only be used with outbound packets"
            raise ScriptSyntaxError(message, meta.line, "syntax")
        return ast.Event(meta.line, when, action)

    def start(self, c: list[Any]) -> ast.Script:
        options = []
        commands: list[ast.Command] = []
        events = []
        for child in c:
            if isinstance(child, ast.Event):
                events.append(child)
            elif isinstance(child, ast.Command):
                commands.append(child)
            else:
                name, _, value = child[2:].partition("=")
                options.append((name, value if "=" in child else None))
        first = events[0].line
        init = next((command for command in commands if command.line <= first), None)
        cleanup = next((command for command in commands if command.line > first), None)
        return ast.Script(tuple(options), init, tuple(events), cleanup)
