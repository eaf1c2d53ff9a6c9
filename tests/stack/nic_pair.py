"""Two hosts with a modelled NIC each, and frames for them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from pystack.core.checksum import ones_sum
from pystack.core.engine import VirtualEngine
from pystack.dev.wire import Link, Tapped
from pystack.host import Host, NetNamespace, finished

MACS = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
SECOND = 10**9
DATA = bytes(range(251)) * 2000


class Pair:
    """Hosts `a` and `b` with a modelled NIC each; `wire` holds what passed beside `a`'s."""

    def __init__(self, cpus: int = 1, mtu: int = 1500, **settings: Any) -> None:
        self.engine = VirtualEngine()
        self.link = link = Link(self.engine)
        self.a, self.b = Host(self.engine, "a", cpus=cpus), Host(self.engine, "b")
        self.wire: list[tuple[str, bytes]] = []

        def probe(direction: str, frame: bytes, start: int, end: int) -> None:
            self.wire.append((direction, frame))

        self.dev = self.a.add_nic("eth0", MACS[0], Tapped(link.a, self.engine, probe), **settings)
        self.peer = self.b.add_nic("eth0", MACS[1], link.b)
        self.nic: Any = self.dev.ops
        self.do(self.b, self.peer.change_mtu, mtu)
        self.do(self.a, self.dev.change_mtu, mtu)
        self.do(self.a, self.a.up, self.dev, "10.77.0.1/24", "fd77::1/64")
        self.do(self.b, self.b.up, self.peer, "10.77.0.2/24", "fd77::2/64")

    def do(self, host: NetNamespace, fn: Callable[..., Any], *args: Any) -> Any:
        task = host.start(fn, *args)
        self.engine.run(stop=finished(task))
        return task.result

    def send(self, data: bytes, to: str = "10.77.0.2", port: int = 80) -> None:
        """`a` sends `data` over TCP; `b` gets just that."""
        self.transfer(self.a, self.b, data, to, port)

    def transfer(
        self,
        source: NetNamespace,
        sink: NetNamespace,
        data: bytes,
        to: str,
        port: int = 80,
        via: tuple[str, int] | None = None,
    ) -> None:
        """`via`: what the client connects to, if it is not the server."""
        got = hashlib.sha256()
        listens = False

        def server(socket: Any) -> None:
            nonlocal listens
            family = socket.AF_INET6 if ":" in to else socket.AF_INET
            listener = socket.create_server((to, port), family=family)
            listens = True
            conn, _ = listener.accept()
            listener.close()
            with conn:
                while piece := conn.recv(1 << 16):
                    got.update(piece)

        def client(socket: Any) -> None:
            with socket.create_connection(via or (to, port)) as sock:
                sock.sendall(data)

        limit = self.engine.now + 60 * SECOND
        serving = sink.process("server", server)
        self.engine.run(stop=lambda: listens, until=limit)
        processes = [serving, source.process("client", client)]
        self.engine.run(stop=lambda: not any(p.alive for p in processes), until=limit)
        assert not any(p.alive for p in processes), "the transfer does not end"
        assert [p.tracebacks for p in processes] == [[], []]
        assert got.digest() == hashlib.sha256(data).digest()

    def stats(self) -> dict[str, int]:
        stats: dict[str, int] = self.do(self.a, self.nic.get_stats)
        return stats

    def close(self) -> None:
        """Everything comes down, and nothing is left."""
        self.engine.run(until=self.engine.now + 70 * SECOND)
        for host, dev in ((self.a, self.dev), (self.b, self.peer)):
            self.do(host, host.down, dev)
            ops: Any = dev.ops
            assert ops.resources.dma.mappings == {}
            assert ops.resources.dma.faults == []
            assert (host.kernel.skbs_alive, host.kernel.memory.pages_in_use) == (0, 0)


def is_tcp(data: bytes) -> bool:
    v4, v6 = data[12:14] == b"\x08\0", data[12:14] == b"\x86\xdd"
    return (v4 and data[23] == 6) or (v6 and data[20] == 6)


def udp_frame(data: bytes, good: bool, sport: int = 5000) -> bytes:
    length = 8 + len(data)
    addresses = bytes([10, 77, 0, 2, 10, 77, 0, 1])
    header = sport.to_bytes(2, "big") + b"\x13\x88" + length.to_bytes(2, "big") + b"\0\0"
    start = int.from_bytes(addresses, "big") + 17 + length
    check = (0xFFFF - ones_sum(header + data, start)) ^ (0 if good else 1)
    ip = b"\x45\0" + (20 + length).to_bytes(2, "big") + bytes(4) + b"\x40\x11\0\0" + addresses
    ip = ip[:10] + (0xFFFF - ones_sum(ip)).to_bytes(2, "big") + ip[12:]
    return MACS[0] + MACS[1] + b"\x08\0" + ip + header[:6] + check.to_bytes(2, "big") + data
