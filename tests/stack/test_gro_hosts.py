"""Generic receive offload between two hosts: nobody above can tell, but for fewer ACKs."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from pystack.core.engine import VirtualEngine
from pystack.core.trace import Record
from pystack.dev.wire import Link, Port, Receive
from pystack.host import Host

SECOND = 10**9


class Bursty:
    """A port whose frames arrive every 30 us, all at once, as with interrupt moderation."""

    def __init__(self, port: Port, engine: VirtualEngine) -> None:
        self.send = port.send
        self._port, self._engine = port, engine
        self._frames: list[tuple[bytes, int, int]] = []

    def on_receive(self, receive: Receive) -> None:
        def burst() -> None:
            frames, self._frames = self._frames, []
            for frame in frames:
                receive(*frame)

        def arrived(frame: bytes, start: int, end: int) -> None:
            if not self._frames:
                self._engine.call_later(30_000, burst)
            self._frames.append((frame, start, end))

        self._port.on_receive(arrived)


class Pair:
    """A sender and a receiver behind a bursty port."""

    def __init__(self, gro: bool, timestamps: int = 1) -> None:
        self.engine = VirtualEngine()
        link = Link(self.engine)
        self.hosts = []
        for number, port in ((1, link.a), (2, Bursty(link.b, self.engine))):
            host = Host(self.engine, f"h{number}")
            host.kernel.sysctl["net.ipv4.tcp_timestamps"] = timestamps
            dev = host.add_softnic("eth0", bytes([2, 0, 0, 0, 0, number]), port)
            dev.features["gro"] = gro
            host.start(host.up, dev, f"10.0.0.{number}/24")
            self.hosts.append(host)
        self.nic: Any = self.hosts[1].core.devices["eth0"].ops

    def transfer(self, data: bytes, reader: Callable[[Any, Any], Any]) -> Any:
        def serve(socket: Any) -> Any:
            with socket.create_server(("", 7000)) as listener:
                conn, _ = listener.accept()
                with conn:
                    return reader(socket, conn)

        def send(socket: Any) -> None:
            with socket.create_connection(("10.0.0.2", 7000)) as conn:
                conn.sendall(data)

        served = self.hosts[1].process("serve", serve)
        sent = self.hosts[0].process("send", send)
        self.engine.run(until=100 * SECOND, stop=lambda: not (served.alive or sent.alive))
        assert not served.tracebacks, served.tracebacks[0]
        assert not (served.alive or sent.alive)
        self.engine.run(until=self.engine.now + 200 * SECOND)
        assert [h.kernel.skbs_alive for h in self.hosts] == [0, 0]
        return served.result


def read_all(socket: Any, conn: Any) -> bytes:
    parts = []
    while part := conn.recv(65536):
        parts.append(part)
    return b"".join(parts)


DATA = random.Random(3).randbytes(300_000)


@pytest.mark.parametrize("timestamps", [0, 1])
def test_transfer_through_gro_is_the_same_with_fewer_acks(timestamps: int) -> None:
    acks = {}
    for gro in (False, True):
        pair = Pair(gro, timestamps)
        assert pair.transfer(DATA, read_all) == DATA
        assert (pair.nic.napi.gro.merged > 100) == gro
        acks[gro] = pair.hosts[1].kernel.mib["TcpOutSegs"]
        assert pair.hosts[0].kernel.mib["TcpRetransSegs"] == 0
    assert acks[True] < acks[False]


def test_reads_and_peeks_of_any_size_see_every_byte_once() -> None:
    def nibble(socket: Any, conn: Any) -> str:
        digest, rng = hashlib.sha256(), random.Random(5)
        while True:
            n = rng.choice((1, 100, 1447, 1448, 1449, 5000, 70_000))
            peeked = conn.recv(n, socket.MSG_PEEK)
            part = conn.recv(n)
            assert part.startswith(peeked)
            if not part:
                return digest.hexdigest()
            digest.update(part)

    pair = Pair(gro=True)
    assert pair.transfer(DATA, nibble) == hashlib.sha256(DATA).hexdigest()
    assert pair.nic.napi.gro.merged > 0


def _count(counter: Counter[int], record: Record) -> None:
    counter[record["packet_id"]] += 1


def test_every_merged_packet_can_be_followed_to_the_socket() -> None:
    pair = Pair(gro=True)
    seen: dict[str, Counter[int]] = {}
    trace = pair.hosts[1].kernel.trace
    for name in ("netif_receive_skb", "ip_rcv", "tcp_rcv", "sock_queue"):
        counter = seen[name] = Counter()
        trace.attach(name, partial(_count, counter))
    lengths: dict[int, int] = {}
    trace.attach("sock_queue", lambda r: lengths.update({r["packet_id"]: r["length"]}))
    pair.transfer(DATA, read_all)
    assert pair.nic.napi.gro.merged > 0
    assert sum(lengths.values()) == len(DATA)
    for name in ("ip_rcv", "tcp_rcv", "sock_queue"):
        assert set(seen[name].values()) == {1}
        assert set(lengths) <= set(seen[name])
    assert set(seen["tcp_rcv"]) <= set(seen["netif_receive_skb"])
