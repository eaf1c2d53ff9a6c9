"""setsockopt and getsockopt of scripts: values in brackets, structures, strings."""

from __future__ import annotations

import socket
import struct
from typing import Any

from packetdrill.errors import ScriptFailure
from packetdrill.prepared import Prepared, descriptor, nothing
from packetdrill.session import Session
from packetdrill.values import Value, symbol_of

SO_TYPE = int(socket.SO_TYPE)
_LEVELS = {1: "SO_", 6: "TCP_", 0: "IP_", 41: "IPV6_"}
_INT = struct.Struct("=i")


def option_name(level: int, name: int) -> str:
    return f"{symbol_of(level, 'SOL_')} {symbol_of(name, _LEVELS.get(level, ''))}"


def setsockopt(session: Session, args: list[Value]) -> Prepared:
    fd, level, name, value, length = descriptor(session, args[0]), *args[1:]
    data: int | bytes
    if isinstance(value, list):
        data = _to_signed(value[0])
        if length != _INT.size:
            data = _INT.pack(data)[:length].ljust(length, b"\0")
    elif isinstance(value, dict):
        data = struct.pack("=ii", value["onoff"], value["linger"])[:length]
    elif isinstance(value, bytes):
        data = value[:length].ljust(length, b"\0")
    else:
        raise TypeError(f"setsockopt value {value!r}")
    return Prepared(
        lambda sys: sys.setsockopt(fd, level, name, data),
        what=f"setsockopt {option_name(level, name)}",
    )


def getsockopt(session: Session, args: list[Value]) -> Prepared:
    fd, level, name, value, size = descriptor(session, args[0]), *args[1:]
    length = size[0] if isinstance(size, list) else size

    def after(actual: Any) -> None:
        got = _INT.pack(_to_signed(actual)) if isinstance(actual, int) else actual[:length]
        if len(got) != length:
            message = f"Bad getsockopt optlen: expected: {length} actual: {len(got)}"
            raise ScriptFailure(message, kind="getsockopt length")
        want = _INT.pack(_to_signed(value[0])) if isinstance(value, list) else value
        if got != want:
            texts = [_INT.unpack(v)[0] if len(v) == _INT.size else v for v in (want, got)]
            message = f"Bad getsockopt optval: expected: {texts[0]!r} actual: {texts[1]!r}"
            raise ScriptFailure(message, kind=f"getsockopt {option_name(level, name)}")

    return Prepared(
        lambda sys: sys.getsockopt(fd, level, name),
        result=nothing,
        after=after,
        what=f"getsockopt {option_name(level, name)}",
    )


def _to_signed(value: int) -> int:
    """As C's int has it."""
    return (value + (1 << 31)) % (1 << 32) - (1 << 31)
