"""Queueing disciplines: in which order, and when, a device's queue leaves (`net/sched/`).

Called by `NetCore`: `enqueue` for each packet sent, `dequeue` while the driver takes more.  A
discipline that holds packets back says in `next_time` when to ask again.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import chain
from typing import TYPE_CHECKING

from pystack.core.drop import Drop
from pystack.core.flow import flow_hash
from pystack.core.skb import SkBuff

if TYPE_CHECKING:
    from pystack.dev.netdev import NetDevice

SEC = 1_000_000_000


@dataclass
class QdiscStats:
    """`tc -s qdisc`.  `overlimits`: times a packet had to wait for its time."""

    bytes: int = 0
    packets: int = 0
    dropped: int = 0
    overlimits: int = 0
    requeues: int = 0


class Qdisc(ABC):
    """`limit` in packets; None: the device's `tx_queue_len`."""

    kind: str

    def __init__(self, dev: NetDevice, limit: int | None = None) -> None:
        self.dev = dev
        self._limit = limit
        self.stats = QdiscStats()

    @property
    def limit(self) -> int:
        return self.dev.tx_queue_len if self._limit is None else self._limit

    @abstractmethod
    def __len__(self) -> int:
        """Packets that wait."""

    @abstractmethod
    def enqueue(self, skb: SkBuff) -> bool:
        """Take a packet; False: it is dropped and counted, and its sender may be told."""

    @abstractmethod
    def dequeue(self) -> SkBuff | None:
        """The next packet that may leave now."""

    def next_time(self) -> int | None:
        """ns at which the first packet that is held back may leave; None: none is."""
        return None

    def purge(self, reason: Drop) -> None:
        """Drop everything: the device goes down, or another discipline takes over."""
        while (skb := self._take()) is not None:
            self.dev.core.kernel.drop(skb, reason)

    @abstractmethod
    def waiting(self) -> Iterable[SkBuff]:
        """The packets that wait, in no special order."""

    @abstractmethod
    def _take(self) -> SkBuff | None:
        """A packet that waits, whichever."""

    def drop(self, skb: SkBuff, reason: Drop = Drop.QDISC_FULL) -> bool:
        self.stats.dropped += 1
        self.dev.core.kernel.drop(skb, reason)
        return False


class Pfifo(Qdisc):
    """First come, first served (`sch_fifo.c`)."""

    kind = "pfifo"

    def __init__(self, dev: NetDevice, limit: int | None = None) -> None:
        super().__init__(dev, limit)
        self._queue: deque[SkBuff] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    def waiting(self) -> Iterable[SkBuff]:
        return self._queue

    def enqueue(self, skb: SkBuff) -> bool:
        if len(self._queue) >= self.limit:
            return self.drop(skb)
        self._queue.append(skb)
        return True

    def dequeue(self) -> SkBuff | None:
        return self._queue.popleft() if self._queue else None

    _take = dequeue


class PfifoFast(Qdisc):
    """Three bands by `skb.priority`; a band is served when those before it are empty.

    Each band has a ring of its own, as in `sch_generic.c`, so that a lower one cannot fill it.
    """

    kind = "pfifo_fast"
    PRIO2BAND = (1, 2, 2, 2, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1)

    def __init__(self, dev: NetDevice, limit: int | None = None) -> None:
        super().__init__(dev, limit)
        self._bands: tuple[deque[SkBuff], ...] = (deque(), deque(), deque())

    def __len__(self) -> int:
        return sum(map(len, self._bands))

    def waiting(self) -> Iterable[SkBuff]:
        return chain(*self._bands)

    def enqueue(self, skb: SkBuff) -> bool:
        band = self._bands[self.PRIO2BAND[skb.priority & 0xF]]
        if len(band) >= self.limit:
            return self.drop(skb)
        band.append(skb)
        return True

    def dequeue(self) -> SkBuff | None:
        for band in self._bands:
            if band:
                return band.popleft()
        return None

    _take = dequeue


class _Flow:
    """Packets of one socket or, without one, of one hash of addresses and ports."""

    __slots__ = ("credit", "next_packet", "packets")

    def __init__(self, credit: int) -> None:
        self.packets: deque[SkBuff] = deque()
        self.credit = credit
        self.next_packet = 0  # ns: it may not send before


class Fq(Qdisc):
    """Fair queueing: flows take turns by bytes, each no faster than its rate (`sch_fq.c`).

    TCP holds its packets back itself where this discipline is (`transport/tcp/pacing.py`); the
    rate here is that of `maxrate`, bytes a second, for every flow.
    """

    kind = "fq"
    FLOW_PLIMIT = 100
    MANY_FLOWS = 256

    def __init__(self, dev: NetDevice, limit: int | None = 10_000, maxrate: int = 0) -> None:
        super().__init__(dev, limit)
        self.maxrate = maxrate
        self.quantum = 2 * (dev.mtu + 14)
        self._flows: dict[object, _Flow] = {}
        self._new: deque[_Flow] = deque()
        self._old: deque[_Flow] = deque()
        self._throttled: list[tuple[int, int, _Flow]] = []
        self._seq = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def waiting(self) -> Iterable[SkBuff]:
        return chain(*(flow.packets for flow in self._flows.values()))

    def enqueue(self, skb: SkBuff) -> bool:
        if self._count >= self.limit:
            return self.drop(skb)
        key = flow_hash(skb) if skb.sk is None else skb.sk
        flow = self._flows.get(key)
        if flow is None:
            self._forget_idle()
            flow = self._flows[key] = _Flow(self.quantum)
        if len(flow.packets) >= self.FLOW_PLIMIT:
            return self.drop(skb, Drop.QDISC_FLOW_FULL)
        if not flow.packets:
            self._new.append(flow)
        flow.packets.append(skb)
        self._count += 1
        return True

    def dequeue(self) -> SkBuff | None:
        now = self.dev.core.kernel.now
        while self._throttled and self._throttled[0][0] <= now:
            self._old.append(heappop(self._throttled)[2])
        while self._new or self._old:
            source = self._new or self._old
            flow = source[0]
            if flow.credit <= 0:
                flow.credit += self.quantum
                source.popleft()
                self._old.append(flow)
            elif flow.next_packet > now:
                source.popleft()
                self.stats.overlimits += 1
                self._seq += 1
                heappush(self._throttled, (flow.next_packet, self._seq, flow))
            else:
                return self._send(flow, source, now)
        return None

    def next_time(self) -> int | None:
        return self._throttled[0][0] if self._throttled else None

    def _send(self, flow: _Flow, source: deque[_Flow], now: int) -> SkBuff:
        skb = flow.packets.popleft()
        self._count -= 1
        flow.credit -= len(skb)
        if self.maxrate:
            flow.next_packet = max(flow.next_packet, now) + len(skb) * SEC // self.maxrate
        if not flow.packets:
            source.popleft()
        return skb

    def _forget_idle(self) -> None:
        """Flows that are empty and owe nothing, once there are many (`fq_gc`)."""
        if len(self._flows) >= self.MANY_FLOWS:
            now = self.dev.core.kernel.now
            for key in [k for k, f in self._flows.items() if not f.packets]:
                if self._flows[key].next_packet <= now:
                    del self._flows[key]

    def _take(self) -> SkBuff | None:
        for flow in self._flows.values():
            if flow.packets:
                self._count -= 1
                return flow.packets.popleft()
        self._flows.clear()
        self._new.clear()
        self._old.clear()
        self._throttled.clear()
        return None


@dataclass(frozen=True)
class Emulation:
    """What `netem` does: times in ns, probabilities from 0 to 1, `rate` in bytes a second.

    With `delay`, `reorder` is the share of packets that leave at once.
    """

    delay: int = 0
    jitter: int = 0
    loss: float = 0.0
    duplicate: float = 0.0
    corrupt: float = 0.0
    reorder: float = 0.0
    rate: int = 0


class Netem(Qdisc):
    """A network in a queue: delay, loss, repetition, damage and a rate (`sch_netem.c`)."""

    kind = "netem"

    def __init__(
        self, dev: NetDevice, limit: int | None = 1000, setting: Emulation | None = None
    ) -> None:
        super().__init__(dev, limit)
        self.setting = Emulation() if setting is None else setting
        self._rng = random.Random(f"netem/{dev.core.kernel.name}/{dev.core.kernel.seed}/{dev.name}")
        self._heap: list[tuple[int, int, SkBuff]] = []
        self._seq = 0
        self._busy_until = 0

    def __len__(self) -> int:
        return len(self._heap)

    def waiting(self) -> Iterable[SkBuff]:
        return (skb for _, _, skb in self._heap)

    def enqueue(self, skb: SkBuff) -> bool:
        rng, setting = self._rng, self.setting
        if setting.duplicate and rng.random() < setting.duplicate:
            self._insert(skb.copy())
        if setting.loss and rng.random() < setting.loss:
            self.drop(skb, Drop.QDISC_NETEM_LOSS)
            return True  # the network's doing: the sender does not learn of it
        if setting.corrupt and rng.random() < setting.corrupt:
            skb = self._damaged(skb)
        return self._insert(skb)

    def dequeue(self) -> SkBuff | None:
        if self._heap and self._heap[0][0] <= self.dev.core.kernel.now:
            return heappop(self._heap)[2]
        return None

    def next_time(self) -> int | None:
        return self._heap[0][0] if self._heap else None

    def _insert(self, skb: SkBuff) -> bool:
        if len(self._heap) >= self.limit:
            return self.drop(skb)
        rng, setting = self._rng, self.setting
        when = self.dev.core.kernel.now
        if not setting.reorder or rng.random() >= setting.reorder:
            when += setting.delay
            if setting.jitter:
                when = max(
                    self.dev.core.kernel.now, when + rng.randint(-setting.jitter, setting.jitter)
                )
        if setting.rate:
            when = max(when, self._busy_until) + len(skb) * SEC // setting.rate
            self._busy_until = when
        self._seq += 1
        heappush(self._heap, (when, self._seq, skb))
        return True

    def _damaged(self, skb: SkBuff) -> SkBuff:
        """A copy with one bit turned: the original's bytes may be queued for retransmission."""
        frame = bytearray(bytes(skb))
        frame[self._rng.randrange(len(frame))] ^= 1 << self._rng.randrange(8)
        damaged = skb.copy(bytes(frame))
        skb.free()
        return damaged

    def _take(self) -> SkBuff | None:
        return heappop(self._heap)[2] if self._heap else None
