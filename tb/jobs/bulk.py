"""Bulk TCP from application to application over the RTL NIC, measured."""

from __future__ import annotations

from typing import Any

from tb import stopwatch
from tb.world import SERVER, World, WorldSettings

PORT = 5001
MSS = 1460
CHUNK = 65536
# 16 frames or 19 us: so that a poll finds a batch, as with a driver's coalescing.
MODERATION_COUNT, MODERATION_CYCLES = 16, 3000
WARM = 2 * CHUNK  # more than the wire holds: slow start is over


class _Count:
    """Bytes the receiving application has got so far; `stop` ends the sender."""

    received = 0
    stop = False


def _source(conn: Any, count: _Count) -> None:
    piece = bytes(CHUNK)
    while not count.stop:
        conn.sendall(piece)


def _sink(conn: Any, count: _Count) -> None:
    while piece := conn.recv(CHUNK):
        count.received += len(piece)


def _server(socket: Any, work: Any, count: _Count) -> None:
    with socket.create_server(("", PORT)) as listener:
        conn, _ = listener.accept()
        with conn:
            work(conn, count)


def _client(socket: Any, work: Any, count: _Count) -> None:
    with socket.create_connection((SERVER, PORT)) as conn:
        work(conn, count)


async def bulk_tcp(dut: Any, job: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    """Direction "rx": into the host behind the NIC.  `frames` are segments of 1460 bytes.

    Time stamps are off, so that a full segment carries 1460 bytes of data.
    """
    settings = WorldSettings(
        seed=job["seed"], moderation_count=MODERATION_COUNT, moderation_cycles=MODERATION_CYCLES
    )
    world = World(dut, settings)
    for host in (world.server, world.client):
        host.kernel.sysctl["net.ipv4.tcp_timestamps"] = 0
    await world.up()
    count, receiving = _Count(), case["direction"] == "rx"
    serving = world.server.process("iperf -s", _server, _sink if receiving else _source, count)
    asking = world.client.process("iperf -c", _client, _source if receiving else _sink, count)
    await world.engine.run(stop=lambda: count.received > WARM)
    result = await stopwatch.measure(
        world.bench, case["seconds"], case.get("profile", False), lambda: count.received // MSS
    )
    count.stop = True
    await world.run(serving, asking)
    for process in (serving, asking):
        if process.tracebacks:
            raise RuntimeError(f"{process.name} crashed:\n{process.tracebacks[0]}")
    await world.down()
    world.bench.bus.close()
    return result
