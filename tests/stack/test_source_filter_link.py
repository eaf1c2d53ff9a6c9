"""The merged source filter of a link: what is let in, and what routers are told of changes that
follow each other."""

from __future__ import annotations

import socket as so
from typing import Any

import pytest
from router import Net, ip4
from scapy.contrib.igmp import IGMP
from scapy.contrib.igmpv3 import IGMPv3mr
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from stack.ipv6_wire import PEER_MAC, Wire6
from stack.test_igmp import GROUP, OTHER, query, sent
from stack.test_source_filter import request

from pystack.core.drop import Drop
from pystack.net.source_filter import (
    ALLOW_NEW_SOURCES,
    BLOCK_OLD_SOURCES,
    CHANGE_TO_EXCLUDE,
    MCAST_EXCLUDE,
    MCAST_INCLUDE,
    MODE_IS_EXCLUDE,
    MODE_IS_INCLUDE,
    Change,
    Record,
    reports,
)
from pystack.transport.mcastopt import MCAST_JOIN_GROUP

ONE, TWO = "10.1.0.11", "10.1.0.12"


@pytest.fixture
def net() -> Net:
    return Net()


def include(net: Net, source: str, group: str = GROUP) -> None:
    """A user that wants to hear `source` only."""
    net.do(net.a, net.a.ipv4.join, net.a0, ip4(group), MCAST_INCLUDE)
    change = Change(MCAST_INCLUDE, [ip4(source)])
    net.do(net.a, net.a.ipv4.change_filter, net.a0, ip4(group), change)


def leave(net: Net, *sources: str, mode: int = MCAST_INCLUDE) -> None:
    net.do(net.a, net.a.ipv4.leave, net.a0, ip4(GROUP), mode, [ip4(s) for s in sources])


def records(net: Net, ms: int = 3000) -> list[list[tuple[int, list[str]]]]:
    """What is said of GROUP meanwhile, a list a report."""
    net.run(ms)
    found = []
    for f in sent(net):
        found.append([(r.rtype, r.srcaddrs) for r in f[IGMPv3mr].records if r.maddr == GROUP])
    return found


def test_packets_from_sources_nobody_wants_are_not_let_in(net: Net) -> None:
    include(net, ONE)
    for source in (ONE, TWO):
        net.inject(
            net.a, net.a0, IP(src=source, dst=GROUP) / UDP(dport=9), b"\x01\0\x5e\x01\x02\x03"
        )
    assert net.a.kernel.drops[Drop.IP_NOT_MEMBER] == 1
    assert net.a.kernel.mib["UdpIgnoredMulti"] == 1


def test_ipv6_packets_from_sources_nobody_wants_are_not_let_in() -> None:
    wire = Wire6(router_solicitations=0).settle()
    group = so.inet_pton(so.AF_INET6, "ff05::1234")
    wire.host.start(wire.host.ipv6.join, wire.dev, group)
    blocked = Change(MCAST_EXCLUDE, [so.inet_pton(so.AF_INET6, "fd00::2")])
    wire.host.start(wire.host.ipv6.change_filter, wire.dev, group, blocked)
    wire.run(1)
    for source in ("fd00::2", "fd00::3"):
        ip = IPv6(src=source, dst="ff05::1234")
        wire.send(Ether(src=PEER_MAC, dst="33:33:00:00:12:34") / ip / UDP(dport=9))
    assert wire.drops[Drop.IP6_NOT_MEMBER] == 1
    assert wire.host.kernel.mib["Udp6IgnoredMulti"] == 1


def test_who_comes_back_for_another_source_still_tells_of_the_old_one(net: Net) -> None:
    include(net, ONE)
    records(net)
    leave(net, ONE)
    include(net, TWO)
    told = [(ALLOW_NEW_SOURCES, [TWO]), (BLOCK_OLD_SOURCES, [ONE])]
    assert records(net) == [told] * 2
    leave(net, TWO)
    include(net, TWO)
    assert records(net) == [[(ALLOW_NEW_SOURCES, [TWO])]] * 2


def test_a_change_of_the_mode_says_all_there_was_to_say(net: Net) -> None:
    net.a.kernel.sysctl.write("net.ipv4.igmp_qrv", "3")
    include(net, ONE)
    net.a.kernel.sysctl.write("net.ipv4.igmp_qrv", "1")
    net.do(net.a, net.a.ipv4.join, net.a0, ip4(GROUP))
    assert records(net) == [[(CHANGE_TO_EXCLUDE, [])]]


def test_a_device_that_comes_up_again_tells_its_sources_again(net: Net) -> None:
    include(net, ONE)
    records(net)
    net.do(net.a, net.a.core.stop, net.a0)
    net.do(net.a, net.a.core.open, net.a0)
    assert records(net) == [[(ALLOW_NEW_SOURCES, [ONE])]] * 2


def test_what_an_older_router_was_told_is_not_told_again(net: Net) -> None:
    query(net, IGMP(type=0x11, mrcode=10, gaddr="0.0.0.0"))
    net.do(net.a, net.a.ipv4.join, net.a0, ip4(GROUP))
    leave(net, mode=MCAST_EXCLUDE)
    net.run(140_000)
    sent(net)
    net.do(net.a, net.a.ipv4.join, net.a0, ip4(OTHER))
    assert records(net) == [[], []]


def test_a_stream_that_is_closed_leaves_its_groups(net: Net) -> None:
    def program(socket: Any) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.setsockopt(so.IPPROTO_IP, MCAST_JOIN_GROUP, request(net.a0.ifindex, GROUP))
            assert ip4(GROUP) in net.a.ipv4.igmp.groups(net.a0)

    net.wait(net.process(net.a, program))
    assert ip4(GROUP) not in net.a.ipv4.igmp.groups(net.a0)


def test_lists_of_the_included_go_on_in_the_next_report_and_those_of_the_excluded_end() -> None:
    group, sources = ip4(GROUP), [bytes([10, 1, 0, n]) for n in range(5)]
    room = 8 + 4 * 3
    short = Record(MODE_IS_INCLUDE, ip4(OTHER))
    whole = [bytes((MODE_IS_INCLUDE, 0, 0, n)) + group for n in (3, 2)]
    assert list(reports([Record(MODE_IS_INCLUDE, group, sources), short], room, 4)) == [
        (1, whole[0] + b"".join(sources[:3])),
        (1, whole[1] + b"".join(sources[3:])),
        (1, bytes((MODE_IS_INCLUDE, 0, 0, 0)) + ip4(OTHER)),
    ]
    assert list(reports([short, Record(MODE_IS_EXCLUDE, group, sources)], room, 4)) == [
        (1, bytes((MODE_IS_INCLUDE, 0, 0, 0)) + ip4(OTHER)),
        (1, bytes((MODE_IS_EXCLUDE, 0, 0, 3)) + group + b"".join(sources[:3])),
    ]
