"""The RTL as Yosys reads it.

Yosys's own frontend knows no `import`, and Icarus 11 crashes on enums named `package::type`; so
the sources import, and what Yosys reads are the same sources with every imported name written out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from wire2app.errors import ToolError

IMPORT = re.compile(r"\s*\bimport\s+(\w+)::\*\s*;")
DECLARATIONS = (
    re.compile(r"localparam\s+[^=;]*?\b(\w+)\s*="),
    re.compile(r"\}\s*(\w+)\s*;"),
    re.compile(r"function\s+automatic\s+[^;(]*?\b(\w+)\s*\("),
)
ENUM = re.compile(r"typedef\s+enum[^{]*\{([^}]*)\}")
MEMBER = re.compile(r"\b([A-Za-z_]\w*)\s*(?:=|,|$)")
# Yosys takes `~Width'(1)` for `(~Width)'(1)`: it has to be written `~(Width'(1))`.
MISREAD = re.compile(r"~\s*\w+\s*'\(")
NAME = re.compile(r"(?<![\w.:`'\"$])([A-Za-z_]\w*)\b(?!\s*::)")


def write_sources(sources: Sequence[Path], folder: Path) -> list[str]:
    """Put what Yosys shall read into `folder`; the file names, in the order to read them."""
    packages = {path.stem: _names_of(path) for path in sources if path.stem.endswith("_pkg")}
    for path in sources:
        (folder / path.name).write_text(_qualified(path, packages))
    return [path.name for path in sources]


def _code_of(text: str) -> str:
    return re.sub(r"//[^\n]*", "", text)


def _names_of(package: Path) -> set[str]:
    """What a package declares."""
    text = _code_of(package.read_text())
    found = {name for pattern in DECLARATIONS for name in pattern.findall(text)}
    return found | {name for body in ENUM.findall(text) for name in MEMBER.findall(body)}


def _qualified(source: Path, packages: dict[str, set[str]]) -> str:
    """The source without imports, imported names as `package::name`."""
    text = _code_of(source.read_text())
    if found := MISREAD.search(text):
        raise ToolError(f"{source.name}: Yosys reads {found[0]}...) as a cast to another width.")
    home = {name: package for package in IMPORT.findall(text) for name in packages[package]}

    def write_out(match: re.Match[str]) -> str:
        name = match.group(1)
        return f"{home[name]}::{name}" if name in home else name

    return NAME.sub(write_out, IMPORT.sub("", text))
