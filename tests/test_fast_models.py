"""What C and Python agree on in BUS=fast, and what Python keeps from the models.  No simulator."""

from __future__ import annotations

import ctypes
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from pystack.core.dma import Direction
from tb import host_port
from tb.fast import bus, library
from tb.fast.wire import FastWire
from tb.pins import clock, flags, xgmii_code
from tb.pins.xgmii_code import SOUND, Defect
from tb.settings import BusSettings, Resp, Stalls
from wire2app.builds import ROOT, bench_design

HEADER = ROOT / "hdl" / "sim" / "fast" / "fast.h"
TOP = ROOT / "hdl" / "sim" / "fast_top.sv"
DEFECT = type(library.defect_struct(SOUND, 60))
STRUCTS: dict[str, type[ctypes.Structure]] = {
    "event_t": library.Event,
    "shared_t": library.Shared,
    "rule_t": library.Rule,
    "defect_t": DEFECT,
}


def asked_of_c(expressions: list[str], folder: Path) -> dict[str, int]:
    """What the compiler makes of expressions over `fast.h`."""
    lines = [f'    printf("%lld\\n", (long long)({expression}));' for expression in expressions]
    program = folder / "ask.c"
    program.write_text(
        "\n".join(['#include "fast.h"', "#include <stdio.h>", "int main(void)", "{", *lines, "}"])
    )
    subprocess.run(["cc", f"-I{HEADER.parent}", program, "-o", folder / "ask"], check=True)
    answer = subprocess.run([folder / "ask"], check=True, capture_output=True, text=True).stdout
    return dict(zip(expressions, map(int, answer.split()), strict=True))


def members(prefix: str) -> list[str]:
    """The enumerators of `fast.h` that start with `prefix`."""
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.DOTALL)
    bodies = "".join(re.findall(r"enum \{(.*?)\}", text, flags=re.DOTALL))
    return re.findall(rf"\b{prefix}\w+", bodies)


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("F_", {flag.name: flag.value for flag in flags.Flag}),
        ("EV_", {kind.name: kind.value for kind in library.Kind}),
        ("REPORT_", {name.upper(): index for index, name in enumerate(library.REPORTS)}),
        ("RESP_", {resp.name: resp.value for resp in Resp if resp is not Resp.EXOKAY}),
        ("DMA_", {d.name: d.value for d in Direction if d is not Direction.BIDIRECTIONAL}),
        ("STALL_", {name.upper(): index for index, name in enumerate(Stalls.__annotations__)}),
        (
            "XGMII_",
            {
                name: getattr(xgmii_code, name)
                for name in ("IDLE", "START", "TERMINATE", "ERROR", "SEQUENCE")
            },
        ),
    ],
)
def test_enumerations_of_c_and_python_agree(
    prefix: str, expected: dict[str, int], tmp_path: Path
) -> None:
    values = asked_of_c(members(prefix), tmp_path)
    assert {name.removeprefix(prefix): value for name, value in values.items()} == expected


def test_what_the_toplevel_drives_is_what_the_models_say(tmp_path: Path) -> None:
    text = TOP.read_text()
    calls = re.findall(r"if \(drive\[(\d)\]\)\s+`CALL\(drive_(\w+)\)", text)
    expected = {name.upper(): 1 << int(bit) for bit, name in calls}
    for name, statement in (("STOP", "parked <?= kick"), ("WAKE", "attention <?= !attention")):
        found = re.search(rf"if \(drive\[(\d)\]\) {statement}", text)
        assert found is not None
        expected[name] = 1 << int(found[1])
    values = asked_of_c(members("D_"), tmp_path)
    assert {name.removeprefix("D_"): value for name, value in values.items()} == expected


def test_constants_of_c_and_python_agree(tmp_path: Path) -> None:
    expected = {
        "PERIOD_PS": flags.PERIOD_PS,
        "PHASE_PS": flags.PHASE_PS,
        "GUARD_CYCLES": clock.GUARD_CYCLES,
        "POISON": host_port.POISON,
        "MAX_EVENTS": library.MAX_EVENTS,
        "HEAP_BYTES": library.HEAP_BYTES,
        "MIN_FRAME": xgmii_code.MIN_FRAME,
        "IFG": xgmii_code.IFG,
        "MAX_DEFICIT": xgmii_code.MAX_DEFICIT,
        "STALLS": len(bus._stalls(BusSettings())),
        "MAX_BEATS": 256,  # IHI 0022, A3.4.1
    }
    assert asked_of_c(list(expected), tmp_path) == expected


@pytest.mark.parametrize("name", STRUCTS)
def test_structures_of_c_and_python_have_one_layout(name: str, tmp_path: Path) -> None:
    struct = STRUCTS[name]
    expected = {f"sizeof({name})": ctypes.sizeof(struct)}
    for field in (entry[0] for entry in struct._fields_):
        place = getattr(struct, field)
        expected[f"offsetof({name}, {field})"] = place.offset
        expected[f"sizeof((({name} *)0)->{field})"] = place.size
    assert asked_of_c(list(expected), tmp_path) == expected


def test_events_are_unpacked_as_they_are_laid_out() -> None:
    assert bus.EVENT.size == ctypes.sizeof(library.Event)


def test_the_design_names_every_file_of_the_models() -> None:
    assert set(bench_design("fast").library) == set(HEADER.parent.iterdir())


@pytest.mark.parametrize(
    ("defect", "length", "text"),
    [
        (Defect(preamble=bytes(7)), 60, "a preamble has 8 bytes, not 7"),
        (Defect(fcs_xor=1 << 32), 60, "an FCS has 32 bits"),
        (Defect(fcs_xor=-1), 60, "an FCS has 32 bits"),
        (Defect(cut_to=-1), 60, "cannot be cut to -1 bytes"),
        (Defect(error_at=-1), 60, "no byte -1 in the 64"),
        (Defect(error_at=64), 60, "no byte 64 in the 64"),
        (Defect(error_at=64), 10, "no byte 64 in the 64"),
        (Defect(error_at=14, pad=False), 10, "no byte 14 in the 14"),
        (Defect(error_at=(1 << 32) + 1), 60, "no byte 4294967297 in the 64"),
        (Defect(error_at=20, cut_to=20), 60, "no byte 20 in the 20"),
        (Defect(error_at=0, cut_to=0), 60, "no byte 0 in the 0"),
    ],
)
def test_a_defect_the_frame_cannot_have_is_refused(defect: Defect, length: int, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        library.defect_struct(defect, length)


def test_a_defect_at_the_last_byte_or_behind_the_cut_is_taken() -> None:
    library.defect_struct(Defect(error_at=63), 10)
    library.defect_struct(Defect(error_at=13, pad=False), 10)
    assert library.defect_struct(Defect(cut_to=1 << 40), 60).cut_to == 64


class Models:
    """Stands in for the library: takes everything, and says that the clock runs."""

    def __getattr__(self, name: str) -> Callable[..., int]:
        return lambda *args: 1


def wire() -> FastWire:
    models: Any = Models()
    return FastWire(cast(ctypes.CDLL, models), library.Shared(), lambda was_running: None)


def test_a_refused_frame_leaves_its_senders_in_order() -> None:
    port = wire()
    sent: list[str] = []
    with pytest.raises(ValueError, match="no byte 99"):
        port.send(bytes(60), lambda: sent.append("refused"), Defect(error_at=99))
    with pytest.raises(ValueError, match="64 bits of data and 8 of control"):
        port.send_columns([(1 << 64, 0)], lambda: sent.append("refused"))
    with pytest.raises(ValueError, match="64 bits of data and 8 of control"):
        port.send_columns([(0, 256)], lambda: sent.append("refused"))
    port.send(bytes(60), lambda: sent.append("good"))
    port.sent()
    assert sent == ["good"]


@pytest.mark.parametrize(
    "stalls", [Stalls(axil=1.0), Stalls(axil=1 - 1e-12), Stalls(aw=-0.1), Stalls(r=1.1)]
)
def test_stalls_that_are_no_probability_or_never_end_are_refused(stalls: Stalls) -> None:
    with pytest.raises(ValueError, match="from 0 to 1, axil below 1"):
        bus._stalls(BusSettings(stalls))


def test_the_loop_that_is_the_clock_keeps_the_grid() -> None:
    text = (ROOT / "hdl" / "sim" / "verilator_main.cpp").read_text()
    found = re.search(r"PERIOD = (\d+), HALF = PERIOD / 2, PHASE = (\d+);", text)
    assert found is not None
    assert [int(value) for value in found.groups()] == [flags.PERIOD_PS, flags.PHASE_PS]
