"""How long the paths of an ECP5 netlist are before anything is placed.

A static timing analysis with the cells' delays of speed grade 8 as nextpnr-ecp5 reports them, and
one figure for every piece of routing.  It is repeatable to the bit and takes a second, so it shows
at once what a change does; the clock that counts is nextpnr's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from wire2app.synth.netlist import Bit, Cell, Netlist, instance

ROUTING = 0.62  # ns a net: about the mean on the paths that nextpnr calls critical
CLOCK_TO_Q = {"TRELLIS_FF": 0.40, "DP16KD": 4.26}
PORT = 0.40  # a port is behind a register
CLOCKS = ("CLK", "CLKA", "CLKB", "WCK")
# Inputs that another cell of the same slice feeds, without routing.
INSIDE = {("PFUMX", "ALUT"), ("PFUMX", "BLUT"), ("L6MUX21", "D0"), ("L6MUX21", "D1")}
INSIDE |= {("CCU2C", "CIN")}
# Into a carry cell by its operands: the lower bit reaches both sums and the carry.
LOWER = (("S0", 0.18), ("S1", 0.36), ("COUT", 0.34))
UPPER = (("S1", 0.18), ("COUT", 0.34))
# Through a combinational cell: input, output, ns.
ARCS: dict[str, list[tuple[str, str, float]]] = {
    "LUT4": [(port, "Z", 0.18) for port in "ABCD"],
    "PFUMX": [("ALUT", "Z", 0.10), ("BLUT", "Z", 0.10), ("C0", "Z", 0.15)],
    "L6MUX21": [("D0", "Z", 0.10), ("D1", "Z", 0.10), ("SD", "Z", 0.15)],
    "TRELLIS_DPR16X4": [("RAD", "DO", 0.18)],
    "CCU2C": [
        *((f"{port}0", out, ns) for port in "ABCD" for out, ns in LOWER),
        *((f"{port}1", out, ns) for port in "ABCD" for out, ns in UPPER),
        ("CIN", "S0", 0.34),
        ("CIN", "S1", 0.36),
        ("CIN", "COUT", 0.06),
    ],
}


@dataclass(frozen=True)
class Path:
    """The longest way from one instance to another.  ns with the routing to its last input."""

    ns: float
    begin: str
    end: str
    levels: int
    nets: tuple[str, ...]


@dataclass
class _Graph:
    """Nets with their arrival times; `before` is the net and cell that make a net so late."""

    arrival: dict[int, float] = field(default_factory=dict)
    source: dict[int, str] = field(default_factory=dict)
    before: dict[int, int] = field(default_factory=dict)
    ends: list[tuple[int, str]] = field(default_factory=list)
    arcs: dict[int, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))


def longest_paths(netlist: Netlist) -> list[Path]:
    """For each pair of instances the longest path between their registers, longest first."""
    graph = _graph(netlist)
    _propagate(graph)
    late = sorted(graph.ends, key=lambda end: -graph.arrival.get(end[0], 0.0))
    best: dict[tuple[str, str], Path] = {}
    for net, end in late:
        way = [net]
        while way[-1] in graph.before:
            way.append(graph.before[way[-1]])
        key = (graph.source.get(way[-1], ""), instance(end, 9))
        if key not in best:
            names = tuple(netlist.names.get(net, "") for net in reversed(way))
            ns = round(graph.arrival.get(net, 0.0) + ROUTING, 2)
            best[key] = Path(ns, *key, len(way) - 1, _readable(names))
    return sorted(best.values(), key=lambda path: -path.ns)


def _readable(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names from the source only, each once."""
    made = ("_LUT4_", "_CCU2C_", "_PFUMX_", "_L6MUX21_", "$")
    return tuple(dict.fromkeys(n for n in names if n and not any(mark in n for mark in made)))


def _graph(netlist: Netlist) -> _Graph:
    graph = _Graph()
    for name, cell in netlist.cells.items():
        if cell.type in ARCS:
            for begin, end, ns in _arcs(cell):
                graph.arcs[begin].append((end, ns))
        for net in _nets(cell.outputs.values()):
            if cell.type not in ARCS:
                graph.arrival[net] = CLOCK_TO_Q.get(cell.type, PORT)
                graph.source[net] = instance(name, 9)
        combinational = {port for port, _, _ in ARCS.get(cell.type, ())}
        for port, bits in cell.inputs.items():
            if port not in CLOCKS and port not in combinational:
                graph.ends += [(net, name) for net in _nets([bits])]
    for driven, bits in netlist.ports.values():
        for net in _nets([bits]):
            if driven:
                graph.ends.append((net, "port"))
            else:
                graph.arrival[net], graph.source[net] = PORT, "port"
    return graph


def _nets(ports: Iterable[tuple[Bit, ...]]) -> Iterator[int]:
    return (bit for bits in ports for bit in bits if isinstance(bit, int))


def _arcs(cell: Cell) -> Iterator[tuple[int, int, float]]:
    for port, out, ns in ARCS[cell.type]:
        routing = 0.0 if (cell.type, port) in INSIDE else ROUTING
        for begin in _nets([cell.inputs.get(port, ())]):
            for end in _nets([cell.outputs.get(out, ())]):
                yield begin, end, ns + routing


def _propagate(graph: _Graph) -> None:
    """Arrival times in topological order; a net behind constants alone has none."""
    waits: dict[int, int] = defaultdict(int)
    for arcs in graph.arcs.values():
        for end, _ in arcs:
            waits[end] += 1
    ready = [net for net in graph.arrival.keys() | graph.arcs.keys() if not waits[net]]
    while ready:
        net = ready.pop()
        for end, ns in graph.arcs.get(net, ()):
            at = graph.arrival.get(net, 0.0) + ns
            if at > graph.arrival.get(end, 0.0):
                graph.arrival[end], graph.before[end] = at, net
            waits[end] -= 1
            if not waits[end]:
                ready.append(end)
