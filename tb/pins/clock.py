"""Runs the bus models of BUS=pins: one callback a clock cycle in which something happens.

The clock stops when the NIC is idle and no model has anything to do, and runs again when one
asks.  Nobody can tell from the waves but by the missing edges: a slot is a place on the clock's
grid, and slots pass while the clock stands.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import cocotb
from cocotb.triggers import Event

from tb import gpi
from tb.gpi import Pin
from tb.pins.flags import PERIOD_PS, PHASE_PS, Flag

IDLE = int(Flag.IDLE)
GUARD_CYCLES = 8  # from quiet to stop: longer than the way from the pins to the NIC's `idle`


class Agent(Protocol):
    """A bus model.  `tick` is called when a bit of `mask` is set in the flags or it is `busy`.

    At a tick the model sees the pins as the coming rising edge will, and what it writes holds
    after that edge.  `restless`: it must see every cycle in which the NIC is not idle.
    """

    mask: int
    busy: bool
    restless: bool

    def active(self) -> bool:
        """Something is under way: the clock must not stop, even if nothing is to be done now."""
        ...

    def tick(self, flags: int, slot: int) -> None: ...

    def reset(self) -> None:
        """The NIC is being reset: forget what is under way, set the pins to rest."""
        ...


class PinClock:
    """`on_error` gets what a model raised; the models stop then."""

    def __init__(self, dut: Any, *, idle_skip: bool = True) -> None:
        self.agents: list[Agent] = []
        self.on_error: Callable[[BaseException], None] | None = None
        self.idle_skip = idle_skip
        self.held = False  # in reset: the clock runs and no model looks
        self.timed = False
        self.total_ns = 0  # wall time of the models, while `timed`
        self.ticks = 0
        self.stops = 0
        self.running = False
        self.slot = 0
        self._flags = Pin(dut.flags)
        self._cycles = Pin(dut.cycles)
        self._clk_run = Pin(dut.clk_run)
        self._tick_every = Pin(dut.tick_every)
        self._ticking = False
        self._quiet = 0
        self._first_slot = self._first_cycle = 0
        self._attention = dut.attention
        self._callback: gpi.ChangeCallback | None = None
        self._clk_run.set_int(0)
        self._tick_every.set_int(0)

    def start(self) -> None:
        """Begin; every input of the toplevel has its value by now.  Ends with the cocotb test."""
        self._first_slot = self._slot_now()
        self._first_cycle = self._cycles.get()
        self._callback = gpi.ChangeCallback(self._attention, self._at_attention)
        self.request()
        cocotb.start_soon(self._close_at_end())

    async def _close_at_end(self) -> None:
        try:
            await Event().wait()  # cocotb cancels what still waits when the test ends
        finally:
            self.close()

    def close(self) -> None:
        """Stop for good."""
        if self._callback is not None:
            self._callback.close()
            self._callback = None
            self._clk_run.set_int(0)
            self._tick_every.set_int(0)
            self.running = self._ticking = False

    @property
    def cycles(self) -> int:
        """Clock cycles simulated since `start`."""
        return self._cycles.get() - self._first_cycle

    @property
    def skipped_ns(self) -> int:
        """Time since `start` that passed with the clock standing."""
        slots = self._slot_now() - self._first_slot
        return max(0, slots - self.cycles) * PERIOD_PS // 1000

    def request(self) -> None:
        """A model has something to do: tick from the next sample on, with the clock running."""
        self._quiet = 0
        if not self._ticking:
            self._ticking = True
            self._tick_every.set_int(1)
        if not self.running:
            self.running = True
            self._clk_run.set_int(1)

    def _slot_now(self) -> int:
        return (gpi.time_ps() - PHASE_PS) // PERIOD_PS

    def _at_attention(self) -> None:
        try:
            self._timed_tick()
        except BaseException as error:  # pytest.fail is none of the others
            self.close()
            if self.on_error is None:
                raise
            self.on_error(error)

    def _timed_tick(self) -> None:
        if not self.timed:
            self._tick()
            return
        begin = time.perf_counter_ns()
        self._tick()
        self.total_ns += time.perf_counter_ns() - begin

    def _tick(self) -> None:
        if self.held:
            return
        self.ticks += 1
        flags = self._flags.get_int()
        self.slot = slot = (gpi.time_ps() - PHASE_PS) // PERIOD_PS
        idle = flags & IDLE
        again = False
        for agent in self.agents:
            restless = agent.restless and not idle
            if agent.busy or restless or flags & agent.mask:
                agent.tick(flags, slot)
                again = again or restless or agent.busy
        if again:
            self._quiet = 0
        elif idle and self.idle_skip and not any(agent.active() for agent in self.agents):
            self._quiet += 1
            again = self._quiet < GUARD_CYCLES
            if not again:
                self.running = False
                self.stops += 1
                self._clk_run.set_int(0)
        if again is not self._ticking:
            self._ticking = again
            self._tick_every.set_int(int(again))
