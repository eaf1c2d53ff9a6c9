"""The Internet checksum (RFC 1071)."""

from __future__ import annotations


def ones_sum(data: bytes | memoryview, start: int = 0) -> int:
    """16-bit one's-complement sum of `data` (an odd byte is padded with 0) added to `start`.

    2^16 is 1 modulo 2^16 - 1, so the big integer modulo 65535 is the folded sum; a sum of
    nothing but zeros is 0, any other multiple of 65535 is 0xffff.
    """
    value = int.from_bytes(data, "big")
    if len(data) & 1:
        value <<= 8
    value += start
    return (value % 65535) or (65535 if value else 0)


def checksum(data: bytes | memoryview, start: int = 0) -> int:
    """What goes into the checksum field; over data with a valid field it gives 0."""
    return 0xFFFF - ones_sum(data, start)
