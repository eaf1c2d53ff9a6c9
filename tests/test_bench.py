"""`wire2app bench`: the statistics, the file, the table, what is said when something is missing.

The measurements themselves run here with sizes at which they take a moment.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from wire2app.bench import command, cosim, forward, ratios, simjob, stack, xdp
from wire2app.bench.context import Context
from wire2app.bench.figures import Figure, Tree, alternate, plain, ratio, rounded, spread
from wire2app.bench.hosts import Two
from wire2app.bench.memory import bytes_per_connection
from wire2app.bench.plot import main as plot_main
from wire2app.bench.results import assemble, save
from wire2app.bench.sections import SECTIONS
from wire2app.bench.table import print_tables
from wire2app.bench.wakeups import Crowd
from wire2app.cli import run_command as run
from wire2app.errors import ToolError
from wire2app.report import PIPE_WIDTH
from wire2app.simulator import Design

DOCUMENTED = ("cosim", "stack", "xdp", "forward", "ratios", "memory", "rtl", "startup", "idle")


# -- figures -------------------------------------------------------------------------------


def test_figure_is_the_median_with_its_spread() -> None:
    figure = Figure((5.0, 1.0, 9.0, 2.0))
    assert (figure.median, figure.low, figure.high) == (3.5, 1.0, 9.0)
    with pytest.raises(ValueError, match="at least one run"):
        Figure(())


def test_ratio_is_taken_run_by_run() -> None:
    """The machine was half as fast in the second run, for both alike."""
    assert ratio((10.0, 5.0), (2.0, 1.0)).values == (5.0, 5.0)


def test_measurements_take_turns() -> None:
    order: list[str] = []

    def measure(name: str, value: float) -> float:
        order.append(name)
        return value

    a, b = alternate([lambda: measure("a", 1.0), lambda: measure("b", 2.0)], 3)
    assert order == ["a", "b"] * 3
    assert (a.values, b.values) == ((1.0,) * 3, (2.0,) * 3)


def test_tree_becomes_plain_numbers_and_a_spread_by_path() -> None:
    tree: Tree = {"a": {"b": Figure((1.0, 2.0, 4.0))}, "rows": [{"c": Figure((3.0,)), "sim": "x"}]}
    assert plain(tree) == {"a": {"b": 2.0}, "rows": [{"c": 3.0, "sim": "x"}]}
    assert dict(spread(tree)) == {
        "a.b": {"min": 1.0, "max": 4.0, "runs": 3},
        "rows[0].c": {"min": 3.0, "max": 3.0, "runs": 1},
    }


def test_numbers_pretend_no_more_digits_than_they_have() -> None:
    assert (rounded(1234567.89), rounded(0.123456789)) == (1234570.0, 0.123457)


# -- file and table ------------------------------------------------------------------------


def document() -> dict[str, Any]:
    row = {
        **{"sim": "verilator", "bus": "fast", "direction": "rx", "frame_bytes": 1514},
        **{"frames_per_s": Figure((105000.0, 105500.0)), "cycles_per_s": Figure((1.5e6,))},
        "share": {"rtl": 0.5, "transactors": 0.25, "python": 0.25},
    }
    line = {"frame_bytes": 60, "rx_fraction": 1.0, "tx_fraction": 0.9, "drops": 0}
    line |= {"rx_cycles_per_packet": 10.5, "tx_cycles_per_packet": 11.7}
    both = {"rx_drops": 0, "tx_cycles": 5108859, "wire_cycles": 5108859.375}
    sections: dict[str, Any] = {
        "cosim": [row],
        "stack": {"rr_per_s": Figure((100.0, 300.0, 200.0))},
        "rtl": {
            "wire_end_to_irq_cycles": Figure((39,)),
            "linerate": {"one_way": [line], "both_ways": both},
        },
    }
    return assemble(sections, {"idle": "No Verilator."}, {"stack": 1.23}, quick=True)


def test_file_holds_medians_spread_machine_and_what_is_missing(tmp_path: Path) -> None:
    saved = json.loads(save(document(), tmp_path / "new").read_text())
    assert saved["cosim"][0]["frames_per_s"] == 105250.0
    assert saved["stack"] == {"rr_per_s": 200.0}
    assert saved["spread"]["cosim[0].frames_per_s"] == {"min": 105000.0, "max": 105500.0, "runs": 2}
    assert saved["missing"] == {"idle": "No Verilator."}
    assert saved["seconds"] == {"stack": 1.2}
    assert saved["quick"] is True
    assert {"processor", "cores", "python", "kernel"} == saved["machine"].keys()


def test_table_in_a_pipe_is_ascii_no_wider_than_the_pipe_and_shows_every_figure() -> None:
    out = io.StringIO()
    print_tables(document(), Console(file=out, width=PIPE_WIDTH, no_color=True))
    text = out.getvalue()
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= PIPE_WIDTH
    for shown in (
        "105,250",
        "105,000..105,500",
        "python",
        "50%",
        "rr per s",
        "100..300",
        "39",
        "90.0%",
        "11.70",
        "5,108,859",
    ):
        assert shown in text, text


def test_sections_are_those_the_page_describes() -> None:
    assert tuple(SECTIONS) == DOCUMENTED


# -- the command ---------------------------------------------------------------------------


def test_unknown_section_is_one_sentence_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "speed"]) == 2
    assert capsys.readouterr().err == (
        f"wire2app: Unknown section 'speed': there are {', '.join(DOCUMENTED)}.\n"
    )


def fail(context: Context) -> dict[str, float]:
    raise ToolError("The machine is on fire.")


def half(context: Context) -> dict[str, float]:
    context.simulators("verilator", "icarus")
    return {"a": 1.0}


def test_section_that_cannot_run_is_marked_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_icarus(sim: str) -> None:
        if sim == "icarus":
            raise ToolError("Icarus Verilog is not installed: run `make setup`.")

    monkeypatch.setattr("wire2app.bench.context.check_simulator", no_icarus)
    monkeypatch.setitem(SECTIONS, "stack", fail)
    monkeypatch.setitem(SECTIONS, "rtl", half)
    options = command.BenchOptions(("rtl", "stack"), json=True, out=tmp_path)
    assert command.run_bench(options) == 2
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert found == json.loads((tmp_path / "results.json").read_text())
    assert found["rtl"] == {"a": 1.0}
    assert found["missing"] == {
        "stack": "The machine is on fire.",
        "rtl": "Icarus Verilog is not installed: run `make setup`.",
    }
    assert "wire2app: bench stack is incomplete: The machine is on fire.\n" in shown.err


def record(bus: str, case: dict[str, Any]) -> dict[str, Any]:
    """As the job leaves it; fast is ten times as fast."""
    share = {"rtl": 0.5, "transactors": 0.3, "python": 0.2}
    frames = 1000 if bus == "fast" else 100
    return {**case, "frames": frames, "wall_s": 0.5, "cycles": 4000, "share": share}


def test_cosim_runs_everything_each_round_and_ratios_reuse_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs: list[tuple[str, str]] = []

    def job(
        context: Context, module: str, sim: str, bus: str, name: str, settings: Any, *design: Design
    ) -> Any:
        runs.append((sim, "cocotbext" if design else bus))
        return [record(bus, case) for case in settings["cases"]]

    monkeypatch.setattr(cosim, "run_job", job)
    monkeypatch.setattr(ratios, "run_job", job)
    monkeypatch.setattr("wire2app.bench.context.check_simulator", lambda sim: None)
    context = Context(quick=True)
    rows = plain(cosim.run(context))
    assert runs == [(s, b) for s in ("verilator", "icarus") for b in ("fast", "pins")] * 2
    assert isinstance(rows, list) and len(rows) == 2 * 2 * 2 * 4
    assert rows[0] == {
        **{"sim": "verilator", "bus": "fast", "direction": "rx", "frame_bytes": 60},
        **{"frames_per_s": 2000.0, "cycles_per_s": 8000.0},
        "share": {"rtl": 0.5, "transactors": 0.3, "python": 0.2},
    }
    same = {10: Figure((8.0, 6.0)), 10_000: Figure((4.0, 6.0))}
    monkeypatch.setattr("wire2app.bench.wakeups.rates", lambda context: same)
    assert plain(ratios.run(context)) == {
        "epoll_10000_over_10": 1.5,
        "fast_over_pins_verilator": 10.0,
        "fast_over_pins_icarus": 10.0,
        "fast_over_cocotbext_verilator": 10.0,
        "fast_over_cocotbext_icarus": 10.0,
    }
    taking_turns = ("fast", "cocotbext") * 2
    assert runs[8:] == [(s, b) for s in ("verilator", "icarus") for b in taking_turns]


def test_job_that_fails_is_named_with_its_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Failed:
        passed, log, reason = False, tmp_path / "sim.log", ""
        tests = (("job.measure", False, "AssertionError: no"),)

    monkeypatch.setattr(simjob, "simulate", lambda *args, **kwargs: Failed())
    with pytest.raises(ToolError, match=r"job failed on icarus, bus pins, see .*sim.log: .*no"):
        simjob.run_job(Context(out=tmp_path), "job", "icarus", "pins", "x", {})


def test_picture_needs_figures_of_the_co_simulation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "results.json"
    source.write_text("{}")
    assert plot_main([str(source), str(tmp_path / "x.png")]) == 2
    assert "No figures of the co-simulation" in capsys.readouterr().err
    assert plot_main([str(tmp_path / "none.json")]) == 2


# -- the measurements ----------------------------------------------------------------------


def test_flood_measurements_drop_every_frame_where_they_say() -> None:
    flood = xdp.Flood()
    assert flood.drop_in_driver(640) > 0
    assert flood.drop_at_socket(640) > 0


def test_poll_mode_forwards_at_line_rate_and_the_kernel_does_not() -> None:
    kernel, poll = forward.by_kernel(600), forward.by_polling(600)
    assert kernel.simulated < 4e6 < 13e6 < poll.simulated < 14.9e6


def test_stack_measurements_move_every_byte() -> None:
    """Each raises if a byte is missing; the second call goes on where the first ended."""
    receiver, sender, two = stack.Receiver(), stack.Sender(), Two()
    for _ in range(2):
        assert receiver.receive(64) > 0
        assert sender.send(64) > 0
        assert stack.round_trips(two, 5) == 5
        assert stack.connections(two, 3) == 3


def test_crowd_wakes_once_a_byte_whatever_its_size() -> None:
    crowd = Crowd(150)
    crowd.fill()
    assert crowd.wake(20) > 0
    assert crowd.woken == 20


def test_idle_connection_holds_less_than_ten_kilobytes() -> None:
    assert bytes_per_connection(300) < 10_000
