"""The wire as a lab sees it: every packet, and what the lab does to them.

Stands between the client's device and the wire, so times are those of the client's end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from packetdrill import frames, tcpopts
from packetdrill.frames import Frame
from pystack.core.engine import Engine
from pystack.core.headers.ethernet import ETH_HLEN, ETH_P_IP
from pystack.core.headers.tcp import TcpOptions
from pystack.dev.wire import Port, Receive


@dataclass(frozen=True)
class Seen:
    """A packet; `when` in ns; `to_server` tells its direction."""

    when: int
    to_server: bool
    packet: Frame
    raw: bytes
    lost: bool = False


class LabWire:
    """A `Port`.  `lose(seen)` decides for each IP packet whether it is lost here.

    `recording` off: packets pass unseen, which is faster.
    """

    def __init__(self, port: Port, engine: Engine) -> None:
        self._port = port
        self._engine = engine
        self.seen: list[Seen] = []
        self.recording = True
        self.lose: Callable[[Seen], bool] | None = None
        self._scales: dict[tuple[bytes, int], int] = {}  # of each end, from its SYN

    def send(self, frame: bytes, on_sent: Callable[[], None] | None = None) -> None:
        if self._passes(frame, to_server=True):
            self._port.send(frame, on_sent)
        elif on_sent is not None:
            self._engine.call_at(self._engine.now, on_sent)

    def on_receive(self, receive: Receive) -> None:
        def arrived(frame: bytes, start: int, end: int) -> None:
            if self._passes(frame, to_server=False):
                receive(frame, start, end)

        self._port.on_receive(arrived)

    def _passes(self, frame: bytes, to_server: bool) -> bool:
        if not self.recording or int.from_bytes(frame[12:14], "big") != ETH_P_IP:
            return True
        packet = frames.decode(bytes(frame[ETH_HLEN:]), self._engine.now)
        if packet is None:
            return True
        seen = Seen(self._engine.now, to_server, packet, bytes(frame))
        if packet.tcp is not None and packet.tcp.syn:
            self._scales[packet.ip.src, packet.tcp.sport] = syn_options(seen).wscale or 0
        lost = self.lose is not None and self.lose(seen)
        self.seen.append(Seen(seen.when, to_server, packet, seen.raw, lost))
        return not lost

    def window(self, seen: Seen) -> int:
        """The window a segment offers, in bytes."""
        tcp = seen.packet.tcp
        assert tcp is not None
        return tcp.window << (0 if tcp.syn else self._scales[seen.packet.ip.src, tcp.sport])

    def segments(self) -> list[Seen]:
        """The TCP segments among those seen."""
        return [seen for seen in self.seen if seen.packet.tcp is not None]

    def connection(self, number: int) -> list[Seen]:
        """The segments of the connection that was the first, second (1) ... to be seen."""
        by_port: dict[int, list[Seen]] = {}
        for seen in self.segments():
            assert seen.packet.tcp is not None
            tcp = seen.packet.tcp
            by_port.setdefault(tcp.sport if seen.to_server else tcp.dport, []).append(seen)
        return list(by_port.values())[number]


def syn_options(seen: Seen) -> TcpOptions:
    assert seen.packet.tcp is not None
    return TcpOptions.parse(tcpopts.pack(seen.packet.tcp.options))
