"""Running labs: in virtual time, in this process; over the RTL NIC, in a simulator's.

Used by `wire2app lab` and by the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from labs.bench import Tell, VirtualBench
from labs.lab import Lab, Result


def run_virtual(lab: Lab, seed: int, tell: Tell, broken: str = "") -> Result:
    """What the lab found; `broken` names one of its breaks.  LabError, BadParameter."""
    bench = VirtualBench(seed, tell, lab.cpus)
    try:
        with bench:
            bench.up()
            if broken:
                lab.break_named(broken)(bench)
            return lab.run(bench)
    finally:
        bench.power_off()


def job_settings(labs: Sequence[tuple[Lab, str]], seed: int) -> dict[str, Any]:
    """What `labs.over_rtl` reads: labs, each with the name of a break or ""."""
    return {
        "seed": seed,
        "labs": [
            {"name": lab.name, "parameters": asdict(lab), "break": broken} for lab, broken in labs
        ],
    }
