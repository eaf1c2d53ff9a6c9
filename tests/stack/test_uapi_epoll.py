"""poll, select and epoll: each mode as this machine's kernel has it, and the price of a wait."""

from __future__ import annotations

import errno
import select as sel
import socket as so
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from uapi_world import Env, agree, connected, outcome

from pystack.uapi.epoll import EPOLL_CTL_ADD, EPOLL_CTL_MOD

IN, OUT, ET, ONESHOT = sel.EPOLLIN, sel.EPOLLOUT, sel.EPOLLET, sel.EPOLLONESHOT
SOON = 0.2  # long enough for loopback


def level(env: Env, epoll: Any, client: Any, server: Any) -> list[Any]:
    epoll.register(server, IN)
    seen = [epoll.poll(0)]
    client.send(b"ab")
    seen += [epoll.poll(5), epoll.poll(0), server.recv(1), epoll.poll(0)]
    return [*seen, server.recv(1), epoll.poll(0)]


def edge(env: Env, epoll: Any, client: Any, server: Any) -> list[Any]:
    epoll.register(server, IN | ET)
    client.send(b"ab")
    seen = [epoll.poll(5), epoll.poll(0), server.recv(1), epoll.poll(0)]
    client.send(b"c")
    return [*seen, epoll.poll(5), epoll.poll(0)]


def edge_reports_what_is_already_there(env: Env, epoll: Any, client: Any, server: Any) -> list[Any]:
    client.send(b"ab")
    env.time.sleep(SOON)
    epoll.register(server, IN | ET)
    seen = [epoll.poll(0), epoll.poll(0)]
    epoll.modify(server, IN | ET)
    return [*seen, epoll.poll(0)]


def one_shot(env: Env, epoll: Any, client: Any, server: Any) -> list[Any]:
    epoll.register(server, IN | ONESHOT)
    client.send(b"ab")
    seen = [epoll.poll(5), epoll.poll(0)]
    client.send(b"c")
    env.time.sleep(SOON)
    seen.append(epoll.poll(0))
    epoll.modify(server, IN | ONESHOT)
    return [*seen, epoll.poll(0), epoll.poll(0)]


def half_close(env: Env, epoll: Any, client: Any, server: Any) -> list[Any]:
    epoll.register(server, IN | sel.EPOLLRDHUP)
    epoll.register(client, sel.EPOLLRDHUP)
    client.shutdown(so.SHUT_WR)
    seen = [epoll.poll(5)]
    server.shutdown(so.SHUT_WR)
    env.time.sleep(SOON)
    return [*seen, sorted(epoll.poll(0))]


def writable(env: Env, epoll: Any, client: Any, server: Any) -> list[Any]:
    """EPOLLOUT is off while the buffer is full."""
    epoll.register(client, OUT)
    seen = [epoll.poll(0)]
    client.setblocking(False)
    while True:
        sent = 0
        while isinstance(n := outcome(client.send, bytes(65536)), int):
            sent += n
        env.time.sleep(SOON)
        if not sent:
            break
    seen.append(epoll.poll(0))
    server.setblocking(False)
    while isinstance(outcome(server.recv, 1 << 20), bytes):
        env.time.sleep(0.001)
    return [*seen, epoll.poll(5)]


def not_asked_for(env: Env, epoll: Any, client: Any, server: Any) -> list[Any]:
    """No events asked for: HUP and ERR are reported all the same."""
    epoll.register(server, 0)
    client.send(b"x")
    seen = [epoll.poll(SOON)]
    server.shutdown(so.SHUT_WR)
    client.shutdown(so.SHUT_WR)
    return [*seen, epoll.poll(5)]


def errors(env: Env, epoll: Any, client: Any, server: Any) -> list[Any]:
    epoll.register(server, IN)
    exclusive = sel.EPOLLEXCLUSIVE
    return [
        outcome(epoll.register, server, IN),
        outcome(epoll.modify, client, IN),
        outcome(epoll.unregister, client),
        outcome(env.sys.epoll_ctl, epoll.fileno(), 7, server.fileno(), (IN, 0)),
        outcome(epoll.modify, server, IN | exclusive),
        outcome(epoll.register, client, IN | ONESHOT | exclusive),
        outcome(epoll.register, client, IN | exclusive),
        outcome(epoll.modify, client, IN),
        outcome(epoll.unregister, client),
    ]


def closed_file_is_forgotten(env: Env, epoll: Any, client: Any, server: Any) -> list[Any]:
    other = env.sys.dup(server.fileno())
    epoll.register(server, IN)
    client.send(b"x")
    server.close()
    seen = [len(epoll.poll(5))]  # the file lives on through the duplicate
    env.sys.close(other)
    return [*seen, epoll.poll(SOON)]


def nested(env: Env, epoll: Any, client: Any, server: Any) -> list[Any]:
    with env.select.epoll() as outer:
        outer.register(epoll, IN)
        seen: list[Any] = [outer.poll(0), env.select.select([epoll], [], [], 0)[0]]
        epoll.register(server, IN)
        client.send(b"x")
        seen += [len(outer.poll(5)), len(env.select.select([epoll], [], [], 5)[0])]
        server.recv(1)
        return [*seen, outer.poll(0), outcome(epoll.register, outer, IN)]


def nesting_depth(env: Env, epoll: Any, client: Any, server: Any) -> list[Any]:
    chain = [env.select.epoll() for _ in range(8)]
    upward = [outcome(b.register, a, IN) for a, b in pairwise(chain)]
    for item in chain:
        item.close()
    chain = [env.select.epoll() for _ in range(8)]
    links = list(pairwise(chain))
    downward = [outcome(a.register, b, IN) for a, b in links]
    for item in chain:
        item.close()
    return [upward, downward]


def limited(env: Env, epoll: Any, client: Any, server: Any) -> list[Any]:
    """With room for one event, ready ones take turns."""
    dups = [env.sys.dup(client.fileno()) for _ in range(3)]
    for fd in dups:
        epoll.register(fd, OUT)
    seen = [[dups.index(epoll.poll(0, 1)[0][0]) for _ in range(7)]]
    for fd in dups:
        env.sys.close(fd)
    return seen


def poll_call(env: Env, epoll: Any, client: Any, server: Any) -> list[Any]:
    poll = env.select.poll()
    poll.register(server, sel.POLLIN)
    poll.register(client, sel.POLLIN | sel.POLLOUT)
    poll.register(990, sel.POLLIN)
    names = {server.fileno(): "server", client.fileno(): "client", 990: "closed"}

    def look(timeout: float) -> list[Any]:
        return [(names[fd], events) for fd, events in poll.poll(timeout)]

    seen = [look(0)]
    poll.unregister(990)
    poll.modify(client, sel.POLLIN)
    seen += [look(0), outcome(poll.modify, 990, 0)]
    client.send(b"x")
    return [*seen, look(5000), look(5000)]


def select_call(env: Env, epoll: Any, client: Any, server: Any) -> list[Any]:
    select, names = env.select.select, {server: "server", client: "client"}

    def look(*args: Any) -> list[Any]:
        return [[names[sock] for sock in found] for found in select(*args)]

    seen = [look([server], [], [], 0), look([server], [client], [server], None)]
    client.send(b"x")
    return [*seen, look([server, client], [server, client], [], 5)]


CASES: list[Callable[[Env, Any, Any, Any], list[Any]]] = [
    *(level, edge, edge_reports_what_is_already_there, one_shot, half_close, writable),
    *(not_asked_for, errors, closed_file_is_forgotten, nested, nesting_depth, limited),
    *(poll_call, select_call),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_events_are_those_of_linux(case: Callable[[Env, Any, Any, Any], list[Any]]) -> None:
    def program(env: Env) -> list[Any]:
        listener, client, server = connected(env)
        renumber = {client.fileno(): "client", server.fileno(): "server"}
        with env.select.epoll() as epoll, listener, client, server:
            result = case(env, epoll, client, server)
        return [
            [(renumber.get(fd, fd), events) for fd, events in item]
            if isinstance(item, list) and item and isinstance(item[0], tuple)
            else item
            for item in result
        ]

    agree(program)


def test_epoll_numbers_and_unknown_descriptor() -> None:
    assert (EPOLL_CTL_ADD, EPOLL_CTL_MOD) == (1, 3)

    def program(env: Env) -> Any:
        epoll = env.select.epoll()
        epoll.close()
        with pytest.raises(ValueError, match="closed epoll"):
            epoll.poll(0)
        with pytest.raises(KeyError):
            env.select.poll().unregister(5)
        with pytest.raises(TypeError):
            env.select.select(["x"], [], [], 0)
        with pytest.raises(ValueError, match="negative"):
            env.select.select([-1], [], [], 0)
        return errno.EBADF, epoll.closed

    agree(program)
