"""Who is woken by an event, how many, and that nobody is forgotten."""

from __future__ import annotations

import select as sel
import socket as so
from typing import Any

import pytest
from uapi_world import SECOND, Env, World, agree, connected

from pystack.core.costs import Costs
from pystack.uapi.sockfile import SocketFile

IN, ET, ONESHOT = sel.EPOLLIN, sel.EPOLLET, sel.EPOLLONESHOT
SOON = 0.2  # long enough for loopback


def test_wait_sleeps_until_an_event_or_its_timeout() -> None:
    world = World()

    def program(env: Env) -> list[Any]:
        listener, client, server = connected(env)
        epoll = env.select.epoll()
        epoll.register(server, IN)

        def send_later() -> None:
            env.time.sleep(3)
            client.send(b"x")

        env.spawn(send_later)
        start = env.time.monotonic()
        seen = [epoll.poll(2), env.time.monotonic() - start]
        seen += [len(epoll.poll(2)), env.time.monotonic() - start]
        listener.close(), client.close(), server.close(), epoll.close()
        return seen

    assert world.run(program) == [[], pytest.approx(2), 1, pytest.approx(3)]


def herd(exclusive: int) -> int:
    """How many of eight threads, each with an epoll instance, wake for one connection."""
    world = World()

    def program(env: Env) -> int:
        listener = env.socket.create_server(("", 80))
        woken: list[int] = []

        def worker(number: int) -> None:
            epoll = env.select.epoll()
            epoll.register(listener, IN | exclusive)
            epoll.poll()
            woken.append(number)

        for number in range(8):
            env.spawn(worker, number)
        env.time.sleep(1)
        env.socket.create_connection(("127.0.0.1", 80)).close()
        env.time.sleep(1)
        listener.close()
        return len(woken)

    return int(world.run(program))


def test_exclusive_interest_wakes_one_instance_and_a_plain_one_all() -> None:
    assert herd(sel.EPOLLEXCLUSIVE) == 1
    assert herd(0) == 8


def test_exclusive_wake_up_goes_past_an_instance_nobody_waits_on() -> None:
    world = World()

    def program(env: Env) -> list[Any]:
        listener = env.socket.create_server(("", 80))
        idle, watched = env.select.epoll(), env.select.epoll()
        for epoll in (idle, watched):
            epoll.register(listener, IN | sel.EPOLLEXCLUSIVE)
        seen: list[Any] = []
        env.spawn(lambda: seen.append(len(watched.poll(10))))
        env.time.sleep(1)
        env.socket.create_connection(("127.0.0.1", 80)).close()
        env.time.sleep(1)
        listener.close(), idle.close(), watched.close()
        return seen

    assert world.run(program) == [1]


def test_one_event_wakes_one_of_the_threads_in_one_instance() -> None:
    """Edge-triggered: of four threads that wait on one instance, one gets each event."""
    world = World()

    def program(env: Env) -> list[Any]:
        listener, client, server = connected(env)
        epoll = env.select.epoll()
        epoll.register(server, IN | ET)
        got: list[int] = []

        def worker(number: int) -> None:
            while epoll.poll():
                got.append(number)

        for number in range(4):
            env.spawn(worker, number)
        env.time.sleep(1)
        before = {task: task.nr_switches for task in process.threads}
        for _ in range(3):
            client.send(b"x")
            env.time.sleep(1)
        switches = [task.nr_switches - before[task] for task in list(process.threads)[1:]]
        listener.close(), client.close(), server.close()
        return [got, switches]

    process = world.start(program)
    world.finish(process)
    assert process.result == [[0, 1, 2], [1, 1, 1, 0]]


def test_a_level_that_stays_up_wakes_every_thread() -> None:
    """Linux hands a level-triggered event on until nobody waits or nothing is left."""

    def program(env: Env) -> list[Any]:
        listener, client, server = connected(env)
        epoll = env.select.epoll()
        epoll.register(server, IN)
        got: list[int] = []
        for _ in range(3):
            env.spawn(lambda: got.append(len(epoll.poll(5))))
        env.time.sleep(SOON)
        client.send(b"x")
        env.time.sleep(SOON)
        listener.close(), client.close(), server.close()
        return got

    assert agree(program) == [1, 1, 1]


def test_waiter_sleeps_through_events_nobody_asked_for() -> None:
    world = World()

    def program(env: Env) -> int:
        listener, client, server = connected(env)
        epoll = env.select.epoll()
        epoll.register(client, IN)
        epoll.register(server, IN | ONESHOT)
        client.send(b"x")
        epoll.poll(1)  # the one-shot has fired
        waiter = process.thread(epoll.poll, 20)
        env.time.sleep(1)
        before = waiter.nr_switches
        client.send(b"more for the one-shot")
        server.recv(100)  # makes room: EPOLLOUT at the client
        env.time.sleep(1)
        switches = waiter.nr_switches - before
        listener.close(), client.close(), server.close()
        return switches

    process = world.start(program)
    world.finish(process)
    assert process.result == 0


def test_what_one_waiter_has_no_room_for_wakes_another() -> None:
    world = World()

    def program(env: Env) -> list[int]:
        pairs = [connected(env) for _ in range(3)]
        epoll = env.select.epoll()
        for _, _, server in pairs:
            epoll.register(server, IN | ET)
        got: list[int] = []
        for _ in range(3):
            env.spawn(lambda: got.extend(fd for fd, _ in epoll.poll(60, 1)))
        env.time.sleep(1)
        for _, client, _ in pairs:
            client.send(b"x")
        env.time.sleep(1)
        expected = [server.fileno() for _, _, server in pairs]
        for triple in pairs:
            for sock in triple:
                sock.close()
        assert sorted(got) == expected
        return got

    assert len(world.run(program)) == 3


def test_a_wait_costs_by_what_is_ready_not_by_what_is_registered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    asked: list[SocketFile] = []
    poll = SocketFile.poll

    def counted(file: SocketFile) -> int:
        asked.append(file)
        return poll(file)

    def program(env: Env) -> None:
        listener, client, server = connected(env)
        with env.select.epoll() as epoll:
            fds = [env.sys.socket(so.AF_INET, so.SOCK_STREAM, 0) for _ in range(500)]
            for fd in fds:
                epoll.register(fd, IN | ET)
            epoll.register(server, IN)
            epoll.poll(0)
            monkeypatch.setattr(SocketFile, "poll", counted)
            client.send(b"x")
            assert len(epoll.poll(1)) == 1
        listener.close(), client.close(), server.close()

    process = world.start(program, nofile=1024)
    world.finish(process)
    assert len(asked) == 1


@pytest.mark.parametrize("delay", range(0, 4000, 50))
def test_no_wake_up_is_lost_however_the_event_falls(delay: int) -> None:
    """Data arrives at every offset around the moments a reader checks and falls asleep."""
    world = World(Costs())

    def program(env: Env) -> int:
        _listener, client, server = connected(env)
        sk = process.files.file(client.fileno()).sk  # type: ignore[attr-defined]
        epoll = env.select.epoll()
        epoll.register(server, IN)
        world.engine.call_later(delay, sk.sendmsg, memoryview(b"x"), 0)
        start = world.kernel.now
        assert len(epoll.poll(1)) == 1
        assert server.recv(1) == b"x"
        world.engine.call_later(delay, sk.sendmsg, memoryview(b"y"), 0)
        assert server.recv(1) == b"y"
        return world.kernel.now - start

    process = world.start(program)
    world.finish(process)
    assert process.result < SECOND // 10
