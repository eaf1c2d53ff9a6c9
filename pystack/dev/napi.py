"""NAPI: interrupt, then poll with a budget, then re-arm (`napi_schedule`); see `softnet.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pystack.core.cpu import Cpu, Softirq
from pystack.core.skb import SkBuff
from pystack.dev.gro import Gro

if TYPE_CHECKING:
    from pystack.dev.softnet import Softnet

NAPI_POLL_WEIGHT = 64
_MOMENT = 1000  # ns between two looks at a poll that is to end


def _deliver(skb: SkBuff) -> None:
    skb.dev.core.deliver(skb)


class Napi:
    """One poller.  `poll(budget)` handles at most `budget` packets and returns how many.

    If it handled fewer it must have called `complete`, then re-armed its interrupt.
    """

    def __init__(
        self,
        softnet: Softnet,
        name: str,
        poll: Callable[[int], int],
        cpu: Cpu,
        weight: int = NAPI_POLL_WEIGHT,
    ) -> None:
        self.softnet = softnet
        self.name = name
        self.poll = poll
        self.cpu = cpu
        self.weight = weight
        self.scheduled = False
        self.missed = False
        self.enabled = False
        self.polling = False
        self.polls = 0
        self.packets = 0
        self.gro = Gro(_deliver)

    def schedule(self) -> None:
        """Put on the CPU's poll list, once; a call during a poll makes it poll again."""
        if not self.enabled:
            return
        if self.scheduled:
            self.missed = True
            return
        self.scheduled = True
        self.softnet.data[self.cpu.index].poll_list.append(self)
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
        skb.dev.core.count_received(skb)
        self.gro.receive(skb)

    def enable(self) -> None:
        self.enabled = True

    def disable(self) -> None:
        """No poll runs after this returns: of one on another CPU the end is waited for."""
        self.enabled = False
        queue = self.softnet.data[self.cpu.index].poll_list
        if self in queue:
            queue.remove(self)
        while self.polling:
            self.softnet.kernel.charge(_MOMENT)
            self.softnet.kernel.cpu.flush()
        self.scheduled = False
        self.missed = False
