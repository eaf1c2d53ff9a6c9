"""ICMP: what is answered, what is limited, who hears of errors; IP options on the way."""

from __future__ import annotations

from typing import Any

import pytest
from router import RA, RB, A, B, Net, Ping, ip4
from scapy.layers.inet import ICMP, IP, UDP, IPOption
from scapy.packet import Raw

from pystack.core.drop import Drop
from pystack.core.headers.icmp import ICMP_REDIRECT
from pystack.net.ip_options import OptionError, Recorder, compile_options

UNKNOWN = 200  # a protocol nobody has registered


@pytest.fixture
def net() -> Net:
    return Net()


def errors_from(net: Net, count: int, source: str = B) -> int:
    """Send `a` packets of an unknown protocol; how many errors it sent."""
    before = net.a.kernel.mib["IcmpOutDestUnreachs"]
    for _ in range(count):
        net.inject(net.a, net.a0, IP(src=source, dst=A, proto=UNKNOWN) / Raw(b"x" * 30))
    net.run()
    return net.a.kernel.mib["IcmpOutDestUnreachs"] - before


# -- limits --------------------------------------------------------------------------------


def test_one_destination_gets_six_errors_at_once_and_one_a_second_later(net: Net) -> None:
    net.run(10_000)
    assert errors_from(net, 20) == 6
    assert net.a.kernel.mib["IcmpOutRateLimitHost"] == 14
    net.run(3_100)
    assert errors_from(net, 20) == 3
    assert errors_from(net, 2, source="10.2.0.3") == 2  # another has its own


def test_all_destinations_together_are_limited_by_msgs_per_sec_and_burst(net: Net) -> None:
    net.a.kernel.sysctl.write("net.ipv4.icmp_ratelimit", "0")
    net.run(1_000)
    sent = errors_from(net, 200)
    assert 25 <= sent <= 100  # each takes 0 to 2 of a burst of 50
    assert net.a.kernel.mib["IcmpOutRateLimitGlobal"] == 200 - sent


def test_types_outside_of_ratemask_are_not_limited(net: Net) -> None:
    net.a.kernel.sysctl.write("net.ipv4.icmp_ratemask", "0")
    assert errors_from(net, 200) == 200


def test_fragmentation_needed_is_never_limited(net: Net) -> None:
    net.r1.mtu = 1000
    ping = Ping(net, net.a)
    replies = [ping(B, 1200, dont_fragment=True) for _ in range(30)]
    assert [len(r) for r in replies] == [1] * 30


# -- queries -------------------------------------------------------------------------------


def test_echo_to_a_broadcast_address_is_ignored_unless_asked_for(net: Net) -> None:
    echo = IP(src=B, dst="10.1.0.255") / ICMP() / Raw(b"x")
    net.inject(net.a, net.a0, echo, b"\xff" * 6)
    net.run()
    assert net.a.kernel.drops == {Drop.ICMP_TO_EVERYBODY: 1}
    net.a.kernel.sysctl.write("net.ipv4.icmp_echo_ignore_broadcasts", "0")
    seen = Ping(net, net.b)
    net.inject(net.a, net.a0, echo, b"\xff" * 6)
    net.run()
    assert [(r[IP].src, r[ICMP].type) for r in seen.replies] == [(A, 0)]


def test_echo_ignore_all(net: Net) -> None:
    net.b.kernel.sysctl.write("net.ipv4.icmp_echo_ignore_all", "1")
    assert Ping(net, net.a)(B) == []
    assert net.b.kernel.drops == {Drop.ICMP_IGNORED: 1}


def test_timestamp_request_is_answered_with_the_time_of_the_day(net: Net) -> None:
    net.run(90_000_000)  # a day and an hour
    seen = Ping(net, net.b)
    net.inject(net.a, net.a0, IP(src=B, dst=A) / ICMP(type=13, id=5, seq=6, ts_ori=123))
    net.run()
    (reply,) = seen.replies
    assert (reply[ICMP].type, reply[ICMP].id, reply[ICMP].seq) == (14, 5, 6)
    assert reply[ICMP].ts_ori == 123
    assert reply[ICMP].ts_rx == reply[ICMP].ts_tx
    assert 3_600_000 <= reply[ICMP].ts_rx < 3_610_000


def test_the_tos_of_an_echo_comes_back_and_errors_have_precedence(net: Net) -> None:
    (reply,) = Ping(net, net.a)(B, tos=0x28)
    assert reply[IP].tos == 0x28
    (error,) = Ping(net, net.a)(B, tos=0x28, ttl=1)
    assert error[IP].tos == 0xC8


def test_an_error_quotes_as_much_as_fits_576_bytes(net: Net) -> None:
    (error,) = Ping(net, net.a)(B, 1200, ttl=1)
    assert error[IP].len == 576


def test_inbound_address_is_the_source_of_errors_if_wanted(net: Net) -> None:
    net.b.ipv4.add_route("10.9.0.0/24", RB)
    net.a.ipv4.add_address(net.a0, "10.9.0.1/24")
    net.r.ipv4.add_route("10.9.0.0/24", A)
    (error,) = Ping(net, net.a)(B, ttl=1)
    assert error[IP].src == RA


# -- errors about what we sent -------------------------------------------------------------


def errors_heard(net: Net, message: Any) -> list[tuple[int, int, int, bytes]]:
    """What a transport of protocol 200 on `a` hears when `message` arrives."""
    heard: list[tuple[int, int, int, bytes]] = []

    def handler(icmp_type: int, code: int, info: int, skb: Any) -> None:
        heard.append((icmp_type, code, info, bytes(skb.buf[skb.off : skb.off + 4])))

    net.a.ipv4.register_error(UNKNOWN, handler)
    net.inject(net.a, net.a0, IP(src=RA, dst=A) / message)
    net.run()
    return heard


QUOTED = IP(src=A, dst=B, proto=UNKNOWN) / Raw(b"abcdefgh")


@pytest.mark.parametrize(
    ("fields", "heard"),
    [
        ({"type": 3, "code": 1}, (3, 1, 0)),
        ({"type": 3, "code": 4, "nexthopmtu": 1300}, (3, 4, 1300)),
        ({"type": 11, "code": 0}, (11, 0, 0)),
        ({"type": 12, "code": 0, "ptr": 9}, (12, 0, 9)),
        ({"type": 4, "code": 0}, (4, 0, 0)),
    ],
)
def test_errors_reach_the_transport_with_what_they_say(
    net: Net, fields: dict[str, int], heard: tuple[int, int, int]
) -> None:
    assert errors_heard(net, ICMP(**fields) / QUOTED) == [(*heard, b"abcd")]


def test_a_lost_fragment_far_away_is_no_error_of_the_transport(net: Net) -> None:
    assert errors_heard(net, ICMP(type=11, code=1) / QUOTED) == []


def test_an_error_that_quotes_less_than_eight_bytes_is_malformed(net: Net) -> None:
    short = IP(src=A, dst=B, proto=UNKNOWN) / Raw(b"abc")
    assert errors_heard(net, ICMP(type=3, code=1) / short) == []
    assert net.a.kernel.drops == {Drop.ICMP_TOO_SHORT: 1}


def test_fragmentation_needed_is_ignored_without_path_mtu_discovery(net: Net) -> None:
    net.a.kernel.sysctl.write("net.ipv4.ip_no_pmtu_disc", "1")
    assert errors_heard(net, ICMP(type=3, code=4, nexthopmtu=1300) / QUOTED) == []


def test_an_error_about_a_broadcast_is_bogus_if_not_to_be_ignored(net: Net) -> None:
    net.a.kernel.sysctl.write("net.ipv4.icmp_ignore_bogus_error_responses", "0")
    quoted = IP(src=A, dst="10.1.0.255", proto=UNKNOWN) / Raw(b"abcdefgh")
    assert errors_heard(net, ICMP(type=3, code=3) / quoted) == []
    assert net.a.kernel.drops == {Drop.ICMP_BOGUS_ERROR: 1}


# -- redirects -----------------------------------------------------------------------------


def redirect(gateway: str, source: str = RA) -> Any:
    return IP(src=source, dst=A) / ICMP(type=ICMP_REDIRECT, code=1, gw=gateway) / QUOTED


def gateway(net: Net) -> str:
    """Of a, towards b."""
    return ".".join(map(str, net.a.ipv4.route(ip4(B)).gateway))


def test_a_host_takes_a_redirect_from_its_router_to_a_neighbour(net: Net) -> None:
    route = net.a.ipv4.route(ip4(B))
    net.inject(net.a, net.a0, redirect("10.1.0.9"))
    assert gateway(net) == "10.1.0.9"
    assert route.obsolete


def test_a_redirect_holds_for_five_minutes_and_for_sockets_to_come(net: Net) -> None:
    """Until net.ipv4.route.gc_timeout is over (`fnhe_expires`), whatever else changes."""
    net.inject(net.a, net.a0, redirect("10.1.0.9"))
    net.a.ipv4.add_route("192.0.2.0/24", RA)
    assert net.a.ipv4.route(ip4(B), ip4(A)).gateway == ip4("10.1.0.9")
    net.run(299_000)
    route = net.a.ipv4.route(ip4(B))
    assert route.gateway == ip4("10.1.0.9")
    net.run(2000)
    assert route.obsolete
    assert net.a.ipv4.route(ip4(B)).gateway == ip4(RA)


@pytest.mark.parametrize(
    ("target", "source"),
    [("10.1.0.9", "10.1.0.77"), ("10.7.0.1", RA), ("10.1.0.255", RA), (A, RA)],
)
def test_a_redirect_from_a_stranger_or_to_no_neighbour_is_ignored(
    net: Net, target: str, source: str
) -> None:
    net.inject(net.a, net.a0, redirect(target, source))
    assert gateway(net) == RA


def test_a_host_that_accepts_no_redirects_takes_none(net: Net) -> None:
    for name in ("all", "eth0"):
        net.a.kernel.sysctl.write(f"net.ipv4.conf.{name}.accept_redirects", "0")
    net.inject(net.a, net.a0, redirect("10.1.0.9"))
    assert gateway(net) == RA


def test_without_shared_media_a_redirect_needs_a_router_that_is_configured(net: Net) -> None:
    sysctl = net.a.kernel.sysctl
    for name in ("all", "eth0"):
        sysctl.write(f"net.ipv4.conf.{name}.shared_media", "0")
    net.inject(net.a, net.a0, redirect("10.1.0.9"))
    assert gateway(net) == RA
    for name in ("all", "eth0"):
        sysctl.write(f"net.ipv4.conf.{name}.secure_redirects", "0")
    net.inject(net.a, net.a0, redirect("10.1.0.9"))
    assert gateway(net) == "10.1.0.9"
    for name in ("all", "eth0"):
        sysctl.write(f"net.ipv4.conf.{name}.secure_redirects", "1")
    net.a.ipv4.add_route("192.0.2.0/24", "10.1.0.8")
    net.inject(net.a, net.a0, redirect("10.1.0.8", "10.1.0.9"))
    assert gateway(net) == "10.1.0.8"


def test_a_router_redirects_a_neighbour_to_a_better_router_and_gives_up(net: Net) -> None:
    net.r.ipv4.add_route("192.0.2.0/24", "10.1.0.9")
    ping = Ping(net, net.a)
    net.a.kernel.sysctl.write("net.ipv4.conf.all.accept_redirects", "0")
    net.a.kernel.sysctl.write("net.ipv4.conf.eth0.accept_redirects", "0")
    (first,) = ping("192.0.2.1")
    assert (first[ICMP].type, first[ICMP].code, first[ICMP].gw) == (5, 1, "10.1.0.9")
    sent = 1 + sum(len(ping("192.0.2.1", ms=20_000)) for _ in range(30))
    assert net.r.kernel.mib["IcmpOutRedirects"] == 9  # then it is not listened to
    assert sent >= 9


def test_a_router_told_not_to_redirect_does_not(net: Net) -> None:
    net.r.ipv4.add_route("192.0.2.0/24", "10.1.0.9")
    for name in ("all", "eth0"):
        net.r.kernel.sysctl.write(f"net.ipv4.conf.{name}.send_redirects", "0")
    assert [r for r in Ping(net, net.a)("192.0.2.1") if r[ICMP].type == 5] == []


# -- options -------------------------------------------------------------------------------

RECORDER = Recorder(ip4("1.2.3.4"), 0x01020304, lambda addr: addr == ip4("9.9.9.9"))


def rr(slots: int, pointer: int = 4) -> bytes:
    return (bytes([7, 3 + 4 * slots, pointer]) + bytes(4 * slots)).ljust(3 + 4 * slots + 1, b"\0")


def test_record_route_shows_every_hop_there_and_back(net: Net) -> None:
    (reply,) = Ping(net, net.a)(B, options=rr(9))
    option = bytes(reply[IP])[20:60]
    hops = [".".join(map(str, option[at : at + 4])) for at in range(3, option[2] - 1, 4)]
    assert hops == [RB, B, B, RA, A]


def test_a_full_record_route_passes_unchanged() -> None:
    full = rr(2, pointer=12)
    assert compile_options(full, RECORDER) == (full, False)


TIME = (0x01020304).to_bytes(4, "big")
STAMPS = {
    "times only": (bytes([68, 12, 5, 0]) + bytes(8), bytes([68, 12, 9, 0]) + TIME + bytes(4)),
    "with addresses": (
        bytes([68, 12, 5, 1]) + bytes(8),
        bytes([68, 12, 13, 1, 1, 2, 3, 4]) + TIME,
    ),
    "ours is next": (
        bytes([68, 12, 5, 3, 9, 9, 9, 9]) + bytes(4),
        bytes([68, 12, 13, 3, 9, 9, 9, 9]) + TIME,
    ),
    "somebody else's is next": (
        bytes([68, 12, 5, 3, 8, 8, 8, 8]) + bytes(4),
        bytes([68, 12, 5, 3, 8, 8, 8, 8]) + bytes(4),
    ),
    "full": (bytes([68, 8, 9, 0x20]) + bytes(4), bytes([68, 8, 9, 0x30]) + bytes(4)),
}


@pytest.mark.parametrize("name", STAMPS)
def test_timestamps_are_filled_in(name: str) -> None:
    before, after = STAMPS[name]
    assert compile_options(before, RECORDER) == (after, False)


MALFORMED = {
    "length 0": (bytes([7, 0, 0, 0]), 20),
    "length 1": (bytes([1, 7, 1, 0]), 21),
    "longer than the header": (bytes([7, 9, 4, 0]), 20),
    "cut off after the type": (bytes([1, 1, 1, 7]), 23),
    "record route below its least": (bytes([7, 2, 0, 0]), 21),
    "record route pointing before itself": (bytes([7, 7, 3, 0, 0, 0, 0, 0]), 22),
    "record route with half an entry": (bytes([7, 6, 4, 0, 0, 0, 0, 0]), 22),
    "record route twice": (rr(1)[:-1] + b"\1" + rr(1), 28),
    "timestamp below its least": (bytes([68, 3, 5, 0]), 21),
    "timestamp pointing before itself": (bytes([68, 8, 4, 0, 0, 0, 0, 0]), 22),
    "timestamp without room for the address": (bytes([68, 8, 5, 1, 0, 0, 0, 0]), 22),
    "timestamp with too many overflows": (bytes([68, 4, 5, 0xF0]), 23),
    "two source routes": (bytes([131, 3, 4, 137, 3, 4, 0, 0]), 23),
    "router alert too short": (bytes([148, 3, 0, 0]), 21),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_option_is_answered_with_where_it_is(net: Net, name: str) -> None:
    options, pointer = MALFORMED[name]
    with pytest.raises(OptionError) as info:
        compile_options(options, RECORDER)
    assert info.value.pointer == pointer
    (error,) = Ping(net, net.a)(B, options=options)
    assert (error[IP].src, error[ICMP].type, error[ICMP].ptr) == (RA, 12, pointer)
    assert net.r.kernel.drops == {Drop.IP_BAD_OPTION: 1}
    net.balance()


@pytest.mark.parametrize("kind", [131, 137])
def test_source_routes_are_refused_without_a_word(net: Net, kind: int) -> None:
    options = bytes([kind, 7, 4]) + ip4("10.2.0.9") + b"\0"
    assert Ping(net, net.a)(B, options=options) == []
    assert net.r.kernel.drops == {Drop.IP_SOURCE_ROUTE: 1}


def test_an_unknown_option_passes(net: Net) -> None:
    options = IPOption(b"\x9e\x04\x01\x02")
    net.inject(net.r, net.r0, IP(src=A, dst=B, options=[options]) / UDP())
    net.run()
    assert net.r.kernel.mib["IpForwDatagrams"] >= 1
