"""Descriptors: numbers, flags, limits and errnos, as this machine's kernel has them."""

from __future__ import annotations

import fcntl
import os
import random
import select
import socket as so
import termios
from collections.abc import Callable
from typing import Any

import pytest
from uapi_world import Env, World, agree, connected, outcome

from pystack.uapi.fdmap import FdBitmap

INET, STREAM = so.AF_INET, so.SOCK_STREAM
CLOSED = 9999  # a descriptor nobody has open


def with_pair(use: Callable[[Env, Any, Any, Any], Any]) -> Callable[[Env], Any]:
    """A case on a listener, a client and the server's end."""

    def case(env: Env) -> Any:
        listener, client, server = connected(env)
        with listener, client, server:
            return use(env, listener, client, server)

    return case


def with_socket(use: Callable[[Env, int], Any]) -> Callable[[Env], Any]:
    """A case on the descriptor of a fresh TCP socket."""

    def case(env: Env) -> Any:
        with env.socket.socket() as sock:
            return use(env, sock.fileno())

    return case


def with_epoll(use: Callable[[Env, int], Any]) -> Callable[[Env], Any]:
    def case(env: Env) -> Any:
        with env.select.epoll() as epoll:
            return use(env, epoll.fileno())

    return case


def flags_after_dup(env: Env, fd: int) -> list[int]:
    """File flags are shared between duplicates, descriptor flags are not."""
    other = env.sys.fcntl(fd, fcntl.F_DUPFD, 100)
    env.sys.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK)
    env.sys.fcntl(fd, fcntl.F_SETFD, 0)
    env.sys.fcntl(other, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    seen = [env.sys.fcntl(n, cmd) for n in (fd, other) for cmd in (fcntl.F_GETFL, fcntl.F_GETFD)]
    env.sys.close(other)
    return seen


def dup_cloexec(env: Env, fd: int) -> list[int]:
    dups = [
        env.sys.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 200),
        env.sys.fcntl(fd, fcntl.F_DUPFD, 200),
        env.sys.dup3(fd, 300, os.O_CLOEXEC),
        env.sys.dup3(fd, 301, 0),
    ]
    seen = [*dups, *(env.sys.fcntl(n, fcntl.F_GETFD) for n in dups)]
    for n in dups:
        env.sys.close(n)
    return seen


def creation_flags(env: Env) -> list[int]:
    seen = []
    for flags in (0, so.SOCK_NONBLOCK, so.SOCK_CLOEXEC, so.SOCK_NONBLOCK | so.SOCK_CLOEXEC):
        fd = env.sys.socket(INET, STREAM | flags, 0)
        seen += [env.sys.fcntl(fd, fcntl.F_GETFL), env.sys.fcntl(fd, fcntl.F_GETFD)]
        env.sys.close(fd)
    return seen


def lowest_is_reused(env: Env, fd: int) -> list[int]:
    fds = [env.sys.fcntl(fd, fcntl.F_DUPFD, 500) for _ in range(4)]
    env.sys.close(fds[1])
    env.sys.close(fds[3])
    fds[1] = env.sys.fcntl(fd, fcntl.F_DUPFD, 500)
    fds[3] = env.sys.fcntl(fd, fcntl.F_DUPFD, 502)
    for n in fds:
        env.sys.close(n)
    return fds


def dup2_replaces(env: Env, fd: int) -> list[Any]:
    with env.socket.socket() as other:
        number = other.fileno()
        same = env.sys.dup2(fd, number) == number
        kind = env.sys.fcntl(number, fcntl.F_GETFD)
    return [same, kind, env.sys.dup2(fd, fd) == fd]


def just_closed(env: Env) -> int:
    fd = int(env.sys.socket(INET, STREAM, 0))
    env.sys.close(fd)
    return fd


CASES: dict[str, Callable[[Env], Any]] = {
    "read closed": lambda e: outcome(e.sys.read, CLOSED, 1),
    "write closed": lambda e: outcome(e.sys.write, CLOSED, b"x"),
    "close closed": lambda e: outcome(e.sys.close, CLOSED),
    "close negative": lambda e: outcome(e.sys.close, -1),
    "lseek closed": lambda e: outcome(e.sys.lseek, CLOSED, 0, 0),
    "listen closed": lambda e: outcome(e.sys.listen, CLOSED, 1),
    "accept closed": lambda e: outcome(e.sys.accept4, CLOSED, 0),
    "shutdown closed": lambda e: outcome(e.sys.shutdown, CLOSED, 0),
    "fcntl closed": lambda e: outcome(e.sys.fcntl, CLOSED, fcntl.F_GETFL),
    "ioctl closed": lambda e: outcome(e.sys.ioctl, CLOSED, termios.FIONREAD),
    "dup closed": lambda e: outcome(e.sys.dup, CLOSED),
    "dup2 closed": lambda e: outcome(e.sys.dup2, CLOSED, 50),
    "dup2 closed to itself": lambda e: outcome(e.sys.dup2, CLOSED, CLOSED),
    "epoll_ctl closed epoll": lambda e: outcome(e.sys.epoll_ctl, CLOSED, 1, 0, (1, 0)),
    "poll closed": lambda e: outcome(e.sys.poll, [(CLOSED, select.POLLIN)], 0),
    "poll negative": lambda e: outcome(e.sys.poll, [(-1, select.POLLIN)], 0),
    "select closed": lambda e: outcome(e.select.select, [just_closed(e)], [], [], 0),
    "lseek socket": with_socket(lambda e, fd: outcome(e.sys.lseek, fd, 0, os.SEEK_SET)),
    "lseek epoll": with_epoll(lambda e, fd: outcome(e.sys.lseek, fd, 0, os.SEEK_SET)),
    "read epoll": with_epoll(lambda e, fd: outcome(e.sys.read, fd, 1)),
    "write epoll": with_epoll(lambda e, fd: outcome(e.sys.write, fd, b"x")),
    "listen epoll": with_epoll(lambda e, fd: outcome(e.sys.listen, fd, 1)),
    "accept epoll": with_epoll(lambda e, fd: outcome(e.sys.accept4, fd, 0)),
    "socket bad family": lambda e: outcome(e.sys.socket, 99, STREAM, 0),
    "socket negative family": lambda e: outcome(e.sys.socket, -1, STREAM, 0),
    "socket bad type": lambda e: outcome(e.sys.socket, INET, 12, 0),
    "socket unsupported type": lambda e: outcome(e.sys.socket, INET, so.SOCK_SEQPACKET, 0),
    "socket bad flags": lambda e: outcome(e.sys.socket, INET, STREAM | 0x10000, 0),
    "socket protocol of another type": lambda e: outcome(e.sys.socket, INET, STREAM, 17),
    "socket protocol too large": lambda e: outcome(e.sys.socket, INET, STREAM, 5000),
    "accept4 bad flags": with_socket(lambda e, fd: outcome(e.sys.accept4, fd, 1)),
    "accept not listening": with_socket(lambda e, fd: outcome(e.sys.accept4, fd, 0)),
    "fcntl unknown": with_socket(lambda e, fd: outcome(e.sys.fcntl, fd, 12345)),
    "ioctl unknown": with_socket(lambda e, fd: outcome(e.sys.ioctl, fd, 0x1234)),
    "dup3 to itself": with_socket(lambda e, fd: outcome(e.sys.dup3, fd, fd, 0)),
    "dup3 bad flags": with_socket(lambda e, fd: outcome(e.sys.dup3, fd, 60, 1)),
    "dup2 above limit": with_socket(lambda e, fd: outcome(e.sys.dup2, fd, 1 << 30)),
    "dup2 negative": with_socket(lambda e, fd: outcome(e.sys.dup3, fd, -1, 0)),
    "F_DUPFD above limit": with_socket(
        lambda e, fd: outcome(e.sys.fcntl, fd, fcntl.F_DUPFD, 1 << 30)
    ),
    "F_DUPFD negative": with_socket(lambda e, fd: outcome(e.sys.fcntl, fd, fcntl.F_DUPFD, -1)),
    "flags after dup": with_socket(flags_after_dup),
    "dup cloexec": with_socket(dup_cloexec),
    "creation flags": creation_flags,
    "lowest is reused": with_socket(lowest_is_reused),
    "dup2 replaces": with_socket(dup2_replaces),
    "epoll_create1 bad flags": lambda e: outcome(e.sys.epoll_create1, 1),
    "epoll_wait no room": with_epoll(lambda e, fd: outcome(e.sys.epoll_wait, fd, 0, 0)),
    "epoll_wait on socket": with_socket(lambda e, fd: outcome(e.sys.epoll_wait, fd, 1, 0)),
    "epoll_ctl on socket": with_pair(
        lambda e, _, c, s: outcome(e.sys.epoll_ctl, c.fileno(), 1, s.fileno(), (1, 0))
    ),
    "epoll_ctl target closed": with_epoll(
        lambda e, fd: outcome(e.sys.epoll_ctl, fd, 1, CLOSED, (1, 0))
    ),
    "epoll_ctl itself": with_epoll(lambda e, fd: outcome(e.sys.epoll_ctl, fd, 1, fd, (1, 0))),
    "FIONREAD": with_pair(
        lambda e, _, c, s: (
            c.send(b"four"),
            s.recv(1, so.MSG_PEEK),
            e.sys.ioctl(s.fileno(), termios.FIONREAD),
        )
    ),
    "FIONREAD listener": with_pair(
        lambda e, li, c, s: outcome(e.sys.ioctl, li.fileno(), termios.FIONREAD)
    ),
    "FIONBIO": with_pair(
        lambda e, _, c, s: (
            e.sys.ioctl(s.fileno(), termios.FIONBIO, 1),
            e.sys.fcntl(s.fileno(), fcntl.F_GETFL) & os.O_NONBLOCK,
            outcome(s.recv, 1),
        )[1:]
    ),
    "SO_TYPE": with_pair(lambda e, _, c, s: c.getsockopt(so.SOL_SOCKET, so.SO_TYPE)),
    "SO_DOMAIN": with_pair(lambda e, _, c, s: c.getsockopt(so.SOL_SOCKET, so.SO_DOMAIN)),
    "SO_PROTOCOL": with_pair(lambda e, _, c, s: c.getsockopt(so.SOL_SOCKET, so.SO_PROTOCOL)),
    "set SO_ERROR": with_pair(
        lambda e, _, c, s: outcome(c.setsockopt, so.SOL_SOCKET, so.SO_ERROR, 1)
    ),
    "set SO_TYPE": with_pair(
        lambda e, _, c, s: outcome(c.setsockopt, so.SOL_SOCKET, so.SO_TYPE, 1)
    ),
    "option too short": with_pair(
        lambda e, _, c, s: outcome(c.setsockopt, so.SOL_SOCKET, so.SO_KEEPALIVE, b"x")
    ),
    "SO_RCVTIMEO too short": with_pair(
        lambda e, _, c, s: outcome(c.setsockopt, so.SOL_SOCKET, so.SO_RCVTIMEO, 1)
    ),
    "SO_RCVTIMEO microseconds": with_pair(
        lambda e, _, c, s: outcome(
            c.setsockopt, so.SOL_SOCKET, so.SO_RCVTIMEO, bytes(8) + b"\xff" * 7 + b"\0"
        )
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_result_is_that_of_linux(name: str) -> None:
    agree(CASES[name])


def test_descriptors_start_behind_the_standard_ones_and_fill_holes() -> None:
    def program(env: Env) -> list[int]:
        fds = [env.sys.socket(INET, STREAM, 0) for _ in range(5)]
        env.sys.close(4)
        env.sys.close(6)
        more = [env.sys.socket(INET, STREAM, 0) for _ in range(3)]
        return fds + more

    assert World().run(program) == [3, 4, 5, 6, 7, 4, 6, 8]


def test_process_limit_gives_emfile_and_accept_keeps_the_connection() -> None:
    def program(env: Env) -> list[Any]:
        listener = env.socket.create_server(("", 80))  # 3
        client = env.socket.create_connection(("127.0.0.1", 80))  # 4
        spare = [env.sys.dup(0) for _ in range(3)]  # 5, 6, 7: the limit is 8
        seen = [
            outcome(call, *args)
            for call, args in (
                (listener.accept, ()),
                (env.sys.dup, (0,)),
                (env.sys.epoll_create1, (0,)),
                (env.sys.socket, (INET, STREAM, 0)),
                (env.sys.fcntl, (0, fcntl.F_DUPFD, 3)),
                (env.sys.dup2, (0, 8)),
            )
        ]
        env.sys.close(spare[1])
        conn, _ = listener.accept()
        seen.append(conn.fileno())
        client.close(), conn.close(), listener.close()
        return seen

    assert World().run(program, nofile=8) == ["EMFILE"] * 5 + ["EBADF", 6]


def test_system_limit_gives_enfile_and_leaves_no_descriptor_reserved() -> None:
    world = World(file_max=4)  # a console and three sockets

    def program(env: Env) -> list[Any]:
        fds = [env.sys.socket(INET, STREAM, 0) for _ in range(3)]
        seen = [outcome(env.sys.socket, INET, STREAM, 0), outcome(env.sys.epoll_create1, 0)]
        env.sys.close(fds[1])
        return [*seen, env.sys.epoll_create1(0)]

    assert world.run(program) == ["ENFILE", "ENFILE", 4]
    assert not world.net.alive


def test_duplicates_keep_a_socket_open_until_the_last_is_closed() -> None:
    def program(env: Env) -> list[Any]:
        listener, client, server = connected(env)
        other = env.sys.dup(client.fileno())
        client.close()
        env.sys.write(other, b"still here")
        seen = [server.recv(100)]
        env.sys.close(other)
        seen.append(server.recv(100))
        listener.close(), server.close()
        return seen

    assert agree(program) == [b"still here", b""]


def test_close_in_one_thread_leaves_a_read_in_another_waiting() -> None:
    """The read holds the file; the descriptor is free at once."""

    def program(env: Env) -> list[Any]:
        listener, client, server = connected(env)
        got: list[Any] = []
        fd = server.detach()
        env.spawn(lambda: got.append(env.sys.read(fd, 10)))
        env.time.sleep(0.2)
        env.sys.close(fd)
        closed = outcome(env.sys.fcntl, fd, fcntl.F_GETFD)
        client.send(b"late")
        env.time.sleep(0.2)
        client.close(), listener.close()
        return [closed, *got]

    assert agree(program) == ["EBADF", b"late"]


def test_standard_output_is_kept_and_standard_input_ends() -> None:
    world = World()
    process = world.start(lambda env: (env.sys.read(0, 10), env.sys.write(1, b"hello")))
    world.finish(process)
    assert process.result == (b"", 5)
    assert process.console.output == b"hello"


def test_bitmap_finds_what_a_plain_search_finds() -> None:
    seed = 7
    rng = random.Random(seed)
    bitmap, used = FdBitmap(), set[int]()
    for _ in range(20_000):
        minimum = rng.choice((0, 0, 0, rng.randrange(5000)))
        if rng.random() < 0.6:
            fd = bitmap.lowest_clear(minimum)
            expected = next(n for n in range(minimum, 10_000) if n not in used)
            assert fd == expected, f"seed {seed}"
            bitmap.set(fd)
            used.add(fd)
        elif used:
            gone = rng.choice(tuple(used)) if rng.random() < 0.1 else max(used)
            bitmap.clear(gone)
            used.discard(gone)
        assert all(bitmap.test(n) == (n in used) for n in rng.sample(range(6000), 5))
