"""The check that runs after every test of the stack finds what is left, and by name."""

from __future__ import annotations

from typing import Any

import pytest
from leaks import shut_down

from pystack.core.engine import VirtualEngine
from pystack.core.skb import SkBuff
from pystack.host import Host


def _busy(socket: Any) -> None:
    listener = socket.create_server(("127.0.0.1", 7000))
    connected = socket.create_connection(("127.0.0.1", 7000))
    named = socket.socket(socket.AF_UNIX)
    named.bind("/run/sock")
    accepted, _ = listener.accept()
    accepted.recv(1)
    del connected, named


def test_shut_down_ends_processes_with_what_they_held() -> None:
    engine = VirtualEngine()
    host = Host(engine, "h")
    host.process("busy", _busy)
    engine.run(until=10**9)
    assert host.tcp.alive() == 3 and host.system.open_files.count > 3
    assert shut_down(engine, [host]) == {}


def _forget_packet(host: Host) -> object:
    return SkBuff(host.kernel, memoryview(b"data"))


def _forget_timer(host: Host) -> object:
    timer = host.kernel.timer(lambda: None)
    timer.mod(host.engine.now + 10**15)
    return timer


def _forget_socket(host: Host) -> object:
    return host.udp.socket(2)


def _forget_page(host: Host) -> object:
    return host.kernel.memory.alloc_pages(1)


@pytest.mark.leaves("one object on purpose")
@pytest.mark.parametrize(
    ("forget", "left"),
    [
        (_forget_packet, {"packets": 1}),
        (_forget_timer, {"timers": 1}),
        (_forget_socket, {"UDP sockets": 1}),
        (_forget_page, {"pages": 1}),
    ],
)
def test_forgotten_object_is_found(forget: Any, left: dict[str, int]) -> None:
    engine = VirtualEngine()
    host = Host(engine, "h")
    kept = forget(host)
    assert shut_down(engine, [host]) == {"h": left}
    assert kept is not None
