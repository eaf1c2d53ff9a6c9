"""What the network softirqs of one machine share (`struct softnet_data`): poll lists, backlogs.

Every network namespace has a `NetCore` of its own; they all run in these softirqs.  Called by
drivers (`Napi.schedule`) and by devices without NAPI (`netif_rx`); hands each packet to the
namespace of its device.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from pystack.core.cpu import Cpu, Softirq
from pystack.core.drop import Drop
from pystack.core.kernel import Kernel
from pystack.core.skb import SkBuff
from pystack.dev.napi import Napi

if TYPE_CHECKING:
    from pystack.dev.netdev import NetDevice, TxQueue


class SoftnetData:
    """One CPU's share.  The counters are columns of /proc/net/softnet_stat."""

    def __init__(self, softnet: Softnet, cpu: Cpu) -> None:
        self.cpu = cpu
        self.poll_list: deque[Napi] = deque()
        self.input_queue: deque[SkBuff] = deque()
        self.output_queue: deque[tuple[NetDevice, TxQueue]] = deque()  # rings with room again
        self.backlog = Napi(softnet, f"backlog{cpu.index}", self._process_backlog, cpu)
        self.backlog.enable()
        self.head = self.tail = 0  # packets ever taken off the backlog, and put on it
        self.processed = 0
        self.dropped = 0
        self.time_squeeze = 0
        self.received_rps = 0  # times another CPU has asked for us
        self._kicked = False
        self._ipi = softnet.kernel.irqs.own(
            "CAL", "Function call interrupts", self._rps_trigger_softirq
        )

    def kick(self) -> None:
        """From another CPU: an interrupt here schedules the backlog (`net_rps_send_ipi`)."""
        if not self._kicked and not self.backlog.scheduled:
            self._kicked = True
            self.cpu.raise_irq(self._ipi)

    def _rps_trigger_softirq(self) -> None:
        self._kicked = False
        self.received_rps += 1
        self.backlog.schedule()

    def _process_backlog(self, budget: int) -> int:
        queue = self.input_queue
        work = 0
        while queue and work < budget:
            work += 1
            skb = queue.popleft()
            self.head += 1
            skb.dev.core.deliver_here(skb)
        if work < budget:
            self.backlog.complete()
        return work


class Softnet:
    """Built with the first namespace of a machine, whose settings it obeys."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.tp_napi_poll = kernel.trace.point("napi_poll", "napi", "work", "budget")
        self.data = [SoftnetData(self, cpu) for cpu in kernel.cpus]
        kernel.softirq_handlers[Softirq.NET_RX] = self._net_rx_action
        kernel.softirq_handlers[Softirq.NET_TX] = self._net_tx_action

    def enqueue(self, skb: SkBuff, index: int) -> bool:
        """Onto the backlog of CPU `index`; False: dropped (`enqueue_to_backlog`)."""
        data = self.data[index]
        if len(data.input_queue) >= self.kernel.sysctl["net.core.netdev_max_backlog"]:
            data.dropped += 1
            skb.dev.stats.rx_dropped += 1
            skb.kernel.drop(skb, Drop.DEV_BACKLOG_FULL)
            return False
        data.input_queue.append(skb)
        data.tail += 1
        if index == self.kernel.cpu.index:
            data.backlog.schedule()
        else:
            data.kick()
        return True

    def wake_tx(self, dev: NetDevice, queue: TxQueue) -> None:
        """Run the queue again from the NET_TX softirq (`netif_schedule_queue`)."""
        cpu = self.kernel.cpu
        self.data[cpu.index].output_queue.append((dev, queue))
        cpu.raise_softirq(Softirq.NET_TX)

    def _net_tx_action(self, cpu: Cpu) -> None:
        todo = self.data[cpu.index].output_queue
        while todo:
            dev, queue = todo.popleft()
            dev.core.qdisc_run(dev, queue)

    def _net_rx_action(self, cpu: Cpu) -> None:
        """Poll until the list is empty, or budget or time is spent (`net_rx_action`)."""
        kernel, data, tp = self.kernel, self.data[cpu.index], self.tp_napi_poll
        todo = data.poll_list
        budget = kernel.sysctl["net.core.netdev_budget"]
        deadline = kernel.now + kernel.sysctl["net.core.netdev_budget_usecs"] * 1000
        while todo:
            if budget <= 0 or kernel.now + cpu.debt >= deadline:
                data.time_squeeze += 1
                cpu.raise_softirq(Softirq.NET_RX)
                return
            napi = todo.popleft()
            cpu.charge(kernel.costs.napi_poll)
            napi.polling = True
            work = napi.poll(napi.weight)
            napi.gro.flush()
            napi.polling = False
            napi.polls += 1
            napi.packets += work
            budget -= work
            if tp.enabled:
                tp(napi.name, work, napi.weight)
            if napi.scheduled and napi.enabled and napi not in todo:
                napi.missed = False
                todo.append(napi)
