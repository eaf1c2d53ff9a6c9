"""A table of routes of either family: longest prefix, then metric (`net/ipv4/fib_trie.c`).

Filled with routes by `Ipv4`, and by `Devinet` with those that come with addresses; asked by
`Routing`.
"""

from __future__ import annotations

import enum
import errno
import ipaddress
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from pystack.dev.netdev import NetDevice


class RouteType(enum.IntEnum):
    """`RTN_*` of rtnetlink.h."""

    UNICAST = 1
    LOCAL = 2
    BROADCAST = 3
    MULTICAST = 5
    BLACKHOLE = 6
    UNREACHABLE = 7
    PROHIBIT = 8


# What looking up a route of this type ends with (`fib_props`)
ROUTE_ERRORS = {
    RouteType.BLACKHOLE: errno.EINVAL,
    RouteType.UNREACHABLE: errno.EHOSTUNREACH,
    RouteType.PROHIBIT: errno.EACCES,
}


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@dataclass(frozen=True, eq=False)
class FibEntry:
    """One route.  `gateway` is empty for a destination on the link, `saddr` is the preferred
    source or empty; `metrics` are those of `ip route`, as mtu or initcwnd.
    """

    network: Network
    dev: NetDevice
    gateway: bytes
    saddr: bytes
    metric: int
    metrics: dict[str, int] = field(default_factory=dict)
    kind: RouteType = RouteType.UNICAST
    kernel: bool = False  # made by an address, goes with it


_Bucket = dict[int, list[FibEntry]]


class Fib:
    """A look-up costs a dict access for each prefix length that is in use."""

    def __init__(self, bits: int = 32) -> None:
        """`bits` of an address: 32 or 128."""
        self._bits = bits
        self._levels: list[tuple[int, int, _Bucket]] = []  # (length, mask, by network), longest 1st

    def __iter__(self) -> Iterator[FibEntry]:
        """In the order they are looked up in."""
        for _, _, bucket in self._levels:
            for entries in bucket.values():
                yield from entries

    def lookup(self, daddr: bytes, oif: int = 0) -> FibEntry | None:
        """The route to `daddr`; with `oif` only routes out of that device."""
        address = int.from_bytes(daddr, "big")
        for _, mask, bucket in self._levels:
            for entry in bucket.get(address & mask, ()):
                if not oif or entry.dev.ifindex == oif:
                    return entry
        return None

    def find(self, network: Network, metric: int | None = None) -> list[FibEntry]:
        """The routes to exactly this prefix, of this metric if given."""
        for length, _, bucket in self._levels:
            if length == network.prefixlen:
                entries = bucket.get(int(network.network_address), [])
                return [e for e in entries if metric is None or e.metric == metric]
        return []

    def add(self, entry: FibEntry, *, append: bool = False) -> None:
        """OSError(EEXIST) for a prefix and metric that is there, with IPv6 through the same device,
        unless told to `append`."""
        if not append:
            for old in self.find(entry.network, entry.metric):
                if self._bits == 32 or old.dev is entry.dev:
                    raise os_error(errno.EEXIST)
        entries = self._bucket(entry.network.prefixlen).setdefault(
            int(entry.network.network_address), []
        )
        entries.append(entry)
        entries.sort(key=lambda e: e.metric)

    def remove(self, entry: FibEntry) -> None:
        """Only one that is there."""
        length, start = entry.network.prefixlen, int(entry.network.network_address)
        bucket = self._bucket(length)
        bucket[start].remove(entry)
        if not bucket[start]:
            del bucket[start]
        self._levels = [level for level in self._levels if level[2]]

    def _bucket(self, length: int) -> _Bucket:
        for known, _, bucket in self._levels:
            if known == length:
                return bucket
        bucket = {}
        self._levels.append((length, ((1 << length) - 1) << (self._bits - length), bucket))
        self._levels.sort(key=lambda level: -level[0])
        return bucket
