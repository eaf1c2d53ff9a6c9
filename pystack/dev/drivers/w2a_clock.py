"""The NIC's clock as the driver sees it: 64 bits, of which a completion has the lowest 31.

It is set to the kernel's time when the device is opened.  From then on a stamp is completed by the
nearest time that ends in it; the clocks may run apart by half of 2^31 ns until the next look.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from pystack.core.kernel import Kernel
from pystack.dev.driver import Registers
from pystack.dev.drivers import w2a_regs as regs

MAX_ADJ = 100_000_000  # parts per billion (`ptp_clock_info.max_adj`)
_PERIOD = 1 << 31
_LOOK_EVERY = 500_000_000  # ns


def _check(in_range: bool) -> None:
    if not in_range:
        raise OSError(errno.ERANGE, os.strerror(errno.ERANGE))


class NicClock:
    def __init__(
        self, kernel: Kernel, registers: Registers, write: Callable[[int, int], None]
    ) -> None:
        self._kernel = kernel
        self._registers = registers
        self._write = write
        self._ahead = 0  # of the kernel's time, in ns
        self._looked = 0

    def settime(self, ns: int) -> None:
        """`clock_settime` of the device's clock; the high word's write sets it.
        ERANGE for what is not in 64 bits."""
        _check(0 <= ns < 1 << 64)
        self._write(regs.CLOCK_LO, ns & 0xFFFFFFFF)
        self._write(regs.CLOCK_HI, ns >> 32 & 0xFFFFFFFF)
        self.look()

    def gettime(self) -> int:
        low = self._registers.read32(regs.CLOCK_LO)
        return self._registers.read32(regs.CLOCK_HI) << 32 | low

    def adjtime(self, ns: int) -> None:
        """Shift it; by 2^31 ns or more it is read and set, and loses what passes meanwhile.
        ERANGE if it would leave its 64 bits."""
        there = self.gettime() + ns
        if -(1 << 31) <= ns < 1 << 31:
            _check(0 <= there < 1 << 64)
            self._write(regs.CLOCK_ADJUST, ns & 0xFFFFFFFF)
            self.look()
        else:
            self.settime(there)

    def adjfine(self, parts_per_billion: int) -> None:
        """Let it run faster or slower (`ptp_clock_info.adjfine`).
        ERANGE beyond `MAX_ADJ`, as `ptp_clock_adjtime` has it."""
        _check(abs(parts_per_billion) <= MAX_ADJ)
        nominal = regs.CLOCK_INCREMENT_VALUE_RESET
        self._write(regs.CLOCK_INCREMENT, nominal + nominal * parts_per_billion // 10**9)

    def look(self) -> None:
        now = self._kernel.now
        self._ahead, self._looked = self.gettime() - now, now

    def extend(self, stamp: int) -> int:
        """The time of a completion's 31 bits."""
        now = self._kernel.now
        if now - self._looked > _LOOK_EVERY:
            self.look()
            now = self._looked
        there = now + self._ahead
        return there - (there - stamp + _PERIOD // 2) % _PERIOD + _PERIOD // 2
