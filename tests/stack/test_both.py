"""The comparison with this machine's kernel, on itself: it runs both, and it can fail."""

from __future__ import annotations

import pytest
from both import Differs, Machine, both


def echo(m: Machine) -> dict[str, object]:
    listener = m.socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        conn, _ = listener.accept()
        with conn:
            while data := conn.recv(100):
                conn.sendall(data.upper())

    m.thread(serve)
    with listener, m.socket.create_connection(listener.getsockname()) as sock:
        sock.sendall(b"hello")
        return {"echo": sock.recv(100), "again": m.outcome(sock.connect, ("127.0.0.1", 1))}


def test_a_program_gives_the_same_on_both_kernels() -> None:
    assert both(echo) == {"echo": b"HELLO", "again": "EISCONN"}


def which(m: Machine) -> dict[str, object]:
    return {"simulated": m.simulated, "pid is positive": m.sys is not None}


def test_a_difference_fails_unless_it_is_declared() -> None:
    with pytest.raises(AssertionError, match="this machine's kernel"):
        both(which)
    both(which, differs={"simulated": Differs(False, True, "that is the question")})


def test_a_declared_difference_that_is_none_fails() -> None:
    with pytest.raises(AssertionError):
        both(echo, differs={"echo": Differs(b"hello", b"HELLO", "wrong")})


def leaves_an_exception(m: Machine) -> None:
    raise ZeroDivisionError(m.simulated)


def test_an_exception_on_this_machine_is_shown() -> None:
    with pytest.raises(pytest.fail.Exception, match="ZeroDivisionError: False"):
        both(leaves_an_exception)
