"""Ethernet, ARP, IPv4 and ICMP of one host, spoken to in frames made and read by scapy."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from pystack.core.drop import Drop
from pystack.core.engine import VirtualEngine
from pystack.core.skb import SkBuff
from pystack.dev.wire import Link
from pystack.host import Host
from pystack.link.neighbour import NudState

US, PEER = "10.0.0.1", "10.0.0.2"
OUR_MAC, PEER_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"


class Wire:
    """One host and a scripted peer."""

    def __init__(self) -> None:
        self.engine = VirtualEngine()
        link = Link(self.engine)
        self.port = link.b
        self.host = Host(self.engine, "h")
        self.dev = self.host.add_softnic("eth0", bytes.fromhex(OUR_MAC.replace(":", "")), link.a)
        self.frames: list[Any] = []
        self.port.on_receive(lambda frame, start, end: self.frames.append(Ether(frame)))
        self.host.start(self.host.up, self.dev, f"{US}/24")
        self.run(1)

    def run(self, ms: float) -> None:
        self.engine.run(until=self.engine.now + int(ms * 1e6))

    def send(self, packet: Any, ms: float = 1) -> list[Any]:
        """Deliver one frame; what came back within `ms`."""
        self.frames.clear()
        self.port.send(bytes(packet))
        self.run(ms)
        return list(self.frames)

    def teach_arp(self) -> None:
        self.send(
            Ether(src=PEER_MAC, dst="ff:ff:ff:ff:ff:ff")
            / ARP(op=1, hwsrc=PEER_MAC, psrc=PEER, pdst=US)
        )

    def ip(self, **fields: Any) -> Any:
        return Ether(src=PEER_MAC, dst=OUR_MAC) / IP(src=PEER, dst=US, **fields)

    @property
    def drops(self) -> dict[Drop, int]:
        return dict(self.host.kernel.drops)


@pytest.fixture
def wire() -> Wire:
    return Wire()


def test_arp_request_for_us_is_answered_and_the_asker_learned(wire: Wire) -> None:
    request = Ether(src=PEER_MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(
        op=1, hwsrc=PEER_MAC, psrc=PEER, pdst=US
    )
    (reply,) = wire.send(request)
    assert (reply.dst, reply[ARP].op, reply[ARP].hwsrc, reply[ARP].psrc, reply[ARP].pdst) == (
        PEER_MAC,
        2,
        OUR_MAC,
        US,
        PEER,
    )
    assert len(reply) == 60
    assert wire.host.arp.table["eth0", bytes([10, 0, 0, 2])].state is NudState.STALE


def test_arp_for_somebody_else_is_not_answered(wire: Wire) -> None:
    request = Ether(src=PEER_MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(
        op=1, hwsrc=PEER_MAC, psrc=PEER, pdst="10.0.0.77"
    )
    assert wire.send(request) == []
    assert wire.host.arp.table == {}


@pytest.mark.parametrize("accept", [0, 1])
@pytest.mark.parametrize("op", [1, 2])
def test_gratuitous_arp_moves_a_known_neighbour_and_makes_one_only_if_told(
    wire: Wire, op: int, accept: int
) -> None:
    wire.host.kernel.sysctl["net.ipv4.conf.eth0.arp_accept"] = accept
    wire.teach_arp()
    moved = "02:00:00:00:00:77"
    for ip in (PEER, "10.0.0.77"):
        arp = ARP(op=op, hwsrc=moved, psrc=ip, pdst=ip, hwdst="ff:ff:ff:ff:ff:ff")
        assert wire.send(Ether(src=moved, dst="ff:ff:ff:ff:ff:ff") / arp) == []
    table = {ip[-1]: (n.mac[-1], n.state) for (_, ip), n in wire.host.arp.table.items()}
    stranger = {77: (0x77, NudState.STALE)} if accept else {}
    assert table == {2: (0x77, NudState.STALE), **stranger}


def test_a_host_announces_its_addresses_when_a_device_comes_up_if_told(wire: Wire) -> None:
    core = wire.host.core
    for notify in (0, 1):
        wire.host.kernel.sysctl["net.ipv4.conf.eth0.arp_notify"] = notify
        wire.host.start(core.stop, wire.dev)
        wire.run(1)
        wire.frames.clear()
        wire.host.start(core.open, wire.dev)
        wire.run(1)
        arps = [f[ARP] for f in wire.frames if ARP in f]
        assert [(a.op, a.hwsrc, a.psrc, a.pdst) for a in arps] == [(1, OUR_MAC, US, US)] * notify


@pytest.mark.parametrize("size", [0, 1, 7, 56, 57, 1472])
def test_echo_reply_carries_the_same_data_with_good_checksums(wire: Wire, size: int) -> None:
    wire.teach_arp()
    data = bytes(range(256)) * 6
    (reply,) = wire.send(wire.ip() / ICMP(id=7, seq=9) / Raw(data[:size]))
    got = (reply[ICMP].type, reply[ICMP].id, reply[ICMP].seq)
    assert got == (0, 7, 9)
    icmp = bytes(reply[IP].payload)[: reply[IP].len - 20]
    assert icmp[8:] == data[:size]
    again = reply.copy()
    del again[IP].chksum, again[ICMP].chksum
    rebuilt = Ether(bytes(again))
    assert (rebuilt[IP].chksum, rebuilt[ICMP].chksum) == (reply[IP].chksum, reply[ICMP].chksum)
    assert wire.host.kernel.skbs_alive == 0


MALFORMED = {
    "ten bytes of noise": (lambda w: b"\x02" * 10, Drop.ETH_OTHERHOST),  # padded on the wire
    "unknown ethertype": (
        lambda w: Ether(src=PEER_MAC, dst=OUR_MAC, type=0x88B5),
        Drop.ETH_UNKNOWN_PROTOCOL,
    ),
    "other host": (
        lambda w: Ether(src=PEER_MAC, dst="02:00:00:00:00:99") / IP(),
        Drop.ETH_OTHERHOST,
    ),
    "arp of length 7": (
        lambda w: Ether(src=PEER_MAC, dst=OUR_MAC) / ARP(hwlen=7, psrc=PEER, pdst=US),
        Drop.ARP_MALFORMED,
    ),
    "ip version 5": (lambda w: w.ip(version=5) / UDP(), Drop.IP_BAD_HEADER),
    "ip header of 16 bytes": (lambda w: w.ip(ihl=4) / UDP(), Drop.IP_BAD_HEADER),
    "ip bad checksum": (lambda w: w.ip(chksum=0x1234) / UDP(), Drop.IP_BAD_CHECKSUM),
    "ip longer than the frame": (lambda w: w.ip(len=1400) / UDP(), Drop.IP_TRUNCATED),
    "ip total length below header": (lambda w: w.ip(len=19) / UDP(), Drop.IP_BAD_HEADER),
    "ip not for us": (
        lambda w: Ether(src=PEER_MAC, dst=OUR_MAC) / IP(src=PEER, dst="10.0.9.9"),
        Drop.IP_OTHER_ADDRESS,
    ),
    "ip multicast source": (
        lambda w: Ether(src=PEER_MAC, dst=OUR_MAC) / IP(src="224.0.0.1", dst=US),
        Drop.IP_MARTIAN_SOURCE,
    ),
    "ip our own source": (
        lambda w: Ether(src=PEER_MAC, dst=OUR_MAC) / IP(src=US, dst=US),
        Drop.IP_MARTIAN_SOURCE,
    ),
    "unknown protocol": (lambda w: w.ip(proto=200) / Raw(b"x" * 30), Drop.IP_UNKNOWN_PROTOCOL),
    "icmp bad checksum": (lambda w: w.ip() / ICMP(chksum=1), Drop.ICMP_BAD_CHECKSUM),
    "icmp cut short": (
        lambda w: w.ip(proto=1, len=24) / Raw(b"\x08\x00\xf7\xff"),
        Drop.ICMP_TOO_SHORT,
    ),
    "icmp unknown type": (lambda w: w.ip() / ICMP(type=99), Drop.ICMP_UNKNOWN_TYPE),
    "icmp error quoting nothing": (lambda w: w.ip() / ICMP(type=3), Drop.ICMP_TOO_SHORT),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_frame_is_counted_dropped_and_the_host_goes_on(wire: Wire, name: str) -> None:
    make, reason = MALFORMED[name]
    wire.teach_arp()
    wire.send(make(wire))
    assert wire.drops == {reason: 1}
    assert wire.host.kernel.skbs_alive == 0
    (reply,) = wire.send(wire.ip() / ICMP(id=1, seq=1))
    assert reply[ICMP].type == 0


def test_unknown_protocol_is_answered_with_protocol_unreachable(wire: Wire) -> None:
    wire.teach_arp()
    (reply,) = wire.send(wire.ip(proto=200) / Raw(b"x" * 30))
    assert (reply[ICMP].type, reply[ICMP].code) == (3, 2)
    quoted = bytes(reply[ICMP].payload)
    assert quoted[9] == 200
    assert len(quoted) == 50


def send_ip(host: Host, daddr: str, payload: bytes = b"hello world") -> None:
    dst = bytes(int(x) for x in daddr.split("."))
    route = host.ipv4.route(dst)
    host.ipv4.send(SkBuff(host.kernel, memoryview(payload)), route, route.saddr, dst, 99)


def test_packets_wait_for_arp_and_leave_in_order(wire: Wire) -> None:
    for i in range(3):
        wire.host.start(send_ip, wire.host, PEER, bytes([i]) * 30)
    wire.frames.clear()
    wire.run(1)
    (request,) = wire.frames
    assert (request.dst, request[ARP].psrc, request[ARP].pdst) == ("ff:ff:ff:ff:ff:ff", US, PEER)
    answer = Ether(src=PEER_MAC, dst=OUR_MAC) / ARP(
        op=2, hwsrc=PEER_MAC, psrc=PEER, hwdst=OUR_MAC, pdst=US
    )
    frames = wire.send(answer)
    assert [bytes(f[IP].payload)[0] for f in frames] == [0, 1, 2]
    assert {f.dst for f in frames} == {PEER_MAC}
    assert wire.host.arp.table["eth0", bytes([10, 0, 0, 2])].state is NudState.REACHABLE


def test_silent_neighbour_is_asked_three_times_then_fails_and_drops(wire: Wire) -> None:
    wire.frames.clear()
    wire.host.start(send_ip, wire.host, PEER)
    wire.run(5000)
    assert [f[ARP].op for f in wire.frames] == [1, 1, 1]
    assert wire.drops == {Drop.NEIGH_FAILED: 1}
    assert wire.host.kernel.skbs_alive == 0


def test_stale_neighbour_in_use_is_probed_by_unicast_and_given_up(wire: Wire) -> None:
    wire.teach_arp()
    wire.frames.clear()
    wire.host.start(send_ip, wire.host, PEER)
    wire.run(20_000)
    assert wire.frames[0].haslayer(IP)
    assert [(f.dst, f[ARP].op) for f in wire.frames[1:]] == [(PEER_MAC, 1)] * 3
    assert wire.host.arp.table["eth0", bytes([10, 0, 0, 2])].state is NudState.FAILED


def test_arp_queue_is_limited_and_the_oldest_is_dropped(wire: Wire) -> None:
    def many() -> None:
        for _ in range(105):
            send_ip(wire.host, PEER)

    wire.host.start(many)
    wire.run(1)
    assert wire.drops == {Drop.NEIGH_QUEUE_FULL: 4}


def test_route_prefers_the_longest_prefix_and_unknown_is_enetunreach(wire: Wire) -> None:
    ipv4 = wire.host.ipv4
    ipv4.add_route("default", "10.0.0.254")
    ipv4.add_route("192.168.7.0/24", "10.0.0.253")
    assert ipv4.route(bytes([192, 168, 7, 1])).gateway == bytes([10, 0, 0, 253])
    assert ipv4.route(bytes([192, 168, 8, 1])).gateway == bytes([10, 0, 0, 254])
    assert ipv4.route(bytes([10, 0, 0, 9])).gateway == b""
    other = Host(VirtualEngine(), "lonely")
    with pytest.raises(OSError, match="unreachable"):
        other.ipv4.route(bytes([1, 2, 3, 4]))


def test_tcp_segment_reaches_the_tcp_layer(wire: Wire) -> None:
    wire.teach_arp()
    (reply,) = wire.send(wire.ip() / TCP(sport=1000, dport=81, flags="S", seq=5))
    assert (reply[TCP].flags, reply[TCP].ack) == ("RA", 6)
