"""Adaptive interrupt moderation: few frames, few waits; a stream, few interrupts (`lib/dim/`).

A hill climb, as Linux has it: every 64 interrupts the throughput is compared with that of the time
before.  If it got better by going one way through the profiles, it goes on; if worse, it turns; if
it is the same, and the interrupts got fewer, all is well.
"""

from __future__ import annotations

from typing import NamedTuple

SAMPLE_INTERRUPTS = 64
SIGNIFICANT = 10  # percent
SECOND = 1_000_000_000


class Profile(NamedTuple):
    usecs: int
    frames: int


PROFILES = (Profile(0, 1), Profile(2, 8), Profile(8, 32), Profile(32, 64), Profile(64, 128))


class _Rates(NamedTuple):
    """A second, in the time between two samples."""

    bytes: float
    packets: float
    interrupts: float


class Dim:
    """One queue's state.  `sample` is called at the end of each poll with running totals."""

    def __init__(self, now: int) -> None:
        self.level = 0
        self._direction = 1
        self._start = now, 0, 0, 0
        self._before: _Rates | None = None

    @property
    def profile(self) -> Profile:
        return PROFILES[self.level]

    def sample(self, now: int, interrupts: int, packets: int, length: int) -> Profile | None:
        """The profile to go to, None to stay."""
        since, interrupts0, packets0, length0 = self._start
        if interrupts - interrupts0 < SAMPLE_INTERRUPTS or now <= since:
            return None
        span = (now - since) / SECOND
        rates = _Rates(
            (length - length0) / span,
            (packets - packets0) / span,
            (interrupts - interrupts0) / span,
        )
        self._start = now, interrupts, packets, length
        before, self._before = self._before, rates
        if before is None:
            return self._step()
        verdict = _compare(rates, before)
        if verdict == 0:
            return None
        if verdict < 0:
            self._direction = -self._direction
        return self._step()

    def _step(self) -> Profile | None:
        level = min(max(self.level + self._direction, 0), len(PROFILES) - 1)
        if level == self.level:
            self._direction = -self._direction
            return None
        self.level = level
        return self.profile


def _compare(now: _Rates, before: _Rates) -> int:
    """1: better, -1: worse, 0: as it was; throughput counts first, then peace."""
    for new, old in ((now.bytes, before.bytes), (now.packets, before.packets)):
        if abs(new - old) * 100 > SIGNIFICANT * old:
            return 1 if new > old else -1
    if abs(now.interrupts - before.interrupts) * 100 > SIGNIFICANT * before.interrupts:
        return 1 if now.interrupts < before.interrupts else -1
    return 0
