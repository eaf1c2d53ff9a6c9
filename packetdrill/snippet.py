"""`%{ code }%`: assertions about TCP_INFO, in a small and harmless part of Python.

All snippets of a script share their variables, as packetdrill runs them as one program.
"""

from __future__ import annotations

import ast
import io
from contextlib import redirect_stdout
from typing import Any

from packetdrill import tcpinfo
from packetdrill.errors import ScriptFailure, Unsupported
from packetdrill.session import Session
from packetdrill.sockopts import option_name

_SO_MEMINFO = 55
_SOL_SOCKET, _SOL_TCP = 1, 6
_MEMINFO = "RMEM_ALLOC RCVBUF WMEM_ALLOC SNDBUF FWD_ALLOC WMEM_QUEUED OPTMEM BACKLOG DROPS".split()
_ALLOWED = (
    *(ast.Module, ast.Expr, ast.Assert, ast.Assign, ast.AugAssign, ast.If, ast.Pass),
    *(ast.Name, ast.Constant, ast.Load, ast.Store, ast.Call, ast.keyword, ast.IfExp),
    *(ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.Compare, ast.boolop, ast.operator),
    *(ast.unaryop, ast.cmpop, ast.Tuple, ast.List, ast.Subscript, ast.JoinedStr),
    ast.FormattedValue,
)
_BUILTINS = {
    function.__name__: function
    for function in (abs, bin, bool, float, hex, int, len, max, min, print, range, round, str)
}


class Snippets:
    """The code of one script; what it prints is in `output`."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.output = ""
        self._names: dict[str, Any] = {"__builtins__": _BUILTINS, **tcpinfo.SYMBOLS}

    def run(self, text: str) -> None:
        """ScriptFailure for a wrong assertion, Unsupported for code or data there is not."""
        program = self._compile(text)
        self._names.update(self._data())
        printed = io.StringIO()
        try:
            with redirect_stdout(printed):
                exec(program, self._names)
        except AssertionError as exc:
            detail = f": {exc}" if exc.args else ""
            raise ScriptFailure(
                f"assertion failed{detail}\n{text.strip()}", kind=f"assert {_subject(text)}"
            ) from None
        except NameError as exc:
            raise Unsupported(f"code: {exc}", kind=f"code: {exc.name}") from None
        except (ArithmeticError, TypeError, ValueError, LookupError) as exc:
            raise ScriptFailure(f"error executing code: {exc}", kind="code") from None
        finally:
            self.output += printed.getvalue()

    def _compile(self, text: str) -> Any:
        text = text.rstrip().removesuffix("\\")  # a last line that says it goes on
        try:
            tree = ast.parse(text)
        except SyntaxError as exc:
            raise Unsupported(f"code: {exc}", kind="code") from None
        for node in ast.walk(tree):
            if not isinstance(node, _ALLOWED) or isinstance(node, (ast.Pow, ast.LShift)):
                what = type(node).__name__
                raise Unsupported(f"{what} in code", kind=f"code: {what}")
        return compile(tree, "<script>", "exec")

    def _data(self) -> dict[str, int]:
        """What the names of TCP_INFO and SO_MEMINFO stand for at the moment."""
        flow = self.session.flow
        if flow is None or flow.fd < 0:
            raise ScriptFailure("no socket to use for code", kind="code")
        found = tcpinfo.parse(self._option(flow.fd, _SOL_TCP, tcpinfo.TCP_INFO))
        try:
            data = self._option(flow.fd, _SOL_SOCKET, _SO_MEMINFO)
        except Unsupported:
            return found
        words = [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]
        named = {f"SK_MEMINFO_{name}": word for name, word in zip(_MEMINFO, words, strict=False)}
        return {**found, **named}

    def _option(self, fd: int, level: int, name: int) -> bytes:
        call = self.session.machine.call(lambda sys: sys.getsockopt(fd, level, name))
        if call.errno or not isinstance(call.value, bytes):
            what = option_name(level, name)
            raise Unsupported(f"the host does not have getsockopt {what}", kind=f"host: {what}")
        return call.value


def _subject(text: str) -> str:
    """The first name of TCP_INFO in a snippet, for grouping."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Name) and node.id.startswith(("tcpi_", "SK_")):
            return node.id
    return "code"
