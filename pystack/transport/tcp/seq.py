"""Sequence numbers: arithmetic modulo 2^32 (RFC 9293, 3.4; `include/net/tcp.h`)."""

from __future__ import annotations

SEQ_MASK = 0xFFFFFFFF
_HALF = 0x80000000


def seq_add(seq: int, n: int) -> int:
    return (seq + n) & SEQ_MASK


def seq_diff(a: int, b: int) -> int:
    """a - b as a signed 32-bit number: positive when `a` is later."""
    return ((a - b + _HALF) & SEQ_MASK) - _HALF


def before(a: int, b: int) -> bool:
    return (a - b) & _HALF != 0


def after(a: int, b: int) -> bool:
    return (b - a) & _HALF != 0


def between(seq: int, low: int, high: int) -> bool:
    """low <= seq <= high on the circle."""
    return (high - low) & SEQ_MASK >= (seq - low) & SEQ_MASK


def seq_max(a: int, b: int) -> int:
    return b if before(a, b) else a
