"""The documentation's code runs as it stands there, and the pages make a site without a warning."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["hosts.md"])
def test_code_of_the_page_runs(page: str) -> None:
    """All blocks of a page in one namespace, in order."""
    text = (DOCS / page).read_text()
    blocks = list(BLOCK.finditer(text))
    assert blocks
    names: dict[str, Any] = {"__name__": page}
    for block in blocks:
        lines_before = text[: block.start(1)].count("\n")
        code = compile("\n" * lines_before + block[1], str(DOCS / page), "exec")
        exec(code, names)


def test_the_first_system_test_stands_in_the_docs_as_it_is_run() -> None:
    page = (DOCS / "first-test.md").read_text()
    source = (DOCS.parent / "tests" / "system" / "test_first.py").read_text()
    _, _, code = source.partition('"""\n\n')
    assert [block[1] for block in BLOCK.finditer(page)] == [code]


def test_the_programs_of_the_tour_print_what_it_says(tmp_path: Path) -> None:
    page = (DOCS / "tour.md").read_text()
    for name, block in zip(("server.py", "client.py"), BLOCK.finditer(page), strict=True):
        (tmp_path / name).write_text(block[1])
    command = [sys.executable, "-m", "wire2app", "run", "server.py", "--", "client.py"]
    done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, check=True)
    assert f"prints\n\n```\n{done.stdout}```\n" in page


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=DOCS.parent, env=environment, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert "make sim" in (tmp_path / "index.html").read_text()
    assert (tmp_path / "first-test.html").exists()
