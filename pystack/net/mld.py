"""Multicast groups of IPv6 links, and telling routers of them (MLDv2, RFC 3810; `mcast.c`).

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
    ALL_NODES,
    ANY,
    IPPROTO_ICMPV6,
    MLDV2_ROUTERS,
    NEXTHDR_HOP,
    Ipv6Header,
    is_linklocal,
    multicast_mac,
)
from pystack.core.skb import SkBuff
from pystack.core.timer import Timer
from pystack.dev.netdev import NetDevice
from pystack.net import ip6_output
from pystack.net.route import Route

if TYPE_CHECKING:
    from pystack.net.ipv6 import Ipv6

MS = 1_000_000
MODE_IS_EXCLUDE = 2
CHANGE_TO_INCLUDE = 3
CHANGE_TO_EXCLUDE = 4
UNSOLICITED_INTERVAL = 1000 * MS
QUERY_LENGTH = 24  # MLDv1's; MLDv2's are longer
_RECORD = 20
_ROUTER_ALERT = bytes((IPPROTO_ICMPV6, 0, 5, 2, 0, 0, 1, 0))  # hop-by-hop header (RFC 2711)


class _Link:
    """`groups` and how often each was joined; `changes` is what is still to be told, how often."""

    def __init__(self, kernel_timer: Timer, query_timer: Timer) -> None:
        self.groups: dict[bytes, int] = {}
        self.changes: dict[bytes, tuple[int, int]] = {}  # record type, transmissions left
        self.timer = kernel_timer
        self.query_timer = query_timer
        self.queried: set[bytes] = set()


class Mld:
    def __init__(self, ip: Ipv6) -> None:
        self.ip = ip
        self.kernel = ip.kernel
        self._links: dict[NetDevice, _Link] = {}
        ip.icmp.register(ICMPV6_MGM_QUERY, self._query)
        for icmp_type in (ICMPV6_MGM_REPORT, ICMPV6_MGM_REDUCTION, ICMPV6_MLD2_REPORT):
            ip.icmp.register(icmp_type, lambda skb, header: skb.free())  # for routers

    def is_member(self, dev: NetDevice, group: bytes) -> bool:
        link = self._links.get(dev)
        return link is not None and group in link.groups

    def join(self, dev: NetDevice, group: bytes) -> None:
        """As often as wanted; the first time the link is told."""
        link = self._links.get(dev)
        if link is None:
            timer = self.kernel.timer(partial(self._report_changes, dev))
            link = _Link(timer, self.kernel.timer(partial(self._answer, dev)))
            self._links[dev] = link
        link.groups[group] = link.groups.get(group, 0) + 1
        if link.groups[group] == 1:
            dev.mc_add(multicast_mac(group))
            self._changed(link, group, CHANGE_TO_EXCLUDE)

    def leave(self, dev: NetDevice, group: bytes) -> None:
        link = self._links.get(dev)
        if link is None or group not in link.groups:
            return
        link.groups[group] -= 1
        if not link.groups[group]:
            del link.groups[group]
            dev.mc_del(multicast_mac(group))
            self._changed(link, group, CHANGE_TO_INCLUDE)

    def flush(self, dev: NetDevice) -> None:
        """`dev` goes down: nothing is told."""
        link = self._links.pop(dev, None)
        if link is not None:
            link.timer.delete()
            link.query_timer.delete()
            for group in link.groups:
                dev.mc_del(multicast_mac(group))

    # -- reports ---------------------------------------------------------------------------

    def _changed(self, link: _Link, group: bytes, record: int) -> None:
        """To be told soon, and again: reports may be lost (RFC 3810, 6.1)."""
        if _reported(group):
            link.changes[group] = record, self.kernel.sysctl["net.ipv6.mld_qrv"]
            link.timer.mod(self.kernel.now + MS)

    def _report_changes(self, dev: NetDevice) -> None:
        link = self._links[dev]
        records = [(record, group) for group, (record, _) in link.changes.items()]
        link.changes = {g: (r, n - 1) for g, (r, n) in link.changes.items() if n > 1}
        if link.changes:
            delay = self.kernel.rng.randrange(UNSOLICITED_INTERVAL)
            link.timer.mod(self.kernel.now + delay)
        self._report(dev, records)

    def _report(self, dev: NetDevice, records: list[tuple[int, bytes]]) -> None:
        """From the link-local address, or none while that is on trial (RFC 3590)."""
        source = self.ip.addrconf.source_for(dev, MLDV2_ROUTERS) or ANY
        if not is_linklocal(source):
            source = ANY
        most = (dev.mtu - 56) // _RECORD
        for at in range(0, len(records), most):
            part = records[at : at + most]
            body = b"".join(bytes((kind, 0, 0, 0)) + group for kind, group in part)
            message = pack_message(source, MLDV2_ROUTERS, ICMPV6_MLD2_REPORT, 0, len(part), body)
            mib = self.kernel.mib
            mib["Icmp6OutMsgs"] += 1
            mib[f"Icmp6OutType{ICMPV6_MLD2_REPORT}"] += 1
            mib["Icmp6OutMLDv2Reports"] += 1
            skb = SkBuff(self.kernel, memoryview(_ROUTER_ALERT + message))
            header = Ipv6Header(len(skb), NEXTHDR_HOP, source, MLDV2_ROUTERS, 1)
            route = Route(dev, source, b"", dev.mtu)
            ip6_output.send(self.ip, skb, route, header, True)

    # -- queries ---------------------------------------------------------------------------

    def _query(self, skb: SkBuff, header: Icmpv6Header) -> None:
        """A router asks (RFC 3810, 6.2): answer after a random time within what it allows."""
        dev: NetDevice = skb.dev
        message = bytes(skb.data)
        hop_limit = skb.buf[skb.network_header + 7]
        if len(message) < QUERY_LENGTH or hop_limit != 1 or not is_linklocal(skb.saddr):
            self.kernel.drop(skb, Drop.MLD_MALFORMED)
            return
        link, group = self._links.get(dev), message[8:24]
        if link is not None:
            code = header.word >> 16
            if len(message) > QUERY_LENGTH and code >= 0x8000:  # a float (RFC 3810, 5.1.3)
                code = (code & 0xFFF | 0x1000) << ((code >> 12 & 7) + 3)
            asked = link.groups if not any(group) else {group} & link.groups.keys()
            wanted = {g for g in asked if _reported(g)}
            if wanted:
                link.queried |= wanted
                when = self.kernel.now + self.kernel.rng.randrange(max(code, 1) * MS)
                if not link.query_timer.pending or when < link.query_timer.expires:
                    link.query_timer.mod(when)
        skb.free()

    def _answer(self, dev: NetDevice) -> None:
        link = self._links[dev]
        records = [(MODE_IS_EXCLUDE, g) for g in link.groups if g in link.queried]
        link.queried = set()
        if records:
            self._report(dev, records)


def _reported(group: bytes) -> bool:
    """All-nodes, and what does not leave the interface, nobody asks for (RFC 3810, 6)."""
    return group != ALL_NODES and group[1] & 15 > 1
