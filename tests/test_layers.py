"""Who may import whom: every import statement of the packages, against the rule of the house."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# A layer may import itself and those before it; apps are programs, on top of all.  Files directly
# in the package, as `pystack/host.py`, put a host together from all layers; none may import them.
LAYERS = ("core", "dev", "link", "net", "transport", "uapi", "tools", "apps")
PACKAGES = ("pystack", "packetdrill", "tb", "labs", "wire2app")
ALLOWED = {
    "pystack": {"pystack"},
    "packetdrill": {"packetdrill", "tb", "pystack"},
    "tb": {"tb", "pystack"},
    "labs": {"labs", "tb", "packetdrill", "pystack"},
    "wire2app": {"wire2app", "labs", "tb", "packetdrill", "pystack"},
}
SIMULATOR_ONLY = ("cocotb", "cocotbext", "cocotb_tools")


def modules() -> list[Path]:
    return [p for name in PACKAGES for p in sorted((ROOT / name).rglob("*.py"))]


def imports(path: Path, text: str) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything a file imports; `from a import b` gives a.b."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(text, str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{stem}.{alias.name}") for alias in node.names)


def layer_of(parts: tuple[str, ...]) -> int | None:
    """Position of a pystack module's layer; None for those directly in the package."""
    return LAYERS.index(parts[1]) if len(parts) > 1 and parts[1] in LAYERS else None


def violations(path: Path, text: str) -> list[str]:
    here = path.relative_to(ROOT)
    package = here.parts[0]
    found = []
    for line, name in imports(path, text):
        parts = tuple(name.split("."))
        top = parts[0]
        if top in PACKAGES and top not in ALLOWED[package]:
            found.append(f"{here}:{line}: {package} imports {name}")
        if package == "pystack" and top in SIMULATOR_ONLY:
            found.append(f"{here}:{line}: pystack imports {name}")
        if package == "pystack" and top == "pystack":
            own, other = layer_of(here.parts), layer_of(parts)
            if own is not None and (len(parts) > 1 and (other is None or other > own)):
                found.append(f"{here}:{line}: {LAYERS[own]} imports {name}")
    return found


def test_imports_follow_the_layers() -> None:
    found = [v for path in modules() for v in violations(path, path.read_text())]
    assert found == []


def test_every_folder_of_pystack_is_a_known_layer() -> None:
    folders = {p.name for p in (ROOT / "pystack").iterdir() if (p / "__init__.py").exists()}
    assert folders <= set(LAYERS)


@pytest.mark.parametrize(
    ("file", "statement"),
    [
        ("pystack/net/x.py", "from pystack.transport.tcp import Tcp"),
        ("pystack/net/x.py", "from ..transport import tcp"),
        ("pystack/core/x.py", "from pystack import dev"),
        ("pystack/core/x.py", "import pystack.host"),
        ("pystack/dev/x.py", "import cocotb"),
        ("pystack/host.py", "from tb.bench import Bench"),
        ("tb/x.py", "from wire2app.summary import Summary"),
        ("tb/x.py", "import labs"),
        ("labs/x.py", "import wire2app.cli"),
        ("packetdrill/x.py", "import wire2app"),
        ("pystack/x.py", "import packetdrill"),
    ],
)
def test_scan_finds_an_import_that_breaks_the_rule(file: str, statement: str) -> None:
    assert len(violations(ROOT / file, statement)) == 1


@pytest.mark.parametrize(
    ("file", "statement"),
    [
        ("pystack/transport/x.py", "from pystack.net.ipv4 import Ipv4"),
        ("pystack/transport/tcp/x.py", "from . import state"),
        ("pystack/host.py", "from pystack.uapi.system import System"),
        ("tb/x.py", "import cocotb"),
        ("wire2app/x.py", "from tb.bench import Bench"),
    ],
)
def test_scan_accepts_an_import_that_keeps_the_rule(file: str, statement: str) -> None:
    assert violations(ROOT / file, statement) == []
