"""A design after Yosys: one flat module of its JSON netlist, cells named by instance path."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Bit = int | str  # a net, or a constant "0", "1", "x"

# What a table calls the cells of both families; carry cells and multiplexers stand apart from LUTs.
KINDS = {
    "LUT4": ("LUT",),
    "LUT1": ("LUT",),
    "LUT2": ("LUT",),
    "LUT3": ("LUT",),
    "LUT5": ("LUT",),
    "LUT6": ("LUT",),
    "INV": ("LUT",),
    "CCU2C": ("carry",),
    "CARRY4": ("carry",),
    "TRELLIS_DPR16X4": ("LUT RAM",),
    "RAM32M": ("LUT RAM",),
    "RAM64M": ("LUT RAM",),
    "RAM32X1D": ("LUT RAM",),
    "RAM64X1D": ("LUT RAM",),
    "TRELLIS_FF": ("FF",),
    "FDRE": ("FF",),
    "FDSE": ("FF",),
    "FDCE": ("FF",),
    "FDPE": ("FF",),
    "DP16KD": ("BRAM",),
    "RAMB18E1": ("BRAM",),
    "RAMB36E1": ("BRAM", "BRAM"),  # in blocks of 18 kbit
}
COLUMNS = ("LUT", "carry", "LUT RAM", "FF", "BRAM")


@dataclass(frozen=True)
class Cell:
    type: str
    outputs: Mapping[str, tuple[Bit, ...]]
    inputs: Mapping[str, tuple[Bit, ...]]


@dataclass(frozen=True)
class Netlist:
    """cells and ports by name, and the shortest name of each net.

    A port is whether the module drives it, and its bits."""

    cells: Mapping[str, Cell]
    ports: Mapping[str, tuple[bool, tuple[Bit, ...]]]
    names: Mapping[int, str]

    def counts(self, depth: int) -> dict[str, Counter[str]]:
        """Cells of each kind by instance, paths cut to `depth` names; "" is the top itself."""
        found: dict[str, Counter[str]] = {}
        for name, cell in self.cells.items():
            found.setdefault(instance(name, depth), Counter()).update(KINDS.get(cell.type, ()))
        return found

    def total(self) -> Counter[str]:
        return sum(self.counts(0).values(), Counter())


def instance(cell: str, depth: int) -> str:
    """The path of the instance a cell is in: names of instances begin with u_ or g_."""
    path: list[str] = []
    for name in cell.split(".")[:-1]:
        if len(path) == depth or not name.startswith(("u_", "g_")):
            break
        path.append(name)
    return ".".join(path)


def read(module: Mapping[str, Any]) -> Netlist:
    """From the JSON of one module without submodules."""
    cells = {}
    for name, cell in module["cells"].items():
        sides: dict[bool, dict[str, tuple[Bit, ...]]] = {True: {}, False: {}}
        for port, bits in cell["connections"].items():
            sides[cell["port_directions"][port] == "output"][port] = tuple(bits)
        cells[name] = Cell(cell["type"], sides[True], sides[False])
    ports = {
        name: (port["direction"] == "output", tuple(port["bits"]))
        for name, port in module["ports"].items()
    }
    names: dict[int, str] = {}
    for name, net in module["netnames"].items():
        for bit in net["bits"]:
            if isinstance(bit, int) and len(name) < len(names.get(bit, name + " ")):
                names[bit] = name
    return Netlist(cells, ports, names)
