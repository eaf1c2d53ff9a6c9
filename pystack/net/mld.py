"""Multicast groups of IPv6 links, and telling routers of them (MLDv2, RFC 3810; MLDv1, RFC 2710;
`mcast.c`).

Joined by `addrconf` (solicited-node groups) and by sockets; `ip6_input` asks `is_member`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pystack.core.drop import Drop
from pystack.core.headers.icmpv6 import (
    ICMPV6_MGM_QUERY,
    ICMPV6_MGM_REDUCTION,
    ICMPV6_MGM_REPORT,
    ICMPV6_MLD2_REPORT,
    Icmpv6Header,
    pack_message,
)
from pystack.core.headers.ipv6 import (
    ALL_ROUTERS,
    ANY,
    MLDV2_ROUTERS,
    NEXTHDR_HOP,
    Ipv6Header,
    is_linklocal,
    is_multicast,
    multicast_mac,
)
from pystack.core.skb import SkBuff
from pystack.core.timer import Timer
from pystack.dev.netdev import NetDevice
from pystack.net import ip6_output
from pystack.net.mld_wire import (
    GROUP,
    ROUTER_ALERT,
    V1_QUERY_LENGTH,
    V2_QUERY_LENGTH,
    alerts_routers,
    exponential,
    reported,
    well_formed,
)
from pystack.net.route import Route

if TYPE_CHECKING:
    from pystack.net.ipv6 import Ipv6

MS = 1_000_000
SECOND = 1000 * MS
MODE_IS_EXCLUDE = 2
CHANGE_TO_INCLUDE = 3
CHANGE_TO_EXCLUDE = 4
V1_DELAY_MAX = 32767  # ms; MLDv2's codes are floats above it
_RECORD = 20


class _Group:
    """`users` have joined; `reporter`: the last MLDv1 report on the link was ours, so the leave has
    to be, too."""

    def __init__(self, timer: Timer) -> None:
        self.users = 1
        self.reporter = False
        self.timer = timer


class _Link:
    """`changes`: what is still to be told, and how often; `v1_until`: an MLDv1 querier is about.

    What the last MLDv2 querier said of itself (RFC 3810, 9): `robustness`, and in ns its
    `query_interval` and `response_interval`.
    """

    def __init__(self, robustness: int, changes_timer: Timer, query_timer: Timer) -> None:
        self.groups: dict[bytes, _Group] = {}
        self.changes: dict[bytes, tuple[int, int]] = {}  # record type, transmissions left
        self.changes_timer = changes_timer
        self.query_timer = query_timer
        self.v1_until = 0
        self.robustness = robustness
        self.query_interval = 125 * SECOND
        self.response_interval = 10 * SECOND

    def learn(self, query: bytes, delay: int, least: int) -> None:
        """RFC 3810, 5.1.8 and 5.1.9 (`mld_process_v2`)."""
        self.robustness = max(query[24] & 7 or self.robustness, least)
        self.query_interval = exponential(query[25], 4) * SECOND
        self.response_interval = delay


class Mld:
    def __init__(self, ip: Ipv6) -> None:
        self.ip = ip
        self.kernel = ip.kernel
        self._links: dict[NetDevice, _Link] = {}
        ip.icmp.register(ICMPV6_MGM_QUERY, self._receive_query)
        ip.icmp.register(ICMPV6_MGM_REPORT, self._heard_report)
        for icmp_type in (ICMPV6_MGM_REDUCTION, ICMPV6_MLD2_REPORT):
            ip.icmp.register(icmp_type, lambda skb, header: skb.free())  # for routers

    def is_member(self, dev: NetDevice, group: bytes) -> bool:
        link = self._links.get(dev)
        return link is not None and group in link.groups

    def groups(self, dev: NetDevice) -> dict[bytes, int]:
        """Of `dev`, with how many want each."""
        link = self._links.get(dev)
        return {} if link is None else {name: it.users for name, it in link.groups.items()}

    def join(self, dev: NetDevice, group: bytes) -> None:
        """As often as wanted; the first time the link is told (`igmp6_group_added`)."""
        link = self._link(dev)
        member = link.groups.get(group)
        if member is not None:
            member.users += 1
            return
        member = link.groups[group] = _Group(self.kernel.timer(partial(self._due, dev, group)))
        dev.mc_add(multicast_mac(group))
        if not reported(group):
            return
        if self._v1(dev, link):
            member.reporter = True
            self._send_v1(dev, ICMPV6_MGM_REPORT, group, group)
            interval = self._setting(dev, "mldv1_unsolicited_report_interval")
            member.timer.mod(self.kernel.now + self._random(interval * MS))
        else:
            self._changed(link, group, CHANGE_TO_EXCLUDE)

    def leave(self, dev: NetDevice, group: bytes) -> None:
        """Once for every `join` (`igmp6_group_dropped`)."""
        link = self._links.get(dev)
        if link is None or group not in link.groups:
            return
        member = link.groups[group]
        member.users -= 1
        if member.users:
            return
        del link.groups[group]
        member.timer.delete()
        dev.mc_del(multicast_mac(group))
        if not reported(group):
            return
        if not self._v1(dev, link):
            self._changed(link, group, CHANGE_TO_INCLUDE)
        elif member.reporter:
            self._send_v1(dev, ICMPV6_MGM_REDUCTION, ALL_ROUTERS, group)

    def flush(self, dev: NetDevice) -> None:
        """`dev` goes down: nothing is told."""
        link = self._links.pop(dev, None)
        if link is not None:
            link.changes_timer.delete()
            link.query_timer.delete()
            for group, member in link.groups.items():
                member.timer.delete()
                dev.mc_del(multicast_mac(group))

    def _link(self, dev: NetDevice) -> _Link:
        link = self._links.get(dev)
        if link is None:
            changes = self.kernel.timer(partial(self._tell_changes, dev))
            query = self.kernel.timer(partial(self._answer, dev))
            robustness = self.kernel.sysctl["net.ipv6.mld_qrv"]
            link = self._links[dev] = _Link(robustness, changes, query)
        return link

    # -- versions --------------------------------------------------------------------------

    def _forced(self, dev: NetDevice) -> int:
        everywhere = self.kernel.sysctl["net.ipv6.conf.all.force_mld_version"]
        return everywhere or self._setting(dev, "force_mld_version")

    def _v1(self, dev: NetDevice, link: _Link) -> bool:
        """Speak MLDv1, as an old querier was heard lately (RFC 3810, 8.2.1)?"""
        forced = self._forced(dev)
        return forced == 1 or (forced != 2 and self.kernel.now < link.v1_until)

    def _setting(self, dev: NetDevice, name: str) -> int:
        return self.kernel.sysctl[f"net.ipv6.conf.{dev.name}.{name}"]

    def _random(self, limit: int) -> int:
        return self.kernel.rng.randrange(limit) if limit > 0 else 0

    # -- reports ---------------------------------------------------------------------------

    def _changed(self, link: _Link, group: bytes, record: int) -> None:
        """To be told soon, and again: reports may be lost (RFC 3810, 6.1)."""
        link.changes[group] = record, link.robustness
        link.changes_timer.mod(self.kernel.now + MS)

    def _tell_changes(self, dev: NetDevice) -> None:
        link = self._links[dev]
        records = [(record, group) for group, (record, _) in link.changes.items()]
        link.changes = {g: (r, n - 1) for g, (r, n) in link.changes.items() if n > 1}
        if link.changes:
            interval = self._setting(dev, "mldv2_unsolicited_report_interval")
            link.changes_timer.mod(self.kernel.now + self._random(interval * MS))
        self._report(dev, records)

    def _due(self, dev: NetDevice, group: bytes) -> None:
        """A group's own timer (`mld_mca_work`)."""
        link = self._links[dev]
        link.groups[group].reporter = True
        if self._v1(dev, link):
            self._send_v1(dev, ICMPV6_MGM_REPORT, group, group)
        else:
            self._report(dev, [(MODE_IS_EXCLUDE, group)])

    def _answer(self, dev: NetDevice) -> None:
        """A general query of MLDv2 is answered at once for all groups."""
        groups = self._links[dev].groups
        self._report(dev, [(MODE_IS_EXCLUDE, group) for group in groups if reported(group)])

    def _report(self, dev: NetDevice, records: list[tuple[int, bytes]]) -> None:
        most = (dev.mtu - 56) // _RECORD
        for at in range(0, len(records), most):
            part = records[at : at + most]
            body = b"".join(bytes((kind, 0, 0, 0)) + group for kind, group in part)
            self.kernel.mib["Icmp6OutMLDv2Reports"] += 1
            self._send(dev, ICMPV6_MLD2_REPORT, MLDV2_ROUTERS, len(part), body)

    def _send_v1(self, dev: NetDevice, icmp_type: int, daddr: bytes, group: bytes) -> None:
        """`igmp6_send`"""
        report = icmp_type == ICMPV6_MGM_REPORT
        self.kernel.mib["Icmp6OutGroupMemb" + ("Responses" if report else "Reductions")] += 1
        self._send(dev, icmp_type, daddr, 0, group)

    def _send(self, dev: NetDevice, icmp_type: int, daddr: bytes, word: int, body: bytes) -> None:
        """From the link-local address, or none while that is on trial (RFC 3590)."""
        source = self.ip.addrconf.source_for(dev, MLDV2_ROUTERS) or ANY
        if not is_linklocal(source):
            source = ANY
        message = pack_message(source, daddr, icmp_type, 0, word, body)
        mib = self.kernel.mib
        mib["Icmp6OutMsgs"] += 1
        mib[f"Icmp6OutType{icmp_type}"] += 1
        skb = SkBuff(self.kernel, memoryview(ROUTER_ALERT + message))
        header = Ipv6Header(len(skb), NEXTHDR_HOP, source, daddr, 1)
        ip6_output.send(self.ip, skb, Route(dev, source, b"", dev.mtu), header, True)

    # -- hearing ---------------------------------------------------------------------------

    def _receive_query(self, skb: SkBuff, header: Icmpv6Header) -> None:
        """Only from the link, and for routers to look at (RFC 3810, 6.2; `__mld_query_work`)."""
        self.kernel.mib["Icmp6InGroupMembQueries"] += 1
        dev: NetDevice = skb.dev
        message = bytes(skb.data)
        hop_limit = skb.buf[skb.network_header + 7]
        link = self._links.get(dev)
        good = len(message) >= V1_QUERY_LENGTH and hop_limit == 1 and is_linklocal(skb.saddr)
        if good and alerts_routers(skb) and self._query(dev, link, header.word >> 16, message):
            skb.free()
        else:
            self.kernel.drop(skb, Drop.MLD_MALFORMED)

    def _query(self, dev: NetDevice, link: _Link | None, code: int, message: bytes) -> bool:
        """A router asks: answer after a random time within what it allows; False for a query that
        is malformed."""
        group = message[GROUP]
        if any(group) and not is_multicast(group):
            return False
        if link is None:
            return True
        old = len(message) == V1_QUERY_LENGTH
        if old or (self._v1(dev, link) and len(message) >= V2_QUERY_LENGTH):
            if self._forced(dev) == 2:
                return True
            delay = (code if old else min(code, V1_DELAY_MAX)) * MS
            self._query_v1(link, old)
        elif not well_formed(message):
            return False
        else:
            delay = exponential(code, 12) * MS
            link.learn(message, delay, self.kernel.sysctl["net.ipv6.mld_qrv"])
            if not any(group):
                self._soon(link.query_timer, delay)
                return True
        for address in [group] if any(group) else list(link.groups):
            member = link.groups.get(address)
            if member is not None and reported(address):
                self._soon(member.timer, delay)
        return True

    def _query_v1(self, link: _Link, old: bool) -> None:
        """Only a query that is MLDv1's itself tells of such a router (`mld_process_v1`)."""
        if old:
            present = link.robustness * link.query_interval + link.response_interval
            link.v1_until = self.kernel.now + present
        link.query_timer.delete()
        link.changes_timer.delete()
        link.changes.clear()

    def _soon(self, timer: Timer, delay: int) -> None:
        """After a random time, unless it is due sooner (`igmp6_group_queried`)."""
        due = self.kernel.now + self._random(max(delay, MS))
        if not timer.pending or due < timer.expires:
            timer.mod(due)

    def _heard_report(self, skb: SkBuff, header: Icmpv6Header) -> None:
        """Somebody else has said it (RFC 2710, 4; `igmp6_event_report`)."""
        self.kernel.mib["Icmp6InGroupMembResponses"] += 1
        if len(skb) < V1_QUERY_LENGTH or not (is_linklocal(skb.saddr) or not any(skb.saddr)):
            self.kernel.drop(skb, Drop.MLD_MALFORMED)
            return
        link = self._links.get(skb.dev)
        member = None if link is None else link.groups.get(bytes(skb.data[GROUP]))
        if member is not None:
            member.timer.delete()
            member.reporter = False
        skb.free()
