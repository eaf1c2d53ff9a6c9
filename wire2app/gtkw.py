"""GTKWave's save file for a run: signals grouped in packet order, enums shown by name.

Only signals that are in the waveform get into the file, so a NIC that differs never breaks it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pywellen

from wire2app.rtl_index import Enum, Rtl, read_rtl
from wire2app.savefile import SaveFile
from wire2app.simulator import bench_design

__all__ = ["write_gtkw"]

BEAT = r"t(data|keep|valid|ready|last|user)"
WORD = r"[sm]_(data|bytes|last|valid|ready)"
STATE = r"state_q"
JOB = r"job_(valid|ready|addr|len)"
CPL = r"cpl_(push|full|len|status)"
RING = rf"{STATE}|error|enable|doorbell|posted|ready|\w*(producer|consumer)\w*"
FETCH = rf"{STATE}|{JOB}|fetch_\w+"
WRITER = rf"push|push_(full|status)|{STATE}|{JOB}|done_valid|m_axis_t(valid|ready)"

# Title, then which signals of which modules: the way of a frame in, then the way out.  A module
# that serves both ways is named with the one it is inside.
LAYOUT: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "bench",
        (
            ("bench_top", r"clk|rst|attention|idle|irq"),
            ("bench_clock", r"cycles"),
            ("fast_top", r"attention|parked|cycles"),
        ),
    ),
    ("RX 1: wire", (("bench_top", r"xgmii_rx[dc]"),)),
    ("RX 2: MAC", (("mac_rx_align", STATE), ("mac_rx", rf"link_up|m_axis_{BEAT}"))),
    ("RX 3: filter", (("rx_filter", rf"m_axis_{BEAT}"),)),
    (
        "RX 4: buffer",
        (("rx_buffer", rf"enable|ev_\w+|m_meta_(valid|ready|len)|m_axis_{BEAT}"),),
    ),
    ("RX 5: descriptor ring", (("nic_rx/queue_ring", RING), ("nic_rx/desc_fetch", FETCH))),
    ("RX 6: engine", (("rx_engine", rf"{STATE}|{JOB}|{CPL}"),)),
    ("RX 7: completions", (("nic_rx/cpl_writer", WRITER),)),
    ("AXI writes to the host", (("nic_top", r"m_axi_(aw(addr|len|valid|ready)|w\w+|b\w+)"),)),
    ("interrupts", (("irq_control", r"(?!clk|rst|Queues)\w+"),)),
    ("registers (AXI-Lite)", (("nic_top", r"s_axil_(?!\w*prot)\w+"),)),
    ("TX 1: descriptor ring", (("nic_tx/queue_ring", RING), ("nic_tx/desc_fetch", FETCH))),
    ("TX 2: frames", (("tx_gather", rf"{STATE}|whole|\w+_push"), ("tx_read", rf"{STATE}|{JOB}"))),
    ("AXI reads from the host", (("nic_top", r"m_axi_(ar(addr|len|valid|ready)|r\w+)"),)),
    (
        "TX 3: fragments to frames",
        (("tx_pack", WORD), ("tx_segment", rf"{STATE}|result_\w+|{WORD}")),
    ),
    ("TX 4: buffer", (("tx_buffer", rf"csum_\w+|{WORD}|m_axis_{BEAT}"),)),
    ("TX 5: MAC", (("mac_tx", rf"{STATE}|kind|ev_\w+"),)),
    ("TX 6: wire", (("bench_top", r"xgmii_tx[dc]"),)),
    ("TX 7: completions", (("nic_tx/cpl_writer", WRITER),)),
)
# The view when it opens: from a little before the first frame on, in ps, the FST's unit.
MARGIN = 100_000
COLUMN = 200_000
CLOSED = ("registers (AXI-Lite)", "TX 7: completions")
# Ports that carry an enum as plain bits, so that the module's interface needs no package.
PLAIN_ENUMS = (
    (r"\w*_verdict\w*|[sm]_axis_tuser", "rx_verdict_e"),
    (r"\w*status\w*", "cpl_status_e"),
)


@dataclass(frozen=True)
class _Signal:
    """A variable of the waveform.  modules: those it is inside, its own last; var: pywellen's."""

    path: str
    name: str
    width: int
    modules: tuple[str, ...]
    var: Any

    @property
    def module(self) -> str:
        return self.modules[-1]


def write_gtkw(fst: Path, save: Path) -> None:
    """Write `save` for the waveform `fst`, and the enum files it refers to beside it."""
    if not fst.is_file():
        return
    design = bench_design()
    rtl = read_rtl(design.sources)
    signals = list(_signals(pywellen.Waveform(str(fst)), rtl, design.toplevel))
    enums = save.parent / "enums"
    enums.mkdir(exist_ok=True)
    start = max(_first_frame(signals) - MARGIN, 0)
    with open(save, "w") as file:
        out = SaveFile(file, fst, save, start, COLUMN)
        for title, parts in LAYOUT:
            chosen = [s for part in parts for s in _choose(signals, rtl, *part)]
            if chosen:
                out.begin_group(title, title in CLOSED)
                for signal in chosen:
                    _trace(out, signal, rtl, enums)
                out.end_group(title, title in CLOSED)


def _first_frame(signals: list[_Signal]) -> int:
    """When the first frame was through the MAC, in the waveform's unit; 0 if none ever was."""
    for signal in signals:
        if (signal.module, signal.name) == ("mac_rx", "m_axis_tvalid"):
            return next((time for time, value in signal.var.signal if str(value) == "1"), 0)
    return 0


def _signals(wave: Any, rtl: Rtl, top: str) -> Iterator[_Signal]:
    """Every variable under the toplevel, with the modules it is in."""
    for scope in wave.scopes():
        if scope.name == top:
            yield from _in_scope(scope, (top,), rtl)


def _in_scope(scope: Any, modules: tuple[str, ...], rtl: Rtl) -> Iterator[_Signal]:
    for var in scope.vars():
        if var.bitwidth is not None:
            yield _Signal(var.full_name, var.name, var.bitwidth, modules, var)
    known = rtl.modules[modules[-1]].instances if modules[-1] in rtl.modules else {}
    for child in scope.scopes():
        # A scope that is no instance is a generate block or a struct: still the same module.
        inside = (*modules, known[child.name]) if child.name in known else modules
        yield from _in_scope(child, inside, rtl)


def _choose(signals: Iterable[_Signal], rtl: Rtl, where: str, pattern: str) -> list[_Signal]:
    """The signals of module `where`, "inside/module", with a name that matches, each once.

    In the order of the source, so that the simulator makes no difference.
    """
    *inside, module = where.split("/")
    chosen: dict[str, _Signal] = {}
    for signal in signals:
        fits = signal.module == module and set(inside) <= set(signal.modules)
        if fits and re.fullmatch(pattern, signal.name):
            chosen.setdefault(signal.path, signal)
    order = rtl.modules[module].order if module in rtl.modules else {}
    return sorted(chosen.values(), key=lambda signal: order.get(signal.name, 0))


def _trace(out: SaveFile, signal: _Signal, rtl: Rtl, folder: Path) -> None:
    enum = _enum_of(signal, rtl)
    if enum is None:
        out.trace(signal.path, signal.width)
    elif signal.var.enum_type is not None:
        out.trace_enum(signal.path, signal.width)
    else:
        file = folder / f"{signal.module}.{enum.name}.txt"
        digits = (enum.width + 3) // 4
        file.write_text("".join(f"{v:0{digits}x} {label}\n" for v, label in enum.labels.items()))
        out.trace_translated(signal.path, signal.width, file)


def _enum_of(signal: _Signal, rtl: Rtl) -> Enum | None:
    module = rtl.modules.get(signal.module)
    enum = module.signals.get(signal.name) if module is not None else None
    if enum is None:
        names = [name for pattern, name in PLAIN_ENUMS if re.fullmatch(pattern, signal.name)]
        enum = rtl.enums.get(names[0]) if names else None
    return enum if enum is not None and enum.width == signal.width else None
