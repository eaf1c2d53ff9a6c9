"""The labs: each shows its mechanism, and fails when that is switched off.

In virtual time with the parameters Icarus gets; `tests/system/test_labs_rtl.py` runs them over the
RTL NIC.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from labs.catalogue import LABS, lab_class
from labs.charts import Ladder, in_terminal, write_png
from labs.lab import BadParameter, Break, Lab, NotShown, break_name
from labs.launch import run_virtual
from wire2app.lab_docs import PAGES, still_parts

ROOT = Path(__file__).resolve().parent.parent
SEED = 1
BREAKS = [(lab, broken) for lab in LABS for broken in lab.breaks]


def silent(event: dict[str, Any]) -> None:
    """Nobody listens."""


def small(cls: type[Lab]) -> Lab:
    return cls.with_parameters("icarus", {})


@pytest.mark.parametrize("cls", LABS, ids=lambda lab: lab.name)
def test_lab_shows_its_mechanism_and_draws_it(cls: type[Lab], tmp_path: Path) -> None:
    lab = small(cls)
    result = run_virtual(lab, SEED, silent)
    lab.check(result)
    assert lab.conclude(result).endswith(".")
    picture = tmp_path / "lab.png"
    write_png(lab.chart(result), picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    chart = lab.chart(result)
    assert isinstance(chart, Ladder) or chart.title in in_terminal(chart)


@pytest.mark.parametrize(
    ("cls", "broken"), BREAKS, ids=[f"{lab.name}-{break_name(b)}" for lab, b in BREAKS]
)
def test_lab_fails_when_its_mechanism_is_switched_off(cls: type[Lab], broken: Break) -> None:
    lab = small(cls)
    result = run_virtual(lab, SEED, silent, break_name(broken))
    with pytest.raises(NotShown, match=r"\.$"):
        lab.check(result)


def test_every_lab_can_be_broken_and_rows_and_names_are_unique() -> None:
    assert all(lab.breaks and all(b.__doc__ for b in lab.breaks) for lab in LABS)
    assert len({lab.name for lab in LABS}) == len({lab.row for lab in LABS}) == len(LABS)


@pytest.mark.parametrize("cls", LABS, ids=lambda lab: lab.name)
def test_page_of_the_lab_says_what_the_lab_says(cls: type[Lab]) -> None:
    """What to look for, parameters and breaks; the run on the page is an earlier one's."""
    page = (PAGES / f"{cls.name}.md").read_text()
    missing = [part for part in still_parts(cls) if part not in page]
    assert not missing, f"write it again: wire2app lab {cls.name} --write-docs"
    assert (PAGES / f"{cls.name}.png").exists()
    assert f"]({cls.name}.md)" in (PAGES / "README.md").read_text()


def test_parameters_are_taken_by_name_type_and_bounds() -> None:
    lab = lab_class("syn-flood")
    assert vars(lab.with_parameters(None, {"syns": "1_000"})) == {"syns": 1000, "clients": 40}
    assert vars(lab.with_parameters("icarus", {"clients": "7"})) == {"syns": 300, "clients": 7}
    for given in ({"sins": "1"}, {"syns": "many"}, {"syns": "1"}, {"syns": "1e3"}):
        with pytest.raises(BadParameter, match=r"\.$"):
            lab.with_parameters(None, given)


def wire2app(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "wire2app", "lab", *arguments],
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=120,
    )


def test_command_lists_the_labs_plain_and_as_json() -> None:
    assert {row["name"] for row in json.load(io.StringIO(wire2app("--json").stdout))} == {
        lab.name for lab in LABS
    }
    listed = wire2app().stdout
    assert all(f" {lab.name} " in listed and f" {lab.row} " in listed for lab in LABS)


def test_command_exits_1_with_the_sentence_when_the_mechanism_did_not_show() -> None:
    good = wire2app("echo", "--no-rtl")
    assert (good.returncode, good.stderr) == (0, "")
    assert "30 came back right" in good.stdout.replace("\n", " ")
    bad = wire2app("echo", "--no-rtl", "--break", "no-wake-up", "--json")
    report = json.loads(bad.stdout)
    assert (bad.returncode, report["shown"]) == (1, False)
    assert report["verdict"] == "0 of 30 lines came back right."


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "There is no lab 'nothing': `make lab` lists them."),
        (["echo", "--param", "lines"], "Parameter 'lines' is not of the form name=value."),
        (["echo", "--param", "lines=0"], "lines=0 is not from 1 to 1000."),
        (["echo", "--break", "it"], "Lab echo has no break 'it': it has no-wake-up."),
        (["echo", "--sim", "vcs"], "Unknown simulator 'vcs': SIM is verilator or icarus."),
    ],
)
def test_bad_requests_get_one_sentence_and_status_2(arguments: list[str], said: str) -> None:
    done = wire2app(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"wire2app: {said}\n")
