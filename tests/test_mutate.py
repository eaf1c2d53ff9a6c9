"""`wire2app mutate`: what it changes, what it says of the tests, and that it takes up its work."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import ClassVar

import pytest

from wire2app import mutate
from wire2app.builds import ROOT, nic_sources
from wire2app.cli import run_command
from wire2app.errors import ToolError
from wire2app.mutate import results, trial
from wire2app.mutate.mutants import Mutant, mutants_of
from wire2app.mutate.trial import Plan, Trial, Workspace, regression

SOURCE = """\
module little #(parameter int W = 4) (input logic clk, input logic [7:0] a, output logic [7:0] q);
    localparam int Half = W / 2 + 1;
    assign q = a == 8'd255 ? a + 8'd1 : '0;
`ifndef SYNTHESIS
    initial if (W == 3) $fatal;
    always_ff @(posedge clk) assert (a != 8'd7);
`endif
    always_ff @(posedge clk) begin
        if (a[0] || !a[1]) q_q <= a;
        if (a[0] || !a[1]) q_q <= a;
    end
endmodule
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "little.sv"
    path.write_text(SOURCE)
    return path


def test_each_operator_constant_condition_and_assignment_is_changed_once(source: Path) -> None:
    changes = [(m.line, m.kind, m.old, m.new) for m in mutants_of(source, source.parent)]
    again = [
        (9, "condition", "a[0] || !a[1]", "!(a[0] || !a[1])"),
        (9, "operator", "||", "&&"),
        (9, "negation", "!", ""),
        (9, "assignment", "q_q <= a;", ";"),
    ]
    assert changes == [
        (3, "operator", "==", "!="),
        (3, "constant", "8'd255", "8'd0"),
        (3, "operator", "+", "-"),
        (3, "constant", "8'd1", "8'd2"),
        (3, "constant", "'0", "'1"),
        *again,
        *((10, *rest) for _, *rest in again),
    ]


def test_a_mutant_is_the_text_with_that_one_change(source: Path) -> None:
    mutants = mutants_of(source, source.parent)
    texts = {mutant.apply(SOURCE) for mutant in mutants}
    assert len(texts) == len(mutants) and SOURCE not in texts
    assert SOURCE.replace("a + 8", "a - 8") in texts


def test_a_key_survives_edits_elsewhere_and_tells_lines_alike_apart(source: Path) -> None:
    keys = [mutant.key for mutant in mutants_of(source, source.parent)]
    assert len(set(keys)) == len(keys)
    source.write_text("// a comment more\n" + SOURCE.replace(" <= ", "    <= "))
    assert [mutant.key for mutant in mutants_of(source, source.parent)] == keys


def test_a_source_that_does_not_parse_is_named(source: Path) -> None:
    source.write_text(SOURCE.replace("endmodule", ""))
    with pytest.raises(ToolError, match=r"little\.sv does not parse"):
        mutants_of(source, source.parent)


def test_the_smallest_design_with_the_module_is_tested_first() -> None:
    files = regression("burst_splitter")
    assert files[0] in ("tests/rtl/test_dma_read.py", "tests/rtl/test_dma_write.py")
    assert "tests/rtl/test_mac_rx.py" not in files
    assert files[-1] == "tests/system/test_transfer.py"
    assert regression("tx_landing")[0] == "tests/rtl/test_tx_memory.py"
    assert regression("pause_tx")[0] == "tests/rtl/test_pause.py"
    assert "tests/rtl/test_tx_segment.py" not in regression("rx_parser"), "it only shares a name"


def test_of_a_file_for_several_designs_those_with_the_module_run() -> None:
    path = ROOT / "tests" / "rtl" / "test_tx_memory.py"
    assert trial._chosen(path, "tx_landing") == ["-k", "tx_landing"]
    assert trial._chosen(path, "small_fifo") == ["-k", "tx_complete"]
    assert trial._chosen(path, "") == []
    assert trial._chosen(ROOT / "tests" / "rtl" / "test_regs.py", "small_fifo") == []


# -- trials, with one quick file of tests in place of the regression ------------------------

PROBE = """\
import time
from pathlib import Path
def test_of_the_source():
    text = (Path(__file__).parent.parent / "hdl/nic/small_fifo.sv").read_text()
    assert "<broken>" not in text, "icarus: x does not compile for icarus"
    while "<hang>" in text:
        time.time()
    assert "<wrong>" not in text
"""
FIFO = "hdl/nic/small_fifo.sv"


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setattr(trial, "regression", lambda module, root, whole: ["tests/test_probe.py"])
    space = Workspace(tmp_path / "work")
    (space.folder / "tests" / "test_probe.py").write_text(PROBE)
    return space


@pytest.mark.parametrize(
    ("comment", "outcome"),
    [("", "survived"), ("<wrong>", "killed"), ("<hang>", "timeout"), ("<broken>", "broken")],
)
def test_a_trial_tells_how_the_mutant_ended(space: Workspace, comment: str, outcome: str) -> None:
    before = (ROOT / FIFO).read_text()
    mutant = Mutant(FIFO, 1, 0, "", f"// {comment}\n", "operator", "", 0)
    result = space.try_out(mutant, Plan(1, {"tests/test_probe.py": -1.0}))
    assert result.outcome == outcome
    if outcome == "killed":
        assert result.by == "tests/test_probe.py::test_of_the_source"
    assert (space.folder / FIFO).read_text() == before == (ROOT / FIFO).read_text()


WRONG = Mutant(FIFO, 1, 0, "", "// <wrong>\n", "operator", "", 0)


def test_tests_are_run_and_measured_without_the_change_first(space: Workspace) -> None:
    plan = Plan(1)
    space.try_out(WRONG, plan)
    assert list(plan.usual) == ["tests/test_probe.py"]
    assert 0 < plan.usual["tests/test_probe.py"] < 60
    (space.folder / "tests" / "test_probe.py").write_text("def test_it(): assert False")
    with pytest.raises(ToolError, match=r"without any change: tests/test_probe.py::test_it"):
        space.try_out(Mutant(FIFO, 1, 0, "", "//\n", "operator", "", 0), Plan(1))


def test_the_test_that_noticed_a_mutant_before_is_asked_first_and_may_be_gone(
    space: Workspace,
) -> None:
    known = "tests/test_known.py::test_it"
    text = (space.folder / "tests" / "test_probe.py").read_text()
    (space.folder / "tests" / "test_known.py").write_text(text.replace("_of_the_source", "_it"))
    assert space.try_out(WRONG, Plan(1, noticed={WRONG.key: known})).by == known
    gone = Plan(1, noticed={WRONG.key: "tests/test_known.py::test_gone"})
    assert space.try_out(WRONG, gone).by == "tests/test_probe.py::test_of_the_source"


def test_what_makes_no_difference_is_not_tried_on_the_whole_nic() -> None:
    mutant = mutants_of(ROOT / "hdl/nic/pause_tx.sv", ROOT)[0]
    plan = Plan(1)
    likely = plan.names(mutant, ROOT)
    plan.pointless = {mutant.key}
    fewer = plan.names(mutant, ROOT)
    assert fewer == likely[: len(fewer)] and fewer[0] == "tests/rtl/test_pause.py"
    assert likely[len(fewer)] == "tests/rtl/test_nic_smoke.py"


def test_a_file_that_noticed_a_mutant_goes_first_for_the_others_of_that_source() -> None:
    first, second = mutants_of(ROOT / "hdl/nic/pause_tx.sv", ROOT)[:2]
    plan = Plan(1)
    plan.keep(first, Trial("killed", "tests/rtl/test_nic_pause.py::test_x", 1.0))
    assert plan.names(second, ROOT)[:2] == [
        "tests/rtl/test_nic_pause.py",
        "tests/rtl/test_pause.py",
    ]


# -- the command ----------------------------------------------------------------------------


class Space:
    """In place of a workspace: tries nothing, and lets mutants of `&&` survive."""

    tried: ClassVar[list[str]] = []
    noticed: ClassVar[dict[str, str]] = {}  # of the last plan
    interrupt_at: ClassVar[int] = -1  # trials before someone types Ctrl-C
    stopped: ClassVar[int] = 0

    def __init__(self, folder: Path) -> None:
        pass

    def digest(self) -> str:
        return ""

    def try_out(self, mutant: Mutant, plan: Plan) -> Trial:
        if len(Space.tried) == Space.interrupt_at:
            raise KeyboardInterrupt
        Space.tried.append(mutant.key)
        Space.noticed = dict(plan.noticed)
        return Trial("survived" if mutant.old == "&&" else "killed", "test_x", 0.1)

    def stop(self) -> None:
        Space.stopped += 1


@pytest.fixture
def trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of mutants in the order in which they are tried."""
    monkeypatch.setattr(Space, "tried", [])
    monkeypatch.setattr(mutate, "Workspace", Space)
    monkeypatch.setattr(mutate, "FOLDER", tmp_path)
    monkeypatch.setattr(mutate, "USUAL", tmp_path / "usual.json")
    monkeypatch.setattr(mutate, "EQUIVALENT", tmp_path / "equivalent.toml")
    return Space.tried


def test_a_second_run_tries_only_what_is_new(trials: list[str], tmp_path: Path) -> None:
    run_command(["mutate", "--module", "rr_arbiter", "--count", "5"])
    assert len(trials) == 5
    with open(tmp_path / "results-1.jsonl", "a") as log:
        log.write('{"key": "cut sho')
    run_command(["mutate", "--module", "rr_arbiter", "--count", "5"])
    assert len(trials) == 5
    run_command(["mutate", "--module", "rr_arbiter", "--count", "1000"])
    assert len(set(trials)) == len(trials) > 5


def test_of_another_state_of_the_rtl_only_who_noticed_is_known(
    trials: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["mutate", "--module", "rr_arbiter", "--count", "5"]
    run_command(arguments)
    assert Space.noticed == {}
    monkeypatch.setattr(results, "_design", lambda: "another")
    run_command(arguments)
    assert len(trials) == 10
    assert set(Space.noticed) <= set(trials[:5]) and set(Space.noticed.values()) == {"test_x"}
    run_command(arguments)
    assert len(trials) == 10


def test_what_was_found_before_an_interrupt_is_kept(
    trials: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["mutate", "--module", "rr_arbiter", "--count", "8", "--jobs", "1"]
    with monkeypatch.context() as patch:
        patch.setattr(Space, "interrupt_at", 3)
        patch.setattr(Space, "stopped", 0)
        assert run_command(arguments) == 130
        assert len(trials) == 3 and Space.stopped, "what was running is ended"
    run_command(arguments)
    assert len(trials) == len(set(trials)) == 8


def test_survivors_are_tried_again_when_asked_to(trials: list[str]) -> None:
    arguments = ["mutate", "--module", "rx_filter", "--count", "1000"]
    run_command(arguments)
    count = len(trials)
    run_command([*arguments, "--retry"])
    again = [m.key for m in mutants_of(ROOT / "hdl/nic/rx_filter.sv", ROOT) if m.old == "&&"]
    assert sorted(trials[count:]) == sorted(again) and again


def test_a_survivor_fails_the_command_until_it_is_explained(
    trials: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["mutate", "--module", "rx_filter", "--count", "1000"]
    assert run_command(arguments) == 1
    assert "without a reason" in capsys.readouterr().out
    assert run_command([*arguments, "--json"]) == 1
    trials_made = json.loads(capsys.readouterr().out)
    survivors = [m for m in trials_made if m["outcome"] == "survived"]
    assert survivors and all(m["old"] == "&&" for m in survivors)
    keys = [m.key for m in mutants_of(ROOT / "hdl/nic/rx_filter.sv", ROOT) if m.old == "&&"]
    entries = [f'[[mutant]]\nkey = "{key}"\nwhy = "It makes no difference."\n' for key in keys]
    (tmp_path / "equivalent.toml").write_text("\n".join(entries))
    assert run_command(arguments) == 0
    assert "It makes no difference." in capsys.readouterr().out


def test_the_same_seed_draws_the_same_mutants(capsys: pytest.CaptureFixture[str]) -> None:
    lists = []
    for seed in ("3", "3", "4"):
        assert run_command(["mutate", "--list", "--count", "20", "--seed", seed]) == 0
        lists.append(capsys.readouterr().out)
    assert lists[0] == lists[1] != lists[2]
    assert len(lists[0].splitlines()) == 20


def test_a_draw_changes_no_more_than_the_rtl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["mutate", "--list", "--count", "100", "--seed", "3"]
    assert run_command(arguments) == 0
    before = capsys.readouterr().out.splitlines()
    sources = [path for path in nic_sources() if path.stem != "rr_arbiter"]
    monkeypatch.setattr("wire2app.mutate.nic_sources", lambda: sources)
    assert run_command(arguments) == 0
    after = capsys.readouterr().out.splitlines()
    lost = set(before) - set(after)
    assert all("rr_arbiter" in mutant for mutant in lost) and len(lost) < 10
    assert len(set(after) - set(before)) == len(lost)


def test_an_unknown_module_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["mutate", "--module", "nothing"]) == 2
    assert "no module 'nothing'" in capsys.readouterr().err


def test_each_explanation_is_of_one_mutant_there_is_and_says_why() -> None:
    entries = tomllib.loads(mutate.EQUIVALENT.read_text())["mutant"]
    keys = [entry["key"] for entry in entries]
    assert len(set(keys)) == len(keys)
    sources = {ROOT / "hdl" / "nic" / entry["where"].partition(":")[0] for entry in entries}
    there = {mutant.key: mutant for path in sources for mutant in mutants_of(path, ROOT)}
    for entry in entries:
        assert set(entry) == {"key", "where", "change", "why"}
        assert re.fullmatch("[0-9a-f]{12}", entry["key"]) and len(entry["why"].split()) > 8
        assert entry["key"] in there, f"no such mutant any more: {entry['where']}"
        assert entry["where"].startswith(f"{Path(there[entry['key']].path).name}: ")
