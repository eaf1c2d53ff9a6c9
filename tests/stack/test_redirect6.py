"""Redirects of IPv6: a host follows them, a router sends them."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Any

import pytest
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_Redirect,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptRedirectedHdr,
    IPv6,
)
from scapy.layers.l2 import Ether
from stack.ipv6_wire import OUR_LL, OUR_MAC, PEER, PEER_LL, PEER_MAC, US, Wire6

from pystack.core.drop import Drop

FAR = "fd99::9"
OTHER_LL, OTHER_MAC = "fe80::ff:fe00:3", "02:00:00:00:00:03"
SECOND_HOST = "fd00::3"


@pytest.fixture
def wire() -> Wire6:
    """The peer is the way to everywhere."""
    wire = Wire6().settle()
    wire.host.start(lambda: wire.host.ipv6.add_route("default", PEER_LL, dev=wire.dev))
    wire.teach(PEER_LL)
    return wire


def redirect(target: str = OTHER_LL, dest: str = FAR, mac: str = OTHER_MAC, **ip: Any) -> Any:
    message = ICMPv6ND_Redirect(tgt=target, dst=dest)
    if mac:
        message /= ICMPv6NDOptDstLLAddr(lladdr=mac)
    fields = {"src": PEER_LL, "dst": US, "hlim": 255, **ip}
    return Ether(src=PEER_MAC, dst=OUR_MAC) / IPv6(**fields) / message


def ping(wire: Wire6, source: str = FAR) -> Any:
    """The frame that answers a ping from elsewhere."""
    frames = wire.send(wire.ip(src=source) / ICMPv6EchoRequest(id=7))
    replies = [f for f in frames if ICMPv6EchoReply in f]
    return replies[0].dst if replies else [f[ICMPv6ND_NS].tgt for f in frames if ICMPv6ND_NS in f]


def test_better_router_is_used_for_that_destination_only(wire: Wire6) -> None:
    assert ping(wire) == PEER_MAC
    assert wire.send(redirect()) == []
    assert (ping(wire), ping(wire, "fd99::8")) == (OTHER_MAC, PEER_MAC)
    assert wire.host.kernel.mib["Icmp6InRedirects"] == 1
    table = wire.host.ipv6.ndisc.table
    assert table["eth0", IPv6Address(OTHER_LL).packed].is_router


def test_destination_on_the_link_is_reached_directly(wire: Wire6) -> None:
    wire.send(redirect(target=FAR))
    assert ping(wire) == OTHER_MAC
    assert not wire.host.ipv6.ndisc.table["eth0", IPv6Address(FAR).packed].is_router


def test_without_a_link_address_the_router_is_asked_for_it(wire: Wire6) -> None:
    wire.send(redirect(mac=""))
    assert ping(wire) == [OTHER_LL]


def test_next_redirect_is_believed_of_the_new_router_only(wire: Wire6) -> None:
    wire.send(redirect())
    wire.send(redirect(target="fe80::4", mac="02:00:00:00:00:04"))  # from the one before
    assert ping(wire) == OTHER_MAC
    wire.send(redirect(target="fe80::4", mac="02:00:00:00:00:04", src=OTHER_LL))
    assert ping(wire) == "02:00:00:00:00:04"


def test_router_that_does_not_answer_is_given_up(wire: Wire6) -> None:
    """`ip6_link_failure`"""
    wire.send(redirect(mac=""))
    ping(wire)
    wire.run(5000)
    wire.teach(PEER_LL)
    assert ping(wire) == PEER_MAC


def test_redirect_is_forgotten_when_unused_for_a_minute(wire: Wire6) -> None:
    """`rt6_age_examine_exception`, net.ipv6.route.gc_timeout"""
    wire.send(redirect())
    for _ in range(3):
        wire.run(50_000)
        ip = IPv6(src=OTHER_LL, dst=US, hlim=255)
        answer = ICMPv6ND_NA(tgt=OTHER_LL, R=1, S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=OTHER_MAC)
        wire.send(Ether(src=OTHER_MAC, dst=OUR_MAC) / ip / answer)
        assert ping(wire) == OTHER_MAC
    wire.run(200_000)
    wire.teach(PEER_LL)
    assert ping(wire) == PEER_MAC


def test_route_that_goes_takes_its_redirects_along(wire: Wire6) -> None:
    def again() -> None:
        wire.host.ipv6.del_route("default")
        wire.host.ipv6.add_route("default", PEER_LL, dev=wire.dev)

    wire.send(redirect())
    wire.host.start(again)
    wire.run(1)
    assert ping(wire) == PEER_MAC


MALFORMED = {
    "from a global address": redirect(src=PEER),
    "from beyond the link": redirect(hlim=64),
    "about a group": redirect(dest="ff0e::1"),
    "to a global address": redirect(target="fd00::3"),
    "to a group's link address": redirect(mac="33:33:00:00:00:01"),
}


@pytest.mark.parametrize("message", MALFORMED.values(), ids=MALFORMED)
def test_malformed_redirect_is_dropped_and_counted(wire: Wire6, message: Any) -> None:
    wire.send(message)
    assert wire.drops[Drop.NDISC_MALFORMED] == 1
    assert ping(wire) == PEER_MAC


REFUSED = {
    "from another router": ("", redirect(src="fe80::77")),
    "not accepted": ("net.ipv6.conf.eth0.accept_redirects", redirect()),
    "by a router": ("net.ipv6.conf.all.forwarding", redirect()),
    "about ourselves": ("", redirect(dest=US, target=US)),
}


@pytest.mark.parametrize("setting,message", REFUSED.values(), ids=REFUSED)
def test_redirect_changes_nothing(wire: Wire6, setting: str, message: Any) -> None:
    if setting:
        sysctl = wire.host.kernel.sysctl
        sysctl[setting] = 1 - sysctl[setting]
    wire.send(message)
    assert ping(wire) == PEER_MAC
    assert Drop.NDISC_MALFORMED not in wire.drops


# -- a router ----------------------------------------------------------------------------------


@pytest.fixture
def router() -> Wire6:
    """fd99:: is behind OTHER_LL, on the link the peer is on."""
    wire = Wire6().settle()
    wire.host.kernel.sysctl["net.ipv6.conf.all.forwarding"] = 1
    wire.host.start(lambda: wire.host.ipv6.add_route("fd99::/64", OTHER_LL, dev=wire.dev))
    wire.run(1)
    wire.teach()
    wire.send(
        Ether(src=OTHER_MAC, dst=OUR_MAC)
        / IPv6(src=OTHER_LL, dst=OUR_LL, hlim=255)
        / ICMPv6ND_NS(tgt=OUR_LL)
    )
    wire.run(100)
    return wire


def detour(wire: Wire6, dest: str = FAR, size: int = 10, **ip: Any) -> list[Any]:
    """The redirects a packet causes."""
    data = bytes(size)
    wire.send(wire.ip(dst=dest, **ip) / ICMPv6EchoRequest(data=data))
    answer = ICMPv6ND_NA(tgt=OTHER_LL, R=1, S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=OTHER_MAC)
    frames = [f for _, f in wire.frames]
    frames += wire.send(
        Ether(src=OTHER_MAC, dst=OUR_MAC) / IPv6(src=OTHER_LL, dst=OUR_LL, hlim=255) / answer
    )
    return [f for f in frames if ICMPv6ND_Redirect in f]


def test_sender_of_a_packet_that_takes_a_detour_is_told(router: Wire6) -> None:
    detour(router)
    (told,) = detour(router, size=1300)
    ip, message = told[IPv6], told[ICMPv6ND_Redirect]
    assert (told.dst, ip.src, ip.dst, ip.hlim) == (PEER_MAC, OUR_LL, PEER, 255)
    assert (message.tgt, message.dst) == (OTHER_LL, FAR)
    assert told[ICMPv6NDOptDstLLAddr].lladdr == OTHER_MAC
    quoted = IPv6(bytes(told[ICMPv6NDOptRedirectedHdr].pkt))
    assert (quoted.src, quoted.dst, quoted.hlim) == (PEER, FAR, 64)
    assert ip.plen + 40 <= 1280
    assert router.host.kernel.mib["Icmp6OutRedirects"] == 2


def test_destination_on_the_link_is_its_own_target(router: Wire6) -> None:
    (told,) = detour(router, SECOND_HOST)
    message = told[ICMPv6ND_Redirect]
    assert (message.tgt, message.dst) == (SECOND_HOST, SECOND_HOST)
    assert ICMPv6NDOptDstLLAddr not in told  # nobody knows it yet


def test_redirects_are_limited(router: Wire6) -> None:
    """Bursts of six, then one a second (`inet_peer_xrlim_allow`)."""
    assert sum(len(detour(router)) for _ in range(20)) == 6
    router.run(1000)
    assert len(detour(router)) == 1


@pytest.mark.parametrize("source", ["fd55::5", "fd99::5"], ids=["no route", "behind a router"])
def test_sender_that_is_no_neighbour_is_not_told(router: Wire6, source: str) -> None:
    assert detour(router, SECOND_HOST, src=source) == []


def test_link_local_sender_may_take_a_detour_but_not_leave_the_link(router: Wire6) -> None:
    router.teach(PEER_LL)
    assert [f[IPv6].dst for f in detour(router, src=PEER_LL)] == [PEER_LL]
    lo = router.host.lo.dev
    router.host.start(lambda: router.host.ipv6.add_route("fd98::/64", dev=lo))
    frames = router.send(router.ip(src=PEER_LL, dst="fd98::1") / ICMPv6EchoRequest())
    assert [f[ICMPv6DestUnreach].code for f in frames if ICMPv6DestUnreach in f] == [2]
