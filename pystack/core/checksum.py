"""The Internet checksum (RFC 1071)."""

from __future__ import annotations

import sys

import numpy as np

_WORD = np.dtype(np.uint32)
_LONG = 256  # bytes from which on numpy's fixed cost pays: 1480 bytes take a third of the time
_SWAP = 256 if sys.byteorder == "little" else 1
_add = np.add.reduce
_frombuffer = np.frombuffer


def ones_sum(data: bytes | bytearray | memoryview, start: int = 0) -> int:
    """16-bit one's-complement sum of `data` (an odd byte is padded with 0) added to `start`.

    2^16 is 1 modulo 2^16 - 1, so a big integer modulo 65535 is the folded sum of its 16-bit
    words, wherever they stand; a sum of nothing but zeros is 0, any other multiple of 65535 is
    0xffff.
    """
    length = len(data)
    if length >= _LONG:
        whole = length & ~3
        # Byte order is the machine's here, and the sum's bytes are swapped if it has to be
        # (RFC 1071, 2): a product with 256 modulo 65535 is just that.
        start += int(_add(_frombuffer(data, _WORD, whole >> 2))) * _SWAP
        data = data[whole:]
    if data:
        value = int.from_bytes(data, "big")
        start += value << 8 if length & 1 else value
    return (start % 65535) or (65535 if start else 0)


def checksum(data: bytes | bytearray | memoryview, start: int = 0) -> int:
    """What goes into the checksum field; over data with a valid field it gives 0."""
    return 0xFFFF - ones_sum(data, start)
