"""Multicast groups of IPv4 links, and telling routers of them (IGMPv2, RFC 2236; IGMPv3, RFC 3376;
`net/ipv4/igmp.c`).

Joined by sockets through `Ipv4.join`; input asks `is_member`.  Groups and what is wanted of them
are kept by `source_filter`.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING

from pystack.core.checksum import checksum, ones_sum
from pystack.core.drop import Drop
from pystack.core.skb import SkBuff
from pystack.core.timer import Timer
from pystack.dev.netdev import NetDevice
from pystack.net.fib import RouteType
from pystack.net.ip_output import multicast_mac
from pystack.net.route import Route
from pystack.net.source_filter import (
    MCAST_EXCLUDE,
    Change,
    Groups,
    Record,
    parsed_sources,
    reports,
)

if TYPE_CHECKING:
    from pystack.net.ipv4 import Ipv4

IPPROTO_IGMP = 2
QUERY, V1_REPORT, V2_REPORT, V2_LEAVE, V3_REPORT = 0x11, 0x12, 0x16, 0x17, 0x22
ALL_HOSTS, ALL_ROUTERS, V3_ROUTERS = b"\xe0\0\0\x01", b"\xe0\0\0\x02", b"\xe0\0\0\x16"
ROUTER_ALERT = bytes((148, 4, 0, 0))
TOS_INTERNETCONTROL = 0xC0
MS = 1_000_000
_TENTH = 100 * MS  # the unit of a query's code
_V1_DELAY = 100 * _TENTH
_OLDER_QUERIER = 135_000 * MS  # robustness * query interval + response interval, RFC 3376, 8.12
_HEADER, _V3_QUERY = 8, 12
_QUIET = b"\xe0\0\0"  # 224.0.0.x


class _Link:
    """`v1_until`, `v2_until`: an older querier is about (ns)."""

    def __init__(self, changes_timer: Timer, query_timer: Timer) -> None:
        self.groups = Groups()
        self.changes_timer = changes_timer
        self.query_timer = query_timer
        self.v1_until = self.v2_until = 0


class Igmp:
    def __init__(self, ipv4: Ipv4) -> None:
        self._ipv4 = ipv4
        self._kernel = ipv4.kernel
        self._links: dict[NetDevice, _Link] = {}
        ipv4.register(IPPROTO_IGMP, self.receive)

    # -- membership ------------------------------------------------------------------------

    def is_member(self, dev: NetDevice, group: bytes, source: bytes, protocol: int) -> bool:
        """Is a packet wanted here?  Every host is in 224.0.0.1, and IGMP's come from routers, not
        from sources (`ip_check_mc_rcu`)."""
        link = self._links.get(dev)
        member = None if link is None else link.groups.get(group)
        if member is None:
            return group == ALL_HOSTS
        return protocol == IPPROTO_IGMP or member.allows(source)

    def groups(self, dev: NetDevice) -> dict[bytes, int]:
        """Of `dev`, with how many want each; all hosts belong to 224.0.0.1."""
        link = self._links.get(dev)
        found = {} if link is None else {g: sum(group.users) for g, group in link.groups.items()}
        return found | {ALL_HOSTS: 1} if dev.up else found

    def join(self, dev: NetDevice, group: bytes, mode: int = MCAST_EXCLUDE) -> None:
        """As often as wanted, with an empty filter of `mode` (`____ip_mc_inc_group`)."""
        link = self._link(dev)
        if group in link.groups:
            self.change_filter(dev, group, Change(mode, users=1))
            return
        link.groups.enter(group, mode, self._kernel.timer(partial(self._due, dev, group)))
        self._added(dev, link, group)

    def leave(self, dev: NetDevice, group: bytes, mode: int, sources: Collection[bytes]) -> None:
        """Once for every `join`, with the filter there is now (`__ip_mc_dec_group`)."""
        link = self._link(dev)
        member = link.groups[group]
        self.change_filter(dev, group, Change(mode, sources, -1, -1))
        if any(member.users):
            return
        link.groups.depart(group, self._robustness)
        dev.mc_del(multicast_mac(group))
        told, version = dev.up and self._reported(dev, group), self._version(dev)
        if told and version == 3:
            self._changed(link)
            return
        del link.groups.left[group]
        if told and version == 2 and member.reporter:
            self._send(dev, ALL_ROUTERS, _message(V2_LEAVE, group))

    def change_filter(self, dev: NetDevice, group: bytes, change: Change) -> None:
        """One user's (`ip_mc_add_src`, `ip_mc_del_src`)."""
        link = self._link(dev)
        news = link.groups[group].apply(change, self._robustness)
        if news and dev.up and self._reported(dev, group) and self._version(dev) == 3:
            self._changed(link)

    def _added(self, dev: NetDevice, link: _Link, group: bytes) -> None:
        """The link is told (`igmp_group_added`)."""
        member = link.groups[group]
        dev.mc_add(multicast_mac(group))
        if not dev.up or not self._reported(dev, group):
            return
        member.announce(self._robustness)
        if self._version(dev) == 3:
            self._changed(link)
        else:
            member.unsolicited = self._robustness
            member.timer.mod(self._kernel.now + MS)

    def up(self, dev: NetDevice) -> None:
        """The link may have another router now: tell it everything (`ip_mc_up`)."""
        if dev.loopback:
            return
        dev.mc_add(multicast_mac(ALL_HOSTS))
        link = self._link(dev)
        for group in link.groups:
            dev.mc_del(multicast_mac(group))
            self._added(dev, link, group)

    def down(self, dev: NetDevice) -> None:
        """Nobody is told (`ip_mc_down`)."""
        link = self._link(dev)
        dev.mc_del(multicast_mac(ALL_HOSTS))
        for timer in (link.changes_timer, link.query_timer):
            timer.delete()
        link.groups.forget_left()
        link.v1_until = link.v2_until = 0
        for member in link.groups.values():
            member.timer.delete()

    def _link(self, dev: NetDevice) -> _Link:
        link = self._links.get(dev)
        if link is None:
            timer = self._kernel.timer
            changes, query = partial(self._tell_changes, dev), partial(self._answer, dev)
            link = self._links[dev] = _Link(timer(changes), timer(query))
        return link

    def _reported(self, dev: NetDevice, group: bytes) -> bool:
        if group == ALL_HOSTS or dev.loopback:
            return False
        quiet = group[:3] == _QUIET
        return not quiet or bool(self._kernel.sysctl["net.ipv4.igmp_link_local_mcast_reports"])

    @property
    def _robustness(self) -> int:
        return self._kernel.sysctl["net.ipv4.igmp_qrv"]

    def _version(self, dev: NetDevice) -> int:
        """That of the oldest querier heard lately (RFC 3376, 7.2.1), or force_igmp_version."""
        sysctl, link = self._kernel.sysctl, self._link(dev)
        forced = sysctl["net.ipv4.conf.all.force_igmp_version"]
        forced = forced or sysctl[f"net.ipv4.conf.{dev.name}.force_igmp_version"]
        if forced:
            return forced
        now = self._kernel.now
        return 1 if now < link.v1_until else 2 if now < link.v2_until else 3

    # -- telling ---------------------------------------------------------------------------

    def _changed(self, link: _Link) -> None:
        """To be told soon, and again: reports may be lost (RFC 3376, 5.1)."""
        link.changes_timer.mod(self._kernel.now + MS)

    def _tell_changes(self, dev: NetDevice) -> None:
        link = self._link(dev)
        records = [r for r in link.groups.changes() if self._reported(dev, r.group)]
        if link.groups.untold:
            interval = self._setting(dev, "igmpv3_unsolicited_report_interval")
            link.changes_timer.mod(self._kernel.now + self._random(interval * MS))
        self._report_v3(dev, records)

    def _due(self, dev: NetDevice, group: bytes) -> None:
        """A group's own timer: its report, and the next unsolicited one (`igmp_timer_expire`)."""
        member, version = self._link(dev).groups[group], self._version(dev)
        if member.unsolicited:
            member.unsolicited -= 1
        if member.unsolicited:
            interval = self._setting(dev, "igmpv2_unsolicited_report_interval")
            member.timer.mod(self._kernel.now + self._random(interval * MS))
        member.reporter = True
        if version == 3:
            self._report_v3(dev, [member.state(group)])
        else:
            self._send(dev, group, _message(V2_REPORT if version == 2 else V1_REPORT, group))

    def _answer(self, dev: NetDevice) -> None:
        """A general query of IGMPv3 is answered at once for all groups."""
        records = self._link(dev).groups.states()
        self._report_v3(dev, [r for r in records if self._reported(dev, r.group)])

    def _report_v3(self, dev: NetDevice, records: list[Record]) -> None:
        for count, body in reports(records, dev.mtu - 24 - _HEADER, 4):
            self._send(dev, V3_ROUTERS, _message(V3_REPORT, count.to_bytes(4, "big"), body))

    def _send(self, dev: NetDevice, daddr: bytes, message: bytes) -> None:
        """For this link only, and for routers to look at (RFC 3376, 4)."""
        saddr = self._ipv4.devinet.select(dev, b"", 0) or bytes(4)
        skb = SkBuff(self._kernel, memoryview(message))
        route = Route(dev, saddr, b"", dev.mtu, kind=RouteType.MULTICAST)
        self._ipv4.send(
            skb,
            route,
            saddr,
            daddr,
            IPPROTO_IGMP,
            ttl=1,
            tos=TOS_INTERNETCONTROL,
            options=ROUTER_ALERT,
        )

    def _setting(self, dev: NetDevice, name: str) -> int:
        return self._kernel.sysctl[f"net.ipv4.conf.{dev.name}.{name}"]

    def _random(self, limit: int) -> int:
        return self._kernel.rng.randrange(limit) if limit > 0 else 0

    # -- hearing ---------------------------------------------------------------------------

    def receive(self, skb: SkBuff) -> None:
        """`igmp_rcv`"""
        message, dev = skb.data, skb.dev
        if len(message) < _HEADER or ones_sum(message) != 0xFFFF:
            self._kernel.drop(skb, Drop.IGMP_MALFORMED)
            return
        kind, code, group = message[0], message[1], bytes(message[4:8])
        if kind == QUERY and not self._query(dev, code, group, bytes(message)):
            self._kernel.drop(skb, Drop.IGMP_MALFORMED)
            return
        if kind in (V1_REPORT, V2_REPORT) and not self._ipv4.is_local(skb.saddr):
            self._heard_report(dev, group)
        skb.free()

    def _heard_report(self, dev: NetDevice, group: bytes) -> None:
        """Somebody else has said it (RFC 2236, 3)."""
        member = self._link(dev).groups.get(group)
        if member is not None and self._version(dev) < 3:
            member.timer.delete()
            member.unsolicited = 0
            member.reporter = False

    def _query(self, dev: NetDevice, code: int, group: bytes, message: bytes) -> bool:
        """`igmp_heard_query`; False for one that is malformed."""
        link, now = self._link(dev), self._kernel.now
        delay = code * _TENTH
        if len(message) == _HEADER:
            if code:
                link.v2_until = now + _OLDER_QUERIER
            else:
                delay, group = _V1_DELAY, bytes(4)
                link.v1_until = now + _OLDER_QUERIER
            link.changes_timer.delete()
            link.groups.forget_left()
        elif len(message) < _V3_QUERY:
            return False
        elif self._version(dev) == 3:
            return self._query_v3(dev, link, _exponential(code) * _TENTH, group, message)
        for address in [group] if any(group) else list(link.groups):
            self._respond(dev, link, address, delay)
        return True

    def _query_v3(
        self, dev: NetDevice, link: _Link, delay: int, group: bytes, message: bytes
    ) -> bool:
        count = int.from_bytes(message[10:12], "big")
        if len(message) < _V3_QUERY + 4 * count or (count and not any(group)):
            return False
        if any(group):
            self._respond(dev, link, group, delay, parsed_sources(message, _V3_QUERY, 4))
        elif not link.query_timer.pending:
            link.query_timer.mod(self._kernel.now + self._random(delay))
        return True

    def _respond(
        self,
        dev: NetDevice,
        link: _Link,
        group: bytes,
        delay: int,
        sources: Collection[bytes] = (),
    ) -> None:
        """After a random time, unless an answer is due sooner (`igmp_mod_timer`)."""
        member = link.groups.get(group)
        if member is None or not self._reported(dev, group) or not member.asked(sources):
            return
        due = self._kernel.now + self._random(delay)
        if not member.timer.pending or due < member.timer.expires:
            member.timer.mod(due)


def _message(kind: int, word: bytes, body: bytes = b"") -> bytes:
    """`word`: the group, or reserved bits and the number of records."""
    value = checksum(bytes((kind, 0, 0, 0)) + word + body)
    return bytes((kind, 0)) + value.to_bytes(2, "big") + word + body


def _exponential(code: int) -> int:
    """Max Resp Code in tenths of seconds (RFC 3376, 4.1.1)."""
    if code < 128:
        return code
    return (code & 15 | 16) << ((code >> 4 & 7) + 3)
