"""What XDP programs keep between frames: bounded tables, and a program that uses them.

The maps have the semantics of `bpf(2)`: a full hash refuses (E2BIG), a full LRU hash forgets what
was used least lately.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Generic, TypeVar

from pystack.dev.xdp import XdpAction, XdpBuff

K = TypeVar("K")
V = TypeVar("V")
SEC = 1_000_000_000
_ETH_P_IP, _ETH_P_IPV6 = b"\x08\x00", b"\x86\xdd"


class HashMap(Generic[K, V]):
    """BPF_MAP_TYPE_HASH"""

    def __init__(self, max_entries: int) -> None:
        self.max_entries = max_entries
        self._table: dict[K, V] = {}

    def __len__(self) -> int:
        return len(self._table)

    def lookup(self, key: K) -> V | None:
        return self._table.get(key)

    def update(self, key: K, value: V) -> None:
        """OSError(E2BIG) for a new key when full."""
        if key not in self._table and len(self._table) >= self.max_entries:
            self._make_room()
        self._table[key] = value

    def delete(self, key: K) -> None:
        """OSError(ENOENT) if it is not there."""
        if self._table.pop(key, None) is None:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))

    def _make_room(self) -> None:
        raise OSError(errno.E2BIG, os.strerror(errno.E2BIG))


class LruHashMap(HashMap[K, V]):
    """BPF_MAP_TYPE_LRU_HASH: a look-up is a use."""

    def lookup(self, key: K) -> V | None:
        value = self._table.pop(key, None)
        if value is not None:
            self._table[key] = value
        return value

    def _make_room(self) -> None:
        del self._table[next(iter(self._table))]


class ArrayMap(Generic[V]):
    """BPF_MAP_TYPE_ARRAY: `max_entries` values, all `initial` at first; IndexError beyond."""

    def __init__(self, max_entries: int, initial: V) -> None:
        self._values = [initial] * max_entries

    def __getitem__(self, index: int) -> V:
        return self._values[index]

    def __setitem__(self, index: int, value: V) -> None:
        self._values[index] = value


class FloodGuard:
    """An XDP program: drops what a source sends beyond `rate` frames a second.

    A source may save up `burst` frames.  `now()` gives the time in ns.  At most `sources` are
    remembered; a spoofed flood makes it forget, and then lets a burst of each through.
    """

    def __init__(
        self, now: Callable[[], int], rate: int, burst: int = 64, sources: int = 65536
    ) -> None:
        self.dropped: LruHashMap[bytes, int] = LruHashMap(sources)
        self._now = now
        self._interval = SEC // rate
        self._burst_ns = burst * self._interval
        self._paid_until: LruHashMap[bytes, int] = LruHashMap(sources)

    def __call__(self, buff: XdpBuff) -> XdpAction:
        """A leaky bucket in time: each frame pays one interval, at most a burst in advance."""
        data = buff.data
        ethertype = data[12:14]
        if ethertype == _ETH_P_IP:
            source = bytes(data[26:30])
        elif ethertype == _ETH_P_IPV6:
            source = bytes(data[22:38])
        else:
            return XdpAction.PASS
        now = self._now()
        paid = max(self._paid_until.lookup(source) or now, now) + self._interval
        if paid - now > self._burst_ns:
            self.dropped.update(source, (self.dropped.lookup(source) or 0) + 1)
            return XdpAction.DROP
        self._paid_until.update(source, paid)
        return XdpAction.PASS
