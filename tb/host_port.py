"""Host memory as the bus sees it: IOMMU check, error rules, then the bytes.

Called by the bus models with whole bursts; calls `HostMemory` and `DmaMapper`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pystack.core.dma import Direction, DmaFault, DmaMapper
from pystack.core.memory import HostMemory
from tb.settings import Resp

Kind = Literal["read", "write"]
POISON = 0xA5  # what a read gets for bytes of a beat that are not mapped


@dataclass(eq=False)  # of two that say the same, each counts for itself and is forgiven by itself
class ErrorRule:
    """Answer `resp` to bursts of `kind` that touch [start, end) and have `min_length` bytes.

    A write burst reaches from its first strobed byte to its last, a read burst to the end of its
    last beat.  Of the bursts meant, the first `skip` are let through, each later one is hit with
    `probability`, and after `times` hits (None: never) it is over; `hits` counts.
    A refused write leaves memory alone.
    """

    kind: Kind
    start: int
    end: int
    resp: Resp
    min_length: int = 0
    skip: int = 0
    probability: float = 1.0
    times: int | None = None
    hits: int = 0
    skipped: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability {self.probability} is not in 0..1")
        if not 0 <= self.start < self.end:
            raise ValueError(f"no bytes in [{self.start:#x}, {self.end:#x})")
        if min(self.min_length, self.skip, 0 if self.times is None else self.times) < 0:
            raise ValueError("min_length, skip and times count from 0")

    def applies(self, kind: Kind, addr: int, length: int, rng: random.Random) -> bool:
        if (
            kind != self.kind
            or addr >= self.end
            or self.start >= addr + length
            or length < self.min_length
            or (self.times is not None and self.hits >= self.times)
        ):
            return False
        if self.skipped < self.skip:
            self.skipped += 1
            return False
        return self.probability >= 1 or rng.random() < self.probability


@dataclass
class Served:
    """Bursts answered well, and their bytes."""

    reads: int = 0
    writes: int = 0
    read_bytes: int = 0
    write_bytes: int = 0


class HostPort:
    """`mapper` None: no IOMMU, the device may touch all of memory.  `seed` is of the error rules.

    A bus that serves bursts by itself puts its own counts in `served`, and hears in `on_rules` of
    every change of the rules.
    """

    def __init__(self, memory: HostMemory, mapper: DmaMapper | None, seed: int = 1) -> None:
        self.memory = memory
        self.mapper = mapper
        self._rng = random.Random(f"host/{seed}")
        self.rules: list[ErrorRule] = []
        self.on_rules: Callable[[], None] | None = None
        self.served: Served = Served()

    def fail(
        self,
        kind: Kind,
        start: int = 0,
        end: int = 1 << 64,
        resp: Resp = Resp.SLVERR,
        *,
        min_length: int = 0,
        skip: int = 0,
        probability: float = 1.0,
        times: int | None = None,
    ) -> ErrorRule:
        """Add an error rule and return it; `forgive` ends it.  ValueError if the bus cannot."""
        rule = ErrorRule(kind, start, end, resp, min_length, skip, probability, times)
        self.rules.append(rule)
        try:
            self._rules_changed()
        except ValueError:
            self.rules.remove(rule)
            raise
        return rule

    def forgive(self, rule: ErrorRule) -> None:
        """Take an error rule away."""
        self.rules.remove(rule)
        self._rules_changed()

    def _rules_changed(self) -> None:
        if self.on_rules is not None:
            self.on_rules()

    def write(self, addr: int, data: bytes, runs: list[tuple[int, int]]) -> Resp:
        """One burst: `data` from `addr` on, of which `runs` = (offset, length) are strobed."""
        first = runs[0][0] if runs else 0
        last = sum(runs[-1]) if runs else len(data)
        resp = self._rule("write", addr + first, last - first)
        if resp is not Resp.OKAY:
            return resp
        if addr + len(data) > self.memory.size:
            self._refused(addr, len(data), Direction.FROM_DEVICE)
            return Resp.DECERR
        for offset, length in runs:
            if self._refused(addr + offset, length, Direction.FROM_DEVICE):
                return Resp.SLVERR
        self.served.writes += 1
        view = self.memory.view
        for offset, length in runs:
            self.served.write_bytes += length
            view[addr + offset : addr + offset + length] = data[offset : offset + length]
        return Resp.OKAY

    def read(self, start: int, end: int, beat: int) -> tuple[bytes, Resp]:
        """One burst from byte `start` to `end`, as whole beats of `beat` bytes.

        Every beat must touch a byte that is mapped; those of its bytes that are not come back as
        POISON.  (A bus has no byte enables for reads, so the ends of a burst reach further than
        the device means.)
        """
        addr = start - start % beat
        length = end - addr
        resp = self._rule("read", start, end - start)
        if resp is not Resp.OKAY:
            return bytes(length), resp
        if addr + length > self.memory.size:
            self._refused(addr, length, Direction.TO_DEVICE)
            return bytes(length), Resp.DECERR
        self.served.reads += 1
        self.served.read_bytes += length
        data = self.memory.view[addr : addr + length]
        if self.mapper is None:
            return bytes(data), Resp.OKAY
        allowed = self.mapper.rights[addr : addr + length] & Direction.TO_DEVICE
        if allowed.all():
            return bytes(data), Resp.OKAY
        touched = allowed.reshape(-1, beat).any(axis=1)
        if touched.all():
            return np.where(allowed, data, POISON).astype(np.uint8).tobytes(), Resp.OKAY
        self._refused(addr + beat * int(touched.argmin()), beat, Direction.TO_DEVICE)
        return bytes(length), Resp.SLVERR

    def _rule(self, kind: Kind, addr: int, length: int) -> Resp:
        for rule in self.rules:
            if rule.applies(kind, addr, length, self._rng):
                rule.hits += 1
                return rule.resp
        return Resp.OKAY

    def _refused(self, addr: int, length: int, access: Direction) -> bool:
        """The IOMMU's answer; a refusal is in its list of faults by now."""
        if self.mapper is None:
            return False
        try:
            self.mapper.check(addr, length, access)
        except DmaFault:
            return True
        return False
