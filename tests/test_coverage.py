"""`wire2app coverage`: counts of several runs are merged, and holes and goals are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wire2app import coverage as command
from wire2app.builds import ROOT
from wire2app.cli import run_command
from wire2app.coverage import Coverage, read_counts

SOURCE = ROOT / "hdl" / "nic" / "rr_arbiter.sv"


def line_of(text: str) -> int:
    return next(n for n, line in enumerate(SOURCE.read_text().splitlines(), 1) if text in line)


def point(
    line: int, count: int, page: str = "v_branch", what: str = "if", path: Path = SOURCE
) -> str:
    facts = {"f": str(path), "l": line, "n": 5, "t": "x", "page": f"{page}/rr_arbiter", "o": what}
    text = "".join(f"\x01{key}\x02{value}" for key, value in facts.items())
    return f"C '{text}' {count}\n"


def test_counts_of_runs_add_up_and_toggles_are_apart() -> None:
    coverage = Coverage()
    line = line_of("always_ff")
    for count in (0, 3, 4):
        text = point(line, count) + point(line, 0, what="else")
        read_counts("# SystemC::Coverage-3\n" + text + point(2, 1, "v_toggle", "a:0->1"), coverage)
    name = SOURCE.name
    assert coverage.lines == {(name, line, 5, "if"): 7, (name, line, 5, "else"): 0}
    assert coverage.toggles == {(name, 2, 5, "a:0->1"): 3}


def test_what_is_not_the_nic_does_not_count() -> None:
    coverage = Coverage()
    buffer = ROOT / "hdl" / "nic" / "rx_buffer.sv"
    lines = buffer.read_text().splitlines()
    check = next(n for n, line in enumerate(lines, 1) if "$fatal" in line)
    read_counts(point(check, 0, path=buffer), coverage)  # between `ifndef SYNTHESIS`
    read_counts(point(9, 0, path=ROOT / "hdl" / "sim" / "bench_top.sv"), coverage)
    assert not coverage.lines
    read_counts(point(1, 0, path=buffer), coverage)
    assert len(coverage.lines) == 1


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Counts of a run: nine of ten lines, one bin of two; nothing is explained."""
    monkeypatch.setattr(command, "FOLDER", tmp_path)
    monkeypatch.setattr(command, "HOLES", tmp_path / "holes.toml")
    counts = [point(line_of("always_ff"), int(n > 0), what=f"side {n}") for n in range(10)]
    (tmp_path / "a.dat").write_text("".join(counts))
    write_bins(tmp_path / "functional-1.yml", 5, 0)
    return tmp_path


def write_bins(path: Path, *hits: int) -> None:
    bins = "".join(f"    {n}: {count}\n" for n, count in enumerate(hits))
    path.write_text(f"nic.rx:\n  size: 2\nnic.rx.queue:\n  bins:_hits:\n{bins}  size: 2\n")


def test_a_goal_that_is_missed_fails_and_its_holes_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["coverage", "--reuse"]) == 1
    shown = capsys.readouterr().out
    assert f"rr_arbiter.sv:{line_of('always_ff')}: side 0: always_ff" in shown
    assert "nic.rx.queue: 1\n" in shown
    assert "FAIL: lines 90.0 % of 95, functional 50.0 % of 90" in shown
    assert "2 holes without a reason" in shown


def test_another_run_fills_the_holes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "b.dat").write_text(point(line_of("always_ff"), 1, what="side 0"))
    write_bins(folder / "functional-2.yml", 0, 1)
    assert run_command(["coverage", "--reuse", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["line"], document["functional"], document["holes"]) == (100, 100, [])


def test_a_hole_is_shown_with_its_reason(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "holes.toml").write_text(
        '[[hole]]\nwhere = "nic.rx.queue"\nwhat = "1"\nwhy = "There is one queue."\n'
    )
    run_command(["coverage", "--reuse"])
    shown = capsys.readouterr().out
    assert "nic.rx.queue: 1\n  There is one queue." in shown
    assert "1 holes without a reason" in shown


def test_nothing_counted_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "FOLDER", tmp_path)
    assert run_command(["coverage", "--reuse"]) == 2
    assert capsys.readouterr().err.startswith("wire2app: Nothing was counted")
