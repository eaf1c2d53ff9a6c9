"""How much may happen for a number of frames: what never ends is a failure with a name."""

from __future__ import annotations

from pystack.core.trace import Record

__all__ = ["Bound", "Storm"]

SPAN = 20  # packets received, and events, for each frame; one and five are usual
BASE = 100_000  # for what happens beside


class Storm(Exception):
    """The hosts keep each other, or themselves, busy without end."""


class Bound:
    """What a seed may cost: `packet` counts those that any host receives, `event` the engine's.

    Each raises `Storm` above `limit`, which `grant` lifts.
    """

    def __init__(self) -> None:
        self.packets = self.events = 0
        self.limit = BASE

    def grant(self, frames: int) -> None:
        self.limit += SPAN * frames

    def packet(self, record: Record) -> None:
        self.packets += 1
        if self.packets > self.limit:
            raise Storm(f"more than {self.limit:,} packets received, the last one: {record}")

    def event(self) -> bool:
        """Asked by the engine before each event, as a condition to stop that never comes true."""
        self.events += 1
        if self.events > self.limit:
            raise Storm(f"more than {self.limit:,} events")
        return False
