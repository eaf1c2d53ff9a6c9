"""Neighbour and router discovery, duplicate addresses and groups, against a scripted peer."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address
from itertools import pairwise
from typing import Any

import pytest
from scapy.layers.inet6 import (
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_RS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptMTU,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    Raw,
)
from scapy.layers.l2 import Ether
from stack.ipv6_wire import (
    OUR_GROUP_MAC,
    OUR_LL,
    OUR_MAC,
    PEER,
    PEER_LL,
    PEER_MAC,
    US,
    Wire6,
    solicitation,
)

from pystack.core.drop import Drop
from pystack.link.neighbour import NudState

PEER_IP = IPv6Address(PEER).packed


@pytest.fixture
def wire() -> Wire6:
    return Wire6(router_solicitations=0).settle()


def packed(address: str) -> bytes:
    return IPv6Address(address).packed


def state(wire: Wire6, ip: str = PEER) -> NudState | None:
    neigh = wire.host.ipv6.ndisc.table.get(("eth0", packed(ip)))
    return None if neigh is None else neigh.state


def advertisement(target: str = PEER, mac: str | None = PEER_MAC, **fields: Any) -> Any:
    flags = {"R": 0, "S": 1, "O": 1, **fields}
    packet = (
        Ether(src=PEER_MAC, dst=OUR_MAC)
        / IPv6(src=target, dst=US, hlim=255)
        / ICMPv6ND_NA(tgt=target, **flags)
    )
    return packet if mac is None else packet / ICMPv6NDOptDstLLAddr(lladdr=mac)


# -- answering -------------------------------------------------------------------------------


def test_solicitation_is_answered_and_the_asker_learned(wire: Wire6) -> None:
    (reply,) = wire.send(solicitation(US, PEER))
    assert (reply.dst, reply[IPv6].src, reply[IPv6].dst, reply[IPv6].hlim) == (
        PEER_MAC,
        US,
        PEER,
        255,
    )
    na = reply[ICMPv6ND_NA]
    assert (na.tgt, na.R, na.S, na.O) == (US, 0, 1, 1)
    assert reply[ICMPv6NDOptDstLLAddr].lladdr == OUR_MAC
    assert state(wire) is NudState.DELAY  # learned stale, and used for the answer


def test_somebody_elses_trial_of_our_address_is_answered_to_all(wire: Wire6) -> None:
    probe = (
        Ether(src=PEER_MAC, dst=OUR_GROUP_MAC)
        / IPv6(src="::", dst="ff02::1:ff00:1", hlim=255)
        / ICMPv6ND_NS(tgt=US)
    )
    (reply,) = wire.send(probe)
    assert (reply.dst, reply[IPv6].dst) == ("33:33:00:00:00:01", "ff02::1")
    assert (reply[ICMPv6ND_NA].S, reply[ICMPv6ND_NA].O) == (0, 1)


BAD: dict[str, Callable[[], Any]] = {
    "through a router": lambda: solicitation(US, PEER, hlim=254),
    "code 1": lambda: _with(solicitation(US, PEER), ICMPv6ND_NS, code=1),
    "for a group": lambda: _with(solicitation(US, PEER), ICMPv6ND_NS, tgt="ff02::1"),
    "option without length": lambda: solicitation(US, PEER) / Raw(b"\x01\x00\0\0\0\0\0\0"),
    "option cut off": lambda: solicitation(US, PEER) / Raw(b"\x01\x02\0\0\0\0\0\0"),
    "trial with a link address": lambda: solicitation(US, "::"),
    "from a group's link address": lambda: _with(
        solicitation(US, PEER), ICMPv6NDOptSrcLLAddr, lladdr="01:00:00:00:00:00"
    ),
    "advertisement to all in answer": lambda: _with(
        advertisement(), IPv6, dst="ff02::1", eth="33:33:00:00:00:01"
    ),
    "router that is not on the link": lambda: _with(router(), IPv6, src=PEER),
}


def _with(packet: Any, layer: Any, eth: str = "", **fields: Any) -> Any:
    for name, value in fields.items():
        setattr(packet[layer], name, value)
    if eth:
        packet.dst = eth
    return packet


def router(*options: Any, lifetime: int = 1800, **fields: Any) -> Any:
    packet = (
        Ether(src=PEER_MAC, dst="33:33:00:00:00:01")
        / IPv6(src=PEER_LL, dst="ff02::1", hlim=255)
        / ICMPv6ND_RA(routerlifetime=lifetime, **{"chlim": 0, **fields})
        / ICMPv6NDOptSrcLLAddr(lladdr=PEER_MAC)
    )
    for option in options:
        packet = packet / option
    return packet


def test_times_a_router_advertises_hold_on_its_link_only(wire: Wire6) -> None:
    wire.send(router(reachabletime=20_000, retranstimer=250))
    read = wire.host.kernel.sysctl.read
    times = ("base_reachable_time_ms", "retrans_time_ms")
    found = {d: [read(f"net.ipv6.neigh.{d}.{t}") for t in times] for d in ("eth0", "lo", "default")}
    assert found == {
        "eth0": ["20000", "250"],
        "lo": ["30000", "1000"],
        "default": ["30000", "1000"],
    }
    wire.send(wire.ip(src="fd00::77") / ICMPv6EchoRequest())
    asked = [frame for frame in wire.run(600) if ICMPv6ND_NS in frame]
    assert len(asked) == 2  # and one at once: 250 ms apart


def prefix(valid: int = 3600, preferred: int = 1800, **fields: Any) -> Any:
    return ICMPv6NDOptPrefixInfo(
        **{"prefix": "fd99::", "prefixlen": 64, "L": 1, "A": 1, **fields},
        validlifetime=valid,
        preferredlifetime=preferred,
    )


@pytest.mark.parametrize("case", BAD, ids=str)
def test_malformed_message_is_dropped_and_nobody_learned(wire: Wire6, case: str) -> None:
    assert wire.send(BAD[case]()) == []
    assert wire.drops[Drop.NDISC_MALFORMED] == 1
    assert wire.host.ipv6.ndisc.table == {}


# -- asking ----------------------------------------------------------------------------------


def ping(wire: Wire6, target: str = PEER) -> None:
    """Something of ours for `target`: the answer to its echo request."""
    request = Ether(src=PEER_MAC, dst=OUR_MAC) / IPv6(src=target, dst=US) / ICMPv6EchoRequest()
    wire.port.send(bytes(request))


def test_packets_wait_for_the_neighbour_and_leave_in_order(wire: Wire6) -> None:
    for ident in range(3):
        wire.port.send(
            bytes(
                Ether(src=PEER_MAC, dst=OUR_MAC)
                / IPv6(src=PEER, dst=US)
                / ICMPv6EchoRequest(id=ident)
            )
        )
    (question,) = wire.run(1)
    assert (question.dst, question[IPv6].dst) == ("33:33:ff:00:00:02", "ff02::1:ff00:2")
    assert (question[IPv6].src, question[ICMPv6ND_NS].tgt) == (US, PEER)
    assert question[ICMPv6NDOptSrcLLAddr].lladdr == OUR_MAC
    frames = wire.send(advertisement())
    assert [(f.dst, f[ICMPv6EchoReply].id) for f in frames] == [(PEER_MAC, i) for i in range(3)]
    assert state(wire) is NudState.REACHABLE


def test_neighbour_that_does_not_answer_is_asked_three_times(wire: Wire6) -> None:
    ping(wire)
    asked = [f for f in wire.run(5000) if ICMPv6ND_NS in f]
    assert len(asked) == 3
    assert state(wire) is NudState.FAILED
    assert wire.drops[Drop.NEIGH_FAILED] == 1


def test_neighbour_goes_stale_and_is_probed_by_unicast(wire: Wire6) -> None:
    wire.teach()
    assert state(wire) is NudState.REACHABLE
    wire.run(30_000)
    assert state(wire) is NudState.STALE
    ping(wire)
    wire.run(1)
    assert state(wire) is NudState.DELAY
    (probe,) = wire.run(5000)
    assert (probe.dst, probe[IPv6].dst, probe[ICMPv6ND_NS].tgt) == (PEER_MAC, PEER, PEER)
    wire.send(advertisement(mac=None))  # a unicast answer may leave the address out
    assert state(wire) is NudState.REACHABLE


@pytest.mark.parametrize(
    ("flags", "mac", "after"),
    [
        ({"S": 1, "O": 1}, "02:00:00:00:00:09", (NudState.REACHABLE, "02:00:00:00:00:09")),
        ({"S": 1, "O": 0}, "02:00:00:00:00:09", (NudState.STALE, PEER_MAC)),
        ({"S": 0, "O": 1}, "02:00:00:00:00:09", (NudState.STALE, "02:00:00:00:00:09")),
        ({"S": 0, "O": 1}, PEER_MAC, (NudState.REACHABLE, PEER_MAC)),
    ],
)
def test_advertisement_changes_a_neighbour_as_its_flags_say(
    wire: Wire6, flags: dict[str, int], mac: str, after: tuple[NudState, str]
) -> None:
    """RFC 4861, 7.2.5 and appendix C."""
    wire.teach()
    wire.send(advertisement(mac=mac, **flags))
    neigh = wire.host.ipv6.ndisc.table["eth0", PEER_IP]
    assert (neigh.state, neigh.mac.hex(":")) == after


def test_advertisement_nobody_asked_for_makes_no_entry(wire: Wire6) -> None:
    wire.send(advertisement())
    assert wire.host.ipv6.ndisc.table == {}


# -- addresses -------------------------------------------------------------------------------


def test_device_tries_its_addresses_before_it_uses_them() -> None:
    wire = Wire6(router_solicitations=0)
    frames = wire.run(5000)
    probes = [f for f in frames if ICMPv6ND_NS in f]
    assert sorted((f[IPv6].src, f[IPv6].dst, f[ICMPv6ND_NS].tgt) for f in probes) == [
        ("::", "ff02::1:ff00:1", US),
        ("::", "ff02::1:ff00:1", OUR_LL),
    ]
    assert all(ICMPv6NDOptSrcLLAddr not in f for f in probes)
    addresses = {a.ip: a.tentative for a in wire.host.ipv6.addrconf.all()}
    assert addresses == {packed("::1"): False, packed(US): False, packed(OUR_LL): False}


@pytest.mark.parametrize("by", ["advertisement", "trial"])
def test_address_somebody_else_has_is_not_used(by: str) -> None:
    wire = Wire6(router_solicitations=0)
    wire.run(1)
    if by == "trial":
        packet = (
            Ether(src=PEER_MAC, dst=OUR_GROUP_MAC)
            / IPv6(src="::", dst="ff02::1:ff00:1", hlim=255)
            / ICMPv6ND_NS(tgt=US)
        )
    else:
        packet = (
            Ether(src=PEER_MAC, dst="33:33:00:00:00:01")
            / IPv6(src=US, dst="ff02::1", hlim=255)
            / ICMPv6ND_NA(tgt=US, R=0, S=0, O=1)
            / ICMPv6NDOptDstLLAddr(lladdr=PEER_MAC)
        )
    wire.send(packet)
    wire.run(5000)
    ours = wire.host.ipv6.addrconf.find(packed(US))
    assert ours is not None
    assert (ours.failed, wire.host.ipv6.is_local(packed(US))) == (True, False)
    assert wire.send(solicitation(US, PEER)) == []
    assert wire.host.ipv6.is_local(packed(OUR_LL))


# -- routers ---------------------------------------------------------------------------------


def test_host_looks_for_routers_less_and_less_often() -> None:
    wire = Wire6()
    wire.run(40_000)
    times = [when / 1e9 for when, f in wire.frames if ICMPv6ND_RS in f]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert len(times) in (4, 5)
    assert all(1.8 < b / a < 2.3 for a, b in pairwise(gaps))
    (first, *_) = [f for _, f in wire.frames if ICMPv6ND_RS in f]
    assert (first[IPv6].src, first[IPv6].dst) == (OUR_LL, "ff02::2")


def test_advertisement_makes_address_routes_and_settings() -> None:
    wire = Wire6()
    wire.run(5000)
    wire.send(router(prefix(), ICMPv6NDOptMTU(mtu=1400), chlim=99))
    wire.run(60_000)
    assert not [f for _, f in wire.frames if ICMPv6ND_RS in f]  # found
    ipv6 = wire.host.ipv6
    ours = packed("fd99::ff:fe00:1")
    route = ipv6.route(packed("2001:db8::1"))
    assert (route.gateway, route.mtu) == (packed(PEER_LL), 1400)
    assert ipv6.default_ttl(route) == 99
    on_link = ipv6.route(packed("fd99::7"))
    assert (on_link.gateway, on_link.saddr) == (b"", ours)
    neigh = ipv6.ndisc.table["eth0", packed(PEER_LL)]
    assert (neigh.mac.hex(":"), neigh.is_router) == (PEER_MAC, True)


def test_lifetimes_end_router_address_and_prefix() -> None:
    wire = Wire6().settle()
    wire.send(router(prefix(valid=600, preferred=300), lifetime=100))
    ipv6, ours = wire.host.ipv6, packed("fd99::ff:fe00:1")
    wire.run(10_000)
    assert ipv6.route(packed("fd99::7")).saddr == ours
    wire.run(100_000)
    with pytest.raises(OSError, match="unreachable"):
        ipv6.route(packed("2001:db8::1"))
    wire.run(200_000)  # deprecated: not for anything new if there is another
    assert ipv6.is_local(ours)
    assert ipv6.route(packed("fd99::7")).saddr == packed(US)
    wire.run(300_000)
    assert not ipv6.is_local(ours)
    with pytest.raises(OSError, match="unreachable"):
        ipv6.route(packed("fd99::7"))


def test_router_that_ceases_is_forgotten_at_once(wire: Wire6) -> None:
    wire.send(router())
    assert wire.host.ipv6.route(packed("2001:db8::1")).gateway == packed(PEER_LL)
    wire.send(router(lifetime=0))
    with pytest.raises(OSError, match="unreachable"):
        wire.host.ipv6.route(packed("2001:db8::1"))


def test_nobody_takes_an_address_away_at_once(wire: Wire6) -> None:
    """RFC 4862, 5.5.3 e): two hours remain."""
    wire.send(router(prefix(valid=86400, preferred=86400)))
    wire.run(5000)
    wire.send(router(prefix(valid=1, preferred=1)))
    wire.run(7_000_000)
    assert wire.host.ipv6.is_local(packed("fd99::ff:fe00:1"))
    wire.run(300_000)
    assert not wire.host.ipv6.is_local(packed("fd99::ff:fe00:1"))


def test_router_does_not_listen_to_advertisements() -> None:
    wire = Wire6(router_solicitations=0)
    wire.host.kernel.sysctl["net.ipv6.conf.all.forwarding"] = 1
    wire.settle()
    wire.send(router(prefix()))
    wire.run(5000)
    assert not wire.host.ipv6.is_local(packed("fd99::ff:fe00:1"))
