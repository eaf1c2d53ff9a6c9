"""Waiting for many: who is woken, how deep instances nest, and what a signal does to a wait."""

from __future__ import annotations

import os
import select as sel
import signal
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from both import Machine, both, machine_of

from pystack.core.costs import Costs
from pystack.core.engine import VirtualEngine
from pystack.host import Host
from pystack.uapi.process import Process
from pystack.uapi.signals import Action

ADD, IN, EXCLUSIVE = 1, sel.EPOLLIN, sel.EPOLLEXCLUSIVE
MS = 1_000_000
WAITERS = 100


def nesting(m: Machine) -> dict[str, object]:
    """Chains of instances: how long one may be, and circles."""
    chain = [m.sys.epoll_create1(0) for _ in range(8)]
    upward = [m.outcome(m.sys.epoll_ctl, b, ADD, a, (IN, 0)) for a, b in pairwise(chain)]
    down = [m.sys.epoll_create1(0) for _ in range(8)]
    downward = [m.outcome(m.sys.epoll_ctl, a, ADD, b, (IN, 0)) for a, b in pairwise(down)]
    a, b, c = (m.sys.epoll_create1(0) for _ in range(3))
    m.sys.epoll_ctl(a, ADD, b, (IN, 0))
    m.sys.epoll_ctl(b, ADD, c, (IN, 0))
    circle = m.outcome(m.sys.epoll_ctl, c, ADD, a, (IN, 0))
    r, w = m.sys.pipe2(0)
    m.sys.epoll_ctl(c, ADD, r, (IN, 7))
    before = m.sys.epoll_wait(a, 9, 0), m.sys.poll([(a, sel.POLLIN)], 0)
    m.sys.write(w, b"x")
    after = m.sys.epoll_wait(a, 9, 0), m.sys.poll([(a, sel.POLLIN)], 0)
    exclusive = m.outcome(m.sys.epoll_ctl, b, ADD, a, (IN | EXCLUSIVE, 0))
    return {
        "upward": upward,
        "downward": downward,
        "circle": circle,
        "before": before,
        "after": after,
        "exclusive": exclusive,
    }


def duplicates_and_closing(m: Machine) -> dict[str, object]:
    """An interest is in an open file under a number: it lives until the last duplicate closes."""
    epoll = m.sys.epoll_create1(0)
    r, w = m.sys.pipe2(0)
    other = m.sys.dup(r)
    result: dict[str, object] = {
        "twice": [m.outcome(m.sys.epoll_ctl, epoll, ADD, r, (IN, 1)) for _ in range(2)],
        "duplicate": m.outcome(m.sys.epoll_ctl, epoll, ADD, other, (IN, 2)),
    }
    m.sys.write(w, b"x")
    result["both"] = sorted(m.sys.epoll_wait(epoll, 9, 0))
    m.sys.close(r)
    result["closed, yet reported"] = sorted(m.sys.epoll_wait(epoll, 9, 0))
    result["not to be deleted"] = m.outcome(m.sys.epoll_ctl, epoll, 2, r, (0, 0))
    m.sys.close(other)
    result["gone"] = m.sys.epoll_wait(epoll, 9, 0)
    return result


def round_robin(m: Machine) -> list[object]:
    """With more ready than fit, every one gets its turn."""
    epoll = m.sys.epoll_create1(0)
    for number in range(5):
        r, w = m.sys.pipe2(0)
        m.sys.epoll_ctl(epoll, ADD, r, (IN, number))
        m.sys.write(w, b"x")
    return [[data for _, data in m.sys.epoll_wait(epoll, 2, 0)] for _ in range(5)]


def short_waits(m: Machine) -> dict[str, object]:
    epoll = m.sys.epoll_create1(0)
    return {
        "nothing": m.sys.epoll_pwait2(epoll, 1, 1000),
        "negative": m.outcome(m.sys.epoll_pwait2, epoll, 1, -1),
        "none": m.outcome(m.sys.epoll_pwait2, epoll, 0, 0),
    }


def signal_in_a_masked_wait(m: Machine) -> dict[str, object]:
    """A blocked signal waits for the call that lets it in, and ends it."""
    seen: list[int] = []
    m.sys.rt_sigaction(signal.SIGUSR1, Action(lambda n, _: seen.append(int(n))))
    m.sys.rt_sigprocmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    epoll = m.sys.epoll_create1(0)
    m.sys.kill(m.sys.getpid(), signal.SIGUSR1)
    result: dict[str, object] = {
        "blocked": m.outcome(m.sys.epoll_pwait2, epoll, 1, 20 * MS),
        "not seen": list(seen),
        "let in": m.outcome(m.sys.epoll_pwait2, epoll, 1, 1000 * MS, []),
        "seen": list(seen),
    }
    result["mask"] = signal.SIGUSR1 in m.sys.rt_sigprocmask(signal.SIG_UNBLOCK, [])
    return result


PROGRAMS: list[Callable[[Machine], Any]] = [
    *(nesting, duplicates_and_closing, round_robin, short_waits, signal_in_a_masked_wait),
]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_waiting_behaves_as_on_this_machine(program: Callable[[Machine], Any]) -> None:
    both(program)


@pytest.mark.parametrize(("flag", "woken"), [(0, WAITERS), (EXCLUSIVE, 1)])
def test_exclusive_interests_wake_one_of_a_hundred_waiters(flag: int, woken: int) -> None:
    """Each waiter has an instance of its own on one descriptor; without the flag all wake up."""
    engine = VirtualEngine()
    host = Host(engine, "h", costs=Costs.zero())
    process = Process(host.kernel, host.system, "herd", nofile=2000)
    returned: list[int] = []

    def waiter(m: Machine, fd: int) -> None:
        epoll = m.sys.epoll_create1(0)
        m.sys.epoll_ctl(epoll, ADD, fd, (IN | flag, 0))
        returned.append(len(m.sys.epoll_wait(epoll, 1, -1)))

    def main() -> tuple[int, int]:
        """How many came back from the wait, and how many ran for nothing."""
        m = machine_of(process, host)
        fd = m.sys.eventfd2(0, os.EFD_NONBLOCK)
        for _ in range(WAITERS):
            m.thread(waiter, m, fd)
        m.sys.clock_nanosleep(MS)
        own = host.kernel.cpu.current
        before = {task: task.nr_switches for task in process.threads if task is not own}
        m.sys.write(fd, (1).to_bytes(8, "little"))
        m.sys.clock_nanosleep(MS)
        disturbed = [task for task in before if task in process.threads]
        return len(returned), sum(t.nr_switches > before[t] for t in disturbed)

    process.start(main)
    engine.run(until=10**10)
    assert process.tracebacks == []
    assert process.result == (woken, 0)
