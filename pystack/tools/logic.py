"""And, or, not in the filters of tools: a Lark tree of them becomes one test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from lark import Transformer, v_args

Subject = TypeVar("Subject")


@v_args(inline=True)
class Logic(Transformer[Any, Any], Generic[Subject]):
    """Of rules `start`, `expression` (any of its terms), `term` (all of its parts), `negate`."""

    def start(self, test: Callable[[Subject], bool]) -> Callable[[Subject], bool]:
        return test

    def expression(self, *tests: Callable[[Subject], bool]) -> Callable[[Subject], bool]:
        return lambda subject: any(test(subject) for test in tests)

    def term(self, *tests: Callable[[Subject], bool]) -> Callable[[Subject], bool]:
        return lambda subject: all(test(subject) for test in tests)

    def negate(self, test: Callable[[Subject], bool]) -> Callable[[Subject], bool]:
        return lambda subject: not test(subject)
