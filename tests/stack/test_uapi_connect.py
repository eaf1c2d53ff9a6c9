"""connect and shutdown crossing each other: an end in finite time, with Linux's errno."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from pystack.core.engine import VirtualEngine
from pystack.dev.wire import Link
from pystack.host import Host, finished
from pystack.uapi.process import Process

SECOND = 1_000_000_000
SILENT = ("10.0.0.77", 80)


def run(program: Any) -> Process:
    """The program on a host whose neighbour does not answer; it must end within 1000 s."""
    engine = VirtualEngine()
    host = Host(engine, "h")
    dev = host.add_softnic("eth0", bytes((2, 0, 0, 0, 0, 1)), Link(engine).a)
    engine.run(stop=finished(host.start(host.up, dev, "10.0.0.1/24")))
    process = host.process("p", program)
    events = 0

    def stop() -> bool:
        nonlocal events
        events += 1
        assert events < 100_000, f"no progress at {engine.now} ns"
        return not process.alive

    engine.run(stop=stop, until=1000 * SECOND)
    assert not process.alive
    assert not process.tracebacks, process.tracebacks[0]
    return process


def test_connect_after_shutdown_of_a_connecting_socket_tries_anew() -> None:
    def program(socket: Any) -> int:
        sock = socket.socket()
        sock.setblocking(False)
        assert sock.connect_ex(SILENT) == errno.EINPROGRESS
        sock.shutdown(socket.SHUT_RD)
        sock.setblocking(True)
        return int(sock.connect_ex(SILENT))

    assert run(program).result == errno.EHOSTUNREACH


@pytest.mark.parametrize("how", [0, 1, 2])
def test_shutdown_by_another_thread_ends_a_blocked_connect_with_econnreset(how: int) -> None:
    def program(socket: Any) -> int:
        sock = socket.socket()
        process = sock._sys.process
        process.thread(lambda: sock.shutdown(how))
        return int(sock.connect_ex(SILENT))

    assert run(program).result == errno.ECONNRESET


def test_connect_waits_for_the_handshake_though_poll_tells_of_an_earlier_shutdown() -> None:
    def program(socket: Any) -> list[int]:
        sock = socket.socket()
        found = [outcome_errno(lambda: sock.shutdown(socket.SHUT_RDWR))]
        return [*found, sock.connect_ex(SILENT)]

    assert run(program).result == [errno.ENOTCONN, errno.EHOSTUNREACH]


def test_shutdown_before_a_failed_connect_was_reported_leaves_nothing_to_connect() -> None:
    """SS_DISCONNECTING (`inet_shutdown`)."""

    def program(socket: Any) -> list[int]:
        sock = socket.socket()
        sock.setblocking(False)
        nobody = ("127.0.0.1", 9)
        found = [sock.connect_ex(nobody)]
        sock._sys.clock_nanosleep(SECOND)
        found.append(outcome_errno(lambda: sock.shutdown(socket.SHUT_RD)))
        return [*found, sock.connect_ex(nobody)]

    assert run(program).result == [errno.EINPROGRESS, errno.ENOTCONN, errno.EINVAL]


def outcome_errno(call: Any) -> int:
    try:
        call()
    except OSError as exc:
        return exc.errno or 0
    return 0
