"""Tracepoints: the one way a layer reports what it does.

Captures, tools, counters of the report and pictures are readers of these.  A call site reads

    if self._tp_rx.enabled:
        self._tp_rx(skb.packet_id, len(skb))

so a tracepoint nobody listens to costs one attribute test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pystack.core.cpu import Cpu
    from pystack.core.engine import Engine


@dataclass(frozen=True, slots=True)
class Record:
    """One hit: time in ns, host, CPU (-1: outside any), tracepoint, its values in field order.

    The time includes what the CPU has charged and not yet spent, so hops differ within a batch.
    """

    time: int
    host: str
    cpu: int
    point: Tracepoint
    values: tuple[Any, ...]

    def __getitem__(self, field: str) -> Any:
        return self.values[self.point.fields.index(field)]


Probe = Callable[[Record], None]


class Tracepoint:
    __slots__ = ("_probes", "_trace", "enabled", "fields", "name")

    def __init__(self, trace: Trace, name: str, fields: tuple[str, ...]) -> None:
        self._trace = trace
        self.name = name
        self.fields = fields
        self.enabled = False
        self._probes: list[Probe] = []

    def __call__(self, *values: Any) -> None:
        trace = self._trace
        cpu = trace.current_cpu()
        time = trace.engine.now + (0 if cpu is None else cpu.debt)
        index = -1 if cpu is None else cpu.index
        record = Record(time, trace.host, index, self, values)
        for probe in self._probes:
            probe(record)

    def attach(self, probe: Probe) -> None:
        self._probes.append(probe)
        self.enabled = True

    def detach(self, probe: Probe) -> None:
        self._probes.remove(probe)
        self.enabled = bool(self._probes)


class Trace:
    """The tracepoints of one host, by name."""

    def __init__(self, engine: Engine, host: str, current_cpu: Callable[[], Cpu | None]) -> None:
        self.engine = engine
        self.host = host
        self.current_cpu = current_cpu
        self.points: dict[str, Tracepoint] = {}

    def point(self, name: str, *fields: str) -> Tracepoint:
        """The tracepoint `name`; the first caller declares its fields, others must agree."""
        point = self.points.setdefault(name, Tracepoint(self, name, fields))
        if point.fields != fields:
            raise ValueError(f"tracepoint {name}: fields {fields} differ from {point.fields}")
        return point

    def attach(self, name: str, probe: Probe) -> None:
        """Listen to one tracepoint; KeyError if no layer has declared it."""
        self.points[name].attach(probe)
