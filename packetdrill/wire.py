"""The script's end of the wire: a `Port` on the host's device.

What the host sends is captured with its time; what the script injects arrives at once.  The wire
answers for every neighbour, so that no address resolution shows up between the packets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from packetdrill import frames, neighbours
from packetdrill.frames import Frame
from pystack.core.engine import Engine, VirtualEngine
from pystack.core.headers.arp import ArpPacket
from pystack.core.headers.ethernet import ETH_HLEN, ETH_P_ARP, EthernetHeader
from pystack.dev.wire import Receive

HOST_MAC = bytes.fromhex("020000000001")
PEER_MAC = bytes.fromhex("020000000002")


class LateEngine(VirtualEngine):
    """Virtual time in which whatever is put off comes a nanosecond late.

    A kernel's timer never comes early and always a little late, so a packet that arrives at the
    very moment a timer expires is seen first.  Scripts count on that.
    """

    def call_at(self, when: int, fn: Callable[..., object], *args: object):  # type: ignore[no-untyped-def]
        return super().call_at(when + (when > self.now), fn, *args)


class ScriptWire:
    """`captured` holds what the host sent and the script has not looked at yet."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.captured: deque[Frame] = deque()
        self.errors: list[str] = []  # malformed packets of the host's
        self._receive: Receive | None = None

    # -- the host's side (Port) ------------------------------------------------------------

    def on_receive(self, receive: Receive) -> None:
        self._receive = receive

    def send(self, frame: bytes, on_sent: Callable[[], None] | None = None) -> None:
        engine = self.engine
        if on_sent is not None:
            engine.call_at(engine.now, on_sent)
        header = EthernetHeader.parse(frame)
        packet = bytes(frame[ETH_HLEN:])
        if header.ethertype == ETH_P_ARP:
            self._answer(neighbours.arp_reply(ArpPacket.parse(packet), PEER_MAC), ETH_P_ARP)
        elif header.ethertype == frames.ETH_P_IPV6 and neighbours.is_discovery(packet):
            self._answer(neighbours.advertisement(packet, PEER_MAC), frames.ETH_P_IPV6)
        else:
            self._capture(packet)

    def _capture(self, packet: bytes) -> None:
        try:
            frame = frames.decode(packet, self.engine.now)
        except ValueError as exc:
            self.errors.append(str(exc))
        else:
            if frame is not None:
                self.captured.append(frame)

    def _answer(self, packet: bytes, ethertype: int) -> None:
        if packet:
            self.engine.call_at(self.engine.now, self._deliver, packet, ethertype)

    # -- the script's side -----------------------------------------------------------------

    def inject(self, frame: Frame) -> None:
        """`frame` arrives now."""
        ethertype = frames.ETH_P_IPV6 if frame.ip.version == 6 else frames.ETH_P_IP
        self._deliver(frames.encode(frame), ethertype)

    def _deliver(self, packet: bytes, ethertype: int) -> None:
        assert self._receive is not None, "no device on this wire"
        now = self.engine.now
        self._receive(EthernetHeader(HOST_MAC, PEER_MAC, ethertype).pack() + packet, now, now)
