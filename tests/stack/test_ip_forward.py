"""A router between two hosts: what goes on, what is refused, and who hears of it."""

from __future__ import annotations

from typing import Any

import pytest
from router import RA, A, B, Net, Ping, echoed, ip4, mac
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from pystack.core.drop import Drop
from pystack.net.fib import RouteType


@pytest.fixture
def net() -> Net:
    return Net()


def router_frames(net: Net, side: str) -> list[Any]:
    """What the router sent to `a` or `b` lately."""
    source = {"a": mac(2), "b": mac(3)}[side]
    return [Ether(f) for f in net.frames[side] if f[6:12] == source]


def test_ping_crosses_the_router_with_one_hop_less_and_good_checksums(net: Net) -> None:
    (reply,) = Ping(net, net.a)(B)
    assert (reply[IP].src, reply[IP].ttl, reply[ICMP].type) == (B, 63, 0)
    (request,) = [f for f in router_frames(net, "b") if ICMP in f]
    again = request.copy()
    del again[IP].chksum
    assert (request[IP].ttl, Ether(bytes(again))[IP].chksum) == (63, request[IP].chksum)
    assert net.r.kernel.mib["IpForwDatagrams"] == 2
    net.balance()


def test_nothing_is_forwarded_unless_asked_for(net: Net) -> None:
    net.r.kernel.sysctl.write("net.ipv4.conf.eth0.forwarding", "0")
    assert Ping(net, net.a)(B) == []
    assert net.r.kernel.drops == {Drop.IP_OTHER_ADDRESS: 1}
    assert net.r.kernel.mib["IpInAddrErrors"] == 1


def test_a_packet_on_its_last_hop_is_answered_with_time_exceeded(net: Net) -> None:
    (error,) = Ping(net, net.a)(B, ttl=1)
    assert (error[IP].src, error[ICMP].type, error[ICMP].code) == (RA, 11, 0)
    assert bytes(error[ICMP].payload)[16:20] == ip4(B)
    assert net.r.kernel.drops == {Drop.IP_TTL_EXCEEDED: 1}
    net.balance()


def test_too_long_with_df_is_answered_with_the_mtu(net: Net) -> None:
    net.r1.mtu = 1000
    (error,) = Ping(net, net.a)(B, 1200, dont_fragment=True)
    assert (error[ICMP].type, error[ICMP].code, error[ICMP].nexthopmtu) == (3, 4, 1000)
    assert net.r.kernel.drops == {Drop.IP_TOO_BIG: 1}
    assert net.r.kernel.mib["IpFragFails"] == 1


def test_too_long_without_df_is_fragmented_by_the_router(net: Net) -> None:
    net.r1.mtu = 600
    replies = Ping(net, net.a)(B, 1400, dont_fragment=False)
    assert echoed(replies, 1400)
    sizes = [f[IP].len for f in router_frames(net, "b") if IP in f]
    assert sizes == [596, 596, 276]
    assert net.r.kernel.mib["IpFragCreates"] == 3
    net.balance()


def test_a_fragment_is_fragmented_again(net: Net) -> None:
    net.r1.mtu = 600
    assert echoed(Ping(net, net.a)(B, 4000, dont_fragment=False), 4000)
    ids = {f[IP].id for f in router_frames(net, "b") if IP in f}
    assert len(ids) == 1
    net.balance()


@pytest.mark.parametrize(
    ("error", "how"),
    [
        ((3, 0), None),
        ((3, 1), RouteType.UNREACHABLE),
        ((3, 13), RouteType.PROHIBIT),
        (None, RouteType.BLACKHOLE),
    ],
)
def test_a_destination_without_a_way_is_refused_as_its_route_says(
    net: Net, error: tuple[int, int] | None, how: RouteType | None
) -> None:
    if how is not None:
        net.r.ipv4.add_route("192.0.2.0/24", kind=how)
    replies = Ping(net, net.a)("192.0.2.1")
    assert [(r[ICMP].type, r[ICMP].code) for r in replies] == ([] if error is None else [error])
    assert net.r.kernel.drops == {Drop.IP_NO_ROUTE: 1}


def test_a_silent_host_on_the_far_link_is_reported_unreachable(net: Net) -> None:
    (error,) = Ping(net, net.a)("10.2.0.99", ms=5000)
    assert (error[IP].src, error[ICMP].type, error[ICMP].code) == (RA, 3, 1)
    net.balance()


REFUSED: dict[str, tuple[dict[str, str], Drop]] = {
    "loopback source": ({"src": "127.0.0.1", "dst": B}, Drop.IP_MARTIAN_SOURCE),
    "loopback destination": ({"src": A, "dst": "127.0.0.1"}, Drop.IP_MARTIAN_DESTINATION),
    "source of this network": ({"src": "0.0.0.1", "dst": B}, Drop.IP_MARTIAN_SOURCE),
    "destination of this network": ({"src": A, "dst": "0.0.0.1"}, Drop.IP_MARTIAN_DESTINATION),
    "multicast source": ({"src": "224.0.0.5", "dst": B}, Drop.IP_MARTIAN_SOURCE),
    "broadcast source": ({"src": "255.255.255.255", "dst": B}, Drop.IP_MARTIAN_SOURCE),
    "subnet broadcast source": ({"src": "10.1.0.255", "dst": B}, Drop.IP_MARTIAN_SOURCE),
    "our own source": ({"src": RA, "dst": B}, Drop.IP_MARTIAN_SOURCE),
    "a group nobody joined": ({"src": A, "dst": "239.1.2.3"}, Drop.IP_NOT_MEMBER),
}


@pytest.mark.parametrize("name", REFUSED)
def test_addresses_nobody_can_have_are_not_forwarded(net: Net, name: str) -> None:
    fields, reason = REFUSED[name]
    net.frames["b"].clear()
    net.inject(net.r, net.r0, IP(**fields) / UDP())
    net.run()
    assert dict(net.r.kernel.drops) == {reason: 1}
    assert net.frames["b"] == []


def test_martians_are_logged_as_asked_for_and_not_too_many(net: Net) -> None:
    net.inject(net.r, net.r0, IP(src=RA, dst=B) / UDP())
    assert not net.r.kernel.dmesg
    net.r.kernel.sysctl.write("net.ipv4.conf.eth0.log_martians", "1")
    net.inject(net.r, net.r0, IP(src=RA, dst=B) / UDP())
    net.inject(net.r, net.r0, IP(src=A, dst="0.0.0.1") / UDP())
    assert [(level, line) for _, level, line in net.r.kernel.dmesg] == [
        (4, f"IPv4: martian source {B} from {RA}, on dev eth0"),
        (4, "ll header: 00000000: 02 00 00 00 00 02 02 00 00 00 00 63 08 00"),
        (4, f"IPv4: martian destination 0.0.0.1 from {A}, dev eth0"),
    ]
    for _ in range(10):
        net.inject(net.r, net.r0, IP(src=A, dst="0.0.0.1") / UDP())
    net.run(6000)
    net.inject(net.r, net.r0, IP(src=A, dst="0.0.0.1") / UDP())
    lines = [line for _, _, line in net.r.kernel.dmesg]
    assert (len(lines), lines[-2]) == (13, "net_ratelimit: 2 callbacks suppressed")


@pytest.mark.parametrize("dst", [RA, B])
def test_drop_unicast_in_l2_multicast(net: Net, dst: str) -> None:
    net.r.kernel.sysctl.write("net.ipv4.conf.eth0.drop_unicast_in_l2_multicast", "1")
    net.inject(net.r, net.r0, IP(src=A, dst=dst, proto=200), b"\xff" * 6)
    net.inject(net.r, net.r0, IP(src=A, dst="10.1.0.255", proto=200), b"\xff" * 6)
    net.run()
    passed = {Drop.IP_UNICAST_IN_L2_MULTICAST: 1, Drop.IP_UNKNOWN_PROTOCOL: 1}
    assert dict(net.r.kernel.drops) == passed


def test_limited_broadcast_is_delivered_but_not_forwarded(net: Net) -> None:
    net.frames["b"].clear()
    net.inject(net.r, net.r0, IP(src=A, dst="255.255.255.255", proto=200), b"\xff" * 6)
    net.run()
    assert dict(net.r.kernel.drops) == {Drop.IP_UNKNOWN_PROTOCOL: 1}  # it came as far as that
    assert net.frames["b"] == []


def test_unicast_in_a_broadcast_frame_is_not_forwarded(net: Net) -> None:
    net.inject(net.r, net.r0, IP(src=A, dst=B) / UDP(), b"\xff" * 6)
    net.run()
    assert dict(net.r.kernel.drops) == {Drop.IP_NOT_FORWARDED: 1}


@pytest.mark.parametrize(
    ("rp_filter", "source", "passes"),
    [
        ("0", "10.2.0.77", True),  # belongs to the other side
        ("1", "10.2.0.77", False),
        ("2", "10.2.0.77", True),  # loose: there is some way back
        ("2", "203.0.113.1", False),  # there is none
        ("0", "203.0.113.1", True),
        ("1", "10.1.0.77", True),
    ],
)
def test_rp_filter(net: Net, rp_filter: str, source: str, passes: bool) -> None:
    net.r.kernel.sysctl.write("net.ipv4.conf.all.rp_filter", rp_filter)
    net.inject(net.r, net.r0, IP(src=source, dst=B) / UDP())
    net.run()
    assert any(f[IP].src == source for f in router_frames(net, "b") if IP in f) == passes
    refused = 0 if passes else 1
    assert net.r.kernel.drops[Drop.IP_RPFILTER] == refused
    assert net.r.kernel.mib["TcpExtIPReversePathFilter"] == refused


def test_the_larger_of_all_and_the_device_decides_rp_filter(net: Net) -> None:
    net.r.kernel.sysctl.write("net.ipv4.conf.eth0.rp_filter", "1")
    net.inject(net.r, net.r0, IP(src="10.2.0.77", dst=B) / UDP())
    assert net.r.kernel.drops[Drop.IP_RPFILTER] == 1


def transfer(net: Net, size: int) -> bytes:
    """TCP from a to b through the router; what b got."""
    got = bytearray()

    def server(socket: Any) -> None:
        with socket.create_server((B, 80)) as listener:
            conn, _ = listener.accept()
            while data := conn.recv(65536):
                got.extend(data)

    def client(socket: Any) -> None:
        with socket.create_connection((B, 80)) as conn:
            conn.sendall(bytes(i * 7 & 255 for i in range(size)))

    serving = net.process(net.b, server)
    net.run(1)
    net.wait(net.process(net.a, client), serving)
    return bytes(got)


def test_what_gro_merged_leaves_the_router_as_the_segments_that_came(net: Net) -> None:
    size = 300_000
    assert transfer(net, size) == bytes(i * 7 & 255 for i in range(size))
    merged = net.r0.ops.napi.gro.merged  # type: ignore[attr-defined]
    assert merged > 10
    net.run(100)
    sent = [Ether(f)[IP] for f in net.frames["a"] if f[6:12] == mac(1) and f[23] == 6]
    left = [Ether(f)[IP] for f in net.frames["b"] if f[6:12] == mac(3) and f[23] == 6]
    assert len(sent) == len(left)
    for before, after in zip(sent, left, strict=True):
        before.ttl -= 1
        del before.chksum
        assert bytes(before) == bytes(after)[: before.len]


def test_tcp_learns_the_mtu_of_the_path_from_the_router(net: Net) -> None:
    net.r1.mtu = 900
    size = 60_000
    assert transfer(net, size) == bytes(i * 7 & 255 for i in range(size))
    left = [Ether(f)[IP] for f in net.frames["b"] if f[6:12] == mac(3) and f[23] == 6]
    assert max(packet.len for packet in left) == 900
    assert net.a.ipv4.route(ip4(B)).mtu == 900
    net.run(100)
    net.balance()


def test_learned_mtu_is_forgotten_after_mtu_expires(net: Net) -> None:
    net.a.ipv4.update_pmtu(ip4(B), 900)
    route = net.a.ipv4.route(ip4(B))
    assert route.mtu == 900
    net.run(599_000)
    assert route.mtu == 900
    net.run(2_000)
    assert route.mtu == 1500


def test_an_absurd_mtu_is_raised_to_min_pmtu_and_df_left_off(net: Net) -> None:
    net.a.ipv4.update_pmtu(ip4(B), 100)
    route = net.a.ipv4.route(ip4(B))
    assert (route.mtu, route.mtu_locked) == (552, True)
    assert df_of_datagrams(net, 0, 1, 2, 3) == [False, False, True, True]  # DONT, WANT, DO, PROBE
    assert df_of_refusal(net)  # who has no socket does as IP_PMTUDISC_DO
    assert not df_of_syn(net)


def df_of_datagrams(net: Net, *modes: int) -> list[bool]:
    """Is DF set on a datagram of `a` for each mode of IP_MTU_DISCOVER?"""

    def send(socket: Any) -> None:
        for mode in modes:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.setsockopt(socket.IPPROTO_IP, 10, mode)
                sock.sendto(b"x", (B, 9))

    net.wait(net.process(net.a, send))
    return [bool(p.flags.DF) for p in sent_by_a(net) if p.proto == 17]


def df_of_refusal(net: Net) -> bool:
    net.inject(net.a, net.a0, IP(src=B, dst=A) / TCP(sport=7, dport=8, flags="S"))
    net.run()
    (reset,) = [p for p in sent_by_a(net) if p.proto == 6]
    assert reset[TCP].flags == "RA"
    return bool(reset.flags.DF)


def df_of_syn(net: Net) -> bool:
    def call(socket: Any) -> None:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((B, 81))

    net.wait(net.process(net.a, call))
    (syn,) = [p for p in sent_by_a(net) if p.proto == 6 and p[TCP].dport == 81]
    return bool(syn.flags.DF)


def sent_by_a(net: Net) -> list[Any]:
    """IP packets of `a` since the last call."""
    packets = [Ether(f)[IP] for f in net.frames["a"] if f[6:12] == mac(1) and f[12:14] == b"\x08\0"]
    net.frames["a"].clear()
    return packets


def test_mtu_never_goes_up_by_a_report(net: Net) -> None:
    net.a.ipv4.update_pmtu(ip4(B), 900)
    net.a.ipv4.update_pmtu(ip4(B), 1200)
    assert net.a.ipv4.route(ip4(B)).mtu == 900
    net.a.ipv4.update_pmtu(ip4(B), 9000)
    assert net.a.ipv4.route(ip4(B)).mtu == 900


def test_forwarding_does_not_believe_in_learned_mtus_unless_told_to(net: Net) -> None:
    net.do(net.r, net.r.ipv4.update_pmtu, ip4(B), 900)
    assert echoed(Ping(net, net.a)(B, 1400, dont_fragment=True), 1400)
    net.r.kernel.sysctl.write("net.ipv4.ip_forward_use_pmtu", "1")
    (error,) = Ping(net, net.a)(B, 1400, dont_fragment=True)
    assert error[ICMP].nexthopmtu == 900


def test_no_error_is_sent_about_an_error_or_a_later_fragment(net: Net) -> None:
    inner = IP(src=B, dst=A) / UDP()
    net.inject(net.r, net.r0, IP(src=A, dst=B, ttl=1) / ICMP(type=3, code=1) / inner)
    net.inject(net.r, net.r0, IP(src=A, dst=B, ttl=1, frag=5) / Raw(b"x" * 40))
    net.run()
    assert net.r.kernel.mib["IcmpOutMsgs"] == 0
    assert net.r.kernel.drops == {Drop.IP_TTL_EXCEEDED: 2}


def test_tcp_refusal_comes_back_through_the_router(net: Net) -> None:
    def client(socket: Any) -> None:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((B, 81))

    net.wait(net.process(net.a, client))
    assert [Ether(f)[TCP].flags for f in net.frames["a"] if f[6:12] == mac(2) and f[23] == 6] == [
        "RA"
    ]
