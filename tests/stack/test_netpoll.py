"""Goroutines over a simulated process's sockets: parking, channels, deadlines, keep-alive."""

from __future__ import annotations

import socket as so
from collections.abc import Callable
from typing import Any

import pytest
from both import Machine, both
from netpoll_echo import Echo
from programs_run import two_hosts

from labs.goroutines import Channel, Closed, Scheduler
from labs.netpoll import KEEPALIVE, Netpoll
from pystack.core.engine import VirtualEngine

CONNECTIONS = 400


def go_program(m: Machine, main: Callable[[Scheduler, Netpoll], Any]) -> Any:
    """Run `main` as the main goroutine of a program on `m`; what it returns."""
    scheduler = Scheduler(m.time.monotonic)
    poll = Netpoll(scheduler, m.socket, m.select)
    results: list[Any] = []
    scheduler.run(lambda: results.append(main(scheduler, poll)))
    poll.epoll.close()
    return results[0]


def test_echo_server_parks_hundreds_of_connections_in_one_thread() -> None:
    hosts = two_hosts()
    echo = Echo(hosts, "10.0.0.1", CONNECTIONS)
    engine = hosts[0].engine
    assert isinstance(engine, VirtualEngine)
    engine.run(until=10**12, stop=echo.ended)
    echo.check()


def test_channels_hand_over_in_order_and_close() -> None:
    def program(m: Machine) -> list[Any]:
        def main(scheduler: Scheduler, poll: Netpoll) -> list[Any]:
            numbers: Channel[int] = Channel(scheduler, 2)
            seen: list[Any] = []

            def produce() -> None:
                for number in range(5):
                    numbers.send(number)
                    seen.append(f"sent {number}")
                numbers.close()

            scheduler.go(produce)
            scheduler.sleep(0.01)
            try:
                while True:
                    seen.append(numbers.receive())
            except Closed:
                seen.append("closed")
            return seen

        return list(go_program(m, main))

    seen = both(program)
    assert [value for value in seen if isinstance(value, int)] == [0, 1, 2, 3, 4]
    assert seen[:2] == ["sent 0", "sent 1"] and seen[-1] == "closed"


def test_deadline_ends_a_read_and_close_ends_an_accept() -> None:
    def program(m: Machine) -> list[str]:
        def main(scheduler: Scheduler, poll: Netpoll) -> list[str]:
            listener = poll.listen("127.0.0.1", 7001)
            conn = poll.dial("127.0.0.1", 7001)
            accepted = listener.accept()
            conn.set_read_deadline(0.05)
            seen = []
            try:
                conn.read(10)
            except TimeoutError as error:
                seen.append(str(error))
            conn.set_read_deadline(None)
            accepted.write(b"late")
            seen.append(conn.read(10).decode())
            told: Channel[str] = Channel(scheduler)

            def accept() -> None:
                try:
                    listener.accept()
                except OSError as error:
                    told.send(str(error))

            scheduler.go(accept)
            scheduler.sleep(0.01)
            listener.close()
            seen.append(told.receive())
            conn.close(), accepted.close()
            return seen

        return list(go_program(m, main))

    assert both(program) == [
        "i/o timeout",
        "late",
        "[Errno 9] use of closed network connection",
    ]


def test_connections_have_keepalive_of_15_seconds_and_no_delay() -> None:
    def program(m: Machine) -> list[int]:
        def main(scheduler: Scheduler, poll: Netpoll) -> list[int]:
            listener = poll.listen("127.0.0.1", 7002)
            conn = poll.dial("127.0.0.1", 7002)
            other = listener.accept()
            tcp = [so.TCP_NODELAY, so.TCP_KEEPIDLE, so.TCP_KEEPINTVL]
            values = [conn.desc.sock.getsockopt(so.IPPROTO_TCP, name) for name in tcp]
            values.append(other.desc.sock.getsockopt(so.SOL_SOCKET, so.SO_KEEPALIVE))
            listener.close(), conn.close(), other.close()
            return values

        return list(go_program(m, main))

    assert both(program) == [1, KEEPALIVE, KEEPALIVE, 1]


def test_refused_and_timed_out_dials_raise() -> None:
    def program(m: Machine) -> list[str]:
        def main(scheduler: Scheduler, poll: Netpoll) -> list[str]:
            return [m.outcome(poll.dial, "127.0.0.1", 7003)]

        return list(go_program(m, main))

    assert both(program) == ["ECONNREFUSED"]


def test_deadlock_is_told_when_no_poller_could_wake_anybody() -> None:
    scheduler = Scheduler(lambda: 0.0)
    channel: Channel[int] = Channel(scheduler)
    with pytest.raises(RuntimeError, match="all goroutines are asleep"):
        scheduler.run(channel.receive)
