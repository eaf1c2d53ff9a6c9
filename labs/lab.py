"""What a lab is: a program of a page that shows one mechanism of the kernel, and proves it.

A lab is a dataclass; its fields are its parameters.  `run` does the experiment on a bench, which
is the same with and without the RTL NIC, and returns what it found.  `check` says whether the
mechanism showed, `conclude` says what was shown with the run's own numbers.  `breaks` are ways to
switch the mechanism off, under which `check` must fail.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from labs.charts import Chart

if TYPE_CHECKING:
    from labs.bench import LabBench

Break = Callable[["LabBench"], None]
"""Switches a mechanism off on a bench that is up; its docstring says what and where."""


class NotShown(Exception):
    """The mechanism did not show; the message is one sentence."""


class BadParameter(Exception):
    """A parameter that the lab does not have or take; the message is one sentence."""


class Result(SimpleNamespace):
    """What a run found: numbers, texts, and lists and dictionaries (keys: str) of them."""


def require(shown: object, sentence: str) -> None:
    """Raise NotShown(sentence) unless `shown`."""
    if not shown:
        raise NotShown(sentence)


def param(default: int | float, help: str, low: int | float = 1, high: float = 1e9) -> Any:
    """A parameter: a field of a lab, with its bounds."""
    return field(default=default, metadata={"help": help, "low": low, "high": high})


def sizes(**values: int | float) -> Mapping[str, int | float]:
    """Parameters for a slower way of running: `icarus = sizes(syns=300)`."""
    return values


@dataclass
class Lab(ABC):
    """The base of all labs.  The docstring of one: a title, and what to look for."""

    name: ClassVar[str]
    row: ClassVar[str]
    seconds: ClassVar[int]  # that `wire2app lab NAME` takes, about, with the NIC built
    verilator: ClassVar[Mapping[str, int | float]] = {}  # parameters over RTL instead of those
    icarus: ClassVar[Mapping[str, int | float]] = {}  # of the fields; Icarus's are the tests', too
    cpus: ClassVar[int] = 1  # of the server
    breaks: ClassVar[tuple[Break, ...]] = ()

    @classmethod
    def title(cls) -> str:
        return inspect.cleandoc(cls.__doc__ or "").partition("\n")[0].rstrip(".")

    @classmethod
    def look_for(cls) -> str:
        """What to look for: paragraphs."""
        return inspect.cleandoc(cls.__doc__ or "").partition("\n")[2].strip()

    @classmethod
    def with_parameters(cls, simulator: str | None, given: Mapping[str, str]) -> Self:
        """The lab as `simulator` (None: virtual time) runs it, and as told.  BadParameter."""
        others = {"verilator": cls.verilator, "icarus": cls.icarus}.get(simulator or "", {})
        known = {f.name: f for f in fields(cls)}
        values: dict[str, int | float] = dict(others)
        for name, text in given.items():
            if name not in known:
                has = f"has {', '.join(known)}" if known else "has none"
                raise BadParameter(f"Lab {cls.name} has no parameter {name!r}: it {has}.")
            kind: type[int | float] = float if isinstance(known[name].default, float) else int
            try:
                values[name] = kind(text.replace("_", ""))
            except ValueError:
                raise BadParameter(f"{name}={text!r} is no {kind.__name__}.") from None
            low, high = known[name].metadata["low"], known[name].metadata["high"]
            if not low <= values[name] <= high:
                raise BadParameter(f"{name}={text} is not from {low:g} to {high:g}.")
        return cls(**values)

    @classmethod
    def break_named(cls, name: str) -> Break:
        """BadParameter if there is none."""
        for broken in cls.breaks:
            if break_name(broken) == name:
                return broken
        names = ", ".join(map(break_name, cls.breaks))
        raise BadParameter(f"Lab {cls.name} has no break {name!r}: it has {names}.")

    @abstractmethod
    def run(self, bench: LabBench) -> Result: ...

    @abstractmethod
    def check(self, result: Result) -> None:
        """NotShown if the mechanism did not show."""

    @abstractmethod
    def conclude(self, result: Result) -> str: ...

    @abstractmethod
    def chart(self, result: Result) -> Chart: ...


def break_name(broken: Break) -> str:
    return broken.__name__.replace("_", "-")
