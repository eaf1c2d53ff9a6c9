"""close() with a time in SO_LINGER, towards a peer that has fallen silent."""

from __future__ import annotations

import socket as real
import struct
from typing import Any

import pytest
from tcp_netsim import both

from pystack.dev.wire import Impairment
from wire2app.netsim.net import SECOND, Net

GOOD, DEAD = Impairment(), Impairment(loss=1.0)


def left_open(socket: Any, port: int = 80) -> Any:
    """A connection with SO_LINGER of 30 s that does not block."""
    sk = socket.socket()
    sk.connect(("10.0.0.1", port))
    sk.setsockopt(real.SOL_SOCKET, real.SO_LINGER, struct.pack("ii", 1, 30))
    sk.setblocking(False)
    return sk


@pytest.mark.parametrize(
    ("explicit", "seconds"), [(True, 30), (False, 0)], ids=["close waits", "exit does not"]
)
def test_lingering_ends_with_its_time_and_a_process_that_exits_does_not_linger(
    explicit: bool, seconds: int
) -> None:
    net = Net(1, GOOD, both())
    kept: list[Any] = []

    def accept(socket: Any) -> None:
        with socket.socket() as listener:
            listener.bind(("0.0.0.0", 80))
            listener.listen(1)
            kept.append(listener.accept()[0])
            listener.settimeout(60)
            with pytest.raises(TimeoutError):
                listener.accept()

    def leave(socket: Any) -> None:
        sk = left_open(socket)
        net.wire.setting = DEAD
        kept.append(net.engine.now)
        if explicit:
            sk.close()
        else:
            kept.append(sk)

    server, client = net.hosts[0].process("server", accept), net.hosts[1].process("client", leave)
    net.run(client)
    begin = next(thing for thing in kept if isinstance(thing, int))
    assert (net.engine.now - begin) // SECOND == seconds
    net.wire.setting = GOOD
    net.run(server)
