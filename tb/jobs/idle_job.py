"""Two hours of silence over the RTL NIC, and what keepalive makes of them: section idle.

Reads the JSON file named by W2A_JOB: "out" and "seed".  A client opens a connection with
SO_KEEPALIVE, says nothing for two hours, and closes it; the result is {"wall_s": ..., "cycles":
..., "sim_ns": ...} of that, TIME_WAIT included.  AssertionError if a time on the wire is not what
TCP says.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import cocotb

from tb.world import SECOND, SERVER, World, WorldSettings

PORT = 7
KEEPALIVE = 7200 * SECOND
HELD = KEEPALIVE + 10 * SECOND
TIME_WAIT = 60 * SECOND
ETH_P_IP = b"\x08\x00"


class _Moments:
    """Times in ns: of SO_KEEPALIVE, of each IP packet on the wire since, of the client's close."""

    def __init__(self) -> None:
        self.switched = self.closed = 0
        self.packets: list[int] = []

    def probe(self, direction: str, frame: bytes, start: int, end: int) -> None:
        if frame[12:14] == ETH_P_IP:
            self.packets.append(start)

    def check(self) -> None:
        """Nothing but the probe and its answer before the close; the probe in time."""
        before = [at for at in self.packets if at < self.closed]
        assert len(before) == 2, f"{len(before)} packets while the connection was idle"
        late = before[0] - self.switched - KEEPALIVE
        assert 0 <= late < SECOND // 1000, f"the probe came {late} ns after two hours"


def _server(socket: Any, world: World, moments: _Moments) -> None:
    with socket.create_server(("", PORT)) as listener:
        conn, _ = listener.accept()
        with conn:
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            moments.switched = world.engine.now
            assert conn.recv(1) == b"", "nobody sends anything"


def _client(socket: Any, world: World, moments: _Moments) -> None:
    with socket.create_connection((SERVER, PORT)) as conn:
        conn.settimeout(HELD / SECOND)
        try:
            conn.recv(1)
            raise AssertionError("nobody sends anything")
        except TimeoutError:
            moments.closed = world.engine.now


@cocotb.test()
async def idle(dut: Any) -> None:
    job = json.loads(Path(os.environ["W2A_JOB"]).read_text())
    moments = _Moments()
    world = World(dut, WorldSettings(seed=job["seed"], probes=[moments.probe]))
    await world.up()
    serving = world.server.process("server", _server, world, moments)
    holding = world.client.process("client", _client, world, moments)
    await world.run_for(SECOND)
    assert world.server.kernel.mib["TcpCurrEstab"] == 1
    moments.packets.clear()
    begin, cycles, now = time.perf_counter(), world.bench.cycles, world.engine.now
    await world.run(serving, holding, limit=2 * HELD)
    await world.run_for(moments.closed + TIME_WAIT - SECOND // 10 - world.engine.now)
    assert world.client.tcp.alive() == 1, "TIME_WAIT is over too soon"
    await world.run_for(SECOND // 5)
    assert world.client.tcp.alive() == 0, "TIME_WAIT lasts longer than 60 s"
    result = {
        "wall_s": time.perf_counter() - begin,
        "cycles": world.bench.cycles - cycles,
        "sim_ns": world.engine.now - now,
    }
    for process in (serving, holding):
        assert not process.tracebacks, process.tracebacks[0]
    assert world.server.kernel.mib["TcpExtTCPKeepAlive"] == 1
    moments.check()
    await world.down()
    world.bench.bus.close()
    Path(job["out"]).write_text(json.dumps(result) + "\n")
