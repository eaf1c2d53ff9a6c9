"""Multicast listener discovery (RFC 3810, RFC 2710), against a scripted router."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Any

import pytest
from scapy.layers.inet6 import (
    ICMPv6MLDone,
    ICMPv6MLQuery,
    ICMPv6MLQuery2,
    ICMPv6MLReport,
    ICMPv6MLReport2,
    IPv6,
    IPv6ExtHdrHopByHop,
    RouterAlert,
)
from scapy.layers.l2 import Ether
from stack.ipv6_wire import OUR_GROUP_MAC, PEER_LL, PEER_MAC, Wire6

from pystack.core.drop import Drop


@pytest.fixture
def wire() -> Wire6:
    return Wire6(router_solicitations=0).settle()


def packed(address: str) -> bytes:
    return IPv6Address(address).packed


def reports(frames: list[Any]) -> list[tuple[int, str]]:
    """(record type, group) of every MLDv2 record."""
    found = []
    for frame in frames:
        if ICMPv6MLReport2 in frame:
            assert (frame[IPv6].dst, frame[IPv6].hlim) == ("ff02::16", 1)
            assert isinstance(frame[IPv6ExtHdrHopByHop].options[0], RouterAlert)
            found += [(r.rtype, r.dst) for r in frame[ICMPv6MLReport2].records]
    return found


def test_joined_and_left_groups_are_told_twice(wire: Wire6) -> None:
    group = packed("ff05::1234")
    wire.host.start(wire.host.ipv6.join, wire.dev, group)
    assert reports(wire.run(3000)) == [(4, "ff05::1234")] * 2
    wire.host.start(wire.host.ipv6.join, wire.dev, group)
    assert reports(wire.run(3000)) == []
    for expected in ([], [(3, "ff05::1234")] * 2):
        wire.host.start(wire.host.ipv6.leave, wire.dev, group)
        assert reports(wire.run(3000)) == expected


def test_query_is_answered_with_every_group_but_all_nodes(wire: Wire6) -> None:
    query = (
        Ether(src=PEER_MAC, dst="33:33:00:00:00:01")
        / IPv6(src=PEER_LL, dst="ff02::1", hlim=1)
        / IPv6ExtHdrHopByHop(options=[RouterAlert()])
        / ICMPv6MLQuery2(mladdr="::", mrd=1000)
    )
    assert reports(wire.send(query, 1000)) == [(2, "ff02::1:ff00:1")]
    query[IPv6].hlim = 2
    assert reports(wire.send(query, 1000)) == []
    assert wire.drops[Drop.MLD_MALFORMED] == 1


# -- MLDv1 routers -------------------------------------------------------------------------


def old_query(group: str = "::", delay: int = 1000) -> Any:
    to = "ff02::1" if group == "::" else group
    ip = IPv6(src=PEER_LL, dst=to, hlim=1) / IPv6ExtHdrHopByHop(options=[RouterAlert()])
    return (
        Ether(src=PEER_MAC, dst="33:33:00:00:00:01") / ip / ICMPv6MLQuery(mladdr=group, mrd=delay)
    )


def old_messages(frames: list[Any]) -> list[tuple[str, str, str]]:
    """(type, group, destination) of every MLDv1 message, whose hop limit and alert are right."""
    found = []
    for frame in frames:
        for kind in (ICMPv6MLReport, ICMPv6MLDone):
            if kind in frame:
                assert frame[IPv6].hlim == 1 and frame[RouterAlert].value == 0
                found.append((kind.__name__[8:], frame[kind].mladdr, frame[IPv6].dst))
    return found


GROUP = "ff05::1234"


def test_an_mldv1_query_is_answered_a_report_each_to_the_group(wire: Wire6) -> None:
    sent = wire.send(old_query(), 1000)
    assert old_messages(sent) == [("Report", "ff02::1:ff00:1", "ff02::1:ff00:1")]
    assert reports(sent) == []


def test_while_an_mldv1_router_is_about_groups_are_joined_and_left_its_way(wire: Wire6) -> None:
    wire.send(old_query(), 1000)
    wire.host.start(wire.host.ipv6.join, wire.dev, packed(GROUP))
    assert old_messages(wire.run(10_000)) == [("Report", GROUP, GROUP)] * 2
    wire.host.start(wire.host.ipv6.leave, wire.dev, packed(GROUP))
    assert old_messages(wire.run(1000)) == [("Done", GROUP, "ff02::2")]


def test_who_has_not_reported_last_does_not_say_that_it_leaves(wire: Wire6) -> None:
    wire.send(old_query(), 1000)
    wire.host.start(wire.host.ipv6.join, wire.dev, packed(GROUP))
    wire.run(10_000)
    wire.send(old_query(GROUP, 5000), 0)
    ip = IPv6(src=PEER_LL, dst=GROUP, hlim=1) / IPv6ExtHdrHopByHop(options=[RouterAlert()])
    report = Ether(src=PEER_MAC, dst="33:33:00:00:12:34") / ip / ICMPv6MLReport(mladdr=GROUP)
    assert old_messages(wire.send(report, 6000)) == []
    wire.host.start(wire.host.ipv6.leave, wire.dev, packed(GROUP))
    assert old_messages(wire.run(1000)) == []


def test_mldv2_is_back_when_no_mldv1_query_has_come_for_260_s(wire: Wire6) -> None:
    query = old_query()
    query[RouterAlert].value = 1  # not MLD's
    wire.send(query, 1000)
    assert wire.drops[Drop.MLD_MALFORMED] == 1
    wire.send(old_query(), 1000)
    wire.run(258_000)
    wire.host.start(wire.host.ipv6.join, wire.dev, packed(GROUP))
    assert len(old_messages(wire.run(500))) == 1
    wire.run(15_000)
    wire.host.start(wire.host.ipv6.join, wire.dev, packed("ff05::5678"))
    assert reports(wire.run(3000)) == [(4, "ff05::5678")] * 2


def test_force_mld_version_has_the_last_word() -> None:
    wire = Wire6(router_solicitations=0).settle()
    sysctl = wire.host.kernel.sysctl
    sysctl.write("net.ipv6.conf.eth0.force_mld_version", "1")
    wire.host.start(wire.host.ipv6.join, wire.dev, packed(GROUP))
    assert len(old_messages(wire.run(10_000))) == 2
    sysctl.write("net.ipv6.conf.all.force_mld_version", "2")
    assert old_messages(wire.send(old_query(), 1000)) == []
    wire.host.start(wire.host.ipv6.leave, wire.dev, packed(GROUP))
    assert reports(wire.run(3000)) == [(3, GROUP)] * 2


def test_the_robustness_of_the_querier_holds(wire: Wire6) -> None:
    query = (
        Ether(src=PEER_MAC, dst="33:33:00:00:00:01")
        / IPv6(src=PEER_LL, dst="ff02::1", hlim=1)
        / IPv6ExtHdrHopByHop(options=[RouterAlert()])
        / ICMPv6MLQuery2(mladdr="::", mrd=1000, QRV=4)
    )
    wire.send(query, 1000)
    wire.host.start(wire.host.ipv6.join, wire.dev, packed(GROUP))
    assert reports(wire.run(6000)) == [(4, GROUP)] * 4


def test_device_lets_in_the_groups_that_are_joined(wire: Wire6) -> None:
    def groups() -> set[str]:
        return {mac.hex(":") for mac in wire.dev.mc_list if mac.startswith(b"\x33\x33")}

    assert groups() == {"33:33:00:00:00:01", OUR_GROUP_MAC}
    wire.host.start(wire.host.down, wire.dev)
    wire.run(1)
    assert groups() == set()
    assert wire.host.ipv6.addrconf.links() == []
