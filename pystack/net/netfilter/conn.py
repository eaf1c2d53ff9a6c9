"""One tracked connection (`struct nf_conn`) and what a packet has to do with it."""

from __future__ import annotations

import enum
from typing import Any, NamedTuple

from pystack.core.kernel import Kernel
from pystack.net.netfilter.tuples import Tuple

SECOND = 10**9


class CtInfo(enum.IntEnum):
    """A packet's relation to its connection (`enum ip_conntrack_info`); replies from 3 on."""

    ESTABLISHED = 0
    RELATED = 1
    NEW = 2
    ESTABLISHED_REPLY = 3
    RELATED_REPLY = 4
    UNTRACKED = 7

    @property
    def direction(self) -> int:
        return int(self >= CtInfo.ESTABLISHED_REPLY)


class Status(enum.IntFlag):
    """`enum ip_conntrack_status`."""

    EXPECTED = 1
    SEEN_REPLY = 1 << 1
    ASSURED = 1 << 2
    CONFIRMED = 1 << 3
    SRC_NAT = 1 << 4
    DST_NAT = 1 << 5
    SRC_NAT_DONE = 1 << 7
    DST_NAT_DONE = 1 << 8
    DYING = 1 << 9

    @classmethod
    def nat(cls) -> Status:
        return cls.SRC_NAT | cls.DST_NAT


class Track(enum.Enum):
    """What following a packet gives.  CONTINUE: nothing yet; KILL: accept it and forget the
    connection; REOPEN: forget the connection and look again."""

    ACCEPT = enum.auto()
    INVALID = enum.auto()
    KILL = enum.auto()
    REOPEN = enum.auto()
    CONTINUE = enum.auto()


class Conn:
    """`tuples` are those of both directions; the reply's is what NAT has made of it.

    `expires` in ns; before the connection is confirmed it is how long it will live.  `counters`
    are packets and bytes by direction.  `track` belongs to the protocol.
    """

    __slots__ = (
        *("counters", "expires", "kernel", "mark", "masquerade_ifindex", "number", "status"),
        *("track", "tuples"),
    )

    def __init__(self, kernel: Kernel, original: Tuple, number: int) -> None:
        self.kernel = kernel
        self.tuples = (original, original.invert())
        self.number = number
        self.status = Status(0)
        self.mark = 0
        self.expires = 0
        self.counters = ([0, 0], [0, 0])
        self.masquerade_ifindex = 0
        self.track: Any = None

    def refresh(self, seconds: int) -> None:
        """`nf_ct_refresh`"""
        self.expires = seconds * SECOND
        if self.status & Status.CONFIRMED:
            self.expires += self.kernel.now

    def shorten(self, seconds: int) -> None:
        """Live no longer than that from now on."""
        self.expires = min(self.expires, self.kernel.now + seconds * SECOND)

    def count(self, direction: int, length: int) -> None:
        counter = self.counters[direction]
        counter[0] += 1
        counter[1] += length


class Ref(NamedTuple):
    """`skb.nfct`: None there says INVALID or not looked at yet; `conn` is None if UNTRACKED."""

    conn: Conn | None
    info: CtInfo

    def related(self) -> Ref | None:
        """What an answer to the packet carries that this host makes up (`nf_conntrack_attach`)."""
        if self.conn is None:
            return None
        return Ref(self.conn, CtInfo.RELATED if self.info.direction else CtInfo.RELATED_REPLY)


UNTRACKED = Ref(None, CtInfo.UNTRACKED)
