"""What a section is given: how thorough to be, which simulators there are, whom to tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from wire2app.errors import ToolError
from wire2app.progress import Event
from wire2app.runners import ROOT, SIMULATORS, check_simulator

OUT = ROOT / "build" / "bench"
T = TypeVar("T")


@dataclass
class Context:
    """`missing` collects, by section, the sentence that says what it could not measure."""

    quick: bool = False
    out: Path = OUT
    seed: int = 1
    tell: Callable[[Event], None] = lambda event: None
    missing: dict[str, str] = field(default_factory=dict)
    section: str = ""
    _measured: dict[str, Any] = field(default_factory=dict)

    @property
    def rounds(self) -> int:
        """How often each measurement is repeated."""
        return 2 if self.quick else 3

    def progress(self, done: int, total: int) -> None:
        """Of the section that runs."""
        self.tell(Event(self.section, done, total))

    def once(self, name: str, measure: Callable[[], T]) -> T:
        """`measure()`, or what it gave when another section asked for it by this name."""
        if name not in self._measured:
            self._measured[name] = measure()
        result: T = self._measured[name]
        return result

    def simulators(self, *wanted: str) -> list[str]:
        """Those of `wanted` that are installed; the section is marked for each of the others."""
        there = []
        for sim in wanted or SIMULATORS:
            try:
                check_simulator(sim)
            except ToolError as error:
                self.lacks(str(error))
            else:
                there.append(sim)
        return there

    def lacks(self, sentence: str) -> None:
        """The section that runs could not measure something."""
        before = self.missing.get(self.section)
        self.missing[self.section] = f"{before} {sentence}" if before else sentence
