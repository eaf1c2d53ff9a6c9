"""What is known of mutants: the trials of earlier runs, and why some make no difference.

A result is of one state of the RTL.  After a change it still tells which test to ask first.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from wire2app.builds import nic_sources
from wire2app.mutate.trial import Trial

__all__ = ["Results", "explained"]


class Results:
    """The file with the trials of a draw.  `known`: those of the RTL as it is, by the mutant's key.

    noticed: the test that noticed a mutant (a file of tests, if it hung), in whatever state of
    the RTL.  Results are added inside `with`.
    """

    def __init__(self, path: Path) -> None:
        """Read what earlier runs have left; a line cut short by the end of one is no result."""
        self._path = path
        self._design = _design()
        self.known: dict[str, Trial] = {}
        self.noticed: dict[str, str] = {}
        for key, design, trial in self._read():
            if design == self._design:
                self.known[key] = trial
            if trial.outcome in ("killed", "timeout"):
                self.noticed[key] = trial.by

    def _read(self) -> Iterator[tuple[str, str, Trial]]:
        for line in self._path.read_text().splitlines() if self._path.exists() else ():
            try:
                facts: dict[str, Any] = json.loads(line)
                yield facts.pop("key"), facts.pop("design"), Trial(**facts)
            except (ValueError, TypeError, KeyError):
                continue

    def forget_survivors(self) -> None:
        """They are to be tried again."""
        self.known = {key: t for key, t in self.known.items() if t.outcome != "survived"}

    def __enter__(self) -> Results:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        complete = not self._path.exists() or self._path.read_text()[-1:] in ("", "\n")
        self._log = open(self._path, "a")
        if not complete:
            self._log.write("\n")
        return self

    def add(self, key: str, trial: Trial) -> None:
        """Keep one result, now."""
        self.known[key] = trial
        facts = {"key": key, "design": self._design, **asdict(trial)}
        self._log.write(json.dumps(facts) + "\n")
        self._log.flush()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._log.close()


def _design() -> str:
    """Names the state of the RTL."""
    digest = hashlib.sha256()
    for path in sorted(nic_sources()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def explained(path: Path) -> dict[str, str]:
    """Why a mutant makes no difference, by its key."""
    if not path.exists():
        return {}
    table = tomllib.loads(path.read_text())
    return {entry["key"]: entry["why"] for entry in table["mutant"]}
