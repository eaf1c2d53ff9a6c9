"""The simulator seen without wrappers: pins as ints and bit strings, time, wake-ups.

A `handle.value` read costs cocotb 2 µs, the same through the raw handle 0.06 to 0.5 µs, and a
value-change callback 0.6 µs where an awaited edge costs 4 (Verilator; measured), so what runs
once a clock cycle uses this file.  It is the only one that touches cocotb's private parts
(cocotb 2.1).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from cocotb import _event_loop, simulator
from cocotb._gpi_triggers import GPITrigger

NO_DELAY = 3  # GPI_NO_DELAY: the write takes effect at once
PICOSECONDS = -12


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
        self._fn()

    def close(self) -> None:
        if self._armed is not None:
            self._armed.deregister()
            self._armed = None


class Wake(GPITrigger):
    """A trigger that fires after `delay_ps` (None: never) or at `kick`, whichever is first."""

    def __init__(self) -> None:
        super().__init__()
        self.delay_ps: int | None = None

    def _prime(self) -> None:
        if self.delay_ps is not None:
            self._cbhdl = simulator.register_timed_callback(self.delay_ps, self._react)

    def _react(self) -> None:
        self._cbhdl = None
        super()._react()

    def _unprime(self) -> None:
        if self._cbhdl is not None:
            self._cbhdl.deregister()
            self._cbhdl = None

    def kick(self) -> None:
        """Fire now if somebody waits.  Outside cocotb's own callbacks, `run_tasks` must follow."""
        if self._callbacks:
            self._unprime()
            self._do_callbacks()


def run_tasks() -> None:
    """Run the cocotb tasks that became ready in a callback of ours."""
    if _event_loop._inst._callbacks:
        _event_loop._inst.run()


def time_ps() -> int:
    """Simulator time; exact, as the precision is 1 ps."""
    high, low = simulator.get_sim_time()
    return high << 32 | low


def check_precision() -> None:
    """RuntimeError unless the simulator counts in ps, which all of tb relies on."""
    if simulator.get_precision() != PICOSECONDS:
        raise RuntimeError("tb needs a time precision of 1 ps: build with timescale 1ns/1ps")
