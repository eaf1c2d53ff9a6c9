"""The hooks of netfilter in one family's pipeline (`net/netfilter/core.c`), and what a function at
a hook needs to read and change a packet.

Called by IP where a packet passes a hook; calls the functions registered there, then goes on with
IP's next step (`okfn`).  At every hook the packet begins at its network header: in `head` if the
host sends it, at `buf[off]` if it was received.
"""

from __future__ import annotations

import enum
import errno
from bisect import insort
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from pystack.core.drop import Drop
from pystack.core.headers import frame
from pystack.core.headers.ethernet import ETH_HLEN
from pystack.core.skb import CHECKSUM_PARTIAL, SkBuff
from pystack.dev.netdev import NetDevice

IP6_HLEN = 40
_IP_ADDRESSES = {4: (12, 16), 6: (8, 24)}  # where they stand in a header


class Hook(enum.IntEnum):
    PRE_ROUTING = 0
    LOCAL_IN = 1
    FORWARD = 2
    LOCAL_OUT = 3
    POST_ROUTING = 4


class Verdict(enum.Enum):
    """STOLEN: the function has the packet now.  DROPPED: it has dropped it, for a reason of its
    own.  REPEAT: call the function again."""

    ACCEPT = enum.auto()
    DROP = enum.auto()
    STOLEN = enum.auto()
    DROPPED = enum.auto()
    REPEAT = enum.auto()


class HookState(NamedTuple):
    """Where a packet is.  `okfn(skb)` goes on behind the hook; its result is that of `send`: 0, or
    an errno for the sender."""

    hook: Hook
    indev: NetDevice | None
    outdev: NetDevice | None
    okfn: Callable[[SkBuff], int]


HookFn = Callable[[SkBuff, HookState], Verdict]


class Hooks:
    """One family's functions by hook; `active[hook]` is empty, and false, if there are none."""

    def __init__(self) -> None:
        self.active: list[list[tuple[int, HookFn]]] = [[] for _ in Hook]

    def register(self, hook: Hook, priority: int, fn: HookFn) -> None:
        """Lower priorities run first, equal ones in the order of registration."""
        functions = list(self.active[hook])  # somebody may be running over the old list
        insort(functions, (priority, fn), key=lambda entry: entry[0])
        self.active[hook] = functions

    def run(
        self,
        hook: Hook,
        skb: SkBuff,
        indev: NetDevice | None,
        outdev: NetDevice | None,
        okfn: Callable[[SkBuff], int],
    ) -> int:
        """What `okfn(skb)` gives once all have accepted; EPERM if one dropped the packet, 0 if one
        has kept it (`nf_hook_slow`)."""
        return self._run(HookState(hook, indev, outdev, okfn), skb, self.active[hook])

    def resume(self, skb: SkBuff, state: HookState, priority: int) -> int:
        """Go on with a packet stolen by the function at `priority`, or another in its place."""
        rest = [entry for entry in self.active[state.hook] if entry[0] > priority]
        return self._run(state, skb, rest)

    def _run(self, state: HookState, skb: SkBuff, functions: list[tuple[int, HookFn]]) -> int:
        for _, fn in functions:
            verdict = fn(skb, state)
            while verdict is Verdict.REPEAT:
                verdict = fn(skb, state)
            if verdict is not Verdict.ACCEPT:
                if verdict is Verdict.DROP:
                    skb.kernel.drop(skb, Drop.NETFILTER_DROP)
                return 0 if verdict is Verdict.STOLEN else errno.EPERM
        return state.okfn(skb)


# -- reading and changing headers ------------------------------------------------------------


class Sum(NamedTuple):
    """A checksum field `at` bytes behind the network header.

    `optional`: a field of 0 means there is none, and a sum of 0 is written as 0xffff (UDP).
    """

    at: int
    optional: bool = False


class Change(NamedTuple):
    """`new` takes the place of the bytes from `at` on, and `sums` cover them.

    Offsets count from the network header; `at` and the length of `new` are even.
    """

    at: int
    new: bytes
    sums: tuple[Sum, ...] = ()


def read(skb: SkBuff, at: int, length: int) -> bytes:
    """`length` bytes of a packet from its network header + `at`; fewer where its own data end."""
    head = skb.head
    if at + length <= len(head):
        return head[at : at + length]
    start = skb.off + max(at - len(head), 0)
    end = min(skb.off + at + length - len(head), skb.end)
    return head[at:] + bytes(skb.buf[start:end])


def rewrite(skb: SkBuff, changes: Sequence[Change]) -> None:
    """Change bytes of a packet and keep its checksums right, incrementally (RFC 1624).

    Each packet GRO has merged into this one has headers of its own, and all are changed.  A sent
    packet's payload, which TCP may have to send again, stays as it is: what changes is copied.
    A field that the device is to fill in holds only the sum of the pseudo-header: addresses.
    """
    partial = None
    if skb.ip_summed == CHECKSUM_PARTIAL:
        partial = len(skb) - skb.csum_length + skb.csum_offset
    extent = max(
        max(change.at + len(change.new), *(field.at + 2 for field in change.sums), 0)
        for change in changes
    )
    for part, start in list(_headers(skb)):
        head = part.head
        inside = max(extent - len(head), 0)
        region = bytearray(head)
        region += part.buf[start : start + inside]
        before = bytes(region)
        for change in changes:
            _apply(region, change, partial)
        if head:
            part.head = bytes(region[: len(head)])
        if before[len(head) :] != region[len(head) :]:
            _make_writable(part)
            part.buf[start : start + inside] = region[len(head) :]
    if not skb.head and skb.headers:
        fresh = frame.unpack(skb.buf, skb.off - ETH_HLEN, skb.end)
        skb.headers = skb.headers[frame.ETHERNET] + fresh[frame.ETHERNET.stop :]


def _headers(skb: SkBuff) -> Iterator[tuple[SkBuff, int]]:
    """Every packet merged into this one and where in its `buf` the header goes on behind `head`."""
    yield skb, skb.off
    if skb.frags is not None:
        first = skb.buf[skb.off]
        network = (first & 15) << 2 if first >> 4 == 4 else IP6_HLEN
        length = network + (skb.buf[skb.off + network + 12] >> 4 << 2)
        for part in skb.frags:
            yield part, part.off - length


def _make_writable(skb: SkBuff) -> None:
    """A received page is the packet's own, what a socket sent is not (`skb_ensure_writable`)."""
    if skb.buf.readonly or skb.head or skb.sk is not None:
        skb.buf = memoryview(bytearray(skb.buf))


def _apply(region: bytearray, change: Change, partial: int | None) -> None:
    at, new, sums = change
    end = at + len(new)
    difference = int.from_bytes(new, "big") - int.from_bytes(region[at:end], "big")
    region[at:end] = new
    for field, optional in sums:
        old = region[field] << 8 | region[field + 1]
        if field == partial:
            if at in _IP_ADDRESSES[region[0] >> 4]:
                sum_ = (old + difference) % 0xFFFF or 0xFFFF
                region[field : field + 2] = sum_.to_bytes(2, "big")
            continue
        if optional and old == 0:
            continue
        value = 0xFFFF - ((0xFFFF - old + difference) % 0xFFFF or 0xFFFF)
        if optional and value == 0:
            value = 0xFFFF
        region[field : field + 2] = value.to_bytes(2, "big")
