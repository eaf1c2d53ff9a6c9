"""One host's kernel core: its CPUs, timers, counters, tracepoints and memory.

Layers are built on a `Kernel` and registered with each other by `pystack.host.Host`.
"""

from __future__ import annotations

import copy
import random
from collections import Counter, deque
from collections.abc import Callable
from itertools import count
from typing import Any
from weakref import WeakSet

from pystack.core.costs import Costs
from pystack.core.cpu import Cpu, Softirq
from pystack.core.drop import Drop
from pystack.core.engine import Engine
from pystack.core.flow import SockFlows
from pystack.core.irq import Irqs
from pystack.core.memory import HostMemory
from pystack.core.skb import SkBuff
from pystack.core.sysctl import Sysctl
from pystack.core.task import Task
from pystack.core.timer import Timer, TimerBase
from pystack.core.trace import Trace

EPOCH_NS = 1_700_000_000 * 10**9  # the wall clock when the engine's is 0: 2023-11-14 22:13:20 UTC
DMESG_LINES = 4096


class Kernel:
    """`seed` and `name` together seed `rng`; nothing else is random."""

    def __init__(
        self,
        engine: Engine,
        name: str,
        *,
        cpus: int = 1,
        seed: int = 1,
        costs: Costs | None = None,
        memory: HostMemory | None = None,
    ) -> None:
        self.engine = engine
        self.name = name
        self.costs = Costs() if costs is None else costs
        self.memory = HostMemory() if memory is None else memory
        self.seed = seed
        self.packet_ids = count(1)
        self.sock_cookies = count(1)  # numbers that sockets get when somebody asks for them
        self.this_cpu: Cpu | None = None
        self.views: list[Kernel] = [self]  # one a network namespace
        self._tasks: WeakSet[Task] = WeakSet()
        self._init_namespace()
        self.sock_flows = SockFlows(self.sysctl)
        self.trace = Trace(engine, name, lambda: self.this_cpu)
        self._tp_drop = self.trace.point("kfree_skb", "packet_id", "reason", "length")
        self.softirq_handlers: dict[Softirq, Callable[[Cpu], None]] = {}
        self.cpus = [Cpu(self, index) for index in range(cpus)]
        self.irqs = Irqs(self)
        self.timer_bases = [TimerBase(self, cpu) for cpu in self.cpus]
        self.softirq_handlers[Softirq.TIMER] = lambda cpu: self.timer_bases[cpu.index].run()

    def _init_namespace(self) -> None:
        self.rng = random.Random(f"{self.name}/{self.seed}")
        self.sysctl = Sysctl()
        self.drops: Counter[Drop] = Counter()
        self.mib: Counter[str] = Counter()  # SNMP counters by the names `nstat` prints
        self.skbs_alive = 0
        self.dmesg: deque[tuple[int, int, str]] = deque(maxlen=DMESG_LINES)

    def unshare_net(self, name: str) -> Kernel:
        """The same machine as a new network namespace sees it (`CLONE_NEWNET`).

        CPUs, time, memory and tracepoints are shared; settings, counters, drops and the packets
        accounted for are the namespace's own.
        """
        view = copy.copy(self)
        view.name = name
        view._init_namespace()
        self.views.append(view)
        return view

    def running_on(self, cpu: Cpu | None) -> None:
        """`cpu` runs from here on; None: control goes back to the hub."""
        for view in self.views:
            view.this_cpu = cpu

    @property
    def now(self) -> int:
        """Time in ns."""
        return self.engine.now

    @property
    def cpu(self) -> Cpu:
        """The CPU whose code is running; RuntimeError from outside any CPU."""
        cpu = self.this_cpu
        if cpu is None:
            raise RuntimeError(f"{self.name}: kernel code called outside a CPU context")
        return cpu

    def charge(self, ns: int) -> None:
        """Charge the running CPU."""
        (self.this_cpu or self.cpu).debt += ns

    def power_off(self) -> None:
        """Switch the machine off: no task runs on.

        Needed only for its memory, by who builds many machines: what a suspended greenlet refers
        to is never garbage to Python.
        """
        self.running_on(None)
        for task in list(self._tasks):
            task.power_off()
        for cpu in self.cpus:
            cpu.power_off()

    def timer(self, fn: Callable[[], None], cpu: int | None = None) -> Timer:
        """A timer on the running CPU, or on CPU `cpu`."""
        if cpu is None:
            cpu = 0 if self.this_cpu is None else self.this_cpu.index
        return Timer(self.timer_bases[cpu], fn)

    def spawn(self, fn: Callable[..., Any], *args: Any, name: str = "", cpu: int = 0) -> Task:
        """A new task on CPU `cpu`, runnable at once."""
        task = Task(self.cpus[cpu], fn, args, name or getattr(fn, "__name__", "task"))
        task.cpu.enqueue(task)
        self._tasks.add(task)
        return task

    def log(self, level: int, line: str) -> None:
        """`printk`: into `dmesg`, with the time in ns and syslog's level."""
        self.dmesg.append((self.now, level, line))

    def drop(self, skb: SkBuff, reason: Drop) -> None:
        """Lose a packet: count it by reason and free it (`kfree_skb_reason`)."""
        self.drops[reason] += 1
        if self._tp_drop.enabled:
            self._tp_drop(skb.packet_id, reason, len(skb))
        skb.free()
