"""Source filters of multicast: whom sockets hear, on this machine's kernel and here."""

from __future__ import annotations

import socket as so
import struct
from typing import Any

from both import Machine, both

from pystack.net.source_filter import MCAST_EXCLUDE, MCAST_INCLUDE
from pystack.transport.mcastopt import (
    IP_ADD_SOURCE_MEMBERSHIP,
    IP_BLOCK_SOURCE,
    IP_DROP_SOURCE_MEMBERSHIP,
    IP_MSFILTER,
    IP_UNBLOCK_SOURCE,
    MCAST_BLOCK_SOURCE,
    MCAST_JOIN_GROUP,
    MCAST_JOIN_SOURCE_GROUP,
    MCAST_LEAVE_GROUP,
    MCAST_LEAVE_SOURCE_GROUP,
    MCAST_MSFILTER,
    MCAST_UNBLOCK_SOURCE,
)

LO = 1
PORT = 7000
GROUP, OTHER = "239.1.2.3", "239.9.9.9"
ME, ALSO_ME, NOBODY = "127.0.0.1", "127.0.0.2", "10.77.0.9"
GROUP6, OTHER6 = "ff05::1:3", "ff05::9"
ME6, NOBODY6 = "::1", "fd77::9"
LEVEL = {so.AF_INET: so.IPPROTO_IP, so.AF_INET6: so.IPPROTO_IPV6}
IP_MULTICAST_ALL, IPV6_MULTICAST_ALL = 49, 29


def sockaddr(address: str) -> bytes:
    if ":" in address:
        packed = struct.pack("=HHI16sI", so.AF_INET6, 0, 0, so.inet_pton(so.AF_INET6, address), 0)
    else:
        packed = struct.pack("=HH4s", so.AF_INET, 0, so.inet_aton(address))
    return packed.ljust(128, b"\0")


def request(index: int, *addresses: str) -> bytes:
    """struct group_req or group_source_req"""
    return struct.pack("I4x", index) + b"".join(map(sockaddr, addresses))


def group_filter(index: int, group: str, mode: int, *sources: str) -> bytes:
    head = request(index, group) + struct.pack("II", mode, len(sources))
    return head + b"".join(map(sockaddr, sources))


def mreq_source(group: str, source: str, interface: str = ME) -> bytes:
    return b"".join(map(so.inet_aton, (group, interface, source)))


def msfilter(group: str, mode: int, *sources: str) -> bytes:
    head = so.inet_aton(group) + so.inet_aton(ME) + struct.pack("II", mode, len(sources))
    return head + b"".join(map(so.inet_aton, sources))


class Member:
    """A socket that hears groups it has joined only, and what became of each of its calls."""

    def __init__(self, m: Machine, family: int, kind: int = so.SOCK_DGRAM) -> None:
        self.m, self.family, self.level = m, family, LEVEL[so.AddressFamily(family)]
        self.sock = m.socket.socket(family, kind)
        self.found: list[Any] = []
        if kind == so.SOCK_DGRAM:
            self.sock.setsockopt(so.SOL_SOCKET, so.SO_REUSEADDR, 1)
            self.sock.bind(("", PORT))
            only = IP_MULTICAST_ALL if family == so.AF_INET else IPV6_MULTICAST_ALL
            self.sock.setsockopt(self.level, only, 0)
            self.sock.settimeout(0.05)

    def option(self, name: int, value: Any) -> None:
        self.found.append(self.m.outcome(self.sock.setsockopt, self.level, name, value))

    def hear(self) -> None:
        """Everything in the queue."""
        heard = []
        while True:
            try:
                heard.append(self.sock.recv(100))
            except TimeoutError:
                break
        self.found.append(heard)


def say(m: Machine, source: str, group: str) -> None:
    with m.socket.socket(so.AF_INET, so.SOCK_DGRAM) as sock:
        sock.bind((source, 0))
        sock.setsockopt(so.IPPROTO_IP, so.IP_MULTICAST_IF, so.inet_aton(ME))
        sock.sendto(source.encode(), (group, PORT))


def ip_options(m: Machine) -> list[Any]:
    it = Member(m, so.AF_INET)

    def heard() -> None:
        say(m, ME, GROUP)
        say(m, ALSO_ME, GROUP)
        it.hear()

    it.option(IP_BLOCK_SOURCE, mreq_source(GROUP, ME))  # not joined
    it.option(IP_ADD_SOURCE_MEMBERSHIP, mreq_source("10.1.2.3", ME))
    it.option(IP_ADD_SOURCE_MEMBERSHIP, mreq_source(GROUP, ME, NOBODY))
    it.option(IP_ADD_SOURCE_MEMBERSHIP, mreq_source(GROUP, ME)[:11])
    it.option(IP_ADD_SOURCE_MEMBERSHIP, mreq_source(GROUP, ME) + b"\0")
    it.option(IP_ADD_SOURCE_MEMBERSHIP, 1)
    heard()
    it.option(IP_ADD_SOURCE_MEMBERSHIP, mreq_source(GROUP, ME))
    it.option(IP_ADD_SOURCE_MEMBERSHIP, mreq_source(GROUP, ME))  # is there
    heard()
    it.option(IP_ADD_SOURCE_MEMBERSHIP, mreq_source(GROUP, ALSO_ME))
    it.option(IP_BLOCK_SOURCE, mreq_source(GROUP, ME))  # the other mode
    heard()
    it.option(IP_DROP_SOURCE_MEMBERSHIP, mreq_source(GROUP, NOBODY))
    it.option(IP_DROP_SOURCE_MEMBERSHIP, mreq_source(GROUP, ME))
    heard()
    it.option(IP_DROP_SOURCE_MEMBERSHIP, mreq_source(GROUP, ALSO_ME))  # leaves the group
    it.option(IP_DROP_SOURCE_MEMBERSHIP, mreq_source(GROUP, ALSO_ME))
    heard()
    mreq = so.inet_aton(GROUP) + so.inet_aton(ME)
    it.option(so.IP_ADD_MEMBERSHIP, mreq)
    it.option(IP_UNBLOCK_SOURCE, mreq_source(GROUP, ME))
    it.option(IP_BLOCK_SOURCE, mreq_source(GROUP, ME))
    it.option(IP_BLOCK_SOURCE, mreq_source(GROUP, ME))
    it.option(IP_ADD_SOURCE_MEMBERSHIP, mreq_source(GROUP, ME))  # the other mode
    heard()
    it.option(IP_UNBLOCK_SOURCE, mreq_source(GROUP, ME))
    it.option(IP_ADD_SOURCE_MEMBERSHIP, mreq_source(GROUP, ME))  # an emptied list keeps its mode
    heard()
    it.option(so.IP_DROP_MEMBERSHIP, mreq)
    it.option(so.IP_ADD_MEMBERSHIP, mreq)
    it.option(IP_ADD_SOURCE_MEMBERSHIP, mreq_source(GROUP, ALSO_ME))  # an empty one may change
    heard()
    it.option(so.IP_DROP_MEMBERSHIP, mreq)
    it.sock.close()
    return it.found


def limits(m: Machine) -> list[Any]:
    """igmp_max_msf sources a group, igmp_max_memberships groups."""
    it = Member(m, so.AF_INET)
    for n in range(12):
        it.option(IP_ADD_SOURCE_MEMBERSHIP, mreq_source(GROUP, f"10.77.0.{n}"))
    it.option(IP_ADD_SOURCE_MEMBERSHIP, mreq_source(GROUP, "10.77.0.3"))
    for n in range(21):
        it.option(IP_ADD_SOURCE_MEMBERSHIP, mreq_source(f"239.0.0.{n}", ME))
    six = Member(m, so.AF_INET6)
    for n in range(66):
        six.option(MCAST_JOIN_SOURCE_GROUP, request(LO, GROUP6, f"fd77::{n + 1:x}"))
    it.sock.close()
    six.sock.close()
    return it.found + six.found


def filters(m: Machine) -> list[Any]:
    """A whole filter at once."""
    it = Member(m, so.AF_INET)

    def heard() -> None:
        say(m, ME, GROUP)
        say(m, ALSO_ME, GROUP)
        it.hear()

    it.option(IP_MSFILTER, msfilter(GROUP, MCAST_INCLUDE, ME))
    it.option(IP_MSFILTER, msfilter(GROUP, MCAST_INCLUDE))
    it.option(so.IP_ADD_MEMBERSHIP, so.inet_aton(GROUP) + so.inet_aton(ME))
    for value in (
        msfilter(GROUP, MCAST_INCLUDE, ME, NOBODY),
        msfilter(GROUP, MCAST_EXCLUDE, ME, NOBODY),
        msfilter(GROUP, MCAST_EXCLUDE),
        msfilter("10.1.2.3", MCAST_EXCLUDE),
        msfilter(GROUP, 7, ME),
        msfilter(GROUP, MCAST_INCLUDE, ME)[:-1],
        msfilter(GROUP, MCAST_INCLUDE)[:-1],
        msfilter(GROUP, MCAST_INCLUDE, *(f"10.77.0.{n}" for n in range(11))),
        msfilter(GROUP, MCAST_INCLUDE),
    ):
        it.option(IP_MSFILTER, value)
        heard()
    it.option(MCAST_JOIN_GROUP, request(LO, GROUP))
    it.option(MCAST_MSFILTER, group_filter(LO, GROUP, MCAST_INCLUDE, ALSO_ME))
    heard()
    it.option(MCAST_MSFILTER, group_filter(LO, GROUP, MCAST_INCLUDE, ME6))
    it.option(MCAST_MSFILTER, group_filter(LO, GROUP6, MCAST_INCLUDE, ME))
    it.option(MCAST_MSFILTER, group_filter(LO, GROUP, MCAST_INCLUDE, ME)[:-1])
    it.option(MCAST_MSFILTER, group_filter(LO, GROUP, MCAST_INCLUDE)[:-1])
    it.option(MCAST_MSFILTER, group_filter(99, GROUP, MCAST_INCLUDE, ME))
    heard()
    it.sock.close()
    return it.found


def mcast_options(m: Machine, family: int, group: str, me: str, nobody: str) -> list[Any]:
    it = Member(m, family)
    wrong = request(LO, GROUP if family == so.AF_INET6 else GROUP6)
    other = request(LO, group, ME if family == so.AF_INET6 else ME6)

    def heard() -> None:
        if family == so.AF_INET:  # `lo` has no route to groups of IPv6
            say(m, me, group)
            it.hear()

    def option(name: int, source: str = "") -> None:
        it.option(name, request(LO, group, source) if source else request(LO, group))

    for name in (MCAST_JOIN_GROUP, MCAST_LEAVE_GROUP):
        it.option(name, wrong)
        it.option(name, 1)
        it.option(name, request(LO, group)[:-1])
    it.option(MCAST_JOIN_GROUP, request(99, group))
    it.option(MCAST_JOIN_GROUP, request(LO, me))
    for name in (MCAST_JOIN_SOURCE_GROUP, MCAST_BLOCK_SOURCE):
        it.option(name, other)
        it.option(name, request(LO, group, me)[:-1])
        it.option(name, request(99, group, me))
        it.option(name, request(LO, me, me))
    option(MCAST_LEAVE_GROUP)
    option(MCAST_LEAVE_SOURCE_GROUP, me)
    option(MCAST_JOIN_GROUP)
    option(MCAST_JOIN_GROUP)
    heard()
    option(MCAST_BLOCK_SOURCE, nobody)
    heard()
    option(MCAST_BLOCK_SOURCE, me)
    option(MCAST_BLOCK_SOURCE, me)
    option(MCAST_JOIN_SOURCE_GROUP, me)
    heard()
    option(MCAST_UNBLOCK_SOURCE, me)
    option(MCAST_UNBLOCK_SOURCE, me)
    heard()
    option(MCAST_LEAVE_GROUP)
    option(MCAST_JOIN_SOURCE_GROUP, nobody)
    heard()
    option(MCAST_JOIN_SOURCE_GROUP, me)
    option(MCAST_JOIN_SOURCE_GROUP, me)
    heard()
    option(MCAST_LEAVE_SOURCE_GROUP, nobody)
    option(MCAST_LEAVE_SOURCE_GROUP, me)
    option(MCAST_LEAVE_GROUP)
    heard()
    it.sock.close()
    return it.found


def streams(m: Machine) -> list[Any]:
    found = []
    for family, group, me in ((so.AF_INET, GROUP, ME), (so.AF_INET6, GROUP6, ME6)):
        it = Member(m, family, so.SOCK_STREAM)
        it.option(MCAST_JOIN_GROUP, request(LO, group))
        it.option(MCAST_LEAVE_GROUP, request(LO, group))
        it.option(MCAST_JOIN_SOURCE_GROUP, request(LO, group, me))
        it.option(MCAST_LEAVE_SOURCE_GROUP, request(LO, group, me))
        it.option(MCAST_BLOCK_SOURCE, request(LO, group, me))
        it.sock.close()
        found += it.found
    it = Member(m, so.AF_INET, so.SOCK_STREAM)
    it.option(so.IP_ADD_MEMBERSHIP, so.inet_aton(GROUP) + so.inet_aton(ME))
    it.option(so.IP_DROP_MEMBERSHIP, so.inet_aton(GROUP) + so.inet_aton(ME))
    it.option(IP_ADD_SOURCE_MEMBERSHIP, mreq_source(GROUP, ME))
    it.option(IP_DROP_SOURCE_MEMBERSHIP, mreq_source(GROUP, ME))
    it.sock.close()
    return found + it.found


def test_options_with_ipv4_addresses_decide_what_a_socket_hears() -> None:
    seen = both(ip_options)
    assert [what for what in seen if isinstance(what, list)] == [
        [],
        [b"127.0.0.1"],
        [b"127.0.0.1", b"127.0.0.2"],
        [b"127.0.0.2"],
        [],
        [b"127.0.0.2"],
        [b"127.0.0.1", b"127.0.0.2"],
        [b"127.0.0.2"],
    ]


def test_options_of_both_families_take_and_refuse_what_linux_does() -> None:
    assert [b"127.0.0.1"] in both(mcast_options, so.AF_INET, GROUP, ME, NOBODY)
    both(mcast_options, so.AF_INET6, GROUP6, ME6, NOBODY6)


def test_a_whole_filter_is_set_at_once() -> None:
    assert [b"127.0.0.2"] in both(filters)


def test_sources_and_groups_have_limits() -> None:
    seen = both(limits)
    assert [i for i, what in enumerate(seen) if what == "ENOBUFS"] == [10, 11, 12, 32, 33, 98, 99]


def test_streams_have_no_groups_to_filter() -> None:
    both(streams)
