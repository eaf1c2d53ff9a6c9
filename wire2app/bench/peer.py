"""The far end of the wire as a script: no kernel, so that one host's cost is what is measured.

It answers ARP, opens and closes TCP connections by hand-made frames, and counts what comes.
Frames for the measured stretch are made before the clock starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from pystack.core.checksum import checksum
from pystack.core.engine import VirtualEngine
from pystack.core.headers.arp import ARPOP_REPLY, ArpPacket
from pystack.core.headers.ethernet import ETH_HLEN, ETH_P_ARP, ETH_P_IP, EthernetHeader
from pystack.core.headers.ipv4 import IP_HLEN, IPPROTO_TCP, Ipv4Header, pseudo_header_sum
from pystack.core.headers.tcp import TCP_HLEN, TH_ACK, TH_SYN, TcpHeader, TcpOptions
from pystack.dev.wire import Receive

HOST_MAC, PEER_MAC = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
HOST_IP, PEER_IP = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
HEADERS = ETH_HLEN + IP_HLEN + TCP_HLEN
PEER_ISN = 1_000_000
WINDOW = 65535
SEQ_MASK = 0xFFFFFFFF
MSS = 1460


class Ends(NamedTuple):
    """Ports of one connection and the first sequence number the host expects and sends."""

    port: int
    host_port: int
    seq: int
    ack: int


class Peer:
    """A `pystack.dev.wire.Port` whose other end is this script."""

    def __init__(self, engine: VirtualEngine) -> None:
        self.engine = engine
        self.receive: Receive
        self.frames = 0  # that came from the host
        self.on_frame: Callable[[bytes], None] = self._answer
        self.open: dict[int, Ends] = {}  # connections by our port

    # -- the port --------------------------------------------------------------------------

    def on_receive(self, receive: Receive) -> None:
        self.receive = receive

    def send(self, frame: bytes, on_sent: Callable[[], None] | None = None) -> None:
        self.frames += 1
        if on_sent is not None:
            self.engine.call_at(self.engine.now, on_sent)
        self.engine.call_at(self.engine.now, self.on_frame, frame)

    def deliver(self, frames: Iterable[bytes]) -> None:
        """Frames that reach the host now."""
        now = self.engine.now
        for frame in frames:
            self.engine.call_at(now, partial(self.receive, frame, now, now))

    # -- dialogue --------------------------------------------------------------------------

    def connect(self, ports: Iterable[int], host_port: int) -> None:
        """SYNs from these ports; the SYN-ACKs are answered by themselves."""
        options = TcpOptions(mss=MSS, sack_permitted=True, wscale=7).pack()
        syn = partial(self.segment, host_port=host_port, seq=PEER_ISN, ack=0, flags=TH_SYN)
        self.deliver([syn(port, options=options) for port in ports])

    def _answer(self, frame: bytes) -> None:
        ethertype = EthernetHeader.parse(frame).ethertype
        if ethertype == ETH_P_ARP:
            self._answer_arp(frame)
        elif ethertype == ETH_P_IP:
            header = TcpHeader.parse(frame, ETH_HLEN + IP_HLEN)
            if header.flags & TH_SYN:
                self._established(header)

    def _answer_arp(self, frame: bytes) -> None:
        asked = ArpPacket.parse(memoryview(frame)[ETH_HLEN:])
        if asked is not None and asked.target_ip == PEER_IP:
            reply = ArpPacket(ARPOP_REPLY, PEER_MAC, PEER_IP, asked.sender_mac, asked.sender_ip)
            head = EthernetHeader(HOST_MAC, PEER_MAC, ETH_P_ARP)
            self.deliver([(head.pack() + reply.pack()).ljust(60, b"\0")])

    def _established(self, header: TcpHeader) -> None:
        ack = (header.seq + 1) & SEQ_MASK
        ends = Ends(header.dport, header.sport, PEER_ISN + 1, ack)
        self.open[ends.port] = ends
        self.deliver([self.ack(ends, 0)])

    # -- frames ----------------------------------------------------------------------------

    def ack(self, ends: Ends, received: int) -> bytes:
        """An acknowledgment of `received` bytes."""
        ack = (ends.ack + received) & SEQ_MASK
        return self.segment(ends.port, ends.host_port, ends.seq, ack, TH_ACK)

    def data(self, ends: Ends, sent: int, data: bytes) -> bytes:
        """`data` after `sent` bytes."""
        seq = (ends.seq + sent) & SEQ_MASK
        return self.segment(ends.port, ends.host_port, seq, ends.ack, TH_ACK, data=data)

    def segment(
        self,
        port: int,
        host_port: int,
        seq: int,
        ack: int,
        flags: int,
        options: bytes = b"",
        data: bytes = b"",
    ) -> bytes:
        """One frame to the host."""
        header = TcpHeader(
            port, host_port, seq, ack, flags, WINDOW, header_length=TCP_HLEN + len(options)
        )
        length = header.header_length + len(data)
        start = pseudo_header_sum(PEER_IP, HOST_IP, IPPROTO_TCP, length)
        value = checksum(header.pack() + options + data, start)
        tcp = header._replace(checksum=value).pack() + options + data
        ip = Ipv4Header(IP_HLEN + length, IPPROTO_TCP, PEER_IP, HOST_IP).pack()
        head = EthernetHeader(HOST_MAC, PEER_MAC, ETH_P_IP).pack()
        return (head + ip + tcp).ljust(60, b"\0")
