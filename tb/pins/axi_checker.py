"""The rules of AXI4 bursts (IHI 0022, A3.4), checked where bursts are served.

The rules of single channels (valid and payload stay until ready, nothing unknown) are watched
every cycle by `hdl/sim/handshake_checker.sv`; `ViolationWatch` reports what it saw.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tb.gpi import Pin
from tb.pins.flags import CHANNELS, Flag
from tb.reports import Reports

INCR = 1
BOUNDARY = 4096


class Burst(NamedTuple):
    """An address beat.  `size` is bytes a beat, `beats` their number; `slot` when it was taken."""

    id: int
    addr: int
    beats: int
    size: int
    burst: int
    slot: int

    @property
    def first(self) -> int:
        """Address of the first beat, aligned to the size."""
        return self.addr - self.addr % self.size

    @property
    def end(self) -> int:
        """Address behind the last beat."""
        return self.first + self.beats * self.size


def burst_problem(burst: Burst, width: int) -> str | None:
    """What is wrong with an address beat on a bus of `width` bytes."""
    if burst.burst != INCR:
        return f"burst type {burst.burst} is not INCR"
    if burst.size > width:
        return f"beats of {burst.size} bytes on a bus of {width}"
    if burst.first // BOUNDARY != (burst.end - 1) // BOUNDARY:
        return f"burst [{burst.addr:#x}, {burst.end:#x}) crosses a 4 KiB boundary"
    return None


def strobe_problem(burst: Burst, width: int, index: int, strobes: int) -> str | None:
    """Whether beat `index` strobes bytes outside the lanes it may use (A3.4.3)."""
    lower = burst.addr if index == 0 else burst.first + index * burst.size
    upper = burst.first + (index + 1) * burst.size
    word = lower - lower % width
    allowed = (1 << (upper - word)) - (1 << (lower - word))
    if strobes & ~allowed:
        return f"strobes {strobes:#x} of beat {index} at {lower:#x} leave the lanes {allowed:#x}"
    return None


def violation_texts(bits: int) -> list[tuple[str, str]]:
    """What to report, as (kind, text), of `bench_top.violations`."""
    return [
        (
            "axil" if channel.startswith("s_axil") else "axi",
            f"{channel}: valid or payload changed before ready, or is unknown",
        )
        for index, channel in enumerate(CHANNELS)
        if bits >> index & 1
    ]


class ViolationWatch:
    """Reports the violations that `bench_top` flags."""

    mask = int(Flag.VIOLATION)
    busy = False
    restless = False

    def __init__(self, dut: Any, reports: Reports) -> None:
        self._violations = Pin(dut.violations)
        self._reports = reports

    def tick(self, flags: int, slot: int) -> None:
        for kind, text in violation_texts(self._violations.get_int()):
            self._reports.add(kind, text)

    def active(self) -> bool:
        return False

    def reset(self) -> None:
        """Nothing to forget."""
