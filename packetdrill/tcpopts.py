"""TCP options as scripts write them: in order, padding and all (RFC 9293, 3.1 and others)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from pystack.core.headers.tcp import (
    OPT_EOL,
    OPT_MSS,
    OPT_NOP,
    OPT_SACK,
    OPT_SACK_PERMITTED,
    OPT_TIMESTAMPS,
    OPT_WSCALE,
)

OPT_MD5 = 19  # RFC 2385
OPT_FASTOPEN = 34  # RFC 7413
OPT_ACCECN0 = 172  # RFC 9768: counters in the order E0B, CEB, E1B
OPT_ACCECN1 = 174  # and E1B, CEB, E0B
OPT_EXPERIMENT = 254  # RFC 6994
FASTOPEN_MAGIC = b"\xf9\x89"
_SINGLE = (OPT_EOL, OPT_NOP)
_TIMESTAMPS = struct.Struct("!II")
_EDGES = struct.Struct("!II")


@dataclass(frozen=True)
class Option:
    """`data` is what stands behind kind and length."""

    kind: int
    data: bytes = b""

    def pack(self) -> bytes:
        if self.kind in _SINGLE:
            return bytes((self.kind,))
        return bytes((self.kind, 2 + len(self.data))) + self.data

    def __str__(self) -> str:
        return _TEXT.get(self.kind, _plain)(self)


def parse(data: bytes) -> tuple[Option, ...]:
    """Every option of a header; ValueError if one runs over the end."""
    found = []
    at = 0
    while at < len(data):
        kind = data[at]
        if kind in _SINGLE:
            found.append(Option(kind))
            at += 1
            continue
        length = data[at + 1] if at + 1 < len(data) else 0
        if length < 2 or at + length > len(data):
            raise ValueError(f"bad length {length} of TCP option {kind}")
        found.append(Option(kind, data[at + 2 : at + length]))
        at += length
    return tuple(found)


def pack(options: tuple[Option, ...]) -> bytes:
    return b"".join(option.pack() for option in options)


def timestamps(val: int, ecr: int) -> Option:
    return Option(OPT_TIMESTAMPS, _TIMESTAMPS.pack(val & 0xFFFFFFFF, ecr & 0xFFFFFFFF))


def find_timestamps(options: tuple[Option, ...]) -> tuple[int, int] | None:
    """(TSval, TSecr) of the last timestamps option."""
    for option in reversed(options):
        if option.kind == OPT_TIMESTAMPS and len(option.data) == _TIMESTAMPS.size:
            val, ecr = _TIMESTAMPS.unpack(option.data)
            return val, ecr
    return None


def replace_timestamps(
    options: tuple[Option, ...], val: int | None = None, ecr: int | None = None
) -> tuple[Option, ...]:
    """`options` with another TSval or TSecr."""

    def changed(option: Option) -> Option:
        if option.kind != OPT_TIMESTAMPS or len(option.data) != _TIMESTAMPS.size:
            return option
        old_val, old_ecr = _TIMESTAMPS.unpack(option.data)
        return timestamps(old_val if val is None else val, old_ecr if ecr is None else ecr)

    return tuple(changed(option) for option in options)


def without_md5(options: tuple[Option, ...]) -> tuple[Option, ...]:
    """Without the MD5 signature and the two NOPs that make it whole words."""
    kept = [option for option in options if option.kind != OPT_MD5]
    while len(pack(tuple(kept))) % 4 and Option(OPT_NOP) in kept:
        kept.remove(Option(OPT_NOP))
    return tuple(kept)


def sack(edges: list[tuple[int, int]]) -> Option:
    data = b"".join(_EDGES.pack(left & 0xFFFFFFFF, right & 0xFFFFFFFF) for left, right in edges)
    return Option(OPT_SACK, data)


def sack_blocks(option: Option) -> list[tuple[int, int]]:
    whole = len(option.data) // _EDGES.size * _EDGES.size
    return [(left, right) for left, right in _EDGES.iter_unpack(option.data[:whole])]


def shift_sack(options: tuple[Option, ...], offset: int) -> tuple[Option, ...]:
    """`options` with `offset` added to the edges of SACK blocks."""
    return tuple(
        sack([(left + offset, right + offset) for left, right in sack_blocks(option)])
        if option.kind == OPT_SACK
        else option
        for option in options
    )


def to_text(options: tuple[Option, ...]) -> str:
    return "<" + ",".join(str(option) for option in options) + ">"


# -- text ------------------------------------------------------------------------------------


def _plain(option: Option) -> str:
    return f"option {option.kind} {option.data.hex()}"


def _number(name: str) -> Callable[[Option], str]:
    return lambda option: f"{name} {int.from_bytes(option.data, 'big')}"


def _blob(name: str) -> Callable[[Option], str]:
    return lambda option: f"{name} {option.data.hex()}".rstrip()


def _sack_text(option: Option) -> str:
    return " ".join(["sack", *(f"{left}:{right}" for left, right in sack_blocks(option))])


def _timestamps_text(option: Option) -> str:
    found = find_timestamps((option,))
    return _plain(option) if found is None else f"TS val {found[0]} ecr {found[1]}"


def _experiment_text(option: Option) -> str:
    if option.data.startswith(FASTOPEN_MAGIC):
        return f"FOEXP {option.data[2:].hex()}".rstrip()
    return _plain(option)


_TEXT: dict[int, Callable[[Option], str]] = {
    OPT_EOL: lambda option: "eol",
    OPT_NOP: lambda option: "nop",
    OPT_MSS: _number("mss"),
    OPT_WSCALE: _number("wscale"),
    OPT_SACK_PERMITTED: lambda option: "sackOK",
    OPT_SACK: _sack_text,
    OPT_TIMESTAMPS: _timestamps_text,
    OPT_MD5: _blob("md5"),
    OPT_FASTOPEN: _blob("FO"),
    OPT_EXPERIMENT: _experiment_text,
}
