"""The hash of receive-side scaling (Microsoft's "RSS Hashing Types"), a byte at a time."""

from __future__ import annotations

KEY_BYTES = 40
INPUT_BYTES = 36  # IPv6 addresses and ports


class Toeplitz:
    """`key` has 40 bytes; its first bit belongs to the first bit of the input."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"an RSS key has {KEY_BYTES} bytes, not {len(key)}")
        self.key = key
        bits = int.from_bytes(key, "big")
        top = KEY_BYTES * 8 - 32
        self._tables = [
            _table([bits >> top - 8 * at - bit & 0xFFFFFFFF for bit in range(8)])
            for at in range(INPUT_BYTES)
        ]

    def hash(self, data: bytes) -> int:
        """32 bits of at most 36 bytes: addresses, then ports, as they stand on the wire."""
        result = 0
        for table, byte in zip(self._tables, data, strict=False):
            result ^= table[byte]
        return result


def _table(windows: list[int]) -> list[int]:
    """What each value of a byte adds; `windows` belong to its bits, the highest first."""
    table = [0]
    for window in reversed(windows):
        table += [value ^ window for value in table]
    return table
