"""Source filters on the wire, both families: what routers are told and what sockets hear, of this
machine's Linux over TAP and of ours."""

from __future__ import annotations

import os
import select
import socket as so
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from both import ATTEMPTS, Machine, machine_of, on_linux
from scapy.contrib.igmp import IGMP
from scapy.contrib.igmpv3 import IGMPv3mq
from scapy.layers.inet import IP, UDP, IPOption_Router_Alert
from scapy.layers.inet6 import (
    ICMPv6MLQuery,
    ICMPv6MLQuery2,
    IPv6,
    IPv6ExtHdrHopByHop,
    RouterAlert,
)
from scapy.layers.l2 import Ether
from stack.test_source_filter import Member, group_filter, request

from pystack.core.engine import VirtualEngine
from pystack.dev.wire import Link
from pystack.host import Host, finished
from pystack.net.source_filter import MCAST_EXCLUDE, MCAST_INCLUDE
from pystack.transport.mcastopt import (
    MCAST_BLOCK_SOURCE,
    MCAST_JOIN_GROUP,
    MCAST_JOIN_SOURCE_GROUP,
    MCAST_LEAVE_GROUP,
    MCAST_LEAVE_SOURCE_GROUP,
    MCAST_MSFILTER,
    MCAST_UNBLOCK_SOURCE,
)
from pystack.uapi.process import Process
from pystack.uapi.timemod import TimeModule
from wire2app.netns import make_tap

SECOND = 1_000_000_000
OURS, THEIRS = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
PORT = 7000
NAMES = {1: "is_in", 2: "is_ex", 3: "to_in", 4: "to_ex", 5: "allow", 6: "block"}
Told = tuple[str, str, tuple[str, ...]]
WHILE = 0.06  # seconds
Wire = Callable[..., list[bytes]]
"""Give it frames, if any; those it sends in a while then."""


class Family(NamedTuple):
    number: int
    group: str
    other: str
    sources: tuple[str, str, str]
    interval: str
    protocol_at: int  # in the IP header
    mark: bytes  # Ethernet type, and IGMP or the hop-by-hop header that holds MLD's router alert
    many: int  # sources, of which two groups do not fit into one report


V4 = Family(
    so.AF_INET,
    "239.1.2.3",
    "239.1.2.4",
    ("10.77.0.11", "10.77.0.12", "10.77.0.13"),
    "ipv4/conf/default/igmpv3_unsolicited_report_interval",
    9,
    b"\x08\0\2",
    300,
)
V6 = Family(
    so.AF_INET6,
    "ff05::1:3",
    "ff05::1:4",
    ("fd77::11", "fd77::12", "fd77::13"),
    "ipv6/conf/default/mldv2_unsolicited_report_interval",
    6,
    b"\x86\xdd\0",
    60,
)


def frame(family: Family, packet: Any) -> Any:
    return Ether(src=THEIRS.hex(":"), dst=_mac(family, packet.dst)) / packet


def _mac(family: Family, group: str) -> str:
    raw = so.inet_pton(family.number, group)
    low = b"\x33\x33" + raw[12:] if len(raw) == 16 else b"\x01\0\x5e" + bytes([raw[1] & 127])
    return (low if len(raw) == 16 else low + raw[2:]).hex(":")


def query(family: Family, group: str = "", *sources: str) -> Any:
    """General, of a group, or of sources of it."""
    if family is V4:
        ip = IP(src="10.77.0.2", dst=group or "224.0.0.1", ttl=1, options=[IPOption_Router_Alert()])
        message = IGMPv3mq(mrcode=0, gaddr=group or "0.0.0.0", qrv=2, srcaddrs=list(sources))
        return frame(family, ip / message)
    ip6 = IPv6(src="fe80::ff:fe00:2", dst=group or "ff02::1", hlim=1)
    message = ICMPv6MLQuery2(
        mladdr=group or "::",
        mrd=20,
        QRV=2,
        QQIC=125,
        sources=list(sources),
        sources_number=len(sources),
    )
    return frame(family, ip6 / IPv6ExtHdrHopByHop(options=[RouterAlert()]) / message)


def old_query(family: Family) -> Any:
    if family is V4:
        ip = IP(src="10.77.0.2", dst="224.0.0.1", ttl=1, options=[IPOption_Router_Alert()])
        return frame(family, ip / IGMP(type=0x11, mrcode=1, gaddr="0.0.0.0"))
    ip6 = IPv6(src="fe80::ff:fe00:2", dst="ff02::1", hlim=1)
    alert = IPv6ExtHdrHopByHop(options=[RouterAlert()])
    return frame(family, ip6 / alert / ICMPv6MLQuery(mladdr="::", mrd=20))


def datagram(family: Family, source: str, group: str) -> Any:
    ip = IP(src=source, dst=group) if family is V4 else IPv6(src=source, dst=group)
    return frame(family, ip / UDP(sport=9, dport=PORT) / source.encode())


def told(family: Family, frames: list[bytes]) -> list[Told]:
    """The records about our groups, sorted: delays are random; a version 1 or 2 message is named
    by its type."""
    found: list[Told] = []
    size, start, report, at_group = (4, 38, 0x22, 4) if family is V4 else (16, 62, 143, 8)
    for data in frames:
        if data[12:14] + data[14 + family.protocol_at : 15 + family.protocol_at] != family.mark:
            continue
        message = data[start:]
        if message[0] != report:
            group = so.inet_ntop(family.number, message[at_group : at_group + size])
            found.append((str(message[0]), group, ()))
            continue
        at = 8
        for _ in range(int.from_bytes(message[6:8])):
            kind, count = message[at], int.from_bytes(message[at + 2 : at + 4])
            words = [message[at + 4 + n * size :][:size] for n in range(count + 1)]
            group, *sources = (so.inet_ntop(family.number, word) for word in words)
            found.append((NAMES[kind], group, tuple(sorted(sources))))
            at += 4 + size * (count + 1)
    return sorted(what for what in found if what[1] in (family.group, family.other))


class Play:
    """Two sockets of a host whose router and sources the test plays."""

    def __init__(self, m: Any, family: Family, wire: Wire, index: int) -> None:
        self.family, self.wire, self.index = family, wire, index
        self.sockets = [Member(m, family.number), Member(m, family.number)]
        self.found: list[Any] = []

    def change(self, sk: int, option: int, *sources: int, group: str = "") -> None:
        """An option with sources by number; the reports it brings about."""
        addresses = [self.family.sources[n] for n in sources]
        it = self.sockets[sk]
        it.found.clear()
        it.option(option, request(self.index, group or self.family.group, *addresses))
        self.found.append((it.found[-1], told(self.family, self.wire())))

    def whole(self, sk: int, mode: int, *sources: int) -> None:
        addresses = [self.family.sources[n] for n in sources]
        value = group_filter(self.index, self.family.group, mode, *addresses)
        self.sockets[sk].option(MCAST_MSFILTER, value)
        self.found.append(("filter", told(self.family, self.wire())))

    def ask(self, *sources: int, group: str = "") -> None:
        addresses = [self.family.sources[n] for n in sources]
        self.found.append(told(self.family, self.wire(query(self.family, group, *addresses))))

    def heard(self) -> None:
        """Who of the three sources is heard, by each socket."""
        family = self.family
        self.wire(*(datagram(family, source, family.group) for source in family.sources))
        for it in self.sockets:
            it.found.clear()
            it.hear()
            self.found.append([data.decode() for data in it.found[-1]])


def including(it: Play) -> None:
    it.change(0, MCAST_JOIN_SOURCE_GROUP, 0)
    it.heard()
    it.change(1, MCAST_JOIN_SOURCE_GROUP, 0)  # no news
    it.change(1, MCAST_JOIN_SOURCE_GROUP, 1)
    it.heard()
    it.ask()
    it.ask(group=it.family.group)
    it.ask(1, 2, group=it.family.group)
    it.ask(2, group=it.family.group)
    it.change(0, MCAST_LEAVE_SOURCE_GROUP, 0)  # the last source: leaves
    it.change(1, MCAST_LEAVE_SOURCE_GROUP, 0)
    it.change(1, MCAST_LEAVE_GROUP)
    it.heard()


def excluding(it: Play) -> None:
    it.change(0, MCAST_JOIN_GROUP)
    it.change(0, MCAST_BLOCK_SOURCE, 0)
    it.heard()
    it.change(1, MCAST_JOIN_GROUP)  # wants it all
    it.heard()
    it.change(1, MCAST_BLOCK_SOURCE, 0)
    it.change(1, MCAST_BLOCK_SOURCE, 1)
    it.heard()
    it.ask(group=it.family.group)
    it.ask(0, group=it.family.group)  # which nobody wants
    it.ask(0, 1, group=it.family.group)
    it.change(0, MCAST_UNBLOCK_SOURCE, 0)
    it.change(0, MCAST_LEAVE_GROUP)
    it.heard()
    it.change(1, MCAST_LEAVE_GROUP)


def mixed(it: Play) -> None:
    it.change(0, MCAST_JOIN_GROUP)
    it.change(0, MCAST_BLOCK_SOURCE, 0)
    it.change(1, MCAST_JOIN_SOURCE_GROUP, 0)  # the one the other blocks
    it.heard()
    it.ask()
    it.change(0, MCAST_LEAVE_GROUP)  # who is left includes
    it.change(0, MCAST_JOIN_GROUP)
    it.heard()
    it.whole(0, MCAST_INCLUDE, 1, 2)
    it.whole(0, MCAST_EXCLUDE, 1)
    it.heard()
    it.whole(0, MCAST_INCLUDE)
    it.change(1, MCAST_JOIN_GROUP, group=it.family.other)
    it.change(1, MCAST_JOIN_SOURCE_GROUP, 2, group=it.family.other)
    it.ask()
    it.wire(old_query(it.family))
    it.wire()
    it.wire()
    it.change(1, MCAST_JOIN_SOURCE_GROUP, 2)  # no ear for it
    it.change(1, MCAST_LEAVE_GROUP, group=it.family.other)
    it.heard()


def many(it: Play) -> None:
    """More than a report holds: what is included goes on in the next one, of what is excluded the
    rest is left out."""
    family, it_is = it.family, it.sockets[0]
    prefix = "10.77.{}.{}" if family is V4 else "fd77::{}:{}"
    sources = [prefix.format(n // 200, n % 200 + 1) for n in range(family.many)]
    for mode in (MCAST_INCLUDE, MCAST_EXCLUDE):
        for group in (family.group, family.other):
            it_is.option(MCAST_JOIN_GROUP, request(it.index, group))
            it_is.option(MCAST_MSFILTER, group_filter(it.index, group, mode, *sources))
            it.wire()
        answers = told(family, it.wire(query(family)))
        it.found.append(sorted((kind, len(sources)) for kind, _, sources in answers))
    it.found.append(it_is.found)


def play(m: Any, family: Family, wire: Wire, index: int) -> list[Any]:
    found = []
    for act in (including, excluding, many, mixed):
        it = Play(m, family, wire, index)
        act(it)
        for member in it.sockets:
            member.sock.close()
        wire()
        found.append(it.found)
    return found


def on_tap(m: Machine, family: Family) -> list[Any]:
    Path("/proc/sys/net", family.interval).write_text("10")
    Path("/proc/sys/net/ipv4/igmp_max_msf").write_text("400")
    tap = make_tap("tap0", "10.77.0.1/24", "fd77::1/64", OURS)
    if family is V6:
        time.sleep(2.5)  # the link-local address is on trial

    def wire(*packets: Any) -> list[bytes]:
        for packet in packets:
            os.write(tap, bytes(packet))
        heard = []
        end = time.monotonic() + WHILE
        while select.select([tap], [], [], max(end - time.monotonic(), 0))[0]:
            heard.append(os.read(tap, 2000))
        return heard

    return play(m, family, wire, m.socket.if_nametoindex("tap0"))


def on_our_host(family: Family) -> Any:
    engine = VirtualEngine()
    host, link = Host(engine, "h"), Link(engine)
    host.kernel.sysctl["net." + family.interval.replace("/", ".")] = 10
    host.kernel.sysctl["net.ipv4.igmp_max_msf"] = 400
    heard: list[bytes] = []
    link.b.on_receive(lambda data, start, end: heard.append(bytes(data)))
    dev = host.add_softnic("eth0", OURS, link.a)
    engine.run(stop=finished(host.start(host.up, dev, "10.77.0.1/24", "fd77::1/64")))
    process = Process(host.kernel, host.system, "play")
    machine = machine_of(process, host)

    def wire(*packets: Any) -> list[bytes]:
        for packet in packets:
            link.b.send(bytes(packet))
        TimeModule(process).sleep(WHILE)
        frames = list(heard)
        heard.clear()
        return frames

    process.start(play, machine, family, wire, dev.ifindex)
    engine.run(until=engine.now + 60 * SECOND, stop=lambda: not process.alive)
    assert not process.tracebacks, process.tracebacks[0]
    return process.result


@pytest.mark.parametrize("family", [V4, V6], ids=["IGMPv3", "MLDv2"])
def test_routers_are_told_and_sockets_hear_what_linux_says_of_sources(family: Family) -> None:
    ours = on_our_host(family)
    one, two, three = family.sources
    assert ours[0][0] == (None, [("allow", family.group, (one,))] * 2)
    assert ours[0][9:13] == [
        [("is_in", family.group, (two,))],
        [],
        (None, []),
        (None, [("block", family.group, (one,))] * 2),
    ]
    assert ours[1][9:13] == [[two, three], [three], [("is_ex", family.group, (one,))], []]
    assert ours[3][6] == (None, [("to_in", family.group, (one,))] * 2)
    for attempt in range(ATTEMPTS):  # this machine may be late
        if ours == (linux := on_linux(on_tap, family)) or attempt == ATTEMPTS - 1:
            break
    assert ours == linux
