"""Host memory as the bus sees it: IOMMU check, error rules, then the bytes.

Called by the bus models with whole bursts; calls `HostMemory` and `DmaMapper`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pystack.core.dma import Direction, DmaFault, DmaMapper
from pystack.core.memory import HostMemory
from tb.settings import Resp

Kind = Literal["read", "write"]
POISON = 0xA5  # what a read gets for bytes of a beat that are not mapped


@dataclass
class ErrorRule:
    """Answer `resp` to bursts of `kind` that touch [start, end) and for which `when` holds.

    A write burst reaches from its first strobed byte to its last, a read burst to the end of its
    last beat.  `when(addr, length)`; `times` limits how often (None: always); `hits` counts.
    A refused write leaves memory alone.
    """

    kind: Kind
    start: int
    end: int
    resp: Resp
    times: int | None = None
    when: Callable[[int, int], bool] | None = None
    hits: int = 0

    def applies(self, kind: Kind, addr: int, length: int) -> bool:
        return (
            kind == self.kind
            and addr < self.end
            and self.start < addr + length
            and (self.times is None or self.hits < self.times)
            and (self.when is None or self.when(addr, length))
        )


class HostPort:
    """`mapper` None: no IOMMU, the device may touch all of memory."""

    def __init__(self, memory: HostMemory, mapper: DmaMapper | None) -> None:
        self.memory = memory
        self.mapper = mapper
        self.rules: list[ErrorRule] = []
        self.reads = self.writes = self.read_bytes = self.write_bytes = 0

    def fail(
        self,
        kind: Kind,
        start: int = 0,
        end: int = 1 << 64,
        resp: Resp = Resp.SLVERR,
        *,
        times: int | None = None,
        when: Callable[[int, int], bool] | None = None,
    ) -> ErrorRule:
        """Add an error rule and return it; take it out of `rules` to end it."""
        rule = ErrorRule(kind, start, end, resp, times, when)
        self.rules.append(rule)
        return rule

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
        self.writes += 1
        view = self.memory.view
        for offset, length in runs:
            self.write_bytes += length
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
        self.reads += 1
        self.read_bytes += length
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
            if rule.applies(kind, addr, length):
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
