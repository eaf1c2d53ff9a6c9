"""Engine, CPU, scheduler, softirq, timers and wait queues."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystack.core.checksum import checksum, ones_sum
from pystack.core.costs import Costs
from pystack.core.cpu import Softirq
from pystack.core.engine import VirtualEngine
from pystack.core.kernel import Kernel
from pystack.core.task import TaskState
from pystack.core.wait import WaitQueue, wait_event


def make(**costs: int) -> tuple[VirtualEngine, Kernel]:
    engine = VirtualEngine()
    zero = Costs.zero()
    table = Costs(**{**zero.__dict__, **costs})
    return engine, Kernel(engine, "h", costs=table)


def test_events_at_one_time_run_in_the_order_they_were_made() -> None:
    engine = VirtualEngine()
    seen: list[int] = []
    for i in range(5):
        engine.call_at(100, seen.append, i)
    engine.call_at(50, seen.append, 99)
    engine.run()
    assert seen == [99, 0, 1, 2, 3, 4]
    assert engine.now == 100


def test_cancelled_event_does_not_run_and_run_until_sets_the_time() -> None:
    engine = VirtualEngine()
    event = engine.call_at(10, lambda: pytest.fail("ran"))
    event.cancel()
    engine.run(until=1000)
    assert engine.now == 1000


def test_time_advances_at_once_only_if_nothing_is_due_meanwhile() -> None:
    engine = VirtualEngine()
    log: list[object] = []
    assert not engine.advance(5), "outside of run time stands still"

    def step(ns: int) -> None:
        log.append((engine.advance(ns), engine.now))

    engine.call_at(10, step, 9)
    engine.call_at(20, step, 1)  # the event at 21 comes first
    engine.call_at(21, step, 8)
    engine.call_at(26, log.append, "cancelled").cancel()
    engine.call_at(30, step, 2)
    engine.call_at(32, step, 1)
    engine.call_at(40, step, 4)
    engine.run(until=43)  # and not beyond
    assert log == [(True, 19), (False, 20), (True, 29), (False, 30), (True, 33), (False, 40)]
    assert engine.now == 43


def test_time_does_not_advance_past_the_end_of_a_run() -> None:
    engine = VirtualEngine()
    over: list[int] = []

    def end() -> None:
        over.append(engine.now)
        assert not engine.advance(5)

    engine.call_at(10, end)
    engine.run(stop=lambda: bool(over))
    assert (over, engine.now) == ([10], 10)


def test_charged_time_passes_at_flush() -> None:
    engine, kernel = make()
    times: list[int] = []

    def work() -> None:
        times.append(kernel.now)
        kernel.charge(500)
        times.append(kernel.now)
        kernel.cpu.flush()
        times.append(kernel.now)

    kernel.spawn(work)
    engine.run()
    assert times == [0, 0, 500]


def test_interrupt_preempts_a_busy_cpu_and_its_time_is_added() -> None:
    engine, kernel = make(hardirq=100)
    log: list[tuple[str, int]] = []

    def work() -> None:
        kernel.charge(1000)
        kernel.cpu.flush()
        log.append(("work done", kernel.now))

    kernel.spawn(work)
    engine.call_at(400, kernel.cpus[0].raise_irq, lambda: log.append(("irq", kernel.now)))
    engine.run()
    assert log == [("irq", 400), ("work done", 1100)]


def test_stalled_cpu_takes_the_interrupt_after_the_answer() -> None:
    engine, kernel = make()
    log: list[tuple[str, int]] = []

    def work() -> None:
        value = kernel.cpu.stall(lambda done: engine.call_later(300, done, 42))
        log.append((f"read {value}", kernel.now))
        kernel.cpu.flush()

    kernel.spawn(work)
    engine.call_at(100, kernel.cpus[0].raise_irq, lambda: log.append(("irq", kernel.now)))
    engine.run()
    assert log == [("read 42", 300), ("irq", 300)]


def test_softirq_raised_while_bottom_halves_are_off_runs_at_enable() -> None:
    engine, kernel = make()
    log: list[str] = []
    kernel.softirq_handlers[Softirq.NET_RX] = lambda cpu: log.append("net_rx")

    def work() -> None:
        cpu = kernel.cpu
        cpu.local_bh_disable()
        cpu.raise_softirq(Softirq.NET_RX)
        cpu.flush()
        log.append("still off")
        cpu.local_bh_enable()
        log.append("on")

    kernel.spawn(work)
    engine.run()
    assert log == ["still off", "net_rx", "on"]


def test_endless_softirq_is_left_to_ksoftirqd_and_processes_still_run() -> None:
    engine, kernel = make(softirq=10_000)
    rounds = 0

    def endless(cpu: object) -> None:
        nonlocal rounds
        rounds += 1
        if rounds < 1000:
            kernel.cpus[0].raise_softirq(Softirq.NET_RX)

    kernel.softirq_handlers[Softirq.NET_RX] = endless
    progress: list[int] = []

    def process() -> None:
        for _ in range(20):
            kernel.charge(1000)
            kernel.cpu.flush()
            kernel.cpu.yield_()
            progress.append(rounds)

    kernel.spawn(process)
    engine.call_at(10, kernel.cpus[0].raise_softirq, Softirq.NET_RX)
    engine.run()
    assert rounds == 1000
    assert len(progress) == 20
    assert progress[-1] < 1000, "the process ran only after the softirqs had ended"


def test_timer_moves_without_firing_early_and_delete_stops_it() -> None:
    engine, kernel = make()
    fired: list[int] = []
    timer = kernel.timer(lambda: fired.append(kernel.now), cpu=0)
    timer.mod(100)
    engine.call_at(50, timer.mod, 300)
    other = kernel.timer(lambda: fired.append(-1), cpu=0)
    other.mod(200)
    engine.call_at(60, other.delete)
    engine.run()
    assert fired == [300]
    assert kernel.timer_bases[0].active == 0


def test_deleted_timer_armed_again_fires_once_and_makes_no_second_event() -> None:
    engine, kernel = make()
    fired: list[int] = []
    timer = kernel.timer(lambda: fired.append(engine.now))
    for round_ in range(50):
        timer.mod(1000 + round_)
        assert timer.delete()
    before = len(engine._heap)
    timer.mod(2000)
    assert len(engine._heap) == before
    engine.run()
    assert (fired, kernel.timer_bases[0].active) == ([2000], 0)
    timer.mod(2500)
    timer.delete()
    engine.call_at(3000, timer.mod, 3500)  # the deleted event has left the heap
    engine.run()
    assert fired == [2000, 3500]


def test_timer_fires_while_a_task_spends_charged_time() -> None:
    engine, kernel = make()
    fired: list[int] = []
    timer = kernel.timer(lambda: fired.append(kernel.now), cpu=0)
    timer.mod(300)

    def busy() -> None:
        kernel.charge(1000)
        kernel.cpu.flush()
        fired.append(-kernel.now)

    kernel.spawn(busy)
    engine.run()
    assert fired == [300, -1000]


def test_timer_moved_earlier_fires_earlier() -> None:
    engine, kernel = make()
    fired: list[int] = []
    timer = kernel.timer(lambda: fired.append(kernel.now), cpu=0)
    timer.mod(1000)
    engine.call_at(50, timer.mod, 100)
    engine.run()
    assert fired == [100]


def test_wait_event_sees_a_wake_up_between_check_and_sleep() -> None:
    engine, kernel = make(softirq=100, context_switch=50)
    queue = WaitQueue()
    ready: list[int] = []

    def rx(cpu: object) -> None:
        ready.append(1)
        queue.wake()

    kernel.softirq_handlers[Softirq.NET_RX] = rx

    def reader() -> int:
        kernel.charge(500)  # spent inside schedule(), when the softirq strikes
        assert wait_event(kernel, queue, lambda: bool(ready), timeout=10_000)
        return kernel.now

    task = kernel.spawn(reader)
    cpu = kernel.cpus[0]
    engine.call_at(200, cpu.raise_irq, lambda: cpu.raise_softirq(Softirq.NET_RX))
    engine.run()
    assert task.state is TaskState.DEAD
    assert task.result < 10_000


def test_wait_event_times_out_with_false() -> None:
    engine, kernel = make()
    queue = WaitQueue()
    task = kernel.spawn(lambda: (wait_event(kernel, queue, lambda: False, 5000), kernel.now))
    engine.run()
    assert task.result == (False, 5000)
    assert not queue


def test_exclusive_waiters_are_woken_one_at_a_time() -> None:
    engine, kernel = make()
    queue = WaitQueue()
    tokens: list[int] = []
    woken: list[int] = []

    def waiter(i: int) -> None:
        wait_event(kernel, queue, lambda: bool(tokens), exclusive=True)
        woken.append(i)
        tokens.pop()

    for i in range(3):
        kernel.spawn(waiter, i)

    def give() -> None:
        tokens.append(1)
        queue.wake()

    engine.call_at(100, give)
    engine.run()
    assert woken == [0]
    engine.call_at(200, give)
    engine.run()
    assert woken == [0, 1]


def test_uncaught_exception_of_a_kernel_task_reaches_the_runner() -> None:
    engine, kernel = make()

    def broken() -> None:
        raise ValueError("panic")

    kernel.spawn(broken)
    with pytest.raises(ValueError, match="panic"):
        engine.run()


def test_tracepoint_off_calls_nobody_and_on_carries_time_and_fields() -> None:
    engine, kernel = make()
    point = kernel.trace.point("demo", "a", "b")
    assert not point.enabled
    records = []
    point.attach(records.append)

    def hit() -> None:
        kernel.charge(70)
        point(1, 2)

    kernel.spawn(hit)
    engine.run()
    assert [(r.time, r.host, r.cpu, r["a"], r["b"]) for r in records] == [(70, "h", 0, 1, 2)]
    with pytest.raises(ValueError, match="demo"):
        kernel.trace.point("demo", "c")


def test_unknown_sysctl_is_an_error() -> None:
    _, kernel = make()
    with pytest.raises(KeyError, match=r"net\.ipv4\.tcp_foo"):
        _ = kernel.sysctl["net.ipv4.tcp_foo"]
    with pytest.raises(KeyError, match=r"net\.ipv4\.tcp_foo"):
        kernel.sysctl["net.ipv4.tcp_foo"] = 1
    with pytest.raises(ValueError, match="shape"):
        kernel.sysctl["net.ipv4.tcp_rmem"] = (1, 2)
    with pytest.raises(ValueError, match="shape"):
        kernel.sysctl["net.ipv4.tcp_rmem"] = 1
    with pytest.raises(ValueError, match="shape"):
        kernel.sysctl["net.ipv4.tcp_sack"] = (1,)
    with pytest.raises(TypeError, match="vector"):
        _ = kernel.sysctl["net.ipv4.tcp_rmem"]
    with pytest.raises(TypeError, match="single"):
        kernel.sysctl.vector("net.ipv4.tcp_sack")
    assert {"net.ipv4.tcp_rmem", "net.ipv4.tcp_sack"} <= set(kernel.sysctl)


@given(st.binary(max_size=2000), st.integers(0, 1 << 40), st.integers(0, 5))
def test_checksum_is_the_sum_of_words_with_the_carries_added(
    data: bytes, start: int, offset: int
) -> None:
    padded = data + b"\0" * (len(data) & 1)
    total = start + sum(
        high << 8 | low for high, low in zip(padded[::2], padded[1::2], strict=True)
    )
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert ones_sum(data, start) == total
    assert ones_sum(memoryview(bytes(offset) + data)[offset:], start) == total
    assert checksum(bytes(2000)) == 0xFFFF


def test_an_event_may_run_events_itself() -> None:
    engine = VirtualEngine()
    ran: list[int] = []
    engine.call_at(5, lambda: engine.run(until=7))
    for when in (6, 10, 15):
        engine.call_at(when, lambda: ran.append(engine.now))
    engine.run(until=20)
    assert (ran, engine.now) == ([6, 10, 15], 20)
