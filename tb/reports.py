"""What the bench saw that must not be: one list, and a test that fails unless it expects it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


class BenchError(Exception):
    """The device broke a rule; the text names the time, the rule and the place."""


@dataclass(frozen=True)
class Report:
    """`kind` is one of "iommu", "axi", "axil", "xgmii", "fcs"."""

    time_ns: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.time_ns} ns: {self.kind}: {self.text}"


class Reports:
    """`expected` holds kinds a test provokes: they are listed but do not fail it.

    `on_error` gets a BenchError for each other report, at the time of the report.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self.seen: list[Report] = []
        self.expected: set[str] = set()
        self.context: Callable[[], str] = str
        self.on_error: Callable[[BenchError], None] | None = None

    def add(self, kind: str, text: str) -> None:
        context = self.context()
        report = Report(self._now(), kind, f"{text} ({context})" if context else text)
        self.seen.append(report)
        if kind not in self.expected and self.on_error is not None:
            self.on_error(BenchError(str(report)))

    def of(self, kind: str) -> list[str]:
        """The texts of one kind, in order."""
        return [report.text for report in self.seen if report.kind == kind]

    def check(self) -> None:
        """BenchError with every report that was not expected."""
        bad = [str(report) for report in self.seen if report.kind not in self.expected]
        if bad:
            raise BenchError("\n".join(bad))
