"""Packets that wait for the rest of their fragments (`net/ipv4/inet_fragment.c`).

Used by the reassembly of both families.  What is kept are copies: a fragment that waits for half a
minute shall not hold a page of the driver's.
"""

from __future__ import annotations

import enum
from bisect import bisect_right
from collections.abc import Callable, Hashable

from pystack.core.drop import Drop
from pystack.core.headers import frame
from pystack.core.headers.ethernet import ETH_HLEN
from pystack.core.headers.ipv4 import ECN_CE
from pystack.core.kernel import Kernel
from pystack.core.skb import SkBuff
from pystack.dev.netdev import NetDevice

SECOND = 1_000_000_000
MAX_PACKET = 65535
ECN_INVALID = -1
OVERHEAD = 576  # bytes a fragment is charged beyond its own: an skb and its shared info


class DefragUser(enum.IntEnum):
    """Who asks: each puts packets together for itself (`enum ip_defrag_users`)."""

    LOCAL_DELIVER = 0
    CONNTRACK_IN = 2
    CONNTRACK_OUT = 3


class Insert(enum.Enum):
    OK = enum.auto()
    DUPLICATE = enum.auto()  # all of it is there: ignored
    OVERLAP = enum.auto()  # an attack: the whole packet is given up (RFC 5722)


class _Run:
    """Fragments without a gap, from byte `start` to `end` of the packet."""

    __slots__ = ("end", "pieces", "start")

    def __init__(self, start: int, piece: bytes) -> None:
        self.start = start
        self.end = start + len(piece)
        self.pieces = [piece]


class FragQueue:
    """One packet that is being put together.

    `length` is that of its payload as far as known, final once `have_last`; `meat` is what is
    there.  `first` is the frame of the fragment at 0, `dev` received it.  For IPv6, `hlen` is what
    stands in front of its fragment header, whose number is at `nhoffset`.
    """

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.have_first = self.have_last = False
        self.length = self.meat = self.fragments = self.memory = 0
        self.first = b""
        self.dev: NetDevice | None = None
        self.ecn = self.max_size = self.max_df_size = 0
        self.rid = self.hlen = self.nhoffset = 0
        self.delete_timer: Callable[[], object] = lambda: None
        self._runs: list[_Run] = []

    @property
    def complete(self) -> bool:
        return self.have_first and self.have_last and self.meat == self.length

    def insert(self, offset: int, piece: bytes) -> Insert:
        """`inet_frag_queue_insert`: in order costs least."""
        runs, end = self._runs, offset + len(piece)
        last = runs[-1] if runs else None
        if last is None or last.end < end:
            if last is not None and offset < last.end:
                return Insert.OVERLAP
            if last is not None and offset == last.end:
                last.pieces.append(piece)
                last.end = end
            else:
                runs.append(_Run(offset, piece))
            return self._inserted(piece)
        at = bisect_right(runs, offset, key=lambda run: run.start)
        before = runs[at - 1] if at else None
        if before is not None and offset < before.end:
            return Insert.DUPLICATE if end <= before.end else Insert.OVERLAP
        if end > runs[at].start:
            return Insert.OVERLAP
        runs.insert(at, _Run(offset, piece))
        return self._inserted(piece)

    def _inserted(self, piece: bytes) -> Insert:
        self.meat += len(piece)
        self.fragments += 1
        self.memory += len(piece) + OVERHEAD
        return Insert.OK

    def payload(self) -> bytes:
        return b"".join(piece for run in self._runs for piece in run.pieces)

    def clear(self) -> None:
        """Begin again with nothing (`ip_frag_reinit`)."""
        self._runs = []
        self.have_first = self.have_last = False
        self.length = self.meat = self.fragments = self.memory = 0
        self.first = b""
        self.ecn = self.max_size = self.max_df_size = 0


class FragQueues:
    """All packets of a family that are incomplete (`struct fqdir`).

    `sysctl` is what its settings begin with, as "net.ipv4.ipfrag_"; `expire(queue)` is called when
    one has waited too long, and must `kill` it.
    """

    def __init__(self, kernel: Kernel, sysctl: str, expire: Callable[[FragQueue], None]) -> None:
        self._kernel = kernel
        self._high = sysctl + "high_thresh"
        self._time = sysctl + "time"
        self._expire = expire
        self.queues: dict[Hashable, FragQueue] = {}
        self.memory = 0

    def find(self, key: Hashable) -> FragQueue | None:
        """The queue of this packet, a new one if need be; None when memory is full."""
        kernel = self._kernel
        if self.memory > kernel.sysctl[self._high]:
            return None
        queue = self.queues.get(key)
        if queue is None:
            queue = self.queues[key] = FragQueue(key)
            timer = kernel.timer(lambda: self._expire(queue))
            queue.delete_timer = timer.delete
            timer.mod(kernel.now + kernel.sysctl[self._time] * SECOND)
        return queue

    def insert(self, queue: FragQueue, offset: int, piece: bytes) -> Insert:
        before = queue.memory
        result = queue.insert(offset, piece)
        self.memory += queue.memory - before
        return result

    def clear(self, queue: FragQueue) -> None:
        self.memory -= queue.memory
        queue.clear()

    def kill(self, queue: FragQueue) -> None:
        """It is complete, or given up (`inet_frag_kill`)."""
        queue.delete_timer()
        self.memory -= queue.memory
        del self.queues[queue.key]

    def give_up(self, queue: FragQueue, reason: Drop) -> None:
        """Kill an incomplete packet, and count each fragment of it."""
        self._kernel.drops[reason] += queue.fragments
        self.kill(queue)


def of_frame(kernel: Kernel, data: bytes) -> SkBuff:
    """A packet as it comes from Ethernet, at its network header."""
    skb = SkBuff(kernel, memoryview(data))
    skb.headers = frame.unpack(skb.buf, 0, skb.end)
    skb.off = skb.network_header = ETH_HLEN
    return skb


def combined_ecn(seen: int) -> int:
    """The bits to add to the first fragment's TOS (RFC 3168, 5.3), or -1 for what cannot be.

    `seen` has bit n for each codepoint n that stood in a fragment.
    """
    not_ect, ce = seen & 1, seen & 1 << ECN_CE
    if not_ect and seen != 1:
        return ECN_INVALID
    return ECN_CE if ce else 0
