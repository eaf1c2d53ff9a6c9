"""Processes and threads: how they end, and what that closes; the trace of their calls."""

from __future__ import annotations

import signal
import sys
from typing import Any

import pytest
from uapi_world import SECOND, TCP, Env, World, connected

from pystack.core.costs import Costs
from pystack.core.trace import Record
from pystack.uapi.process import Process
from pystack.uapi.table import SYSCALLS


def end_of(program: Any, *args: Any) -> Process:
    """The process that ran `program`, with nothing of it left in the kernel."""
    world = World()
    process = world.start(program, *args)
    world.engine.run(until=100 * SECOND)
    assert not process.alive
    assert not process.threads
    world.check_clean()
    return process


def test_return_is_status_zero_with_the_result_kept() -> None:
    process = end_of(lambda env: 42)
    assert (process.exit_status, process.result, process.tracebacks) == (0, 42, [])


@pytest.mark.parametrize(
    ("code", "status", "said"), [(None, 0, b""), (3, 3, b""), (256, 0, b""), ("why", 1, b"why\n")]
)
def test_sys_exit_gives_its_status(code: Any, status: int, said: bytes) -> None:
    process = end_of(lambda env: sys.exit(code))
    assert (process.exit_status, bytes(process.console.output)) == (status, said)


def test_uncaught_exception_is_status_one_and_closes_what_was_open() -> None:
    def program(env: Env) -> None:
        connected(env)
        env.sys.epoll_create1(0)
        raise ValueError("a bug of the application")

    process = end_of(program)
    assert process.exit_status == 1
    assert "ValueError: a bug of the application" in process.tracebacks[0]
    assert process.console.output.decode() == process.tracebacks[0]


def test_exception_in_a_thread_is_recorded_and_the_process_goes_on() -> None:
    def program(env: Env) -> str:
        def bug() -> None:
            raise KeyError("in a thread")

        env.spawn(bug)
        env.time.sleep(1)
        return "went on"

    process = end_of(program)
    assert (process.exit_status, process.result) == (0, "went on")
    assert "KeyError: 'in a thread'" in process.tracebacks[0]


def test_exit_group_ends_threads_wherever_they_wait() -> None:
    unwound: list[str] = []

    def program(env: Env) -> None:
        listener, client, server = connected(env)
        epoll = env.select.epoll()

        def waits(name: str, call: Any, *args: Any) -> None:
            try:
                call(*args)
            finally:
                unwound.append(name)
                client.send(b"a dying thread makes no calls")

        for name, call, args in (
            ("accept", listener.accept, ()),
            ("recv", server.recv, (1,)),
            ("send", client.sendall, (bytes(1 << 20),)),
            ("epoll", epoll.poll, ()),
            ("select", env.select.select, ([server], [], [])),
            ("sleep", env.time.sleep, (50,)),
        ):
            env.spawn(waits, name, call, *args)
        env.time.sleep(1)
        env.sys.exit_group(7)
        unwound.append("went on after exit")

    process = end_of(program)
    assert process.exit_status == 7
    assert sorted(unwound) == ["accept", "epoll", "recv", "select", "send", "sleep"]
    assert process.tracebacks == []


def test_process_waits_for_its_threads_but_not_for_daemons() -> None:
    log: list[str] = []
    world = World()

    def program(env: Env) -> None:
        def work(seconds: float) -> None:
            env.time.sleep(seconds)
            log.append(f"{seconds}")

        env.sys.process.thread(work, 2)
        env.sys.process.thread(work, 9, daemon=True)

    process = world.start(program)
    world.finish(process)
    assert (log, world.kernel.now // SECOND) == (["2"], 2)


def test_peers_see_the_end_of_a_killed_process() -> None:
    world = World()
    listener: list[Any] = []

    def server(env: Env) -> bytes:
        listener.append(env.socket.create_server(("", 80)))
        conn, _ = listener[0].accept()
        with listener[0], conn:
            return bytes(conn.recv(1))

    def client(env: Env) -> None:
        env.socket.create_connection(("127.0.0.1", 80)).recv(1)

    first, second = world.start(server), world.start(client)
    world.engine.run(until=SECOND)
    second.kill()
    world.finish(first, second)
    assert (first.result, second.exit_status) == (b"", -signal.SIGKILL)


def test_killed_before_its_first_step_a_process_does_nothing() -> None:
    world = World()
    process = world.start(lambda env: pytest.fail("ran"))
    process.kill(signal.SIGTERM)
    world.finish(process)
    assert process.exit_status == -signal.SIGTERM


def test_sigpipe_kills_unless_ignored_or_asked_not_to() -> None:
    world = World()

    def program(process: Process, flags: int, ignore: bool) -> str:
        sys_ = process.sys
        listener = sys_.socket(*TCP)
        sys_.listen(listener, 1)
        client = sys_.socket(*TCP)
        sys_.connect(client, sys_.getsockname(listener))
        sys_.shutdown(client, 1)
        if ignore:
            process.signals.ignore(signal.SIGPIPE)
        with pytest.raises(BrokenPipeError):
            sys_.sendto(client, b"x", flags)
        return "survived"

    ends = []
    for flags, ignore in ((0, False), (0x4000, False), (0, True)):
        process = world.process()
        world.finish(process.start(program, process, flags, ignore))
        ends.append((process.exit_status, process.result))
    assert ends == [(-signal.SIGPIPE, None), (0, "survived"), (0, "survived")]


def test_wait_gives_the_status_or_none_in_time() -> None:
    world = World()

    def parent(env: Env) -> list[Any]:
        child = world.start(lambda env: (env.time.sleep(5), sys.exit(9)))
        return [child.wait(timeout=SECOND), child.wait(), world.kernel.now // SECOND]

    process = world.start(parent)
    world.finish(process)
    assert process.result == [None, 9, 5]


def test_trace_shows_calls_with_arguments_results_and_thread() -> None:
    world = World()
    records: list[Record] = []
    world.kernel.trace.attach("sys_enter", records.append)
    world.kernel.trace.attach("sys_exit", records.append)
    world.kernel.trace.attach("sched_process_exit", records.append)

    def program(env: Env) -> None:
        with env.socket.socket() as sock, pytest.raises(OSError, match="not connected"):
            sock.recv(5)
        env.spawn(env.sys.getpid)
        env.time.sleep(1)

    world.run(program)
    seen = [(r.point.name, *r.values) for r in records]
    assert seen == [
        ("sys_enter", 1, "socket", (2, 1 | 0o2000000, 0)),
        ("sys_exit", 1, "socket", 3),
        ("sys_enter", 1, "recvfrom", (3, 5, 0)),
        ("sys_exit", 1, "recvfrom", -107),
        ("sys_enter", 1, "close", (3,)),
        ("sys_exit", 1, "close", None),
        ("sys_enter", 1, "clock_nanosleep", (SECOND,)),
        ("sys_enter", 2, "getpid", ()),
        ("sys_exit", 2, "getpid", 1),
        ("sys_exit", 1, "clock_nanosleep", None),
        ("sched_process_exit", 1, "program", 0),
    ]
    assert SYSCALLS["recvfrom"] == ("fd", "n", "flags")


def test_system_calls_cost_time_and_share_the_cpu() -> None:
    world = World(Costs())
    turns: list[int] = []

    def busy(env: Env, number: int) -> None:
        for _ in range(100_000):
            env.sys.getpid()
            if not turns or turns[-1] != number:
                turns.append(number)

    first, second = world.start(busy, 1), world.start(busy, 2)
    world.finish(first, second)
    assert world.kernel.now >= 200_000 * Costs().syscall
    assert turns[:4] == [1, 2, 1, 2]


def test_clock_is_the_timeline() -> None:
    def program(env: Env) -> list[Any]:
        env.time.sleep(2.5)
        return [env.time.monotonic(), env.time.time(), env.time.strftime("%Y-%m-%d %H:%M:%S")]

    def zone(env: Env) -> list[Any]:
        return [env.time.mktime(env.time.localtime(86400)), env.time.timezone, env.time.tzname]

    assert World().run(zone) == [86400, 0, ("UTC", "UTC")]
    assert World().run(program) == [2.5, 1_700_000_002.5, "2023-11-14 22:13:22"]
