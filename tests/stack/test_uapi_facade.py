"""The module facade: files over sockets, addresses, constants, and who may use it."""

from __future__ import annotations

import socket as so
import warnings
from typing import Any

import pytest
from uapi_world import Env, World, agree, connected, outcome

from pystack.uapi.sockmod import SocketModule


def test_makefile_reads_lines_and_keeps_the_socket_open() -> None:
    def program(env: Env) -> list[Any]:
        listener, client, server = connected(env)
        file = client.makefile("rw", encoding="utf-8", newline="\n")
        client.close()
        file.write("grüße\n")
        file.flush()
        seen = [server.makefile("rb").readline()]
        server.sendall("zurück\nzwei".encode())
        server.shutdown(so.SHUT_WR)
        seen += [file.readline(), file.read()]
        file.close()
        seen += [client.fileno(), server.recv(1)]
        listener.close(), server.close()
        return seen

    assert agree(program) == ["grüße\n".encode(), "zurück\n", "zwei", -1, b""]


def test_recv_into_and_sendfile_and_connect_ex(tmp_path: Any) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"0123456789" * 1000)

    def program(env: Env) -> list[Any]:
        listener, client, server = connected(env)
        with path.open("rb") as file:
            seen: list[Any] = [client.sendfile(file, 10, 20)]
        buffer = bytearray(30)
        seen += [server.recv_into(buffer, 15), server.recv_into(memoryview(buffer)[15:])]
        seen += [bytes(buffer), outcome(client.dup().send, b"x"), server.recv(5)]
        listener.close(), client.close(), server.close()
        return seen

    agree(program)


@pytest.mark.parametrize(
    "address", ["host", ("h",), ("h", 1, 2), ("127.0.0.1", "80"), ("127.0.0.1", -1), (1, 2), None]
)
def test_malformed_addresses_raise_what_cpython_raises(address: Any) -> None:
    def program(env: Env) -> str:
        with env.socket.socket() as sock:
            try:
                sock.connect(address)
            except (TypeError, OverflowError) as exc:
                return type(exc).__name__
        return "no error"

    agree(program)


def test_module_has_the_constants_and_nothing_that_reaches_the_real_kernel() -> None:
    def program(env: Env) -> list[Any]:
        module = env.socket
        with pytest.raises(AttributeError, match="simulated host"):
            _ = module.getservbyport
        with pytest.raises(module.gaierror):
            module.create_connection(("no-such-host.example", 1))
        module.setdefaulttimeout(2.5)
        with module.socket() as sock:
            timeout = sock.gettimeout()
        return [
            module.AF_INET is so.AF_INET,
            module.timeout is TimeoutError,
            timeout,
            module.inet_aton("1.2.3.4"),
            module.gethostname(),
            module.getaddrinfo("localhost", "80", type=so.SOCK_STREAM),
        ]

    assert World().run(program) == [
        True,
        True,
        2.5,
        b"\1\2\3\4",
        "h",
        [(so.AF_INET, so.SOCK_STREAM, so.IPPROTO_TCP, "", ("127.0.0.1", 80))],
    ]


def test_collected_socket_closes_its_descriptor_with_a_warning() -> None:
    def program(env: Env) -> int:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            env.socket.socket()
            assert [w.category for w in caught] == [ResourceWarning]
        with env.socket.socket() as sock:
            return int(sock.fileno())

    assert World().run(program) == 3


def test_modules_work_only_in_threads_of_their_process() -> None:
    world = World()
    module = SocketModule(world.process())
    with pytest.raises(RuntimeError, match="outside the process"):
        module.socket()
    with pytest.raises(AssertionError, match="outside the process"):
        world.finish(world.start(lambda env: module.socket()))
