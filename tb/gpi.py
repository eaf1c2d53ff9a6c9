"""The simulator seen without wrappers: pins as ints and bit strings, time, wake-ups.

A `handle.value` read costs cocotb 2 µs, the same through the raw handle 0.06 to 0.5 µs, and a
value-change callback 0.6 µs where an awaited edge costs 4 (Verilator; measured), so what runs
once a clock cycle uses this file.  It is the only one that touches cocotb's private parts
(cocotb 2.1).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from cocotb import _event_loop, simulator
from cocotb._gpi_triggers import GPITrigger

NO_DELAY = 3  # GPI_NO_DELAY: the write takes effect at once
PICOSECONDS = -12


class Entries:
    """Python's side of every entry from the simulator that does not go through a cocotb task.

    `later(fn)`, called inside of one, runs `fn()` at its end.  While `timed`, `total_ns` counts the
    wall time spent in all of them.
    """

    def __init__(self) -> None:
        self.inside = False
        self.timed = False
        self.total_ns = 0
        self._later: list[Callable[[], None]] = []

    def later(self, fn: Callable[[], None]) -> None:
        self._later.append(fn)

    def enter(self, fn: Callable[[], None]) -> None:
        """`fn()`, what it left for later, then the cocotb tasks that became ready."""
        begin = time.perf_counter_ns() if self.timed else 0
        self.inside = True
        try:
            fn()
            while self._later:
                self._later.pop(0)()
        finally:
            self.inside = False
        if _event_loop._inst._callbacks:
            _event_loop._inst.run()
        if begin:
            self.total_ns += time.perf_counter_ns() - begin


entries = Entries()


class Pin:
    """One signal of the toplevel.  Writes take effect at once.

    `get_int` reads up to 32 bits, unknown bits as 0; `get_bits` any width, the most significant
    bit first, characters of "01xz".  `set_int` writes up to 32 bits, `set_bits` a string of
    exactly `width` characters.
    """

    __slots__ = ("get_bits", "get_int", "name", "set_bits", "set_int", "width")

    def __init__(self, handle: Any) -> None:
        raw: simulator.sim_obj = handle._handle
        self.name: str = handle._name
        self.width = raw.get_num_elems()
        self.get_int: Callable[[], int] = raw.get_signal_val_long
        self.get_bits: Callable[[], str] = raw.get_signal_val_binstr
        self.set_int: Callable[[int], None] = partial(raw.set_signal_val_int, NO_DELAY)
        self.set_bits: Callable[[str], None] = partial(raw.set_signal_val_binstr, NO_DELAY)

    def set(self, value: int) -> None:
        """Write an int of any width."""
        self.set_bits(f"{value:0{self.width}b}")

    def get(self) -> int:
        """Read an int of any width; ValueError if a bit is unknown."""
        return int(self.get_bits(), 2)


class ChangeCallback:
    """Calls `fn()` at every change of a signal until `close`."""

    def __init__(self, handle: Any, fn: Callable[[], None]) -> None:
        self._handle: simulator.sim_obj = handle._handle
        self._fn = fn
        self._armed: simulator.sim_callback | None = None
        self._arm()

    def _arm(self) -> None:
        self._armed = simulator.register_value_change_callback(
            self._handle, self._fire, simulator.VALUE_CHANGE
        )

    def _fire(self) -> None:
        self._arm()
        entries.enter(self._fn)

    def close(self) -> None:
        if self._armed is not None:
            self._armed.deregister()
            self._armed = None


class Timer:
    """Calls `fn()` at a time; one at a time."""

    def __init__(self, fn: Callable[[], None]) -> None:
        self._fn = fn
        self._armed: simulator.sim_callback | None = None
        self._when_ps = -1

    def set(self, when_ps: int | None) -> None:
        """Fire at `when_ps`, which is in the future; None: never."""
        if self._armed is not None:
            if when_ps == self._when_ps:
                return
            self._armed.deregister()
            self._armed = None
        if when_ps is not None:
            self._when_ps = when_ps
            delay = when_ps - time_ps()
            self._armed = simulator.register_timed_callback(delay, self._fire)

    def _fire(self) -> None:
        self._armed = None
        entries.enter(self._fn)


class Signal(GPITrigger):
    """What one cocotb task waits for and somebody's `fire` ends."""

    def _prime(self) -> None:
        """Nothing of the simulator's is behind it."""

    def _unprime(self) -> None:
        """Nothing to take back."""

    def fire(self) -> None:
        if self._callbacks:
            self._do_callbacks()


def time_ps() -> int:
    """Simulator time; exact, as the precision is 1 ps."""
    high, low = simulator.get_sim_time()
    return high << 32 | low


def check_precision() -> None:
    """RuntimeError unless the simulator counts in ps, which all of tb relies on."""
    if simulator.get_precision() != PICOSECONDS:
        raise RuntimeError("tb needs a time precision of 1 ps: build with timescale 1ns/1ps")
