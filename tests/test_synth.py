"""What `wire2app synth` says is right: cells are counted, paths measured, budgets enforced."""

from __future__ import annotations

from pathlib import Path

import pytest

from wire2app.cli import run_command
from wire2app.progress import Event
from wire2app.synth import budget, place
from wire2app.synth.delays import ROUTING, longest_paths
from wire2app.synth.netlist import Cell, Netlist, instance


def flip_flop(data: int, out: int) -> Cell:
    return Cell("TRELLIS_FF", {"Q": (out,)}, {"CLK": (1,), "DI": (data,), "CE": ("1",)})


def lut(out: int, *inputs: int) -> Cell:
    pins = {port: (bit,) for port, bit in zip("ABCD", inputs, strict=False)}
    return Cell("LUT4", {"Z": (out,)}, pins)


def test_the_longest_path_adds_cells_and_routing_from_register_to_register() -> None:
    cells = {
        "u_a.from": flip_flop(2, 10),
        "u_a.one": lut(11, 10),
        "u_a.two": lut(12, 11, 10),
        "u_b.to": flip_flop(12, 13),
    }
    first, *_ = longest_paths(Netlist(cells, {"clk": (False, (1,))}, {12: "u_a.sum"}))
    assert (first.begin, first.end, first.levels) == ("u_a", "u_b", 2)
    assert first.ns == pytest.approx(0.40 + 2 * 0.18 + 3 * ROUTING)
    assert first.nets == ("u_a.sum",)


def test_a_register_behind_constants_alone_has_no_path() -> None:
    cells = {"u_a.to": Cell("TRELLIS_FF", {"Q": (3,)}, {"CLK": (1,), "DI": ("0",)})}
    assert longest_paths(Netlist(cells, {}, {})) == []


def test_cells_are_counted_by_the_instance_they_are_in() -> None:
    cells = {"u_a.u_b.x": lut(2, 3), "u_a.y": lut(4, 5), "z": flip_flop(2, 6)}
    counts = Netlist(cells, {}, {}).counts(1)
    assert counts == {"u_a": {"LUT": 2}, "": {"FF": 1}}
    assert instance("u_a.g_queue[0].u_b.mem.0.1", 9) == "u_a.g_queue[0].u_b"


def test_figures_beyond_the_budget_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("budget") / "budget.toml"
    path.write_text("[ecp5]\nLUT = 10\nmhz = 156.25\n")
    monkeypatch.setattr(budget, "BUDGET", path)
    assert budget.over_budget("ecp5", {"LUT": 10, "FF": 9, "mhz": 156.25}) == []
    assert budget.over_budget("ecp5", {"LUT": 11, "mhz": 150}) == [
        "ecp5: LUT 11 is above the budget of 10",
        "ecp5: mhz 150 is below the budget of 156.25",
    ]


def test_of_several_placements_the_fastest_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def one(module: object, folder: Path, seed: int) -> place.Placement:
        return place.Placement(100.0 + seed % 3, ((folder.name, 1.0),), {seed: 100.0 + seed % 3})

    shown: list[Event] = []
    monkeypatch.setattr(place, "place", one)
    best = place.place_best({}, Path("out"), range(4, 8), shown.append)
    assert (best.mhz, best.path) == (102.0, (("seed-5", 1.0),))
    assert best.seeds == {4: 101.0, 5: 102.0, 6: 100.0, 7: 101.0}
    assert [event.done for event in shown] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "words,sentence",
    [
        (["nic_top", "-p", "Queues=99", "--quick"], "nic_top: Queues is not 1 to 16."),
        (["nic_top", "-p", "Queues=0"], "nic_top: Queues is not 1 to 16."),
        (
            ["--quick", "-p", "Queues=4"],
            "Parameters are those of one module: name it, as in `synth nic_top -p ...`.",
        ),
    ],
)
def test_parameters_that_cannot_be_are_refused_before_anything_is_mapped(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["synth", *words]) == 2
    assert capsys.readouterr().err == f"wire2app: {sentence}\n"
