"""How the bench's buses behave: one set of knobs for every bus, seeded."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field


class Resp(enum.IntEnum):
    """AXI response codes (IHI 0022, A3.4.4)."""

    OKAY = 0
    EXOKAY = 1
    SLVERR = 2
    DECERR = 3


@dataclass(frozen=True)
class Stalls:
    """Probability, each clock cycle, that the bench holds a channel back.

    aw, w, ar: ready is low; b, r: valid waits.  `axil` is for all channels of the register port.
    """

    aw: float = 0.0
    w: float = 0.0
    b: float = 0.0
    ar: float = 0.0
    r: float = 0.0
    axil: float = 0.0

    @classmethod
    def everywhere(cls, probability: float) -> Stalls:
        p = probability
        return cls(p, p, p, p, p, p)


@dataclass(frozen=True)
class BusSettings:
    """Latencies are clock cycles from the request to the first beat of the answer.

    Each access draws one of the values: `(16,)` is fixed, `range(8, 40)` uniform.  `reorder`
    answers requests with different IDs in random order.
    """

    stalls: Stalls = field(default_factory=Stalls)
    read_latency: Sequence[int] = (16,)
    write_latency: Sequence[int] = (8,)
    reorder: bool = False
