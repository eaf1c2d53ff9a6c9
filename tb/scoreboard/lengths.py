"""Lengths of frames, buffers and pieces of frames: each class of lengths is as likely."""

from __future__ import annotations

import random
from collections.abc import Sequence

CLASSES = ((1, 13), (14, 59), (60, 60), (61, 127), (128, 511), (512, 1517), (1518, 1518))
LONGEST_FRAME = 9018
JUMBO = (1519, LONGEST_FRAME)
MORE = (LONGEST_FRAME + 1, 24000)  # of data to be segmented
SPREAD = 1000  # of most that are longer than the classes before
LONGEST_TEXT = 1 << 16  # of that


def piece_length(rng: random.Random, longest: int = LONGEST_FRAME) -> int:
    """Up to `longest`, above a frame's length only if that is."""
    return _of(rng, [*CLASSES, JUMBO, *([MORE] if longest > LONGEST_FRAME else [])], longest)


def frame_length(rng: random.Random) -> int:
    return _of(rng, [*CLASSES[2:], JUMBO], LONGEST_FRAME)


def _of(rng: random.Random, classes: Sequence[tuple[int, int]], longest: int) -> int:
    first, last = rng.choice(classes)
    if rng.random() < 0.75:  # the longest take the most time
        last = min(last, first + SPREAD)
    return min(rng.randint(first, last), longest)


def pieces_of(rng: random.Random, count: int, longest: int) -> list[int]:
    """1 to `count` pieces of a frame of `longest` bytes at most."""
    lengths = [piece_length(rng, longest) for _ in range(count)]
    while sum(lengths) > longest:
        lengths.remove(max(lengths))
    return lengths
