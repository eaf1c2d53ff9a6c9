"""The lowest free descriptor: a bitmap of two levels, as Linux's `open_fds` and `full_fds_bits`."""

from __future__ import annotations

WORD_BITS = 1024
_WORD_FULL = (1 << WORD_BITS) - 1


def _lowest_clear(bits: int, minimum: int) -> int:
    free = ~bits >> minimum
    return minimum + (free & -free).bit_length() - 1


# words   [ 1111…1 | 1101…0 | 0000…0 ]     a bit a descriptor, 1024 to a word
# full      1        0        0            a bit a word that has no room


class FdBitmap:
    """Every operation handles one word and the summary, whatever the number of descriptors."""

    def __init__(self) -> None:
        self._words: list[int] = []
        self._full = 0

    def test(self, fd: int) -> bool:
        word, bit = divmod(fd, WORD_BITS)
        return word < len(self._words) and bool(self._words[word] >> bit & 1)

    def set(self, fd: int) -> None:
        word, bit = divmod(fd, WORD_BITS)
        while word >= len(self._words):
            self._words.append(0)
        self._words[word] |= 1 << bit
        if self._words[word] == _WORD_FULL:
            self._full |= 1 << word

    def clear(self, fd: int) -> None:
        word, bit = divmod(fd, WORD_BITS)
        if word < len(self._words):
            self._words[word] &= ~(1 << bit)
            self._full &= ~(1 << word)

    def lowest_clear(self, minimum: int = 0) -> int:
        """The lowest number from `minimum` on whose bit is clear."""
        word, bit = divmod(minimum, WORD_BITS)
        if word < len(self._words):
            found = _lowest_clear(self._words[word], bit)
            if found < WORD_BITS:
                return word * WORD_BITS + found
            word, bit = _lowest_clear(self._full, word + 1), 0
        if word >= len(self._words):
            return word * WORD_BITS + bit
        return word * WORD_BITS + _lowest_clear(self._words[word], 0)
