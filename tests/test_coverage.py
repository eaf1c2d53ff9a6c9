"""`wire2app coverage`: counts of several runs are merged, and holes and goals are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.drivers.w2a_regs import CplStatus
from tb.coverage import RingWatch, Sample, measure
from tb.settings import Stalls
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
        text += point(2, 1, "v_toggle", "a:0->1")
        read_counts(["# SystemC::Coverage-3\n", *text.splitlines()], coverage)
    name = SOURCE.name
    assert coverage.lines == {(name, line, 5, "if"): 7, (name, line, 5, "else"): 0}
    assert coverage.toggles == {(name, 2, 5, "a:0->1"): 3}


def test_what_is_not_the_nic_does_not_count() -> None:
    coverage = Coverage()
    buffer = ROOT / "hdl" / "nic" / "rx_buffer.sv"
    lines = buffer.read_text().splitlines()
    check = next(n for n, line in enumerate(lines, 1) if "$fatal" in line)
    read_counts([point(check, 0, path=buffer)], coverage)  # between `ifndef SYNTHESIS`
    read_counts([point(9, 0, path=ROOT / "hdl" / "sim" / "bench_top.sv")], coverage)
    assert not coverage.lines
    read_counts([point(1, 0, path=buffer)], coverage)
    assert len(coverage.lines) == 1


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Counts of a run: nine of ten lines, one bin of two; nothing is explained."""
    monkeypatch.setattr(command, "FOLDER", tmp_path)
    monkeypatch.setattr(command, "HOLES", tmp_path / "holes.toml")
    counts = [point(line_of("always_ff"), int(n > 0), what=f"side {n}") for n in range(10)]
    (tmp_path / "a.dat").write_text("".join(counts))
    monkeypatch.setattr(command, "measure", queues_of)
    write_samples(tmp_path / "functional-1.json", 0)
    return tmp_path


def queues_of(samples: set[Sample]) -> list[tuple[str, str, int]]:
    """Two bins for all there is."""
    return [("nic.rx.queue", str(n), sum(s.queue == n for s in samples)) for n in (0, 1)]


def write_samples(path: Path, *queues: int) -> None:
    samples = [["rx", "60", 0, False, queue, "none", ["none"], "OK"] for queue in queues]
    path.write_text(json.dumps(samples))


def test_a_goal_that_is_missed_fails_and_its_holes_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["coverage", "--reuse"]) == 1
    shown = capsys.readouterr().out
    assert f"rr_arbiter.sv:{line_of('always_ff')}: side 0: always_ff" in shown
    assert "nic.rx.queue: 1\n" in shown
    assert "FAIL: lines 90.0 % of 95, functional 50.0 % of 90" in shown
    assert "1 lines missing without a reason" in shown


def test_another_run_fills_the_holes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "b.dat").write_text(point(line_of("always_ff"), 1, what="side 0"))
    write_samples(folder / "functional-2.json", 1)
    assert run_command(["coverage", "--reuse", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["line"], document["functional"], document["holes"]) == (100, 100, [])


def test_a_hole_is_shown_with_its_reason(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "holes.toml").write_text(
        '[[hole]]\nwhere = "nic.rx.queue"\nwhat = "1"\nwhy = "There is one queue."\n'
        '[[hole]]\nwhere = "nic.rx.queue"\nwhat = "0"\nwhy = "There is none."\n'
    )
    run_command(["coverage", "--reuse"])
    shown = capsys.readouterr().out
    assert "nic.rx.queue: 1\n  There is one queue." in shown
    assert "is no hole: nic.rx.queue: 0\n" in shown


def test_a_line_without_a_reason_fails_though_both_goals_are_reached(folder: Path) -> None:
    counts = [point(line_of("always_ff"), 1, what=f"side {n}") for n in range(10, 40)]
    (folder / "b.dat").write_text("".join(counts))  # 39 of 40
    write_samples(folder / "functional-2.json", 1)
    assert run_command(["coverage", "--reuse"]) == 1
    text = SOURCE.read_text().splitlines()[line_of("always_ff") - 1].strip()
    (folder / "holes.toml").write_text(
        f'[[hole]]\nwhere = "{SOURCE.name}"\nwhat = "{text}"\nwhy = "It is a test."\n'
    )
    assert run_command(["coverage", "--reuse"]) == 0


def test_a_cross_counts_together_what_differs_in_alignment_queue_and_stall() -> None:
    coverage = Coverage()
    for item, bin_, hits in measure([]):
        coverage.functional[item, bin_] = hits
    shown = {hole.shown for hole in command._holes(coverage, {})}
    cross = "nic.tx.length x alignment x queue x stall x offload x fault"
    assert f"{cross}: 1518 x segmented x DATA_DECERR, 48 of 48" in shown
    assert f"{cross}: 0 x none x OK, 48 of 48" not in shown  # cannot be
    assert "nic.rx.fault x queue x stall: TRUNCATED x 1 x none" in shown


def reached(samples: set[Sample]) -> set[tuple[str, str]]:
    return {(item, bin_) for item, bin_, hits in measure(samples) if hits}


def test_offloads_are_those_of_a_frames_first_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[Sample] = set()
    monkeypatch.setattr("tb.coverage._SEEN", seen)
    watch = RingWatch(False, 5, Stalls(aw=0.5))
    wanted = regs.TX_DESC_SEGMENT | 17 << regs.TX_DESC_CSUM_START_SHIFT
    completion = regs.TX_CPL.pack(0, 0, CplStatus.DATA_DECERR, 0, 0)
    for addr, length, words in ((4091, 13, wanted), (4096, 9019, wanted | regs.TX_DESC_LAST)):
        watch.note(regs.TX_DESC.pack(addr, length, words, 0, 0), completion)
    cross = "nic.tx.length x alignment x queue x stall x offload x fault"
    found = reached(seen)
    assert {bin_ for item, bin_ in found if item == cross} == {
        "1-13 x 3 x 2 x stalls x segmented x DATA_DECERR",
        "1-13 x 3 x 2 x stalls x checksum x DATA_DECERR",
        "1-13 x 3 x 2 x stalls x more follows x DATA_DECERR",
        "more x 0 x 2 x stalls x none x DATA_DECERR",
    }
    assert {bin_ for item, bin_ in found if item == "nic.tx.page"} == {"True"}


def test_what_is_received_is_of_the_length_that_was_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: set[Sample] = set()
    monkeypatch.setattr("tb.coverage._SEEN", seen)
    flags = regs.RX_CPL_LAST | regs.RX_CPL_VLAN_STRIPPED
    completion = regs.RX_CPL.pack(0, 60, CplStatus.OK, flags, 0, 0, 0)
    RingWatch(True, 0, Stalls()).note(regs.RX_DESC.pack(4090, 2048), completion)
    assert seen == {Sample("rx", "60", 2, True, 0, "none", ("VLAN stripped",), "OK")}


def test_nothing_counted_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "FOLDER", tmp_path)
    assert run_command(["coverage", "--reuse"]) == 2
    assert capsys.readouterr().err.startswith("wire2app: Nothing was counted")


@pytest.mark.parametrize(
    "test,sentence",
    [
        ("tests/rtl/test_nothing.py", "There is no tests/rtl/test_nothing.py."),
        (
            "tests/test_layers.py::test_a",
            "Nothing was counted: tests/test_layers.py::test_a simulated no NIC.",
        ),
    ],
)
def test_tests_that_count_nothing_are_named(
    test: str,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(command, "FOLDER", tmp_path)
    monkeypatch.setattr("wire2app.coverage.subprocess.call", lambda *args, **named: 0)
    assert run_command(["coverage", test]) == 2
    assert capsys.readouterr().err == f"wire2app: {sentence}\n"
