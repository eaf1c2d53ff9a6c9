"""One interrupt line: armed, fired, re-armed, with moderation (docs/rings.md)."""

from __future__ import annotations

from collections.abc import Callable

from pystack.core.engine import Engine, Event

CYCLE_PS = 6400


class Interrupt:
    """`unconsumed()` gives completions the driver has not told of, `failed()` a ring's error;
    `rise()` is called when the line rises."""

    def __init__(
        self,
        engine: Engine,
        unconsumed: Callable[[], int],
        failed: Callable[[], bool],
        rise: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._unconsumed = unconsumed
        self._failed = failed
        self._rise = rise
        self._timer: Event | None = None
        self.reset()

    def reset(self) -> None:
        self.armed, self.fired, self.masked, self.auto_mask = True, False, True, False
        self.cycles = self.count = 0
        self._since: int | None = None  # ns of the first unconsumed completion, or the arming
        self._stop_timer()

    def arm(self) -> None:
        """The driver has consumed; what is there beyond that is news."""
        self.armed, self.fired = True, False
        self.masked &= not self.auto_mask
        self._since = None
        self._stop_timer()
        self.changed()

    def moderate(self, cycles: int, count: int) -> None:
        """Other limits, also for what waits already."""
        self.cycles, self.count = cycles, count
        self._stop_timer()
        self.changed()

    def mask(self, masked: bool) -> None:
        before, self.masked = self.masked, masked
        if before and not masked and self.fired:
            self._raise()

    def _raise(self) -> None:
        self.masked = self.auto_mask
        self._rise()

    def changed(self) -> None:
        """Completions, errors or limits have: does the line rise, now or later?"""
        if not self.armed:
            return
        pending = self._unconsumed()
        if not pending:
            self._since = None
            self._stop_timer()
        elif self._since is None:
            self._since = self._engine.now
        if self._failed() or (pending and (pending >= self.count or self._due <= self._engine.now)):
            self._fire()
        elif pending and self._timer is None:
            self._timer = self._engine.call_at(self._due, self._expired)

    @property
    def _due(self) -> int:
        assert self._since is not None
        return self._since + self.cycles * CYCLE_PS // 1000

    def _expired(self) -> None:
        self._timer = None
        self.changed()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._stop_timer()
        self._since = None
        self.armed, self.fired = False, True
        if not self.masked:
            self._raise()
