"""The interrupt lines: tells of rising edges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tb.gpi import Pin
from tb.pins.flags import Flag


class InterruptLines:
    """`rise(line)` is called for each line that rose, the lowest first."""

    mask = int(Flag.IRQ)
    busy = False
    restless = False

    def __init__(self, dut: Any, rise: Callable[[int], None]) -> None:
        self._irq = Pin(dut.irq)
        self._rise = rise
        self.levels = 0

    def reset(self) -> None:
        """The NIC lowers the lines itself."""
        self.levels = 0

    def active(self) -> bool:
        return False

    def tick(self, flags: int, slot: int) -> None:
        levels = self._irq.get_int()
        risen = levels & ~self.levels
        self.levels = levels
        while risen:
            low = risen & -risen
            risen ^= low
            self._rise(low.bit_length() - 1)
