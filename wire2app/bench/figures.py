"""Measured figures: the median of several runs, with the spread beside it.

A section gives a tree of dicts and lists with `Figure`s, numbers and strings at its leaves.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, Union

Plain: TypeAlias = Union[float, str, "list[Plain]", "dict[str, Plain]"]
Tree: TypeAlias = Union["Figure", float, str, Sequence["Tree"], "TreeDict"]
TreeDict: TypeAlias = Mapping[str, Tree]
DIGITS = 6  # significant ones kept of a figure


@dataclass(frozen=True)
class Figure:
    """One quantity measured in several runs."""

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("a figure needs at least one run")

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        return min(self.values)

    @property
    def high(self) -> float:
        return max(self.values)


def ratio(above: Sequence[float], below: Sequence[float]) -> Figure:
    """Quotient run by run: the two of a pair were measured one after the other."""
    return Figure(tuple(a / b for a, b in zip(above, below, strict=True)))


def alternate(measures: Sequence[Callable[[], float]], rounds: int) -> list[Figure]:
    """Each of `measures` once a round, so that a machine that slows down hits all alike."""
    seen: list[list[float]] = [[] for _ in measures]
    for _ in range(rounds):
        for values, measure in zip(seen, measures, strict=True):
            values.append(measure())
    return [Figure(tuple(values)) for values in seen]


def rate(work: Callable[[], int]) -> float:
    """Units a wall second: `work()` does some and says how many."""
    begin = time.perf_counter()
    done = work()
    return done / (time.perf_counter() - begin)


def plain(tree: Tree) -> Plain:
    """The tree with each figure replaced by its median."""
    if isinstance(tree, Figure):
        return rounded(tree.median)
    if isinstance(tree, Mapping):
        return {key: plain(value) for key, value in tree.items()}
    if isinstance(tree, Sequence) and not isinstance(tree, str):
        return [plain(value) for value in tree]
    return rounded(tree) if isinstance(tree, float) else tree


def spread(tree: Tree, path: str = "") -> Iterator[tuple[str, dict[str, float]]]:
    """`("stack.rr_per_s", {"min": ..., "max": ..., "runs": ...})` for each figure."""
    if isinstance(tree, Figure):
        low, high = rounded(tree.low), rounded(tree.high)
        yield path, {"min": low, "max": high, "runs": len(tree.values)}
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from spread(value, f"{path}.{key}" if path else key)
    elif isinstance(tree, Sequence) and not isinstance(tree, str):
        for index, value in enumerate(tree):
            yield from spread(value, f"{path}[{index}]")


def rounded(value: float) -> float:
    """To DIGITS significant digits: more would only pretend."""
    return float(f"{value:.{DIGITS}g}")
