"""Routes of either family: longest prefix, then metric (`net/ipv4/fib_trie.c`)."""

from __future__ import annotations

import errno
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from pystack.dev.netdev import NetDevice

_NO_METRICS: Mapping[str, int] = MappingProxyType({})


def _no_metrics() -> Mapping[str, int]:
    return _NO_METRICS


@dataclass(frozen=True, slots=True)
class Route:
    """How to reach a destination: `gateway` empty when it is on the link.  `mtu` in bytes.

    `metrics` are those of `ip route` that a transport asks for by name, as `initcwnd`.
    """

    dev: NetDevice
    saddr: bytes
    gateway: bytes
    mtu: int
    metrics: Mapping[str, int] = field(default_factory=_no_metrics)


@dataclass(frozen=True)
class FibEntry:
    network: ipaddress.IPv4Network | ipaddress.IPv6Network
    dev: NetDevice
    gateway: bytes
    saddr: bytes
    metric: int
    metrics: dict[str, int] = field(default_factory=dict, compare=False)


class Fib:
    """The forwarding table; look-ups are cached until it changes."""

    def __init__(self) -> None:
        self.entries: list[FibEntry] = []
        self._cache: dict[tuple[bytes, int], FibEntry | None] = {}

    def add(self, entry: FibEntry) -> None:
        """OSError(EEXIST) for the same prefix and metric, and with IPv6 the same device."""
        for old in self.entries:
            same_device = old.dev is entry.dev or old.network.version == 4
            if same_device and (old.network, old.metric) == (entry.network, entry.metric):
                raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
        self.entries.append(entry)
        self.entries.sort(key=lambda e: (-e.network.prefixlen, e.metric))
        self._cache.clear()

    def lookup(self, daddr: bytes, oif: int = 0) -> FibEntry:
        """OSError(ENETUNREACH) if no entry matches; `oif` is the only ifindex allowed, or 0."""
        try:
            entry = self._cache[daddr, oif]
        except KeyError:
            entry = self._find(daddr, oif)
            if len(self._cache) < 4096:
                self._cache[daddr, oif] = entry
        if entry is None:
            raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
        return entry

    def _find(self, daddr: bytes, oif: int) -> FibEntry | None:
        address = ipaddress.ip_address(daddr)
        for entry in self.entries:
            if address in entry.network and oif in (0, entry.dev.ifindex):
                return entry
        return None
