"""Wires: what stands between two network devices.

A `Port` is one end.  `Link` joins two ports in virtual time; the bench offers the same port for
the RTL NIC's XGMII pins.  `Impaired` and `Tapped` wrap a port, as wrappers stack in any order.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pystack.core.engine import Engine

Receive = Callable[[bytes, int, int], None]
"""`receive(frame, start, end)`: a frame without FCS, and its first and last moment in ns."""

GAP = 12  # between frames, in byte times
WIRE_OVERHEAD = 8 + 4 + GAP  # preamble and SFD, FCS, gap
MIN_FRAME = 60


def wire_bytes(length: int) -> int:
    """Byte times a frame of `length` bytes (without FCS) takes, gap included."""
    return max(length, MIN_FRAME) + WIRE_OVERHEAD


class Port(Protocol):
    def send(self, frame: bytes, on_sent: Callable[[], None] | None = None) -> None:
        """Queue a frame (without FCS) for the wire; `on_sent` when its last byte has left."""
        ...

    def on_receive(self, receive: Receive) -> None:
        """Name who gets the frames that arrive here, in the engine's hub."""
        ...


class LinkPort:
    """One end of a `Link`."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._receive: Receive | None = None
        self._busy_until = 0
        self.peer: LinkPort = self
        self.frames_sent = 0

    def on_receive(self, receive: Receive) -> None:
        self._receive = receive

    def send(self, frame: bytes, on_sent: Callable[[], None] | None = None) -> None:
        engine, link = self._link.engine, self._link
        start = max(engine.now, self._busy_until)
        self._busy_until = start + wire_bytes(len(frame)) * 8_000_000_000 // link.rate
        end = self._busy_until - GAP * 8_000_000_000 // link.rate
        self.frames_sent += 1
        if on_sent is not None:
            engine.call_at(end, on_sent)
        padded = frame.ljust(MIN_FRAME, b"\0")
        engine.call_at(end + link.delay, self.peer.deliver, padded, start, end)

    def deliver(self, frame: bytes, start: int, end: int) -> None:
        if self._receive is not None:
            self._receive(frame, start + self._link.delay, end + self._link.delay)


class Link:
    """Full-duplex wire of `rate` bit/s and one-way `delay` ns; `a` and `b` are its ends."""

    def __init__(self, engine: Engine, rate: int = 10_000_000_000, delay: int = 500) -> None:
        self.engine = engine
        self.rate = rate
        self.delay = delay
        self.a, self.b = LinkPort(self), LinkPort(self)
        self.a.peer, self.b.peer = self.b, self.a


@dataclass(frozen=True)
class Impairment:
    """Probabilities a frame; `reorder` holds a frame back for `hold` ns."""

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    corrupt: float = 0.0
    hold: int = 20_000


class Impaired:
    """A port that loses, repeats, delays and corrupts frames both ways, seeded.

    `lost`, `duplicated`, `reordered`, `corrupted` count what it did: the balance needs them.
    `setting` may be changed at any time.
    """

    def __init__(self, port: Port, engine: Engine, setting: Impairment, seed: object) -> None:
        self._port = port
        self._engine = engine
        self.setting = setting
        self._rng = random.Random(f"impaired/{seed}")
        self.lost = self.duplicated = self.reordered = self.corrupted = 0

    def send(self, frame: bytes, on_sent: Callable[[], None] | None = None) -> None:
        fates = self._fates(frame)
        if not fates and on_sent is not None:
            self._engine.call_at(self._engine.now, on_sent)
        for delay, data in fates:
            if delay:
                self._engine.call_later(delay, self._port.send, data)
                if on_sent is not None:
                    self._engine.call_at(self._engine.now, on_sent)
            else:
                self._port.send(data, on_sent)
            on_sent = None

    def on_receive(self, receive: Receive) -> None:
        def arrived(frame: bytes, start: int, end: int) -> None:
            for delay, data in self._fates(frame):
                if delay:
                    self._engine.call_later(delay, receive, data, start + delay, end + delay)
                else:
                    receive(data, start, end)

        self._port.on_receive(arrived)

    def _fates(self, frame: bytes) -> list[tuple[int, bytes]]:
        """(delay, frame) for each copy that goes on."""
        rng, setting = self._rng, self.setting
        if rng.random() < setting.loss:
            self.lost += 1
            return []
        if rng.random() < setting.corrupt:
            self.corrupted += 1
            at = rng.randrange(len(frame))
            frame = frame[:at] + bytes([frame[at] ^ 1 << rng.randrange(8)]) + frame[at + 1 :]
        delay = 0
        if rng.random() < setting.reorder:
            self.reordered += 1
            delay = setting.hold
        copies = [(delay, frame)]
        if rng.random() < setting.duplicate:
            self.duplicated += 1
            copies.append((0, frame))
        return copies


class Tapped:
    """A port that shows every frame to `probe(direction, frame, start, end)`.

    Direction is "tx" for frames sent through this port; they are shown when they have left, with
    a start that `rate` (bit/s) gives.
    """

    def __init__(
        self,
        port: Port,
        engine: Engine,
        probe: Callable[[str, bytes, int, int], None],
        rate: int = 10_000_000_000,
    ) -> None:
        self._port = port
        self._engine = engine
        self._probe = probe
        self._rate = rate
        self._sending: deque[tuple[bytes, Callable[[], None] | None]] = deque()

    def send(self, frame: bytes, on_sent: Callable[[], None] | None = None) -> None:
        self._sending.append((frame, on_sent))
        self._port.send(frame, self._sent)

    def _sent(self) -> None:
        frame, on_sent = self._sending.popleft()
        end = self._engine.now
        duration = (wire_bytes(len(frame)) - GAP) * 8_000_000_000 // self._rate
        self._probe("tx", frame, end - duration, end)
        if on_sent is not None:
            on_sent()

    def on_receive(self, receive: Receive) -> None:
        def arrived(frame: bytes, start: int, end: int) -> None:
            self._probe("rx", frame, start, end)
            receive(frame, start, end)

        self._port.on_receive(arrived)
