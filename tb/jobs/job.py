"""A job's settings, and its progress for whoever watches."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Job:
    """The JSON file named by W2A_JOB; `raw` holds what only one job knows."""

    sim: str
    seed: int
    bus: str
    root: str
    out: Path
    raw: dict[str, Any]

    @classmethod
    def load(cls) -> Job:
        raw = json.loads(Path(os.environ["W2A_JOB"]).read_text())
        return cls(raw["sim"], raw["seed"], raw["bus"], raw["root"], Path(raw["out"]), raw)


class Progress:
    """Appends JSON lines to the file named by W2A_PROGRESS, if there is one."""

    def __init__(self) -> None:
        path = os.environ.get("W2A_PROGRESS")
        self._file = open(path, "a", buffering=1) if path else None  # noqa: SIM115

    def __call__(self, phase: str, done: int = 0, total: int = 0) -> None:
        if self._file is not None:
            line = {"phase": phase, "done": done, "total": total}
            self._file.write(json.dumps(line) + "\n")
