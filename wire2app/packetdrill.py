"""`wire2app packetdrill`: scripts in packetdrill's language against the kernel.

Without a NIC each script runs in virtual time; with `--rtl` all of them run in one simulation, over
the RTL NIC (the job `packetdrill.over_rtl`).
"""

from __future__ import annotations

import json as json_
from collections.abc import Iterator, Sequence
from pathlib import Path

from packetdrill import run_scripts
from packetdrill.runner import Result
from wire2app.errors import ToolError
from wire2app.sim import check_bus
from wire2app.simulator import ROOT, bench_design, check_simulator, simulate

__all__ = ["OverRtl", "own_scripts", "run_packetdrill"]

OWN = ROOT / "tests" / "packetdrill"
OUT = ROOT / "build" / "packetdrill"
JOB = "packetdrill.over_rtl"


class OverRtl:
    """Runs scripts over the RTL NIC.  ToolError for a simulator or a bus that is not there."""

    def __init__(self, sim: str, bus: str, seed: int = 1, out: Path = OUT) -> None:
        check_simulator(sim)
        check_bus(bus)
        self.sim, self.bus, self.seed = sim, bus, seed
        self.out = out / f"{sim}-{bus}"

    def __call__(self, paths: Sequence[Path], ipv6: bool) -> Iterator[Result]:
        self.out.mkdir(parents=True, exist_ok=True)
        job, results = self.out / "job.json", self.out / "results.json"
        results.unlink(missing_ok=True)
        settings = {
            "scripts": [str(path.resolve()) for path in paths],
            "ipv6": ipv6,
            "seed": self.seed,
            "out": str(results),
        }
        job.write_text(json_.dumps(settings, indent=2) + "\n")
        ended = simulate(
            bench_design(self.bus),
            JOB,
            sim=self.sim,
            seed=self.seed,
            env={"W2A_JOB": str(job)},
            work_dir=self.out,
        )
        if not ended.passed or not results.exists():
            failed = "; ".join(message for _, ok, message in ended.tests if not ok)
            raise ToolError(f"The simulation failed, see {ended.log}: {ended.reason or failed}")
        for path, result in zip(paths, json_.loads(results.read_text()), strict=True):
            yield Result(**{**result, "path": str(path)})


def run_packetdrill(
    scripts: Sequence[Path],
    json: Path | None = None,
    ipv6: bool = False,
    verbose: bool = False,
    over: OverRtl | None = None,
) -> int:
    """Run `scripts`, by default this repository's own that are meant to pass; returns 0 if all
    pass, 1 if one fails, 2 if one can only not be run.  ToolError for a path that is not there."""
    for path in scripts:
        if not path.exists():
            raise ToolError(f"no script or folder {path}")
    paths = scripts or own_scripts()
    if over is None:
        return run_scripts(paths, json, ipv6, verbose)
    return run_scripts(paths, json, ipv6, verbose, run=over)


def own_scripts() -> list[Path]:
    """Without those that show what a failure looks like."""
    shown = ("wrong-", "unknown-")
    return [path for path in sorted(OWN.glob("*.pkt")) if not path.name.startswith(shown)]
