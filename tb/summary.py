"""`build/sim/summary.json`: what a run found out, written by the job, read by the report.

Every number is counted where it happens; nothing here is computed from something else, except
`ok`, which whoever fills the record decides.  Times: simulated ones in integer nanoseconds, wall
times in seconds.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Balance", "Hop", "Latency", "LatencyStep", "Napi", "Summary", "Transfer"]


@dataclass
class Hop:
    """Traffic through one place, in the order from the wire to the socket.

    rx is towards the server's application, tx away from it.  Frames are what the place handles
    as one: frames at the MAC, skbs in the kernel, calls at the socket.  Bytes are its own, too.
    """

    name: str
    rx_frames: int
    rx_bytes: int
    tx_frames: int
    tx_bytes: int


@dataclass
class Napi:
    """One NAPI instance: hard interrupts taken, polls run, packets the polls handled."""

    name: str
    interrupts: int
    polls: int
    packets: int


@dataclass
class Balance:
    """What was sent must be delivered or dropped by name; `ok` says whether it adds up."""

    what: str
    sent: int
    delivered: int
    dropped: int
    ok: bool


@dataclass
class LatencyStep:
    """One packet reaching one hop: `at_ns` since the first hop, `delta_ns` since the previous."""

    hop: str
    at_ns: int
    delta_ns: int


@dataclass
class Latency:
    """One packet's way, hop by hop; `of` says which packet."""

    of: str
    steps: list[LatencyStep]

    @classmethod
    def from_json(cls, of: str, steps: list[dict[str, Any]]) -> Latency:
        return cls(of, [LatencyStep(**step) for step in steps])


@dataclass
class Transfer:
    """Content that went through the NIC, hashed at its source and where it arrived."""

    what: str
    bytes: int
    sha256_sent: str
    sha256_received: str
    ok: bool


@dataclass
class Summary:
    """All of it.  An empty `failures` is a passed run.

    drops: "side/layer/reason" to how often, zero counts left out; latency: a packet received and
    one sent; wall: seconds by phase, in the order they happened.
    """

    sim: str
    seed: int
    bus: str
    sim_time_ns: int = 0
    cycles: int = 0
    hops: list[Hop] = field(default_factory=list)
    napi: list[Napi] = field(default_factory=list)
    drops: dict[str, int] = field(default_factory=dict)
    balance: list[Balance] = field(default_factory=list)
    latency: list[Latency] = field(default_factory=list)
    transfers: list[Transfer] = field(default_factory=list)
    wall: dict[str, float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether nothing failed, every transfer arrived intact and every balance adds up."""
        return not self.all_failures()

    def all_failures(self) -> list[str]:
        """`failures`, and a sentence for each transfer and balance that is not ok."""
        found = list(self.failures)
        found += [f"{t.what}: content differs" for t in self.transfers if not t.ok]
        found += [
            f"{b.what}: sent {b.sent}, but delivered {b.delivered} and dropped {b.dropped}"
            for b in self.balance
            if not b.ok
        ]
        return found

    def save(self, path: Path) -> None:
        """Write as JSON, keys in the order of the fields."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> Summary:
        """Read what `save` wrote.  Raises OSError, ValueError or TypeError on anything else."""
        raw: dict[str, Any] = json.loads(path.read_text())
        records: dict[str, Callable[..., Any]] = {
            "hops": Hop,
            "napi": Napi,
            "balance": Balance,
            "latency": Latency.from_json,
            "transfers": Transfer,
        }
        for key, record in records.items():
            raw[key] = [record(**entry) for entry in raw[key]]
        return cls(**raw)
