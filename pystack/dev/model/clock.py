"""The device's clock: 64 bits of ns that gain `increment` / 2^24 ns a cycle."""

from __future__ import annotations

from pystack.core.engine import Engine
from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.model.interrupt import CYCLE_PS

FRACTION = 24
_WORD = 0xFFFFFFFF


class DeviceClock:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.reset()

    def reset(self) -> None:
        self._increment = regs.CLOCK_INCREMENT_VALUE_RESET
        self._high = self._low = 0
        self._set(0)

    def _set(self, ns: int) -> None:
        self._base, self._since = ns << FRACTION, self._engine.now

    def at(self, when: int) -> int:
        """What it shows at `when`, ns of the engine."""
        cycles = (when - self._since) * 1000 // CYCLE_PS
        return (self._base + cycles * self._increment >> FRACTION) & (1 << 64) - 1

    def read(self, offset: int) -> int:
        if offset == regs.CLOCK_LO:
            now = self.at(self._engine.now)
            self._high = now >> 32
            return now & _WORD
        return self._high if offset == regs.CLOCK_HI else self._increment

    def write(self, offset: int, value: int) -> None:
        """A shift and another rate count from now on."""
        now = self.at(self._engine.now)
        if offset == regs.CLOCK_LO:
            self._low = value
        elif offset == regs.CLOCK_HI:
            self._set(value << 32 | self._low)
        elif offset == regs.CLOCK_INCREMENT:
            self._set(now)
            self._increment = value
        elif offset == regs.CLOCK_ADJUST:
            self._set(now + value - (value >> 31 << 32) & (1 << 64) - 1)
