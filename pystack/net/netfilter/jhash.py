"""Jenkins' hash of 32-bit words, as `include/linux/jhash.h` has it: NAT chooses addresses by it."""

from __future__ import annotations

from collections.abc import Sequence

_MASK = 0xFFFFFFFF
_INIT = 0xDEADBEEF
_MIX = (4, 6, 8, 16, 19, 4)
_FINAL = (14, 11, 25, 16, 4, 14, 24)


def _rol(word: int, shift: int) -> int:
    return (word << shift | word >> (32 - shift)) & _MASK


def jhash2(words: Sequence[int], initval: int) -> int:
    """`words` as the machine has them in memory."""
    a = b = c = (_INIT + (len(words) << 2) + initval) & _MASK
    left = list(words)
    while len(left) > 3:
        a, b, c = (a + left[0]) & _MASK, (b + left[1]) & _MASK, (c + left[2]) & _MASK
        for shift in _MIX:
            a = ((a - c) & _MASK) ^ _rol(c, shift)
            a, b, c = b, (c + b) & _MASK, a
        del left[:3]
    if left:
        left += [0] * (3 - len(left))
        a, b, c = (a + left[0]) & _MASK, (b + left[1]) & _MASK, (c + left[2]) & _MASK
        for shift in _FINAL:
            c = ((c ^ b) - _rol(b, shift)) & _MASK
            a, b, c = b, c, a
        return b
    return c
