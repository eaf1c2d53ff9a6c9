"""Blocking, non-blocking and timed socket calls through the module facade."""

from __future__ import annotations

import errno
import socket as so
import struct
from typing import Any, cast

import pytest
from uapi_world import SECOND, Env, World, agree, connected, outcome

from pystack.core.costs import Costs
from pystack.uapi.sockfile import SocketFile


def test_a_blocking_echo_moves_more_than_the_buffers_hold() -> None:
    world = World(Costs())
    data = bytes(range(256)) * 2000

    def server(env: Env) -> int:
        listener = env.socket.create_server(("", 7))
        conn, peer = listener.accept()
        assert peer[0] == "127.0.0.1"
        total = 0
        with listener, conn:
            while piece := conn.recv(4096):
                conn.sendall(piece)
                total += len(piece)
        return total

    def client(env: Env) -> bytes:
        sock = env.socket.create_connection(("localhost", 7))

        def send() -> None:
            sock.sendall(data)
            sock.shutdown(env.socket.SHUT_WR)

        env.spawn(send)
        with sock, sock.makefile("rb") as file:
            return bytes(file.read())

    first = world.start(server)
    second = world.start(client)
    world.finish(first, second)
    assert first.result == len(data)
    assert second.result == data
    assert not world.net.alive


def test_accept_blocks_until_a_client_comes() -> None:
    def program(env: Env) -> list[Any]:
        listener = env.socket.create_server(("127.0.0.1", 0))
        start = env.time.monotonic()

        def client() -> None:
            env.time.sleep(0.1)
            env.socket.create_connection(listener.getsockname()).close()

        env.spawn(client)
        conn, _ = listener.accept()
        waited = env.time.monotonic() - start
        eof = conn.recv(1)
        conn.close(), listener.close()
        return [0.1 <= waited < 20, eof]

    assert agree(program) == [True, b""]


def test_several_acceptors_share_the_connections() -> None:
    """Each connection wakes one of the threads that wait, and none is left behind."""
    world = World()

    def program(env: Env) -> list[int]:
        listener = env.socket.create_server(("", 80))
        served: list[int] = []

        def acceptor(number: int) -> None:
            conn, _ = listener.accept()
            served.append(number)
            conn.close()

        for number in range(4):
            env.spawn(acceptor, number)
        env.time.sleep(1)
        before = {task: task.nr_switches for task in process.threads}
        env.socket.create_connection(("127.0.0.1", 80)).close()
        env.time.sleep(1)
        switches = [task.nr_switches - before[task] for task in list(process.threads)[1:]]
        assert (served, switches) == ([0], [0, 0, 0])  # the other three slept on
        for _ in range(3):
            env.socket.create_connection(("127.0.0.1", 80)).close()
        env.time.sleep(1)
        listener.close()
        return served

    process = world.start(program)
    world.finish(process)
    assert process.result == [0, 1, 2, 3]


def test_a_killed_acceptor_does_not_swallow_a_wake_up() -> None:
    world = World()
    served: list[str] = []

    shared = world.net.socket()
    shared.bind((bytes(4), 80))
    shared.listen(8)
    # both processes wait on one listening socket, as after a fork
    file = SocketFile(world.system.open_files, cast(Any, shared))

    def acceptor(name: str) -> None:
        file.accept()
        served.append(name)

    victim, heir = world.process("victim"), world.process("heir")
    victim.start(acceptor, "victim")
    heir.start(acceptor, "heir")
    world.engine.run(until=SECOND)
    client = world.net.socket()
    with pytest.raises(BlockingIOError):
        client.connect((bytes(4), 80))

    def kill_after_the_wake_up() -> None:
        assert shared.queue
        victim.kill()

    world.engine.call_at(SECOND + 1000, kill_after_the_wake_up)
    world.finish(victim, heir)
    assert served == ["heir"]
    assert victim.exit_status == -9


def test_non_blocking_calls_give_eagain_and_einprogress() -> None:
    def program(env: Env) -> list[Any]:
        listener = env.socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        client = env.socket.socket()
        client.setblocking(False)
        seen = [outcome(listener.accept), client.connect_ex(listener.getsockname())]
        env.select.select([], [client], [], 5)
        seen += [client.getsockopt(so.SOL_SOCKET, so.SO_ERROR)]
        env.select.select([listener], [], [], 5)
        server, _ = listener.accept()
        seen += [outcome(client.recv, 10), server.getblocking(), client.getblocking()]
        seen += [outcome(server.recv, 10, so.MSG_DONTWAIT)]
        seen += [client.connect_ex(listener.getsockname()) in (0, errno.EISCONN)]
        seen += [client.connect_ex(listener.getsockname())]
        listener.close(), client.close(), server.close()
        return seen

    linux = agree(program)
    assert linux[:3] == ["EAGAIN", errno.EINPROGRESS, 0]


def test_second_connect_of_a_connecting_socket_is_ealready() -> None:
    def program(env: Env) -> list[Any]:
        listener = env.socket.create_server(("127.0.0.1", 80))
        sock = env.socket.socket()
        sock.setblocking(False)
        seen = [sock.connect_ex(("127.0.0.1", 80)), sock.connect_ex(("127.0.0.1", 80))]
        sock.close(), listener.close()
        return seen

    assert World().run(program) == [errno.EINPROGRESS, errno.EALREADY]


def test_refused_connection_raises_and_the_socket_is_usable_again() -> None:
    def program(env: Env) -> list[Any]:
        listener = env.socket.create_server(("127.0.0.1", 0))
        address = listener.getsockname()
        listener.close()
        sock = env.socket.socket()
        seen = [outcome(sock.connect, address)]
        listener = env.socket.create_server(address)
        sock.connect(address)
        seen.append(sock.getpeername() == address)
        sock.close(), listener.close()
        return seen

    assert agree(program) == ["ECONNREFUSED", True]


def test_timeouts_raise_timeout_error_after_their_time() -> None:
    def program(env: Env) -> list[Any]:
        listener, client, server = connected(env)
        seen: list[Any] = []
        for sock, call in ((server, lambda: server.recv(1)), (listener, listener.accept)):
            sock.settimeout(0.2)
            start = env.time.monotonic()
            with pytest.raises(TimeoutError, match=r"^timed out$"):
                call()
            seen.append(0.19 <= env.time.monotonic() - start < 10)
        client.settimeout(0.2)
        with pytest.raises(TimeoutError, match=r"^timed out$"):
            client.sendall(bytes(50_000_000))
        listener.close(), client.close(), server.close()
        return seen

    assert agree(program) == [True, True]


def test_kernel_timeouts_give_eagain() -> None:
    def program(env: Env) -> list[Any]:
        listener, client, server = connected(env)
        address = listener.getsockname()
        limit = struct.pack("qq", 0, 200_000)
        for name in (so.SO_RCVTIMEO, so.SO_SNDTIMEO):
            for sock in (listener, client, server):
                sock.setsockopt(so.SOL_SOCKET, name, limit)
        start = env.time.monotonic()
        seen = [outcome(server.recv, 1), outcome(listener.accept)]
        sent = client.send(bytes(50_000_000))
        seen += [0 < sent < 50_000_000]
        seen += [0.5 <= env.time.monotonic() - start < 30]
        seen += [server.getsockopt(so.SOL_SOCKET, so.SO_RCVTIMEO, 16)]
        listener.setsockopt(so.SOL_SOCKET, so.SO_RCVTIMEO, bytes(16))  # no limit again
        env.spawn(lambda: (env.time.sleep(0.1), env.socket.create_connection(address)))
        seen.append(len(listener.accept()))
        listener.close(), client.close(), server.close()
        return seen

    linux = agree(program)
    assert linux[:4] == ["EAGAIN", "EAGAIN", True, True]


def test_waitall_waits_for_all_and_ends_with_the_stream() -> None:
    def program(env: Env) -> list[Any]:
        listener, client, server = connected(env)

        def dribble() -> None:
            for piece in (b"ab", b"cd", b"ef"):
                client.send(piece)
                env.time.sleep(0.05)
            client.close()

        env.spawn(dribble)
        seen = [
            server.recv(3, so.MSG_WAITALL | so.MSG_PEEK),
            server.recv(5, so.MSG_WAITALL),
            server.recv(5, so.MSG_WAITALL),
            server.recv(5, so.MSG_WAITALL),
        ]
        listener.close(), server.close()
        return seen

    assert agree(program) == [b"abc", b"abcde", b"f", b""]


def test_peek_with_waitall_ends_when_all_is_there() -> None:
    def program(env: Env) -> list[Any]:
        listener, client, server = connected(env)
        server.setsockopt(so.SOL_SOCKET, so.SO_RCVTIMEO, struct.pack("qq", 5, 0))
        client.send(b"ab")
        env.spawn(lambda: (env.time.sleep(0.1), client.send(b"cd")))
        start = env.time.monotonic()
        seen = [server.recv(3, so.MSG_PEEK | so.MSG_WAITALL), env.time.monotonic() - start < 4]
        listener.close(), client.close(), server.close()
        return seen

    assert agree(program) == [b"abc", True]


def test_waitall_cut_short_by_a_reset_leaves_the_error_for_the_next_call() -> None:
    def program(env: Env) -> list[Any]:
        listener, client, server = connected(env)
        client.send(b"never read")

        def reset() -> None:
            env.time.sleep(0.05)
            server.send(b"ab")
            env.time.sleep(0.05)
            server.close()

        env.spawn(reset)
        seen = [client.recv(5, so.MSG_WAITALL), outcome(client.recv, 5), outcome(client.recv, 5)]
        listener.close(), client.close()
        return seen

    assert agree(program) == [b"ab", "ECONNRESET", b""]


def test_send_cut_short_by_a_reset_reports_what_it_sent_first() -> None:
    def program(env: Env) -> list[Any]:
        listener, client, server = connected(env)

        def reset() -> None:
            env.time.sleep(0.1)
            server.close()

        env.spawn(reset)
        sent = client.send(bytes(50_000_000))
        seen = [0 < sent < 50_000_000, outcome(client.send, b"x"), outcome(client.send, b"x")]
        listener.close(), client.close()
        return seen

    assert agree(program) == [True, "ECONNRESET", "EPIPE"]


def test_sleeping_reader_is_not_woken_when_its_peer_makes_room() -> None:
    world = World()

    def program(env: Env) -> list[Any]:
        listener, client, server = connected(env)
        client.send(b"taken away")
        reader = process.thread(client.recv, 1)
        env.time.sleep(1)
        before = reader.nr_switches
        server.recv(100)
        env.time.sleep(1)
        seen = [reader.nr_switches - before]
        server.send(b"x")
        env.time.sleep(1)
        seen += [reader.nr_switches - before, reader.result]
        listener.close(), client.close(), server.close()
        return seen

    process = world.start(program)
    world.finish(process)
    assert process.result == [0, 1, b"x"]


def test_failed_accept_gives_its_descriptor_back() -> None:
    def program(env: Env) -> list[Any]:
        with env.socket.create_server(("", 80)) as listener:
            listener.setblocking(False)
            seen = [outcome(listener.accept), listener.dup().fileno()]
        return seen

    with pytest.warns(ResourceWarning):
        assert World().run(program) == ["EAGAIN", 4]


def test_non_blocking_send_takes_what_fits_then_eagain() -> None:
    def program(env: Env) -> list[Any]:
        listener, client, server = connected(env)
        client.setblocking(False)
        sent = 0
        while isinstance(n := outcome(client.send, bytes(100_000)), int):
            sent += n
        seen = [n]
        server.setblocking(True)
        left = sent
        while left:
            left -= len(server.recv(min(left, 65536)))
        env.select.select([], [client], [], 5)
        seen.append(client.send(b"more"))
        listener.close(), client.close(), server.close()
        return seen

    assert agree(program) == ["EAGAIN", 4]


def test_peer_that_closes_with_data_unread_resets() -> None:
    def program(env: Env) -> list[Any]:
        listener, client, server = connected(env)
        client.send(b"unread")
        server.recv(1)
        server.close()
        env.time.sleep(0.05)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        with pytest.raises(BrokenPipeError):
            client.send(b"x")
        seen = [client.recv(1)]
        listener.close(), client.close()
        return seen

    assert agree(program) == [b""]


def test_half_close_still_receives() -> None:
    def program(env: Env) -> list[Any]:
        listener, client, server = connected(env)
        client.shutdown(so.SHUT_WR)
        seen = [server.recv(1), outcome(client.send, b"x"), server.send(b"answer")]
        seen += [client.recv(10), outcome(client.shutdown, 5), outcome(listener.shutdown, 5)]
        listener.close(), client.close(), server.close()
        return seen

    assert agree(program) == [b"", "EPIPE", 6, b"answer", "EINVAL", "EINVAL"]


def test_unconnected_socket_errors() -> None:
    def program(env: Env) -> list[Any]:
        with env.socket.socket() as sock:
            seen = [outcome(sock.recv, 1), outcome(sock.send, b"x"), outcome(sock.getpeername)]
            seen += [outcome(sock.shutdown, so.SHUT_RD), outcome(sock.accept)]
            sock.bind(("127.0.0.1", 0))
            seen += [outcome(sock.bind, ("127.0.0.1", 0)), sock.getsockname()[0]]
        seen += [outcome(sock.recv, 1), sock.fileno()]
        return seen

    agree(program)
