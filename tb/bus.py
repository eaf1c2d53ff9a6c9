"""The seam between the bench and a way of reaching the NIC: BUS=pins or another.

A bus knows pins or transactors and no kernel; the bench knows the kernel and no pins.  Callbacks
come from the bus at the moment of the event, outside the engine; the bench posts them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tb.host_port import HostPort
from tb.pins.xgmii_code import SOUND, Defect
from tb.reports import Reports
from tb.settings import BusSettings, Resp

Done = Callable[[int, Resp], None]
"""`done(value, resp)`: the register access is answered; `value` is 0 for a write."""

OnDma = Callable[[str, int, int, int, int, bool], None]
"""`on_dma(kind, addr, length, start_ns, end_ns, ok)` after each answered burst."""


@dataclass(frozen=True)
class BusContext:
    """What a bus is built with.  `rise(line)` hears of interrupt edges, `on_error` of crashes."""

    dut: Any
    host: HostPort
    reports: Reports
    settings: BusSettings
    seed: int
    idle_skip: bool
    rise: Callable[[int], None]
    on_error: Callable[[BaseException], None]


class BusWire(Protocol):
    """The far end of the NIC's wire; frames without FCS, times in ns."""

    @property
    def frames_sent(self) -> int: ...

    @property
    def frames_received(self) -> int: ...

    def listen(self, receive: Callable[[bytes, int, int], None]) -> None: ...

    @property
    def ordered_sets(self) -> int:
        """Columns from the NIC that tell of a fault."""
        ...

    @property
    def ifg(self) -> int:
        """The inter-frame gap that the sender keeps on average, in bytes."""
        ...

    @ifg.setter
    def ifg(self, lanes: int) -> None: ...

    def send(
        self, frame: bytes, on_sent: Callable[[], None] | None = None, defect: Defect = SOUND
    ) -> None:
        """`defect` makes it a bad frame."""
        ...

    def send_columns(
        self, columns: Iterable[tuple[int, int]], on_sent: Callable[[], None] | None = None
    ) -> None:
        """Queue raw (data, control) columns, whatever they mean."""
        ...


class Bus(Protocol):
    """Register accesses are done one at a time, in the order they were asked for."""

    @property
    def wire(self) -> BusWire: ...

    def start(self) -> None:
        """Let the clock run; every input has its value."""
        ...

    def close(self) -> None:
        """Let go of the simulator."""
        ...

    def set_reset(self, level: int) -> None:
        """Drive `rst`; with 1, what the models have under way is forgotten."""
        ...

    def read(self, offset: int, done: Done) -> None: ...

    def write(self, offset: int, value: int, done: Done | None = None) -> None:
        """Without `done` the write is posted: an error answer is reported as "axil"."""
        ...

    def set_latency(
        self, *, read: Sequence[int] | None = None, write: Sequence[int] | None = None
    ) -> None:
        """Change the latencies of `BusSettings` for the requests to come."""
        ...

    def listen_dma(self, on_dma: OnDma | None) -> None:
        """None ends it.  With a bus that batches, it hears of a burst when the next event comes."""
        ...

    def profile(self, on: bool) -> None:
        """Measure what `spent_ns` tells."""
        ...

    def spent_ns(self) -> tuple[int, int]:
        """Wall time of the models while profiled: all of it, and what of it was in Python."""
        ...

    @property
    def quiet(self) -> bool:
        """Nothing is under way: the clock stands."""
        ...

    @property
    def cycles(self) -> int:
        """Clock cycles simulated."""
        ...

    @property
    def ticks(self) -> int:
        """Clock cycles in which a model had something to do."""
        ...

    @property
    def skipped_ns(self) -> int:
        """Time that passed with the clock standing."""
        ...

    @property
    def period_ps(self) -> int: ...
