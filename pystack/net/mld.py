"""Multicast groups of IPv6 links, and telling routers of them (MLDv2, RFC 3810; MLDv1, RFC 2710;
`mcast.c`).

Joined by `addrconf` (solicited-node groups) and by sockets; `ip6_input` asks `is_member`.  Groups
and what is wanted of them are kept by `source_filter`.
"""

from __future__ import annotations

from collections.abc import Collection
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
    IPPROTO_ICMPV6,
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
from pystack.net.source_filter import (
    MCAST_EXCLUDE,
    Change,
    Groups,
    Record,
    parsed_sources,
    reports,
)

if TYPE_CHECKING:
    from pystack.net.ipv6 import Ipv6

MS = 1_000_000
SECOND = 1000 * MS
_MESSAGES = ICMPV6_MGM_QUERY, ICMPV6_MGM_REPORT, ICMPV6_MGM_REDUCTION, ICMPV6_MLD2_REPORT
V1_DELAY_MAX = 32767  # ms; MLDv2's codes are floats above it


class _Link:
    """`v1_until`: an MLDv1 querier is about.

    What the last MLDv2 querier said of itself (RFC 3810, 9): `robustness`, and in ns its
    `query_interval` and `response_interval`.
    """

    def __init__(self, robustness: int, changes_timer: Timer, query_timer: Timer) -> None:
        self.groups = Groups()
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

    def blocks(self, skb: SkBuff) -> bool:
        """Is a received packet to a group from a source nobody here wants to hear?  Never one of
        MLD itself (`ipv6_is_mld`)."""
        link = self._links.get(skb.dev)
        member = None if link is None else link.groups.get(skb.daddr)
        if member is None or member.allows(skb.saddr):
            return False
        return skb.protocol != IPPROTO_ICMPV6 or skb.data[0] not in _MESSAGES

    def groups(self, dev: NetDevice) -> dict[bytes, int]:
        """Of `dev`, with how many want each."""
        link = self._links.get(dev)
        return {} if link is None else {name: sum(it.users) for name, it in link.groups.items()}

    def join(self, dev: NetDevice, group: bytes, mode: int = MCAST_EXCLUDE) -> None:
        """As often as wanted, with an empty filter of `mode`; the first time the link is told
        (`__ipv6_dev_mc_inc`, `igmp6_group_added`)."""
        link = self._link(dev)
        if group in link.groups:
            self.change_filter(dev, group, Change(mode, users=1))
            return
        timer = self.kernel.timer(partial(self._due, dev, group))
        member = link.groups.enter(group, mode, timer)
        dev.mc_add(multicast_mac(group))
        if not reported(group):
            return
        if self._v1(dev, link):
            member.reporter = True
            self._send_v1(dev, ICMPV6_MGM_REPORT, group, group)
            interval = self._setting(dev, "mldv1_unsolicited_report_interval")
            member.timer.mod(self.kernel.now + self._random(interval * MS))
        else:
            member.announce(link.robustness)
            self._changed(link)

    def leave(
        self,
        dev: NetDevice,
        group: bytes,
        mode: int = MCAST_EXCLUDE,
        sources: Collection[bytes] = (),
    ) -> None:
        """Once for every `join`, with the filter there is now (`igmp6_group_dropped`)."""
        link = self._links.get(dev)
        if link is None or group not in link.groups:
            return
        member = link.groups[group]
        self.change_filter(dev, group, Change(mode, sources, -1, -1))
        if any(member.users):
            return
        link.groups.depart(group, link.robustness)
        dev.mc_del(multicast_mac(group))
        if not reported(group) or self._v1(dev, link):
            del link.groups.left[group]
            if member.reporter and reported(group):
                self._send_v1(dev, ICMPV6_MGM_REDUCTION, ALL_ROUTERS, group)
        else:
            self._changed(link)

    def change_filter(self, dev: NetDevice, group: bytes, change: Change) -> None:
        """One user's, if the device has not been down since (`ip6_mc_add_src`)."""
        link = self._links.get(dev)
        if link is None or group not in link.groups:
            return
        news = link.groups[group].apply(change, link.robustness)
        if news and reported(group) and not self._v1(dev, link):
            self._changed(link)

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

    def _changed(self, link: _Link) -> None:
        """To be told soon, and again: reports may be lost (RFC 3810, 6.1)."""
        link.changes_timer.mod(self.kernel.now + MS)

    def _tell_changes(self, dev: NetDevice) -> None:
        link = self._links[dev]
        records = [record for record in link.groups.changes() if reported(record.group)]
        if link.groups.untold:
            interval = self._setting(dev, "mldv2_unsolicited_report_interval")
            link.changes_timer.mod(self.kernel.now + self._random(interval * MS))
        self._report(dev, records)

    def _due(self, dev: NetDevice, group: bytes) -> None:
        """A group's own timer (`mld_mca_work`)."""
        link = self._links[dev]
        member = link.groups[group]
        member.reporter = True
        if self._v1(dev, link):
            self._send_v1(dev, ICMPV6_MGM_REPORT, group, group)
        else:
            self._report(dev, [member.state(group)])

    def _answer(self, dev: NetDevice) -> None:
        """A general query of MLDv2 is answered at once for all groups."""
        records = self._links[dev].groups.states()
        self._report(dev, [record for record in records if reported(record.group)])

    def _report(self, dev: NetDevice, records: list[Record]) -> None:
        for count, body in reports(records, dev.mtu - 56, 16):
            self.kernel.mib["Icmp6OutMLDv2Reports"] += 1
            self._send(dev, ICMPV6_MLD2_REPORT, MLDV2_ROUTERS, count, body)

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
        old, sources = len(message) == V1_QUERY_LENGTH, set[bytes]()
        if old or (self._v1(dev, link) and len(message) >= V2_QUERY_LENGTH):
            if self._forced(dev) == 2:
                return True
            delay = (code if old else min(code, V1_DELAY_MAX)) * MS
            self._query_v1(link, old)
        elif not well_formed(message):
            return False
        else:
            sources = parsed_sources(message, V2_QUERY_LENGTH, 16)
            delay = exponential(code, 12) * MS
            link.learn(message, delay, self.kernel.sysctl["net.ipv6.mld_qrv"])
            if not any(group):
                self._soon(link.query_timer, delay)
                return True
        for address in [group] if any(group) else list(link.groups):
            member = link.groups.get(address)
            if member is not None and reported(address) and member.asked(sources):
                self._soon(member.timer, delay)
        return True

    def _query_v1(self, link: _Link, old: bool) -> None:
        """Only a query that is MLDv1's itself tells of such a router (`mld_process_v1`)."""
        if old:
            present = link.robustness * link.query_interval + link.response_interval
            link.v1_until = self.kernel.now + present
        link.query_timer.delete()
        link.changes_timer.delete()
        link.groups.forget_left()

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
