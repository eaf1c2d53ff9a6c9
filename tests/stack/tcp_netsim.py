"""Applications for tests on `Net`, the two hosts of `wire2app netsim`."""

from __future__ import annotations

import hashlib
import random
from typing import Any

from wire2app.netsim.net import HostSettings, Net
from wire2app.netsim.peers import payload


def both(**settings: Any) -> tuple[HostSettings, HostSettings]:
    """The same settings for both hosts."""
    return HostSettings(**settings), HostSettings(**settings)


def echo_server(socket: Any, port: int = 80) -> int:
    """Sends back what it gets until the client shuts down; returns the bytes."""
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", port))
        listener.listen(4)
        conn, _ = listener.accept()
    total = 0
    with conn:
        while data := conn.recv(20_000):
            conn.sendall(data)
            total += len(data)
    return total


def sink_and_source(socket: Any, size: int, seed: int, port: int = 80) -> str:
    """Reads to the end, then sends `size` bytes; returns the hash of what came."""
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", port))
        listener.listen(4)
        conn, _ = listener.accept()
    digest = hashlib.sha256()
    with conn:
        while data := conn.recv(65536):
            digest.update(data)
        conn.sendall(payload(size, f"server/{seed}"))
    return digest.hexdigest()


def client(socket: Any, size: int, seed: int, port: int = 80) -> str:
    """The other end of `sink_and_source`, writing in pieces of all sizes."""
    rng = random.Random(f"client/{seed}")
    data = memoryview(payload(size, f"client/{seed}"))
    digest = hashlib.sha256()
    with socket.socket() as sk:
        sk.connect(("10.0.0.1", port))
        while data:
            n = rng.choice([1, 100, 1448, 5000, 70_000])
            sk.sendall(data[:n])
            data = data[n:]
        sk.shutdown(socket.SHUT_WR)
        while answer := sk.recv(rng.choice([1, 1000, 65536])):
            digest.update(answer)
    return digest.hexdigest()


def sha(size: int, name: str) -> str:
    return hashlib.sha256(payload(size, name)).hexdigest()


def transfer(net: Net, size: int) -> None:
    """`size` bytes each way; both hashes must match."""
    seed = net.seed
    server = net.hosts[0].process("server", sink_and_source, size, seed)
    other = net.hosts[1].process("client", client, size, seed, cpu=net.settings[1].cpus - 1)
    net.run(server, other)
    assert server.result == sha(size, f"client/{seed}"), f"seed {seed}: client to server"
    assert other.result == sha(size, f"server/{seed}"), f"seed {seed}: server to client"
