"""The save file for GTKWave: what is read of the RTL, and that the signals named are there."""

from __future__ import annotations

import re
from pathlib import Path

import cocotb
import pytest
from cocotb.triggers import Timer
from conftest import SIMS

from wire2app.gtkw import LAYOUT, write_gtkw
from wire2app.rtl_index import read_rtl
from wire2app.simulator import bench_design, simulate

SOURCE = """
package a_pkg;
    typedef enum logic [2:0] { RED, GREEN = 3'd4, BLUE /* after green */ } colour_e;  // three
endpackage
module leaf (input wire clk, output a_pkg::colour_e colour);
    typedef enum logic { OFF, ON } state_e;
    state_e state_q, state_d;
endmodule
module root (input wire clk);
    leaf #(.Width(4), .Depth((1 << 2))) first_i (.clk(clk), .colour());
    if (1) begin : gen
        leaf second_i (.clk(clk), .colour());
    end
endmodule
"""


@cocotb.test
async def stands_still(dut: object) -> None:
    await Timer(10, "ns")


def test_rtl_is_read_with_instances_and_enums(tmp_path: Path) -> None:
    source = tmp_path / "all.sv"
    source.write_text(SOURCE)
    rtl = read_rtl([source, tmp_path / "gone.sv"])
    assert rtl.modules["root"].instances == {"first_i": "leaf", "second_i": "leaf"}
    signals = rtl.modules["leaf"].signals
    assert {name: enum.labels for name, enum in signals.items()} == {
        "colour": {0: "RED", 4: "GREEN", 5: "BLUE"},
        "state_q": {0: "OFF", 1: "ON"},
        "state_d": {0: "OFF", 1: "ON"},
    }


@pytest.mark.parametrize("sim", SIMS)
def test_every_group_has_signals_and_states_have_names(sim: str, tmp_path: Path) -> None:
    fst, save = tmp_path / "wave.fst", tmp_path / "wave.gtkw"
    simulate(bench_design(), __name__, sim=sim, testcase="stands_still", waves=fst).check()
    write_gtkw(fst, save)
    text = save.read_text()
    assert re.findall(r"^-(.+)$", text, re.MULTILINE)[::2] == [title for title, _ in LAYOUT]
    state = "fast_top.bench.nic.u_rx.u_mac.u_align.state_q[1:0]"
    labels = tmp_path / "enums" / "mac_rx_align.state_e.txt"
    if sim == "verilator":  # has the enum in the waveform
        assert f"@100000028\n{state}\n" in text
    else:
        assert f"@2022\n^1 {labels}\n{state}\n" in text
        assert labels.read_text() == "0 HUNT\n1 FRAME\n2 BROKEN\n"
