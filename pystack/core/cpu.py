"""A modelled CPU: hardirq, softirq and process contexts share its time.

Code runs in zero simulated time and charges what it costs (`charge`).  The sum is spent in
`flush`, which is called wherever the outside could see the difference: before a register access,
a ring update, and whenever the CPU blocks.  While it is spent, interrupts are taken, exactly as a
busy CPU takes them; so packets arrive while the kernel works, NAPI batches, and an interrupt
storm starves processes.

At any moment one greenlet owns the CPU: the running task, or `loop`, which picks the next one.
Hardirq and softirq handlers run on top of the stack they interrupt, as in Linux.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from greenlet import getcurrent, greenlet

from pystack.core.task import Task, TaskState

if TYPE_CHECKING:
    from pystack.core.engine import Event
    from pystack.core.kernel import Kernel

T = TypeVar("T")


class Softirq(enum.IntEnum):
    """Handler numbers in the order they run (`include/linux/interrupt.h`)."""

    TIMER = 1
    NET_TX = 2
    NET_RX = 3


SOFTIRQS = tuple(Softirq)
MAX_SOFTIRQ_RESTART = 10  # kernel/softirq.c
MAX_SOFTIRQ_NS = 2_000_000
TIME_SLICE_NS = 3_000_000


class Cpu:
    def __init__(self, kernel: Kernel, index: int) -> None:
        self.kernel = kernel
        self.index = index
        self.engine = kernel.engine
        self.debt = 0
        self.busy_ns = 0
        self.current: Task | None = None
        self.run_queue: deque[Task] = deque()
        self.softirq_pending = 0  # bit n: softirq n is to run
        self.hardirqs = 0
        self.softirqs: dict[Softirq, int] = dict.fromkeys(Softirq, 0)
        self._irqs: deque[Callable[[], None]] = deque()
        self._in_hardirq = False
        self._in_softirq = False
        self._bh_disabled = 0
        self._slice_start = 0
        self._waiter: greenlet | None = None  # owner, parked in the hub
        self._interruptible = False  # may an interrupt resume the waiter early?
        self._kick: Event | None = None
        self.loop: greenlet = greenlet(self._run)
        self._ksoftirqd: Task | None = None
        self._start()

    # -- context queries -------------------------------------------------------------------

    @property
    def in_interrupt(self) -> bool:
        """In hardirq or softirq context, or bottom halves are disabled: must not block."""
        return self._in_hardirq or self._in_softirq or self._bh_disabled > 0

    @property
    def idle(self) -> bool:
        return self.current is None and self._waiter is self.loop and self._interruptible

    # -- cost ------------------------------------------------------------------------------

    def charge(self, ns: int) -> None:
        """Add the cost of work just done; it is spent at the next `flush`."""
        self.debt += ns

    def slice_ns(self) -> int:
        """For how long the current task has been running."""
        return self.engine.now - self._slice_start

    def charge_copy(self, nbytes: int) -> None:
        self.debt += nbytes * self.kernel.costs.copy_per_kib >> 10

    def flush(self) -> None:
        """Spend what was charged, taking interrupts meanwhile unless in a hardirq."""
        while self.debt > 0 or (self._irqs and not self._in_hardirq):
            if self.debt > 0:
                spent = self.debt
                if not self.engine.advance(spent):
                    spent = self._spend(spent)
                self.debt -= spent
                self.busy_ns += spent
            if self._irqs and not self._in_hardirq:
                self._handle_irqs()

    def _spend(self, ns: int) -> int:
        """Be busy for `ns`, or until an interrupt; returns how long."""
        engine = self.engine
        start = engine.now
        timeout = engine.call_at(start + ns, self._resume)
        self._park(interruptible=not self._in_hardirq)
        timeout.cancel()
        return engine.now - start

    def stall(self, start: Callable[[Callable[[T], None]], None]) -> T:
        """Hold the CPU until an outside party answers (an MMIO read): no interrupt is taken.

        `start(done)` begins the access; `done(value)` ends it, now or later.
        """
        self.flush()
        answer: list[T] = []

        def done(value: T) -> None:
            answer.append(value)
            if self._waiter is me:
                self.engine.call_at(self.engine.now, self._resume)

        me = getcurrent()
        begin = self.engine.now
        start(done)
        while not answer:
            self._park(interruptible=False)
        self.busy_ns += self.engine.now - begin
        return answer[0]

    def _park(self, interruptible: bool) -> None:
        self._waiter = getcurrent()
        self._interruptible = interruptible
        running_on = self.kernel.running_on
        running_on(None)
        self.engine.hub.switch()
        running_on(self)

    def _resume(self) -> None:
        """Hub side of `_park`."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.switch()

    # -- interrupts ------------------------------------------------------------------------

    def raise_irq(self, handler: Callable[[], None]) -> None:
        """An interrupt line rose: run `handler` in hardirq context as soon as the CPU can."""
        self._irqs.append(handler)
        self._nudge()

    def _nudge(self) -> None:
        if self._waiter is not None and self._interruptible and self._kick is None:
            self._kick = self.engine.call_at(self.engine.now, self._kicked)

    def _kicked(self) -> None:
        self._kick = None
        if self._interruptible:
            self._resume()

    def _handle_irqs(self) -> None:
        interrupted, self.debt = self.debt, 0  # what was interrupted goes on afterwards
        self._in_hardirq = True
        while self._irqs:
            handler = self._irqs.popleft()
            self.hardirqs += 1
            self.debt += self.kernel.costs.hardirq
            handler()
        self._in_hardirq = False
        if self.softirq_pending and not self._in_softirq and not self._bh_disabled:
            self.do_softirq()
        self.debt += interrupted

    # -- softirqs --------------------------------------------------------------------------

    def raise_softirq(self, nr: Softirq) -> None:
        """Mark a softirq pending; it runs when this CPU leaves hardirq or enables them."""
        self.softirq_pending |= 1 << nr
        self._nudge()

    def local_bh_disable(self) -> None:
        self._bh_disabled += 1

    def local_bh_enable(self) -> None:
        """Softirqs raised meanwhile run now (`__local_bh_enable_ip`)."""
        self._bh_disabled -= 1
        if self.softirq_pending and not self.in_interrupt:
            self.do_softirq()

    def do_softirq(self) -> None:
        """Run pending softirqs, at most ten rounds or 2 ms; the rest is ksoftirqd's."""
        thread = self._ksoftirqd
        if thread is not None and thread.state is TaskState.RUNNING and self.current is not thread:
            return  # ksoftirqd has been woken: processes get their share first
        self._in_softirq = True
        deadline = self.engine.now + MAX_SOFTIRQ_NS
        restarts = MAX_SOFTIRQ_RESTART
        while self.softirq_pending and restarts and self.engine.now < deadline:
            restarts -= 1
            pending, self.softirq_pending = self.softirq_pending, 0
            for nr in SOFTIRQS:
                if pending >> nr & 1:
                    self.softirqs[nr] += 1
                    self.debt += self.kernel.costs.softirq
                    self.kernel.softirq_handlers[nr](self)
            self.flush()
        self._in_softirq = False
        if self.softirq_pending and thread is not None and self.current is not thread:
            thread.wake()

    def _ksoftirqd_main(self) -> None:
        task = self._ksoftirqd
        assert task is not None
        while True:
            task.state = TaskState.INTERRUPTIBLE
            if self.softirq_pending:
                task.state = TaskState.RUNNING
                self.do_softirq()
                self.yield_()
            else:
                self.schedule()

    def power_off(self) -> None:
        """End the idle loop, which otherwise lives, unseen by the garbage collector, for ever."""
        if self._ksoftirqd is not None:
            self._ksoftirqd.power_off()
        self._waiter = None
        self.loop.parent = getcurrent()
        self.loop.throw()

    # -- scheduling ------------------------------------------------------------------------

    def enqueue(self, task: Task) -> None:
        """Put a runnable task on the run queue (`activate_task`)."""
        if not task.queued and self.current is not task:
            task.queued = True
            self.run_queue.append(task)
            self._nudge()

    def schedule(self) -> None:
        """Give up the CPU if the current task's state says it waits (`schedule()`)."""
        task = self.current
        assert task is not None and not self.in_interrupt, "schedule() in atomic context"
        self.flush()
        if task.state is TaskState.INTERRUPTIBLE:
            self.loop.switch()

    def yield_(self) -> None:
        """Let other runnable tasks of this CPU run first."""
        task = self.current
        self.flush()
        if self.run_queue and task is not None and not self.in_interrupt:
            task.queued = True
            task.nivcsw += 1
            self.run_queue.append(task)
            self.loop.switch()

    def cond_resched(self) -> None:
        """Flush, and yield when the time slice is used up; called at the end of a system call."""
        self.flush()
        if self.run_queue and self.engine.now - self._slice_start >= TIME_SLICE_NS:
            self.yield_()

    def _start(self) -> None:
        self._waiter = self.loop
        self._interruptible = True
        self.loop.parent = self.engine.hub
        self._ksoftirqd = Task(self, self._ksoftirqd_main, (), f"ksoftirqd/{self.index}")
        self.enqueue(self._ksoftirqd)

    def _run(self, *_: Any) -> None:
        """The idle loop: interrupts, then softirqs, then the next task, then sleep."""
        self.kernel.running_on(self)
        while True:
            if self.softirq_pending:
                self.do_softirq()
            self.flush()
            if self.run_queue:
                self._run_task(self.run_queue.popleft())
            elif not self._irqs and self._softirqs_left_to_thread():
                self._park(interruptible=True)

    def _softirqs_left_to_thread(self) -> bool:
        thread = self._ksoftirqd
        return not self.softirq_pending or (
            thread is not None and thread.state is TaskState.RUNNING
        )

    def _run_task(self, task: Task) -> None:
        task.queued = False
        if task.state is TaskState.DEAD:
            return
        self.current = task
        task.nr_switches += 1
        self._slice_start = self.engine.now
        self.debt += self.kernel.costs.context_switch
        task.greenlet.switch()
        task.sum_exec_runtime += self.engine.now - self._slice_start
        self.current = None
