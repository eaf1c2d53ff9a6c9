"""getaddrinfo and what is built on it, against this machine's for what needs no name server."""

from __future__ import annotations

import socket as so
from typing import Any

import pytest

from pystack.core.engine import VirtualEngine
from pystack.host import Host
from pystack.uapi.process import Process
from pystack.uapi.sockmod import SocketModule

Answer = list[Any] | str


def simulated(hosts: dict[str, str] | None = None) -> SocketModule:
    host = Host(VirtualEngine(), "h")
    return SocketModule(Process(host.kernel, host.system, "p"), hosts)


def ask(module: Any, *args: Any) -> Answer:
    """The whole answer, or the name of the error."""
    try:
        return sorted(module.getaddrinfo(*args))
    except so.gaierror as error:
        return f"gaierror {error.errno}"


@pytest.mark.parametrize(
    "args",
    [
        ("192.0.2.1", 80),
        ("192.0.2.1", 80, so.AF_INET, so.SOCK_STREAM),
        ("192.0.2.1", "443", 0, so.SOCK_DGRAM),
        ("2001:db8::1", 80),
        ("2001:db8::1", 80, so.AF_INET6, so.SOCK_STREAM, so.IPPROTO_TCP),
        ("::ffff:10.0.0.1", 80, 0, so.SOCK_STREAM),
        (None, 80, 0, so.SOCK_STREAM, 0, so.AI_PASSIVE),
        (None, 80, so.AF_INET6, so.SOCK_STREAM, 0, so.AI_PASSIVE),
        (None, 80, so.AF_INET, so.SOCK_STREAM),
        ("fe80::1%lo", 80, 0, so.SOCK_STREAM),
        ("192.0.2.1", None),
    ],
)
def test_literals_are_answered_as_this_machine_does(args: tuple[Any, ...]) -> None:
    assert ask(simulated(), *args) == ask(so, *args)


def test_names_come_from_the_hosts_table() -> None:
    module = simulated({"web": "10.0.0.1", "six": "fd00::1"})
    stream = (so.SOCK_STREAM, so.IPPROTO_TCP, "")
    assert ask(module, "web", 80, 0, so.SOCK_STREAM) == [(so.AF_INET, *stream, ("10.0.0.1", 80))]
    assert ask(module, "six", 80, 0, so.SOCK_STREAM) == [
        (so.AF_INET6, *stream, ("fd00::1", 80, 0, 0))
    ]
    assert ask(module, "web", 80, so.AF_INET6) == f"gaierror {so.EAI_NONAME}"
    assert ask(module, "nobody", 80) == f"gaierror {so.EAI_NONAME}"
    assert ask(module, "localhost", 1, so.AF_INET6, so.SOCK_STREAM) == [
        (so.AF_INET6, *stream, ("::1", 1, 0, 0))
    ]
    assert ask(module, "web", 80, 77) == f"gaierror {so.EAI_FAMILY}"


@pytest.mark.parametrize(("dualstack", "reached"), [(True, 2), (False, 1)])
def test_a_server_of_both_families_is_reached_by_both(dualstack: bool, reached: int) -> None:
    engine = VirtualEngine()
    host = Host(engine, "h")

    def serve(socket: Any) -> list[str]:
        assert socket.has_dualstack_ipv6()
        peers = []
        with socket.create_server(
            ("", 80), family=socket.AF_INET6, dualstack_ipv6=dualstack
        ) as listener:
            for _ in range(reached):
                conn, peer = listener.accept()
                peers.append(peer[0])
                conn.close()
        return peers

    def ask_both(socket: Any) -> list[int]:
        errors = []
        for family, address in ((socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1")):
            with socket.socket(family) as sk:
                errors.append(sk.connect_ex((address, 80)))
        return errors

    server = host.process("server", serve)
    engine.run(until=1_000_000)
    client = host.process("client", ask_both)
    engine.run(until=1_000_000_000)
    assert server.result == ["::1", "::ffff:127.0.0.1"][:reached]
    assert [error == 0 for error in client.result] == [True, dualstack]
