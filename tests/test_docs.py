"""The documents name files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
IN_TREE = re.compile(r"`((?:tests|hdl|pystack|tb|wire2app|docs)/[\w/.*-]+)`")
LINK = re.compile(r"\]\(([\w./-]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_file_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    named = [ROOT / name for name in IN_TREE.findall(text)]
    named += [page.parent / link for link in LINK.findall(text)]
    missing = [
        str(path.relative_to(ROOT))
        for path in named
        if not any(path.parent.glob(path.name)) and not path.exists()
    ]
    assert missing == []
