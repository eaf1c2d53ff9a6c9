"""Processes, signals and calls they interrupt: as this machine's kernel has them."""

from __future__ import annotations

import os
import resource
import select as sel
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from both import Machine, both, left_over, machine_of

from pystack.core.costs import Costs
from pystack.core.engine import VirtualEngine
from pystack.host import Host
from pystack.uapi.process import Process
from pystack.uapi.signals import SIG_DFL, SIG_IGN, Action, Restart

MS = 1_000_000
SOON = 30 * MS


def alarmed(m: Machine, restart: Restart = Restart.NEVER) -> list[int]:
    """SIGALRM soon; the list it appends to."""
    seen: list[int] = []
    m.sys.rt_sigaction(signal.SIGALRM, Action(lambda n, _: seen.append(int(n)), restart))
    m.sys.setitimer(signal.ITIMER_REAL, SOON)
    return seen


def calls_without_restart(m: Machine) -> dict[str, object]:
    r, _ = m.sys.pipe2(0)
    event = m.sys.eventfd2(0, 0)
    timer = m.sys.timerfd_create(time.CLOCK_MONOTONIC, 0)
    listener = m.socket.create_server(("127.0.0.1", 0))
    a = m.socket.create_connection(listener.getsockname())
    epoll = m.sys.epoll_create1(0)
    calls: dict[str, Callable[[], object]] = {
        "read a pipe": lambda: m.sys.read(r, 1),
        "read an eventfd": lambda: m.sys.read(event, 8),
        "read a timerfd": lambda: m.sys.read(timer, 8),
        "recv": lambda: m.sys.recvfrom(a.fileno(), 1, 0),
        "poll": lambda: m.sys.poll([(r, sel.POLLIN)], 1000),
        "epoll_wait": lambda: m.sys.epoll_wait(epoll, 1, 1000),
        "pause": m.sys.pause,
        "sleep": lambda: m.sys.clock_nanosleep(1000 * MS),
    }
    result: dict[str, object] = {}
    for name, call in calls.items():
        seen = alarmed(m)
        result[name] = m.outcome(call), seen
    _conn, _ = listener.accept()
    seen = alarmed(m)
    result["accept4"] = m.outcome(m.sys.accept4, listener.fileno(), 0), seen
    return result


def calls_that_restart(m: Machine) -> dict[str, object]:
    """SA_RESTART: reads and accepts go on; poll, epoll_wait, pause and sleeps do not."""
    r, w = m.sys.pipe2(0)
    result: dict[str, object] = {}

    def later() -> None:
        m.time.sleep(0.1)
        m.sys.write(w, b"x")

    seen = alarmed(m, Restart.SYSCALL)
    m.thread(later)
    result["read"] = m.outcome(m.sys.read, r, 1), seen
    seen = alarmed(m, Restart.SYSCALL)
    result["poll"] = m.outcome(m.sys.poll, [(r, sel.POLLIN)], 1000), seen
    seen = alarmed(m, Restart.SYSCALL)
    result["sleep"] = m.outcome(m.sys.clock_nanosleep, 1000 * MS), seen
    return result


def receive_with_a_timeout_does_not_restart(m: Machine) -> list[object]:
    listener = m.socket.create_server(("127.0.0.1", 0))
    a = m.socket.create_connection(listener.getsockname())
    a.setsockopt(m.socket.SOL_SOCKET, m.socket.SO_RCVTIMEO, bytes([1]) + bytes(15))
    seen = alarmed(m, Restart.SYSCALL)
    return [m.outcome(m.sys.recvfrom, a.fileno(), 1, 0), seen]


def connect_goes_on_in_the_background(m: Machine) -> dict[str, object]:
    """A listener with no room answers no SYN: the connect waits, a signal ends the wait only."""
    listener = m.socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    port = listener.getsockname()[1]
    first = m.socket.create_connection(("127.0.0.1", port))
    sock = m.socket.socket()
    address = b"\x7f\0\0\1", port
    seen = alarmed(m)
    result: dict[str, object] = {
        "interrupted": m.outcome(m.sys.connect, sock.fileno(), address),
        "handler": seen,
        "not yet": m.sys.poll([(sock.fileno(), sel.POLLOUT)], 0),
    }
    listener.accept()
    result["then"] = m.sys.poll([(sock.fileno(), sel.POLLOUT)], 8000)
    result["error"] = sock.getsockopt(m.socket.SOL_SOCKET, m.socket.SO_ERROR)
    result["peer"] = sock.getpeername()[1] == port
    result["again"] = [m.outcome(m.sys.connect, sock.fileno(), address) for _ in range(2)]
    first.close()
    return result


def children(m: Machine) -> dict[str, object]:
    r, w = m.sys.pipe2(0)

    def child(m: Machine, status: int) -> None:
        m.sys.write(w, b"child")
        sys.exit(status)

    result: dict[str, object] = {"none": m.outcome(m.sys.wait4, -1)}
    pid = m.fork(child, 7)
    ended, status, _ = m.sys.wait4(pid)
    result["exit"] = ended == pid, status
    result["inherited"] = m.sys.read(r, 100)
    pid = m.fork(lambda m: m.sys.pause())
    result["living"] = m.sys.wait4(pid, os.WNOHANG)[:2]
    result["other's"] = m.outcome(m.sys.wait4, 999_999)
    m.sys.kill(pid, 0)
    m.sys.kill(pid, signal.SIGTERM)
    result["killed"] = m.sys.wait4(-1)[1]
    result["gone"] = m.outcome(m.sys.kill, pid, 0)
    result["signal"] = m.outcome(m.sys.kill, m.sys.getpid(), 65)
    result["options"] = m.outcome(m.sys.wait4, -1, 1 << 20)
    return result


def last_writer_exits(m: Machine) -> list[object]:
    """A child's exit closes its descriptors: the reader sees the end."""
    r, w = m.sys.pipe2(0)
    pid = m.fork(lambda m: m.sys.clock_nanosleep(50 * MS))
    m.sys.close(w)
    seen: list[object] = [m.sys.poll([(r, sel.POLLIN)], 0), m.sys.read(r, 1)]
    return [*seen, m.sys.wait4(pid)[1]]


def child_dies_of_sigpipe(m: Machine) -> list[object]:
    r, w = m.sys.pipe2(0)
    m.sys.close(r)

    def child(m: Machine) -> None:
        m.sys.rt_sigaction(signal.SIGPIPE, Action(SIG_DFL))
        m.sys.write(w, b"x")

    pid = m.fork(child)
    seen = [m.sys.wait4(pid)[1]]
    m.sys.rt_sigaction(signal.SIGPIPE, Action(SIG_IGN))
    return [*seen, m.outcome(m.sys.write, w, b"x")]


def child_tells(m: Machine) -> list[object]:
    seen: list[int] = []
    m.sys.rt_sigaction(signal.SIGCHLD, Action(lambda n, _: seen.append(int(n))))
    pid = m.fork(lambda m: m.sys.clock_nanosleep(20 * MS))
    result = [m.outcome(m.sys.pause), seen, m.sys.wait4(pid)[1]]
    m.sys.rt_sigaction(signal.SIGCHLD, Action(SIG_IGN))
    m.fork(lambda m: None)
    return [*result, m.outcome(m.sys.wait4, -1)]  # reaped by nobody


def actions(m: Machine) -> list[object]:
    nothing = Action(SIG_IGN)
    m.sys.rt_sigaction(signal.SIGUSR1, nothing)
    return [
        m.sys.kill(m.sys.getpid(), signal.SIGUSR1),
        m.outcome(m.sys.rt_sigaction, signal.SIGKILL, nothing),
        m.outcome(m.sys.rt_sigaction, signal.SIGSTOP, nothing),
        m.sys.kill(m.sys.getpid(), signal.SIGCHLD),
        m.sys.kill(m.sys.getpid(), signal.SIGURG),
    ]


def interval(m: Machine) -> list[object]:
    seen: list[int] = []
    m.sys.rt_sigaction(signal.SIGALRM, Action(lambda n, _: seen.append(int(n))))
    m.sys.setitimer(signal.ITIMER_REAL, 20 * MS, 20 * MS)
    for _ in range(3):
        m.outcome(m.sys.pause)
    left, again = m.sys.setitimer(signal.ITIMER_REAL, 0)
    return [len(seen) >= 3, 0 < left <= 20 * MS, again]


def descriptor_limit(m: Machine) -> dict[str, object]:
    nofile = resource.RLIMIT_NOFILE
    _, hard = m.sys.prlimit64(nofile)
    m.sys.prlimit64(nofile, (20, hard))
    fds = []
    while isinstance(fd := m.outcome(m.sys.eventfd2, 0, 0), int):
        fds.append(fd)
    result: dict[str, object] = {"last": fds[-1], "error": fd}
    result["pipe"] = m.outcome(m.sys.pipe2, 0)
    m.sys.close(fds[-1])
    result["pipe with room for one end"] = m.outcome(m.sys.pipe2, 0)
    result["dup"] = m.sys.dup(fds[0]) == fds[-1] and m.outcome(m.sys.dup, fds[0])
    result["soft over hard"] = m.outcome(m.sys.prlimit64, nofile, (hard + 1, hard))
    result["poll"] = m.outcome(m.sys.poll, [(0, 0)] * 21, 0)
    return result


PROGRAMS: list[Callable[[Machine], Any]] = [
    *(calls_without_restart, calls_that_restart, receive_with_a_timeout_does_not_restart),
    connect_goes_on_in_the_background,
    *(children, last_writer_exits, child_dies_of_sigpipe, child_tells, actions, interval),
    *(descriptor_limit,),
]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_processes_behave_as_on_this_machine(program: Callable[[Machine], Any]) -> None:
    both(program)


def test_getrusage_counts_what_a_process_asked_for_and_what_was_done_for_it() -> None:
    """A program's own time is what it computes; the kernel's is what its calls were charged."""
    engine = VirtualEngine()
    costs = Costs.zero()
    host = Host(engine, "h", costs=replace(costs, syscall=1000))
    process = Process(host.kernel, host.system, "p")

    def child() -> None:
        task = host.kernel.cpu.current
        assert task is not None
        task.process.compute(7 * MS)

    def main() -> list[object]:
        calls = process.sys
        before = calls.getrusage(resource.RUSAGE_SELF)
        process.compute(5 * MS)
        for _ in range(10):
            calls.getpid()
        calls.clock_nanosleep(MS)
        after = calls.getrusage(resource.RUSAGE_SELF)
        calls.wait4(calls.fork(child))
        children = calls.getrusage(resource.RUSAGE_CHILDREN)
        used = [b - a for a, b in zip(before, after, strict=True)]
        return [used, children.utime, process.nr_syscalls]

    process.start(main)
    engine.run(until=10**10)
    assert process.tracebacks == []
    # the time slice is up after 5 ms, but nobody else wants to run; one sleep, one wait
    assert process.result == [[5 * MS, 12_000, 1, 0], 7 * MS, 16]


def test_the_host_limits_open_files() -> None:
    engine = VirtualEngine()
    host = Host(engine, "h")
    process = Process(host.kernel, host.system, "p")
    host.system.open_files.limit = host.system.open_files.count + 1

    def main() -> list[object]:
        m = machine_of(process, host)
        first = m.outcome(m.sys.pipe2, 0), m.outcome(m.socket.socketpair)
        last = isinstance(m.outcome(m.sys.eventfd2, 0, 0), int)
        calls = (m.socket.socket, m.sys.epoll_create1), ((), (0,))
        return [first, last, [m.outcome(f, *a) for f, a in zip(*calls, strict=True)]]

    process.start(main)
    engine.run(until=10**10)
    assert process.tracebacks == []
    assert process.result == [("ENFILE", "ENFILE"), True, ["ENFILE", "ENFILE"]]
    assert left_over(host) == {}
