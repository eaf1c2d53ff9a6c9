"""Stream sockets at their edges: our TCP and this machine's, the same errno and the same events."""

from __future__ import annotations

import select as sel
import socket as so
import struct
from collections.abc import Callable
from typing import Any

import pytest
from uapi_world import Env, World, connected, outcome, real_env

HOME = "127.0.0.1"
RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close sends RST
SOON = 0.1


def events(env: Env, sock: Any) -> int:
    """All that poll knows of a socket."""
    poll = env.select.poll()
    poll.register(sock, 0xFFF | sel.POLLRDHUP)
    ready = poll.poll(0)
    return int(ready[0][1]) if ready else 0


def fresh(env: Env) -> list[Any]:
    with env.socket.socket() as sock:
        return [events(env, sock), outcome(sock.send, b"x"), outcome(sock.recv, 0)]


def bound_twice(env: Env) -> list[Any]:
    with env.socket.socket() as one, env.socket.socket() as two:
        one.bind((HOME, 0))
        seen = [outcome(two.bind, one.getsockname()), outcome(one.bind, (HOME, 0))]
        two.setsockopt(so.SOL_SOCKET, so.SO_REUSEADDR, 1)
        seen.append(outcome(two.bind, one.getsockname()))
        one.setsockopt(so.SOL_SOCKET, so.SO_REUSEADDR, 1)
        seen += [outcome(two.bind, one.getsockname()), outcome(one.listen), outcome(two.listen)]
        return seen


def foreign_address(env: Env) -> list[Any]:
    with env.socket.socket() as sock:
        return [outcome(sock.bind, ("192.0.2.7", 0))]


def listener(env: Env) -> list[Any]:
    with env.socket.create_server((HOME, 0)) as sock:
        target = sock.getsockname()
        return [
            *(events(env, sock), outcome(sock.recv, 1), outcome(sock.send, b"x")),
            *(outcome(sock.connect, target), outcome(sock.getpeername), outcome(sock.listen, 5)),
            *(outcome(sock.bind, (HOME, 0)), sock.getsockopt(so.SOL_SOCKET, so.SO_ACCEPTCONN)),
        ]


def connected_pair(env: Env) -> list[Any]:
    listening, client, server = connected(env)
    with listening, client, server:
        seen = [events(env, client), events(env, server), outcome(client.listen)]
        seen += [outcome(client.connect, listening.getsockname()), client.send(b"")]
        seen += [outcome(client.sendto, b"to", listening.getsockname()), server.recv(2)]
        seen += [server.getpeername() == client.getsockname(), client.getsockname()[0]]
        return [*seen, outcome(client.accept), events(env, listening)]


def shut_down_both_ways(env: Env) -> list[Any]:
    listening, client, server = connected(env)
    with listening, client, server:
        client.shutdown(so.SHUT_RD)
        seen = [events(env, client), client.recv(1), client.send(b"x"), outcome(server.recv, 1)]
        client.shutdown(so.SHUT_WR)
        env.time.sleep(SOON)
        seen += [events(env, client), events(env, server), outcome(client.send, b"x")]
        seen.append(outcome(client.shutdown, so.SHUT_WR))
        server.shutdown(so.SHUT_RDWR)
        env.time.sleep(SOON)
        seen += [events(env, server), events(env, client), outcome(server.recv, 1)]
        return [*seen, outcome(server.shutdown, so.SHUT_RDWR), outcome(client.getpeername)]


def reset_by_peer(env: Env) -> list[Any]:
    listening, client, server = connected(env)
    with listening, client:
        server.send(b"in time")
        server.setsockopt(so.SOL_SOCKET, so.SO_LINGER, RESET)
        server.close()
        env.time.sleep(SOON)
        seen = [events(env, client), client.getsockopt(so.SOL_SOCKET, so.SO_LINGER)]
        seen += [outcome(client.recv, 100), outcome(client.recv, 100), outcome(client.recv, 100)]
        return [*seen, events(env, client), outcome(client.send, b"x"), outcome(client.getpeername)]


def error_is_taken_once(env: Env) -> list[Any]:
    listening, client, server = connected(env)
    with listening, client:
        server.setsockopt(so.SOL_SOCKET, so.SO_LINGER, RESET)
        server.close()
        env.time.sleep(SOON)
        return [client.getsockopt(so.SOL_SOCKET, so.SO_ERROR) for _ in range(2)]


def closed_listener_resets_who_waits(env: Env) -> list[Any]:
    listening = env.socket.create_server((HOME, 0))
    with env.socket.create_connection(listening.getsockname()) as client:
        listening.close()
        env.time.sleep(SOON)
        return [outcome(client.recv, 1)]


def time_wait_and_reuse(env: Env) -> list[Any]:
    listening, client, server = connected(env)
    address = listening.getsockname()
    listening.close()
    server.close()  # the active closer: TIME_WAIT stays at the server's port
    client.recv(1)
    client.close()
    env.time.sleep(SOON)
    with env.socket.socket() as plain, env.socket.socket() as reuse:
        seen = [outcome(plain.bind, address)]
        reuse.setsockopt(so.SOL_SOCKET, so.SO_REUSEADDR, 1)
        return [*seen, outcome(reuse.bind, address), outcome(reuse.listen)]


def options(env: Env) -> list[Any]:
    with env.socket.socket() as sock:
        return [
            outcome(sock.getsockopt, so.SOL_SOCKET, 9999),
            outcome(sock.setsockopt, so.SOL_SOCKET, 9999, 1),
            outcome(sock.getsockopt, so.IPPROTO_TCP, 9999),
            outcome(sock.setsockopt, so.IPPROTO_TCP, 9999, 1),
            outcome(sock.setsockopt, so.IPPROTO_TCP, so.TCP_NODELAY, 1),
            outcome(sock.getsockopt, so.IPPROTO_TCP, so.TCP_NODELAY),
            outcome(sock.setsockopt, so.SOL_SOCKET, so.SO_REUSEADDR, 5),
            outcome(sock.getsockopt, so.SOL_SOCKET, so.SO_REUSEADDR),
        ]


def connect_again_after_success(env: Env) -> list[Any]:
    with env.socket.create_server((HOME, 0)) as listening, env.socket.socket() as sock:
        sock.setblocking(False)
        seen = [outcome(sock.connect, listening.getsockname())]
        env.select.select([], [sock], [], 5)
        seen += [outcome(sock.connect, listening.getsockname()) for _ in range(2)]
        return [*seen, sock.getsockopt(so.SOL_SOCKET, so.SO_ERROR)]


def refused(env: Env) -> list[Any]:
    with env.socket.create_server((HOME, 0)) as gone:
        address = gone.getsockname()
    with env.socket.socket() as sock:
        sock.setblocking(False)
        seen = [outcome(sock.connect, address)]
        env.select.select([], [sock], [], 5)
        seen += [events(env, sock), outcome(sock.connect, address)]
        return [*seen, outcome(sock.recv, 1)]


CASES: list[Callable[[Env], list[Any]]] = [
    *(fresh, bound_twice, foreign_address, listener, connected_pair, shut_down_both_ways),
    *(reset_by_peer, error_is_taken_once, closed_listener_resets_who_waits),
    *(time_wait_and_reuse, options, connect_again_after_success, refused),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_edge_is_that_of_linux(case: Callable[[Env], list[Any]]) -> None:
    assert World(transport="tcp").run(case) == case(real_env())


def test_connection_reset_before_accept_is_handed_out_and_recv_says_so() -> None:
    def program(env: Env) -> Any:
        with env.socket.create_server((HOME, 0)) as listening:
            client = env.socket.create_connection(listening.getsockname())
            name = client.getsockname()
            client.setsockopt(so.SOL_SOCKET, so.SO_LINGER, RESET)
            client.close()
            env.time.sleep(SOON)
            server, address = listening.accept()
            with server:
                return address == name, outcome(server.getpeername), outcome(server.recv, 1)

    assert program(real_env()) == (True, "ENOTCONN", "ECONNRESET")
    assert World(transport="tcp").run(program) == (True, "ENOTCONN", "ECONNRESET")
