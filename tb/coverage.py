"""Functional coverage of the NIC: what the regression's descriptors and completions were like.

`nic_harness` and the scoreboard show each completion they take to a `RingWatch`.  A simulation
keeps which samples there were and writes them down (`export`); `wire2app coverage` puts those of
all simulations together and has cocotb-coverage count its points and crosses (`measure`).
It counts only under `wire2app coverage` (W2A_COVERAGE).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.drivers.w2a_regs import CplStatus
from tb.settings import Stalls

__all__ = ["FOLDER", "RingWatch", "Sample", "export", "measure", "read_samples"]

FOLDER = os.environ.get("W2A_COVERAGE", "")

LENGTHS = {0: "0", 13: "1-13", 59: "14-59", 60: "60", 127: "61-127", 511: "128-511"}
LENGTHS |= {1517: "512-1517", 1518: "1518", 9018: "jumbo", 65535: "more"}
RX_OFFLOADS = {
    "VLAN stripped": regs.RX_CPL_VLAN_STRIPPED,
    "IPv4 sum right": regs.RX_CPL_IP_CSUM_OK,
    "L4 sum right": regs.RX_CPL_L4_CSUM_OK,
    "L4 sum wrong": regs.RX_CPL_L4_CSUM_BAD,
    "header": regs.RX_CPL_HEADER,
}
TX_OFFLOADS = {
    "stamp": regs.TX_DESC_TIMESTAMP,
    "VLAN inserted": regs.TX_DESC_VLAN_INSERT,
    "segmented": regs.TX_DESC_SEGMENT,
    "checksum": regs.TX_DESC_CSUM_START,
}
NONE, MORE = "none", "more follows"

CROSS = ("length", "alignment", "queue", "stall", "offload", "fault")
# What cannot be, as (length, offload, fault) of the cross of all six; None stands for any.
NO_DATA = "the device has neither read nor written data: it has no length and no alignment"
RX_NEVER: tuple[tuple[str | None, str | None, str | None], ...] = (
    *((None, None, fault) for fault in ("DESC_SLVERR", "DESC_DECERR", "BAD_LENGTH")),  # NO_DATA
    ("0", None, None),  # NO_DATA: a buffer of no bytes, alone or behind one with an error
    ("more", None, None),  # a frame has at most MaxFrame bytes
    ("1-13", "header", None),  # Ethernet, IPv4 and UDP take 42
    ("60", "header", None),  # Ethernet has 14 bytes, all that follows a multiple of 4
    *((length, "header", None) for length in ("512-1517", "1518", "jumbo")),  # 168 + TCP's 60
    (None, MORE, "TRUNCATED"),  # a frame is truncated in the last buffer there was
)
TX_NEVER: tuple[tuple[str | None, str | None, str | None], ...] = (
    *((None, None, fault) for fault in ("DESC_SLVERR", "DESC_DECERR")),  # NO_DATA
    *(("0", None, fault) for fault in ("OK", "DATA_SLVERR", "DATA_DECERR")),  # BAD_LENGTH
)


@dataclass(frozen=True)
class Sample:
    """One completion with its descriptor.  `length`: of the buffer's data (RX), of the fragment
    (TX); `alignment`: of its address in 8 bytes; `page`: it crosses a page's end."""

    way: str  # "rx" or "tx"
    length: str
    alignment: int
    page: bool
    queue: int  # 2: any above 1
    stall: str
    offload: tuple[str, ...]
    fault: str


_SEEN: set[Sample] = set()


class RingWatch:
    """Counts the completions of one ring."""

    def __init__(self, is_rx: bool, queue: int, stalls: Stalls) -> None:
        self._is_rx = is_rx
        self._queue = min(queue, 2)
        self._stall = "stalls" if any(vars(stalls).values()) else "none"
        self._begins = True  # the next descriptor is a frame's first, whose words are heeded (TX)

    def note(self, descriptor: bytes, completion: bytes) -> None:
        """Both as they stand in memory."""
        _, done, code, flags, *_ = regs.RX_CPL.unpack(completion)
        if self._is_rx:
            addr, _ = regs.RX_DESC.unpack(descriptor)
            length, bits, last = done, flags, bool(flags & regs.RX_CPL_LAST)
        else:
            addr, length, words, *_ = regs.TX_DESC.unpack(descriptor)
            last = bool(words & regs.TX_DESC_LAST)
            bits = words if self._begins else 0
            self._begins = last
        offloads = RX_OFFLOADS if self._is_rx else TX_OFFLOADS
        found = [name for name, bit in offloads.items() if bits & bit] + [MORE] * (not last)
        _SEEN.add(
            Sample(
                "rx" if self._is_rx else "tx",
                next(name for limit, name in LENGTHS.items() if length <= limit),
                addr % 8,
                addr % 4096 + length > 4096,
                self._queue,
                self._stall,
                tuple(found) or (NONE,),
                CplStatus(code & regs.RX_CPL_STATUS).name,
            )
        )


def export() -> None:
    """Write what this simulation has seen so far."""
    path = Path(FOLDER) / f"functional-{os.getpid()}.json"
    path.write_text(json.dumps([astuple(sample) for sample in _SEEN]))


def read_samples(folder: Path) -> set[Sample]:
    """What all simulations have seen."""
    found = set()
    for path in folder.glob("functional-*.json"):
        for way, length, alignment, page, queue, stall, offload, fault in json.loads(
            path.read_text()
        ):
            facts = way, length, alignment, page, queue, stall, tuple(offload), fault
            found.add(Sample(*facts))
    return found


def measure(samples: Iterable[Sample]) -> Iterator[tuple[str, str, int]]:
    """(item, bin, samples in it) of all points and crosses."""
    from cocotb_coverage.coverage import CoverCross, CoverPoint, coverage_db

    coverage_db.clear()  # the library keeps all there ever was
    count = {way: _section(way) for way in ("rx", "tx")}
    for sample in samples:
        count[sample.way](sample)
    for name, item in coverage_db.items():
        if not isinstance(item, (CoverPoint, CoverCross)):
            continue
        for bin_, hits in item.detailed_coverage.items():
            shown = " x ".join(map(str, bin_)) if isinstance(bin_, tuple) else str(bin_)
            yield name, shown, hits


def _section(way: str) -> Callable[[Sample], None]:
    """One direction's points and crosses."""
    from cocotb_coverage import coverage as cc

    class Cross(cc.CoverCross):  # type: ignore[misc]
        coverage = 0  # of the library's own sum, for which it walks through all bins twice a sample

    def point(what: str, bins: Sequence[Any], **more: Any) -> Any:
        return cc.CoverPoint(
            f"nic.{way}.{what}", xf=lambda sample: getattr(sample, what), bins=list(bins), **more
        )

    def cross(*what: str, never: Sequence[tuple[Any, ...]] = ()) -> Any:
        items = [f"nic.{way}.{item}" for item in what]
        return Cross(f"nic.{way}.{' x '.join(what)}", items=items, ign_bins=list(never))

    rx = way == "rx"
    lengths = [name for name in LENGTHS.values() if not (rx and name == "more")]
    faults = [status.name for status in CplStatus if rx or status != CplStatus.TRUNCATED]
    offloads = [NONE, *(RX_OFFLOADS if rx else TX_OFFLOADS), MORE]
    never = [(a, None, None, None, b, c) for a, b, c in (RX_NEVER if rx else TX_NEVER)]
    items = (
        point("length", lengths),
        point("alignment", range(8)),
        point("page", (False, True)),
        point("queue", range(3)),
        point("stall", ("none", "stalls")),
        point("offload", offloads, rel=lambda found, name: name in found, inj=False),
        point("fault", faults),
        cross("fault", "queue", "stall"),
        cross("page", "stall"),
        cross(*CROSS, never=never),
    )
    return cc.coverage_section(*items)(lambda sample: None)  # type: ignore[no-any-return]
