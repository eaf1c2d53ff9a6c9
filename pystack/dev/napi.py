"""NAPI: interrupt, then poll with a budget, then re-arm (`napi_schedule`, `net_rx_action`)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from pystack.core.cpu import Cpu, Softirq
from pystack.core.skb import SkBuff
from pystack.dev.gro import Gro

if TYPE_CHECKING:
    from pystack.dev.core import NetCore

NAPI_POLL_WEIGHT = 64


class Napi:
    """One poller.  `poll(budget)` handles at most `budget` packets and returns how many.

    If it handled fewer it must have called `complete`, then re-armed its interrupt.
    """

    def __init__(
        self,
        core: NetCore,
        name: str,
        poll: Callable[[int], int],
        cpu: Cpu,
        weight: int = NAPI_POLL_WEIGHT,
    ) -> None:
        self.core = core
        self.name = name
        self.poll = poll
        self.cpu = cpu
        self.weight = weight
        self.scheduled = False
        self.missed = False
        self.enabled = False
        self.polls = 0
        self.packets = 0
        self.gro = Gro(core.deliver)

    def schedule(self) -> None:
        """Put on the CPU's poll list, once; a call during a poll makes it poll again."""
        if not self.enabled:
            return
        if self.scheduled:
            self.missed = True
            return
        self.scheduled = True
        self.core.poll_lists[self.cpu.index].append(self)
        self.cpu.raise_softirq(Softirq.NET_RX)

    def complete(self) -> bool:
        """End polling (`napi_complete_done`); False if there is reason to poll again."""
        self.gro.flush()
        if self.missed:
            self.missed = False
            return False
        self.scheduled = False
        return True

    def gro_receive(self, skb: SkBuff) -> None:
        """A frame, from `poll`; `skb.dev` is set (`napi_gro_receive`)."""
        self.core.count_received(skb)
        self.gro.receive(skb)

    def enable(self) -> None:
        self.enabled = True

    def disable(self) -> None:
        """No poll runs after this returns, since it is called from a task on the same host."""
        self.enabled = False
        self.scheduled = False
        self.missed = False
        queue = self.core.poll_lists[self.cpu.index]
        if self in queue:
            queue.remove(self)


class SoftnetData:
    """Per-CPU receive statistics, the columns of /proc/net/softnet_stat."""

    def __init__(self) -> None:
        self.processed = 0
        self.dropped = 0
        self.time_squeeze = 0


def net_rx_action(core: NetCore, cpu: Cpu) -> None:
    """The NET_RX softirq: poll until the list is empty, or budget or time is spent."""
    kernel = core.kernel
    todo: deque[Napi] = core.poll_lists[cpu.index]
    stats = core.softnet[cpu.index]
    budget = kernel.sysctl["net.core.netdev_budget"]
    deadline = kernel.now + kernel.sysctl["net.core.netdev_budget_usecs"] * 1000
    tp = core.tp_napi_poll
    while todo:
        if budget <= 0 or kernel.now + cpu.debt >= deadline:
            stats.time_squeeze += 1
            cpu.raise_softirq(Softirq.NET_RX)
            return
        napi = todo.popleft()
        cpu.charge(kernel.costs.napi_poll)
        work = napi.poll(napi.weight)
        napi.gro.flush()
        napi.polls += 1
        napi.packets += work
        budget -= work
        if tp.enabled:
            tp(napi.name, work, napi.weight)
        if napi.scheduled and napi not in todo:
            napi.missed = False
            todo.append(napi)
