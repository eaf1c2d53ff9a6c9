"""IPv6 and ICMPv6 of one host, spoken to in frames made and read by scapy."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Any

import pytest
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
    Raw,
    RouterAlert,
)
from scapy.layers.l2 import Ether
from stack.ipv6_wire import OUR_GROUP, OUR_GROUP_MAC, OUR_LL, OUR_MAC, PEER, PEER_MAC, US, Wire6

from pystack.core.drop import Drop
from pystack.core.headers.ipv6 import Ipv6Header
from pystack.core.skb import SkBuff

PEER_IP = IPv6Address(PEER).packed
ECHO = ICMPv6EchoRequest(id=7, seq=3, data=b"ping")


@pytest.fixture
def wire() -> Wire6:
    wire = Wire6(router_solicitations=0).settle()
    wire.teach()
    return wire


def test_header_packs_and_parses_back() -> None:
    header = Ipv6Header(99, 58, bytes(range(16)), bytes(range(16, 32)), 3, 0x5A, 0xBEEF1)
    assert Ipv6Header.parse(header.pack()) == header
    assert bytes(IPv6(header.pack())) == header.pack()


@pytest.mark.parametrize("size", [0, 1, 1000, 1452])
def test_echo_is_answered_with_its_data(wire: Wire6, size: int) -> None:
    data = bytes(range(256)) * 8
    request = wire.ip(tc=0x50) / ICMPv6EchoRequest(id=7, seq=3, data=data[:size])
    (reply,) = wire.send(request)
    assert (reply[IPv6].src, reply[IPv6].dst, reply[IPv6].tc) == (US, PEER, 0x50)
    assert reply[ICMPv6EchoReply].data == data[:size]
    expected = IPv6(bytes(reply[IPv6]))
    del expected[ICMPv6EchoReply].cksum
    assert IPv6(bytes(expected))[ICMPv6EchoReply].cksum == reply[ICMPv6EchoReply].cksum


def test_echo_to_a_group_is_answered_from_a_unicast_address(wire: Wire6) -> None:
    (reply,) = wire.send(
        Ether(src=PEER_MAC, dst="33:33:00:00:00:01") / IPv6(src=PEER, dst="ff02::1") / ECHO
    )
    assert (reply[IPv6].src, reply[IPv6].dst) == (US, PEER)


BAD = {
    "version 4": (lambda ip: ip(version=4) / ECHO, Drop.IP6_BAD_HEADER),
    "cut off": (lambda ip: bytes(ip(plen=200) / ECHO), Drop.IP6_TRUNCATED),
    "from a group": (lambda ip: ip(src="ff02::1") / ECHO, Drop.IP6_BAD_ADDRESS),
    "from loopback": (lambda ip: ip(src="::1") / ECHO, Drop.IP6_BAD_ADDRESS),
    "to loopback": (lambda ip: ip(dst="::1") / ECHO, Drop.IP6_BAD_ADDRESS),
    "to an interface-local group": (lambda ip: ip(dst="ff01::1") / ECHO, Drop.IP6_BAD_ADDRESS),
    "to somebody else": (lambda ip: ip(dst="fd00::9") / ECHO, Drop.IP6_OTHER_ADDRESS),
    "to a group not joined": (lambda ip: ip(dst="ff02::9") / ECHO, Drop.IP6_NOT_MEMBER),
    "wrong checksum": (
        lambda ip: ip() / ICMPv6EchoRequest(cksum=1),
        Drop.ICMP_BAD_CHECKSUM,
    ),
    "ICMPv6 of 4 bytes": (lambda ip: ip(nh=58, plen=4) / Raw(b"\x80\0\0\0"), Drop.ICMP_TOO_SHORT),
    "extension cut off": (
        lambda ip: ip(nh=60) / Raw(b"\x3a\x05" + bytes(6)),
        Drop.IP6_BAD_EXTENSION,
    ),
    "hop-by-hop of 4 bytes": (lambda ip: ip(nh=0) / Raw(b"\x3a\0\0\0"), Drop.IP6_BAD_EXTENSION),
    "option longer than its header": (
        lambda ip: ip(nh=60) / Raw(b"\x3a\0\x05\x20\0\0\0\0") / ECHO,
        Drop.IP6_BAD_EXTENSION,
    ),
    "padding that is not zero": (
        lambda ip: ip(nh=60) / Raw(b"\x3a\0\x01\x04\0\0\x01\0") / ECHO,
        Drop.IP6_BAD_EXTENSION,
    ),
    "padding of 14 bytes": (
        lambda ip: ip(nh=60) / Raw(b"\x3a\x01\x01\x0c" + bytes(12)) / ECHO,
        Drop.IP6_BAD_EXTENSION,
    ),
    "nine options": (
        lambda ip: ip(nh=60) / Raw(b"\x3a\x02" + b"\x1e\0" * 9 + b"\x01\x02\0\0") / ECHO,
        Drop.IP6_BAD_EXTENSION,
    ),
    "option that says drop": (
        lambda ip: ip(nh=60) / Raw(b"\x3a\0\x5e\x04\0\0\0\0") / ECHO,
        Drop.IP6_BAD_EXTENSION,
    ),
    "fragment header cut off": (
        lambda ip: ip(nh=44, plen=4) / Raw(b"\x3a\0\0\0"),
        Drop.IP6_BAD_FRAGMENT,
    ),
}


@pytest.mark.parametrize("case", BAD, ids=str)
def test_bad_packet_is_dropped_by_name_and_not_answered(wire: Wire6, case: str) -> None:
    make, reason = BAD[case]
    packet = make(wire.ip)
    before = wire.drops.get(reason, 0)
    assert wire.send(packet) == []
    assert wire.drops.get(reason, 0) == before + 1
    assert wire.host.kernel.skbs_alive == 0


def test_no_next_header_is_the_end(wire: Wire6) -> None:
    before = wire.drops
    assert wire.send(wire.ip(nh=59) / Raw(b"anything")) == []
    assert wire.drops == before


@pytest.mark.parametrize(
    "headers",
    [
        IPv6ExtHdrHopByHop(options=[RouterAlert(), PadN(optdata=b"")]),
        IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))]),
        IPv6ExtHdrRouting(type=0, segleft=0, addresses=["fd00::7"]),
        IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / IPv6ExtHdrRouting(segleft=0),
        IPv6ExtHdrDestOpt() / IPv6ExtHdrFragment(offset=0, m=0, id=5) / IPv6ExtHdrDestOpt(),
    ],
    ids=["hop-by-hop", "destination", "routing", "three", "atomic fragment"],
)
def test_packet_behind_extension_headers_arrives(wire: Wire6, headers: Any) -> None:
    (reply,) = wire.send(wire.ip() / headers / ECHO)
    assert reply[ICMPv6EchoReply].data == b"ping"


PROBLEMS = {
    "unknown header": (lambda ip: ip(nh=200) / Raw(bytes(8)), 1, 6),
    "unknown header behind options": (
        lambda ip: ip() / IPv6ExtHdrDestOpt(nh=200) / Raw(bytes(8)),
        1,
        40,
    ),
    "hop-by-hop not first": (
        lambda ip: ip() / IPv6ExtHdrDestOpt(nh=0) / IPv6ExtHdrHopByHop() / ECHO,
        1,
        40,
    ),
    "routing with segments left": (
        lambda ip: ip() / IPv6ExtHdrRouting(type=0, segleft=1, addresses=["fd00::7"]) / ECHO,
        0,
        42,
    ),
    "option that asks for it": (
        lambda ip: ip(nh=60) / Raw(b"\x3a\0\x9e\x04\0\0\0\0") / ECHO,
        2,
        42,
    ),
    "hop-by-hop option that asks for it": (
        lambda ip: ip(nh=0) / Raw(b"\x3a\0\xde\x04\0\0\0\0") / ECHO,
        2,
        42,
    ),
    "fragment of 9 bytes with more to come": (
        lambda ip: ip() / IPv6ExtHdrFragment(offset=0, m=1, nh=17) / Raw(bytes(9)),
        0,
        4,
    ),
    "fragment beyond 65535": (
        lambda ip: ip() / IPv6ExtHdrFragment(offset=8191, m=0, nh=58) / Raw(bytes(9)),
        0,
        42,
    ),
    "first fragment without its transport header": (
        lambda ip: ip() / IPv6ExtHdrFragment(offset=0, m=1, nh=6) / Raw(bytes(16)),
        3,
        0,
    ),
}


@pytest.mark.parametrize("case", PROBLEMS, ids=str)
def test_parameter_problem_points_at_what_is_wrong(wire: Wire6, case: str) -> None:
    make, code, pointer = PROBLEMS[case]
    packet = make(wire.ip)
    (error,) = wire.send(packet)
    problem = error[ICMPv6ParamProblem]
    assert (error[IPv6].src, error[IPv6].dst) == (US, PEER)
    assert (problem.code, problem.ptr) == (code, pointer)
    sent = bytes(packet)[14:]
    assert bytes(problem)[8 : 8 + len(sent)] == sent


def test_problem_with_a_packet_to_a_group_is_told_only_when_the_option_says_so(
    wire: Wire6,
) -> None:
    for option, answers in ((0x9E, 1), (0xDE, 0)):
        packet = (
            Ether(src=PEER_MAC, dst=OUR_GROUP_MAC)
            / IPv6(src=PEER, dst=OUR_GROUP, nh=60)
            / Raw(bytes([58, 0, option, 4, 0, 0, 0, 0]))
            / ECHO
        )
        assert len(wire.send(packet)) == answers


def test_nobody_is_told_of_an_error_about_an_error(wire: Wire6) -> None:
    quoted = IPv6(src=US, dst=PEER) / UDP(sport=1, dport=2)
    for packet in (
        wire.ip(nh=60) / Raw(b"\x3a\0\x9e\x04\0\0\0\0") / ICMPv6DestUnreach() / quoted,
        wire.ip(src="::") / IPv6ExtHdrDestOpt(nh=200) / Raw(bytes(8)),
    ):
        assert wire.send(packet) == []


def test_errors_are_limited_for_each_destination_and_in_all(wire: Wire6) -> None:
    wire.frames.clear()
    packet = bytes(wire.ip(nh=200) / Raw(bytes(8)))
    for _ in range(20):
        wire.port.send(packet)
    assert len(wire.run_on(1)) == 6  # a burst (XRLIM_BURST_FACTOR)
    assert wire.host.kernel.mib["Icmp6OutRateLimitHost"] == 14
    wire.run(200)
    for _ in range(5):
        wire.port.send(packet)
    assert len(wire.run_on(1)) == 2  # one in 100 ms


def test_udp_to_a_closed_port_is_refused(wire: Wire6) -> None:
    (error,) = wire.send(wire.ip() / UDP(sport=5, dport=9) / Raw(b"x"))
    assert error[ICMPv6DestUnreach].code == 4


def test_tcp_to_a_closed_port_is_reset(wire: Wire6) -> None:
    (reset,) = wire.send(wire.ip() / TCP(sport=5, dport=9, seq=100, flags="S"))
    assert (reset[TCP].flags, reset[TCP].ack) == ("RA", 101)


# -- fragments -------------------------------------------------------------------------------

MESSAGE = bytes(IPv6(src=PEER, dst=US) / ICMPv6EchoRequest(data=bytes(range(256)) * 12))[40:]


def piece(wire: Wire6, start: int, end: int, ident: int = 1, more: bool | None = None) -> Any:
    more = end < len(MESSAGE) if more is None else more
    header = IPv6ExtHdrFragment(offset=start // 8, m=int(more), id=ident, nh=58)
    return wire.ip() / header / Raw(MESSAGE[start:end])


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 0, 2, 2, 1)])
def test_fragments_in_any_order_make_the_packet(wire: Wire6, order: tuple[int, ...]) -> None:
    ends = [(0, 1200), (1200, 2400), (2400, len(MESSAGE))]
    replies: list[Any] = []
    for index in order:
        replies = wire.send(piece(wire, *ends[index]))
    assert [r[IPv6ExtHdrFragment].m for r in replies] == [1, 1, 0]
    data = b"".join(bytes(r[IPv6ExtHdrFragment].payload) for r in replies)
    assert data[8:] == MESSAGE[8:]
    assert wire.host.kernel.mib["Ip6ReasmOKs"] == 1
    assert wire.host.ipv6.reassembly.queues.memory == 0


@pytest.mark.parametrize(
    "second",
    [(1192, 2400), (600, 1208), (0, 1208), (1200, 1208)],
    ids=["tail", "inside", "longer", "end moves"],
)
def test_overlapping_fragment_ends_the_packet(wire: Wire6, second: tuple[int, int]) -> None:
    """RFC 5722: all of it is discarded, and nobody is told."""
    wire.send(piece(wire, 0, 1200))
    wire.send(piece(wire, 2400, len(MESSAGE)))
    moves = second == (1200, 1208)
    assert wire.send(piece(wire, *second, more=not moves)) == []
    assert wire.drops[Drop.IP6_OVERLAPPING_FRAGMENT] == 3
    assert wire.host.ipv6.reassembly.queues.memory == 0
    assert wire.host.kernel.skbs_alive == 0


def test_piece_that_is_there_already_is_ignored(wire: Wire6) -> None:
    """As a whole fragment or a part of one (`inet_frag_queue_insert`)."""
    wire.send(piece(wire, 0, 1200))
    wire.send(piece(wire, 0, 1200))
    wire.send(piece(wire, 8, 1192))
    assert wire.drops[Drop.IP6_DUPLICATE_FRAGMENT] == 2
    assert wire.send(piece(wire, 1200, len(MESSAGE)))  # the answer
    assert wire.host.ipv6.reassembly.queues.memory == 0


def test_pieces_too_long_together_are_dropped(wire: Wire6) -> None:
    """The first has the longer headers: only the whole packet shows it."""
    first = IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))] * 1) / IPv6ExtHdrFragment(
        offset=0, m=1, id=1, nh=58
    )
    wire.send(wire.ip() / first / Raw(bytes(1200)))
    for start in range(1200, 65520, 1200):
        end = min(start + 1200, 65535)
        header = IPv6ExtHdrFragment(offset=start // 8, m=int(end < 65535), id=1, nh=58)
        wire.send(wire.ip() / header / Raw(bytes(end - start)))
    assert wire.drops[Drop.IP6_BAD_FRAGMENT] == 55
    assert wire.host.kernel.mib["Ip6ReasmFails"] == 1
    assert wire.host.ipv6.reassembly.queues.memory == 0


def test_congestion_seen_by_a_piece_is_the_packets(wire: Wire6) -> None:
    """RFC 3168, 5.3: one CE is enough; with one that is no ECN packet it cannot be."""
    seen = []
    wire.host.ipv6.register(58, lambda skb: (seen.append(skb.tos), skb.free()))
    for ident, (one, two) in enumerate(((2, 3), (3, 2), (2, 2), (0, 3))):
        for tc, (start, end) in ((one, (0, 1200)), (two, (1200, len(MESSAGE)))):
            packet = piece(wire, start, end, ident)
            packet[IPv6].tc = tc
            wire.send(packet)
    assert seen == [3, 3, 2]
    assert wire.drops[Drop.IP6_BAD_FRAGMENT] == 2


def test_packet_never_completed_is_given_up_after_a_minute(wire: Wire6) -> None:
    wire.send(piece(wire, 0, 1200))
    wire.send(piece(wire, 2400, len(MESSAGE), ident=2))
    errors = [f for f in wire.run(61_000) if ICMPv6TimeExceeded in f]
    assert [e[ICMPv6TimeExceeded].code for e in errors] == [1]  # only of the one begun
    assert wire.drops[Drop.IP6_FRAGMENT_TIMEOUT] == 2
    assert wire.host.kernel.mib["Ip6ReasmTimeout"] == 2
    assert wire.host.kernel.skbs_alive == 0


def test_memory_for_fragments_is_limited(wire: Wire6) -> None:
    wire.host.kernel.sysctl["net.ipv6.ip6frag_high_thresh"] = 10_000
    for ident in range(50):
        wire.send(piece(wire, 0, 1200, ident))
    assert wire.host.ipv6.reassembly.queues.memory < 12_000
    assert wire.drops[Drop.IP6_FRAGMENT_MEMORY] >= 40


# -- sending ---------------------------------------------------------------------------------


def transmit(wire: Wire6, size: int, **how: Any) -> list[Any]:
    def send() -> None:
        route = wire.host.ipv6.route(PEER_IP)
        skb = SkBuff(wire.host.kernel, memoryview(bytes(size)))
        wire.host.ipv6.send(skb, route, route.saddr, PEER_IP, 99, **how)

    wire.frames.clear()
    wire.host.start(send)
    return wire.run_on(1)


def test_long_packet_leaves_in_fragments_unless_told_not_to(wire: Wire6) -> None:
    frames = transmit(wire, 3000, dont_fragment=False)
    assert [(f[IPv6ExtHdrFragment].offset * 8, f[IPv6ExtHdrFragment].m) for f in frames] == [
        (0, 1),
        (1448, 1),
        (2896, 0),
    ]
    assert {f[IPv6ExtHdrFragment].nh for f in frames} == {99}
    assert all(len(f) <= 1514 for f in frames)
    assert transmit(wire, 3000) == []
    assert wire.drops[Drop.IP6_TOO_BIG] == 1


def test_hop_limit_and_class_stand_in_the_header(wire: Wire6) -> None:
    (frame,) = transmit(wire, 8, ttl=3, tos=0xB8)
    assert (frame[IPv6].hlim, frame[IPv6].tc) == (3, 0xB8)
    (frame,) = transmit(wire, 8)
    assert (frame[IPv6].hlim, frame[IPv6].tc) == (64, 0)


def test_path_mtu_is_learnt_by_a_socket_and_forgotten_after_ten_minutes(wire: Wire6) -> None:
    ipv6, peer = wire.host.ipv6, PEER_IP
    ipv6.update_pmtu(peer, 1400)
    assert ipv6.route(peer).mtu == 1400
    ipv6.update_pmtu(peer, 1279)  # below the least MTU of IPv6
    ipv6.update_pmtu(peer, 1450)  # never up
    assert ipv6.route(peer).mtu == 1400
    wire.run(601_000)
    assert ipv6.route(peer).mtu == 1500


def test_error_about_a_packet_that_is_not_ours_is_ignored(wire: Wire6) -> None:
    quoted = IPv6(src="fd00::77", dst=PEER) / TCP(sport=1, dport=2)
    assert wire.send(wire.ip() / ICMPv6PacketTooBig(mtu=1300) / quoted) == []
    assert wire.host.ipv6.route(PEER_IP).mtu == 1500


def test_own_address_and_link_local_one_answer(wire: Wire6) -> None:
    (reply,) = wire.send(Ether(src=PEER_MAC, dst=OUR_MAC) / IPv6(src=PEER, dst=OUR_LL) / ECHO)
    assert reply[IPv6].src == OUR_LL
