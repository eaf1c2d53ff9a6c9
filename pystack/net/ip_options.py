"""IP options of received packets (RFC 791, 3.1; RFC 7126; `net/ipv4/ip_options.c`).

Called by input once the route is known.  Record route and timestamps are filled in, source routes
refused, malformed options answered with a parameter problem; unknown ones pass untouched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pystack.core.headers.ipv4 import IP_HLEN

IPOPT_END, IPOPT_NOOP = 0, 1
IPOPT_COPIED = 0x80
IPOPT_RR, IPOPT_TIMESTAMP = 7, 68
IPOPT_LSRR, IPOPT_SSRR, IPOPT_RA = 131, 137, 148
TS_ONLY, TS_AND_ADDRESS, TS_PRESPECIFIED = 0, 1, 3
_DAY_MS = 86_400_000
_FULL = 15  # overflows a timestamp option can count


class OptionError(Exception):
    """`pointer`: the byte of the header that is wrong."""

    def __init__(self, pointer: int) -> None:
        super().__init__(f"bad option at byte {pointer}")
        self.pointer = pointer


@dataclass(frozen=True)
class Recorder:
    """Who records: its address on the way, ms since midnight, and which addresses are its own."""

    address: bytes
    now_ms: int
    is_ours: Callable[[bytes], bool]


def milliseconds(now: int) -> int:
    """Of the day, for timestamps; `now` in ns (`inet_current_timestamp`)."""
    return now // 1_000_000 % _DAY_MS


def walk(options: bytes | bytearray) -> Iterator[tuple[int, int, int]]:
    """(offset, type, length) of each option but padding; OptionError where that breaks off."""
    at = 0
    while at < len(options) and options[at] != IPOPT_END:
        if options[at] == IPOPT_NOOP:
            at += 1
            continue
        if at + 2 > len(options) or not 2 <= options[at + 1] <= len(options) - at:
            raise OptionError(IP_HLEN + at)
        yield at, options[at], options[at + 1]
        at += options[at + 1]


def compile_options(options: bytes, recorder: Recorder) -> tuple[bytes, bool]:
    """The options with our own entries made, and whether there is a source route
    (`__ip_options_compile`).  OptionError."""
    new = bytearray(options)
    seen: set[int] = set()
    for at, kind, length in walk(options):
        once = IPOPT_LSRR if kind == IPOPT_SSRR else kind
        if once in seen and once in (IPOPT_LSRR, IPOPT_RR, IPOPT_TIMESTAMP):
            raise OptionError(IP_HLEN + at)
        seen.add(once)
        if once == IPOPT_LSRR:
            _check(options, at, length, least=3, pointer=4)
        elif kind == IPOPT_RR:
            _check(options, at, length, least=3, pointer=4)
            _record_route(new, at, length, recorder)
        elif kind == IPOPT_TIMESTAMP:
            _check(options, at, length, least=4, pointer=5)
            _timestamp(new, at, length, recorder)
        elif kind == IPOPT_RA and length < 4:
            raise OptionError(IP_HLEN + at + 1)
    return bytes(new), IPOPT_LSRR in seen


def _check(options: bytes, at: int, length: int, *, least: int, pointer: int) -> None:
    if length < least:
        raise OptionError(IP_HLEN + at + 1)
    if options[at + 2] < pointer:
        raise OptionError(IP_HLEN + at + 2)


def _record_route(new: bytearray, at: int, length: int, recorder: Recorder) -> None:
    pointer = new[at + 2]
    if pointer > length:
        return  # full
    if pointer + 3 > length:
        raise OptionError(IP_HLEN + at + 2)
    new[at + pointer - 1 : at + pointer + 3] = recorder.address
    new[at + 2] += 4


def _timestamp(new: bytearray, at: int, length: int, recorder: Recorder) -> None:
    pointer, mode = new[at + 2], new[at + 3] & 15
    if pointer > length:
        if new[at + 3] >> 4 == _FULL:
            raise OptionError(IP_HLEN + at + 3)
        new[at + 3] += 16
        return
    size = 4 if mode == TS_ONLY else 8
    if pointer + 3 > length or (mode in (TS_AND_ADDRESS, TS_PRESPECIFIED) and pointer + 7 > length):
        raise OptionError(IP_HLEN + at + 2)
    start = at + pointer - 1
    if mode == TS_PRESPECIFIED and not recorder.is_ours(bytes(new[start : start + 4])):
        return
    if mode not in (TS_ONLY, TS_AND_ADDRESS, TS_PRESPECIFIED):
        return
    if mode == TS_AND_ADDRESS:
        new[start : start + 4] = recorder.address
    new[start + size - 4 : start + size] = recorder.now_ms.to_bytes(4, "big")
    new[at + 2] += size


def echo(options: bytes, recorder: Recorder) -> bytes:
    """The options of an answer: what was recorded, and us again as its sender
    (`__ip_options_echo`)."""
    kept = b"".join(
        options[at : at + length]
        for at, kind, length in walk(options)
        if kind in (IPOPT_RR, IPOPT_TIMESTAMP)
    )
    padded = kept.ljust(len(kept) + 3 & ~3, b"\0")
    try:
        return compile_options(padded, recorder)[0]
    except OptionError:
        return b""
