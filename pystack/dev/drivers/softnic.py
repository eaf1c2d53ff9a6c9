"""A NIC without hardware, for hosts at the far end of a wire.

Same kernel path as a real one: frames queue in a receive ring, an interrupt schedules NAPI, sent
frames are freed by the next poll.  Completions of sent frames interrupt for several at a time, as
real drivers have it (`ethtool -C`, tx-frames and tx-usecs): nobody waits for them.
"""

from __future__ import annotations

from collections import deque
from functools import partial

from pystack.core.cpu import Cpu
from pystack.core.drop import Drop
from pystack.core.engine import Event
from pystack.core.skb import SkBuff
from pystack.dev.core import NetCore
from pystack.dev.napi import Napi
from pystack.dev.netdev import NetDevice
from pystack.dev.wire import Port

RING = 1024
TX_FRAMES = 16
TX_DELAY = 50_000  # ns


class SoftNic:
    """One queue on `cpu`, attached to `port`.  Receive ring of 1024 frames, transmit of 256."""

    tx_queues = 1
    tx_ring = 256

    def __init__(self, core: NetCore, name: str, mac: bytes, port: Port, cpu: int = 0) -> None:
        self.core = core
        self.kernel = core.kernel
        self.port = port
        self.cpu: Cpu = core.kernel.cpus[cpu]
        self.dev = NetDevice(name, mac, self)
        self.napi = Napi(core.softnet, name, self._poll, self.cpu)
        self.interrupts = 0
        self._rx: deque[tuple[bytes, int]] = deque()
        self._in_flight: deque[SkBuff] = deque()
        self._sent = 0
        self._tx_timer: Event | None = None
        self._irq_armed = True
        self._ups = 0
        self._done = partial(self._on_sent, 0)
        port.on_receive(self._arrived)
        core.register(self.dev)

    def open(self) -> None:
        self.napi.enable()
        self._irq = self.kernel.irqs.request(f"{self.dev.name}-TxRx-0", self.napi.schedule)
        self._irq_armed = True
        self._ups += 1
        self._done = partial(self._on_sent, self._ups)

    def stop(self) -> None:
        self.napi.disable()
        self.kernel.irqs.free(self._irq)
        self._rx.clear()
        while self._in_flight:
            self.kernel.drop(self._in_flight.popleft(), Drop.DEV_DOWN)
        self._sent = 0

    def set_rx_mode(self) -> None:
        """It has no filter; the layers above look at what arrives."""

    def start_xmit(self, skb: SkBuff, queue: int, more: bool) -> bool:
        if len(self._in_flight) >= self.tx_ring:
            return False
        self.kernel.charge(self.kernel.costs.tx_packet)
        self.kernel.cpu.flush()
        self._in_flight.append(skb)
        self.port.send(bytes(skb), self._done)
        return True

    def get_stats(self) -> dict[str, int]:
        return {"interrupts": self.interrupts, "polls": self.napi.polls}

    # -- hub side: the wire ----------------------------------------------------------------

    def _arrived(self, frame: bytes, start: int, end: int) -> None:
        if not self.dev.up:
            self.kernel.drops[Drop.DEV_DOWN] += 1
        elif len(self._rx) >= RING:
            self.dev.stats.rx_missed += 1
            self.kernel.drops[Drop.DEV_RING_FULL] += 1
        else:
            self._rx.append((frame, end))
            self._interrupt()

    def _on_sent(self, up: int) -> None:
        """A frame has left; `up` tells one that was dropped by `stop` since from a new one."""
        if up == self._ups and self._in_flight:
            self._sent += 1
            if self._sent >= TX_FRAMES:
                self._interrupt()
            elif self._tx_timer is None:
                self._tx_timer = self.kernel.engine.call_later(TX_DELAY, self._tx_due)

    def _tx_due(self) -> None:
        self._tx_timer = None
        if self._sent:
            self._interrupt()

    def _interrupt(self) -> None:
        if self._irq_armed:
            self._irq_armed = False
            self.interrupts += 1
            self.cpu.raise_irq(self._irq)

    # -- softirq side ----------------------------------------------------------------------

    def _poll(self, budget: int) -> int:
        if self._sent:
            sent, self._sent = self._sent, 0
            for _ in range(sent):
                self._in_flight.popleft().free()
            self.core.wake_queue(self.dev, 0)
        work = 0
        xdp = self.dev.xdp
        while self._rx and work < budget:
            frame, tstamp = self._rx.popleft()
            work += 1
            self.kernel.charge(self.kernel.costs.rx_packet)
            if xdp is None:
                skb = SkBuff(self.kernel, memoryview(frame))
                skb.dev = self.dev
            else:
                passed = xdp.receive(memoryview(bytearray(frame)), 0)
                if passed is None:
                    continue
                skb = passed
            skb.tstamp, skb.hwtstamp = self.kernel.now, tstamp
            self.napi.gro_receive(skb)
        if xdp is not None:
            xdp.flush()
        if work < budget and self.napi.complete():
            self._irq_armed = True
            if self._rx or self._sent >= TX_FRAMES:
                self._interrupt()
        return work
