"""The labs: each shows its mechanism, and fails when that is switched off.

In virtual time with the parameters Icarus gets; `tests/system/test_labs_rtl.py` runs them over the
RTL NIC.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labs.catalogue import LABS, lab_class
from labs.charts import Ladder, in_terminal, write_png
from labs.lab import BadParameter, Break, Lab, NotShown, break_name
from labs.launch import run_virtual
from wire2app.cli import run_command
from wire2app.lab_docs import PAGES, still_parts

SEED = 1
BREAKS = [(lab, broken) for lab in LABS for broken in lab.breaks]


def silent(event: dict[str, Any]) -> None:
    """Nobody listens."""


def small(cls: type[Lab]) -> Lab:
    return cls.with_parameters("icarus", {})


@pytest.mark.parametrize("cls", LABS, ids=lambda lab: lab.name)
def test_lab_shows_its_mechanism_and_draws_it(cls: type[Lab], tmp_path: Path) -> None:
    lab, told = small(cls), list[dict[str, Any]]()
    result = run_virtual(lab, SEED, told.append)
    lab.check(result)
    assert any(len(event.get("output", "").splitlines()) > 1 for event in told)
    assert lab.conclude(result).endswith(".")
    picture = tmp_path / "lab.png"
    write_png(lab.chart(result), picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    chart = lab.chart(result)
    assert isinstance(chart, Ladder) or chart.title in in_terminal(chart)


@pytest.mark.regress
@pytest.mark.parametrize("cls", LABS, ids=lambda lab: lab.name)
def test_lab_shows_its_mechanism_with_the_numbers_of_its_page(cls: type[Lab]) -> None:
    lab = cls()
    lab.check(run_virtual(lab, SEED, silent))


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


Wire2app = Callable[..., tuple[int, str, str]]


@pytest.fixture
def wire2app(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Wire2app:
    """`wire2app lab ...`: its status, and what it wrote to either output."""
    for name in ("SIM", "SEED", "BUS", "RTL", "PARAM"):
        monkeypatch.delenv(name, raising=False)

    def command(*arguments: str) -> tuple[int, str, str]:
        status = run_command(["lab", *arguments])
        return status, *capsys.readouterr()

    return command


def test_command_lists_the_labs_plain_and_as_json(wire2app: Wire2app) -> None:
    rows = json.loads(wire2app("--json")[1])
    assert [(row["name"], row["row"]) for row in rows] == [(lab.name, lab.row) for lab in LABS]
    listed = wire2app()[1]
    assert all(f" {lab.name} " in listed and f" {lab.row} " in listed for lab in LABS)


def test_command_exits_1_with_the_sentence_when_the_mechanism_did_not_show(
    wire2app: Wire2app,
) -> None:
    status, out, err = wire2app("echo", "--no-rtl")
    assert (status, err) == (0, "")
    assert "30 came back right" in out.replace("\n", " ")
    status, out, err = wire2app("echo", "--no-rtl", "--break", "no-wake-up", "--json")
    report = json.loads(out)
    assert (status, report["shown"]) == (1, False)
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
def test_bad_requests_get_one_sentence_and_status_2(
    wire2app: Wire2app, arguments: list[str], said: str
) -> None:
    assert wire2app(*arguments) == (2, "", f"wire2app: {said}\n")
