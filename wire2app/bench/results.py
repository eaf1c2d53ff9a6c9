"""build/bench/results.json.

Each section stands under its name with plain numbers, the medians.  Beside them:

    spread   by path ("stack.rr_per_s", "cosim[3].frames_per_s"): min, max and number of runs
    missing  by section: the sentence that says what could not be measured
    seconds  by section: wall time it took
    machine  what all this was measured on
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wire2app.bench.figures import Tree, plain, spread

FILE = "results.json"


def assemble(
    sections: Mapping[str, Tree],
    missing: Mapping[str, str],
    seconds: Mapping[str, float],
    quick: bool,
) -> dict[str, Any]:
    """The content of the file; `sections` in the order they ran."""
    document: dict[str, Any] = {"machine": machine(), "quick": quick}
    for name, tree in sections.items():
        document[name] = plain(tree)
    document["missing"] = dict(missing)
    document["spread"] = dict(spread(dict(sections)))
    document["seconds"] = {name: round(value, 1) for name, value in seconds.items()}
    return document


def machine() -> dict[str, Any]:
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "kernel": platform.release(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def save(document: Mapping[str, Any], folder: Path) -> Path:
    """Write the file, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(document, indent=2) + "\n")
    draft.replace(path)
    return path
