"""Building and launching: results, failures, waves and the cache, on a design of ten lines."""

from __future__ import annotations

import os
from pathlib import Path

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, Timer
from conftest import SIMS

from wire2app.builds import build, needed_sources
from wire2app.simulator import Design, SimResult, ToolError, simulate

TOP = """
`default_nettype none
module toy_top #(parameter int Step = 1) (
    input wire clk, input wire rst, output logic [7:0] count);
    import toy_pkg::*;
    state_e state;
    always_ff @(posedge clk) begin
        count <= rst ? 8'd0 : count + 8'(Step);
        if (rst) state <= REST; else state <= COUNT;
        if (!rst) assert (count < 8'd200) else $error("count is %0d", count);
    end
endmodule
`default_nettype wire
"""
PACKAGE = "package toy_pkg; typedef enum logic [0:0] {REST, COUNT} state_e; endpackage\n"
UNUSED = "module toy_unused; this is not verilog endmodule\n"


async def start(dut: object) -> None:
    dut.rst.value = 1  # type: ignore[attr-defined]
    cocotb.start_soon(Clock(dut.clk, 6400, "ps").start())  # type: ignore[attr-defined]
    for _ in range(3):
        await RisingEdge(dut.clk)  # type: ignore[attr-defined]
    dut.rst.value = 0  # type: ignore[attr-defined]


@cocotb.test
async def counts(dut: object) -> None:
    await start(dut)
    for _ in range(int(os.environ.get("TOY_CYCLES", "10"))):
        await RisingEdge(dut.clk)  # type: ignore[attr-defined]
    expected = int(os.environ.get("TOY_EXPECTED", "9"))
    assert int(dut.count.value) == expected  # type: ignore[attr-defined]


@cocotb.test
async def hangs(dut: object) -> None:
    if "TOY_HANG" in os.environ:
        while True:
            await Timer(1, "ms")


@pytest.fixture
def toy(tmp_path: Path) -> tuple[Path, ...]:
    files = (tmp_path / "toy_pkg.sv", tmp_path / "toy_top.sv", tmp_path / "toy_unused.sv")
    for file, text in zip(files, (PACKAGE, TOP, UNUSED), strict=True):
        file.write_text(text)
    return files


def run(toy: tuple[Path, ...], sim: str, step: int = 1, **options: object) -> SimResult:
    design = Design("toy_top", toy, {"Step": step})
    return simulate(design, __name__, sim=sim, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("sim", SIMS)
def test_passing_run_names_its_tests(toy: tuple[Path, ...], sim: str) -> None:
    result = run(toy, sim)
    result.check()
    assert result.tests == [
        ("test_simulator.counts", True, ""),
        ("test_simulator.hangs", True, ""),
    ]
    assert result.results_xml.is_file()


@pytest.mark.parametrize("sim", SIMS)
def test_failing_test_is_named_with_log_and_replay(toy: tuple[Path, ...], sim: str) -> None:
    result = run(toy, sim, seed=5, testcase="counts", env={"TOY_EXPECTED": "8"})
    with pytest.raises(AssertionError) as caught:
        result.check()
    text = str(caught.value)
    assert "test_simulator.counts: " in text
    assert "** TESTS=1 PASS=0 FAIL=1" in text
    name = f"test_failing_test_is_named_with_log_and_replay[{sim}]"
    assert text.endswith(f"replay: make test SIM={sim} SEED=5 T='{name}'")


@pytest.mark.parametrize("sim", SIMS)
def test_failed_assertion_in_rtl_fails_the_run(toy: tuple[Path, ...], sim: str) -> None:
    result = run(toy, sim, testcase="counts", env={"TOY_CYCLES": "300", "TOY_EXPECTED": "43"})
    assert not result.passed
    assert "count is 200" in result.reason


@pytest.mark.parametrize("sim", SIMS)
def test_hanging_run_is_killed(toy: tuple[Path, ...], sim: str) -> None:
    run(toy, sim).check()  # built by now, so the time goes to the run alone
    result = run(toy, sim, testcase="hangs", env={"TOY_HANG": "1"}, timeout_seconds=3)
    assert (result.passed, result.reason) == (False, "killed after 3 s of wall time")


@pytest.mark.parametrize("sim", SIMS)
def test_run_without_tests_fails(toy: tuple[Path, ...], sim: str) -> None:
    assert run(toy, sim, testcase="no_such_test").reason.startswith("no test ran")


@pytest.mark.parametrize("sim", SIMS)
def test_waves_go_where_they_are_asked_for(toy: tuple[Path, ...], sim: str, tmp_path: Path) -> None:
    import pywellen

    fst = tmp_path / "deep" / "toy.fst"
    run(toy, sim, testcase="counts", waves=fst).check()
    names = {var.full_name for var in pywellen.Waveform(str(fst)).all_vars()}
    assert {"toy_top.clk", "toy_top.count", "toy_top.state"} <= names


@pytest.mark.parametrize("sim", SIMS)
def test_build_is_reused_until_something_it_needs_changes(toy: tuple[Path, ...], sim: str) -> None:
    design = Design("toy_top", toy, {"Step": 2})
    first = build(design, sim)
    toy[2].write_text("module toy_unused; endmodule\n")
    assert build(design, sim) == first
    assert build(Design("toy_top", toy, {"Step": 3}), sim) != first
    toy[0].write_text(PACKAGE.replace("REST", "IDLE, REST").replace("[0:0]", "[1:0]"))
    assert build(design, sim) != first


@pytest.mark.parametrize("sim", SIMS)
def test_design_that_does_not_compile_is_a_tool_error(toy: tuple[Path, ...], sim: str) -> None:
    toy[1].write_text(TOP.replace("count + 8'(Step)", "count + + ;"))
    with pytest.raises(ToolError, match=f"toy_top does not compile for {sim}"):
        run(toy, sim)


def test_source_that_the_toplevel_does_not_reach_is_left_out(toy: tuple[Path, ...]) -> None:
    assert needed_sources(Design("toy_top", toy)) == toy[:2]


def test_unknown_toplevel_is_a_tool_error(toy: tuple[Path, ...]) -> None:
    with pytest.raises(ToolError, match="defines the module 'toy_bottom'"):
        needed_sources(Design("toy_bottom", toy))
