"""`wire2app formal`: proves what hdl/formal says of the RTL.

For each module: the proof holds, all its cover statements are reached, and with one deliberate
mistake in the source it fails.  Files, traces of failures among them, are left in build/formal.
"""

from __future__ import annotations

import json as json_module
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wire2app.errors import ToolError
from wire2app.formal.proofs import Proof, holds, proofs, reached
from wire2app.simulator import ROOT

OUT = ROOT / "build" / "formal"


@dataclass(frozen=True)
class FormalOptions:
    """modules: those only, all if empty.  quick: only the proofs that take seconds."""

    modules: Sequence[str]
    quick: bool
    json: bool


def run_formal(options: FormalOptions) -> int:
    """Run the proofs one after the other; 1 if one does not hold, is empty or blind."""
    known = proofs()
    for name in options.modules:
        if name not in known:
            raise ToolError(f"There is no proof of {name!r}: {', '.join(known)}.")
    chosen = [known[name] for name in options.modules or known]
    results = [_run(proof, options.json) for proof in chosen if proof.quick or not options.quick]
    if options.json:
        print(json_module.dumps(results, indent=2))
    return 1 if any(result["problems"] for result in results) else 0


def _run(proof: Proof, silent: bool) -> dict[str, Any]:
    begin = time.monotonic()
    folder = OUT / proof.name
    problems = []
    if found := holds(proof, folder):
        problems.append(f"does not hold: {found}")
    if found := reached(proof, folder):
        problems.append(f"is not reached: {found}")
    if not holds(proof, folder, broken=True):
        problems.append(f"does not see a mistake: {' -> '.join(proof.change)}")
    seconds = time.monotonic() - begin
    if not silent:
        verdict = "ok  " if not problems else "FAIL"
        print(f"{verdict} {proof.name} {proof.claim} ({seconds:.0f} s)", flush=True)
        for problem in problems:
            print(f"     {problem}", flush=True)
    return {
        "name": proof.name,
        "module": proof.module,
        "claim": proof.claim,
        "parameters": dict(proof.parameters),
        "problems": problems,
        "seconds": round(seconds, 1),
    }
