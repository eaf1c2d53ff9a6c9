"""Functional coverage of the NIC: what the regression's descriptors and completions were like.

Each completion that `nic_harness` reaps is a sample, crossed with how the bus behaved.  It counts
only under `wire2app coverage` (W2A_COVERAGE); nothing is sampled, or imported, otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.drivers.w2a_regs import CplStatus

if TYPE_CHECKING:
    from nic_harness_rings import Done, Ring

__all__ = ["FOLDER", "Sample", "export", "sample_of"]

FOLDER = os.environ.get("W2A_COVERAGE", "")

LENGTHS = {13: "1-13", 59: "14-59", 60: "60", 127: "61-127", 511: "128-511"}
LENGTHS |= {1517: "512-1517", 1518: "1518", 9018: "jumbo"}
RX_OFFLOADS = {
    "none": 0,
    "VLAN stripped": regs.RX_CPL_VLAN_STRIPPED,
    "IPv4 sum right": regs.RX_CPL_IP_CSUM_OK,
    "L4 sum right": regs.RX_CPL_L4_CSUM_OK,
    "L4 sum wrong": regs.RX_CPL_L4_CSUM_BAD,
    "header": regs.RX_CPL_HEADER,
    "more follows": -regs.RX_CPL_LAST,
}
TX_OFFLOADS = {
    "none": 0,
    "stamp": regs.TX_DESC_TIMESTAMP,
    "VLAN inserted": regs.TX_DESC_VLAN_INSERT,
    "segmented": regs.TX_DESC_SEGMENT,
    "checksum": regs.TX_DESC_CSUM_START,
    "more follows": -regs.TX_DESC_LAST,
}
# What cannot be, or what nobody would wait for, as (length, offload).
RX_NEVER = [
    *((length, "header") for length in ("1-13", "512-1517", "1518", "jumbo")),
    *((length, what) for what in RX_OFFLOADS for length in ("1-13", "14-59")),
]
TX_NEVER = [
    ("1-13", "segmented"),
    ("1-13", "checksum"),
    ("1-13", "VLAN inserted"),
    ("1-13", "stamp"),
]


@dataclass(frozen=True)
class Sample:
    """One completion with its descriptor.  `flags`: of the completion (RX), the descriptor (TX)."""

    is_rx: bool
    length: int  # of the buffer's data (RX), of the fragment (TX); bytes
    addr: int
    queue: int
    status: int
    flags: int
    stalls: str

    def has(self, bits: int) -> bool:
        """Any of `bits`; 0: none of the offloads; negative: those bits are clear."""
        if bits == 0:
            offloads = RX_OFFLOADS if self.is_rx else TX_OFFLOADS
            return not any(self.has(other) for other in offloads.values() if other)
        return not self.flags & -bits if bits < 0 else bool(self.flags & bits)


def sample_of(ring: Ring, done: Done, descriptor: tuple[int, ...]) -> None:
    """Count a completion of `ring`; `descriptor` is what RX_DESC or TX_DESC unpacked."""
    stalls = "stalls" if any(vars(ring.nic.settings.stalls).values()) else "none"
    flags = done.flags if ring.is_rx else descriptor[2]
    _sampler()(
        Sample(ring.is_rx, done.length, descriptor[0], ring.queue, done.status, flags, stalls)
    )


def export() -> None:
    """Write what this simulation has counted so far."""
    from cocotb_coverage.coverage import coverage_db

    coverage_db.export_to_yaml(str(Path(FOLDER) / f"functional-{os.getpid()}.yml"))


def _length_class(sample: Sample) -> str:
    return next((name for limit, name in LENGTHS.items() if sample.length <= limit), "more")


_SAMPLER: list[Callable[[Sample], None]] = []


def _sampler() -> Callable[[Sample], None]:
    """The function that counts a sample, made with all points and crosses when first needed."""
    if not _SAMPLER:
        rx = _section("rx", RX_OFFLOADS, RX_NEVER)
        tx = _section("tx", TX_OFFLOADS, TX_NEVER)

        def both(sample: Sample) -> None:
            (rx if sample.is_rx else tx)(sample)

        _SAMPLER.append(both)
    return _SAMPLER[0]


def _section(
    name: str, offloads: dict[str, int], never: list[tuple[str, str]]
) -> Callable[[Sample], None]:
    """One direction's points and crosses: length, alignment, queue, stall, offload, fault."""
    from cocotb_coverage.coverage import CoverCross, CoverPoint, coverage_section

    def point(what: str, xf: Any, bins: list[Any], **more: Any) -> Any:
        return CoverPoint(f"nic.{name}.{what}", xf=xf, bins=bins, **more)

    def cross(*what: str, never: Sequence[tuple[str, str]] = ()) -> Any:
        items = [f"nic.{name}.{item}" for item in what]
        return CoverCross(f"nic.{name}.{' x '.join(what)}", items=items, ign_bins=list(never))

    lengths = [*LENGTHS.values(), *(() if name == "rx" else ("more",))]
    faults = [s.name for s in CplStatus if name == "rx" or s != CplStatus.TRUNCATED]
    bits, labels = list(offloads.values()), list(offloads)
    items = (
        point("length", _length_class, lengths),
        point("alignment", lambda s: s.addr % 8, list(range(8))),
        point("page", lambda s: s.addr % 4096 + s.length > 4096, [False, True]),
        point("queue", lambda s: min(s.queue, 2), [0, 1, 2]),
        point("stall", lambda s: s.stalls, ["none", "stalls"]),
        point("offload", lambda s: s, bits, rel=Sample.has, bins_labels=labels),
        point("fault", lambda s: CplStatus(s.status).name, faults),
        cross("length", "alignment"),
        cross("length", "stall"),
        cross("alignment", "stall"),
        cross("page", "stall"),
        cross("offload", "stall"),
        cross("fault", "stall"),
        cross("length", "offload", never=never),
    )
    return coverage_section(*items)(lambda sample: None)  # type: ignore[no-any-return]
