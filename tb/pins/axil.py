"""The AXI4-Lite master: the host's register accesses, one at a time and in order."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from tb.bus import Done
from tb.gpi import Pin
from tb.pins.flags import Flag
from tb.reports import Reports
from tb.settings import Resp

AW, W, B, AR, R = (
    int(flag) for flag in (Flag.AXIL_AW, Flag.AXIL_W, Flag.AXIL_B, Flag.AXIL_AR, Flag.AXIL_R)
)


class _Access(NamedTuple):
    write: bool
    addr: int
    value: int
    done: Done | None


class _Issue:
    """One channel the master drives valid on: raise it after a delay, drop it when taken."""

    def __init__(self, valid: Pin) -> None:
        self._valid = valid
        self.rest()

    def rest(self) -> None:
        self._delay = -1
        self._valid.set_int(0)

    def begin(self, delay: int) -> None:
        self._delay = delay
        self.step()

    def step(self) -> None:
        if self._delay == 0:
            self._valid.set_int(1)
        self._delay -= 1

    def taken(self) -> None:
        self._valid.set_int(0)


class AxilMaster:
    """`stall` is the probability, each cycle, to hold a channel back."""

    mask = AW | W | B | AR | R

    def __init__(
        self,
        dut: Any,
        request: Callable[[], None],
        reports: Reports,
        stall: float,
        seed: object,
    ) -> None:
        self._request = request
        self._reports = reports
        self._stall = stall
        self._rng = random.Random(f"axil/{seed}")
        self._queue: deque[_Access] = deque()
        self._current: _Access | None = None
        self.busy = False
        self.restless = False
        self.accesses = 0
        self._awaddr, self._araddr = Pin(dut.s_axil_awaddr), Pin(dut.s_axil_araddr)
        self._wdata, self._wstrb = Pin(dut.s_axil_wdata), Pin(dut.s_axil_wstrb)
        self._bready, self._rready = Pin(dut.s_axil_bready), Pin(dut.s_axil_rready)
        self._bresp, self._rresp = Pin(dut.s_axil_bresp), Pin(dut.s_axil_rresp)
        self._rdata = Pin(dut.s_axil_rdata)
        self._aw = _Issue(Pin(dut.s_axil_awvalid))
        self._w = _Issue(Pin(dut.s_axil_wvalid))
        self._ar = _Issue(Pin(dut.s_axil_arvalid))
        self._prot = [Pin(dut.s_axil_awprot), Pin(dut.s_axil_arprot)]
        self.reset()

    def reset(self) -> None:
        """Rest the pins; the access under way is answered with DECERR, queued ones go on."""
        for issue in (self._aw, self._w, self._ar):
            issue.rest()
        for pin in (self._awaddr, self._araddr, self._wdata, *self._prot):
            pin.set_int(0)
        self._wstrb.set_int(0xF)
        self._bready.set_int(1)
        self._rready.set_int(1)
        current = self._current
        self.busy = bool(self._queue)
        if current is not None:
            self._end(current, 0, Resp.DECERR)

    def active(self) -> bool:
        return self._current is not None

    def read(self, addr: int, done: Done) -> None:
        """Queue a read of the 32-bit register at byte offset `addr`."""
        self._put(_Access(False, addr, 0, done))

    def write(self, addr: int, value: int, done: Done | None = None) -> None:
        """Queue a write."""
        self._put(_Access(True, addr, value & 0xFFFFFFFF, done))

    def _put(self, access: _Access) -> None:
        self._queue.append(access)
        self.busy = True
        self._request()

    def tick(self, flags: int, slot: int) -> None:
        current = self._current
        if current is not None:
            if current.write:
                self._tick_write(current, flags)
            else:
                self._tick_read(current, flags)
        if self._current is None:
            if self._queue:
                self._begin(self._queue.popleft())
            else:
                self.busy = False

    def _begin(self, access: _Access) -> None:
        self._current = access
        self.accesses += 1
        if access.write:
            self._awaddr.set_int(access.addr)
            self._wdata.set_int(access.value)
            self._aw.begin(self._delay())
            self._w.begin(self._delay())
        else:
            self._araddr.set_int(access.addr)
            self._ar.begin(self._delay())
        # Without stalls nothing is to be done until the NIC answers, which the flags tell.
        self.busy = self._stall > 0

    def _delay(self) -> int:
        delay = 0
        while self._stall and self._rng.random() < self._stall:
            delay += 1
        return delay

    def _tick_write(self, access: _Access, flags: int) -> None:
        if flags & AW:
            self._aw.taken()
        if flags & W:
            self._w.taken()
        if flags & B:
            self._end(access, 0, Resp(self._bresp.get_int()))
        elif self._stall:
            self._aw.step()
            self._w.step()
            self._bready.set_int(self._rng.random() >= self._stall)

    def _tick_read(self, access: _Access, flags: int) -> None:
        if flags & AR:
            self._ar.taken()
        if flags & R:
            self._end(access, int(self._rdata.get_bits(), 2), Resp(self._rresp.get_int()))
        elif self._stall:
            self._ar.step()
            self._rready.set_int(self._rng.random() >= self._stall)

    def _end(self, access: _Access, value: int, resp: Resp) -> None:
        self._current = None
        self.busy = bool(self._queue)
        if access.done is not None:
            access.done(value, resp)
        elif resp is not Resp.OKAY:
            self._reports.add("axil", f"{resp.name} on a write to {access.addr:#x}")
