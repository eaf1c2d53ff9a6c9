"""Both buses round the stand-in NIC of `hdl/bench_probe_nic.sv`: sources and registers."""

from __future__ import annotations

from dataclasses import replace

from wire2app.simulator import BUSES as BUSES
from wire2app.simulator import ROOT, Design, bench_design


def probe(bus: str) -> Design:
    """The bench of a bus with the stand-in in place of the NIC."""
    bench = [path for path in bench_design(bus).sources if path.parent.name == "sim"]
    sources = (*bench, ROOT / "tests/rtl/hdl/bench_probe_nic.sv")
    return replace(bench_design(bus, Queues=4), sources=sources)


ID, SCRATCH, IRQ, BUSY = 0x00, 0x04, 0x08, 0x0C
ADDR_LO, ADDR_HI, COMMAND, RESULT = 0x10, 0x14, 0x18, 0x1C
FIRST_STRB, LAST_STRB, DATA, MISBEHAVE, NOW = 0x20, 0x24, 0x28, 0x2C, 0x30
BAD = 0x8000
ID_VALUE = 0x50524F42

COMMAND_WRITE = 1 << 8
WITHDRAW_AW, CHANGE_W, EARLY_WLAST, UNKNOWN_AW, CORRUPT_WIRE = (1 << bit for bit in range(5))
