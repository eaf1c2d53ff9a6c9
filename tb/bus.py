"""The seam between the bench and a way of reaching the NIC: BUS=pins or another.

A bus knows pins or transactors and no kernel; the bench knows the kernel and no pins.  Callbacks
come from the bus at the moment of the event, outside the engine; the bench posts them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from tb.host_port import HostPort
from tb.reports import Reports
from tb.settings import BusSettings, Resp


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

    def send(self, frame: bytes, on_sent: Callable[[], None] | None = None) -> None: ...


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

    def read(self, offset: int, done: Callable[[int, Resp], None]) -> None: ...

    def write(
        self, offset: int, value: int, done: Callable[[int, Resp], None] | None = None
    ) -> None: ...

    def listen_dma(self, on_dma: Callable[[str, int, int, int, int, bool], None] | None) -> None:
        """`on_dma(kind, addr, length, start_ns, end_ns, ok)` after each answered burst."""
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
    def skipped_ns(self) -> int:
        """Time that passed with the clock standing."""
        ...

    @property
    def period_ps(self) -> int: ...
