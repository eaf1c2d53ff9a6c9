"""A system test in one call: two programs, the NIC under test between them, everything checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tb import accounts
from tb.world import SECOND, SERVER, World, WorldSettings

__all__ = ["SERVER", "WorldSettings", "run_over_nic"]

Program = Callable[[Any], Any]
"""`program(socket)`: what it calls `socket` is its host's, with Python's names."""


async def run_over_nic(
    dut: Any,
    server: Program,
    client: Program,
    *,
    settings: WorldSettings | None = None,
    seconds: int = 60,
) -> Any:
    """Run `server` on the host behind the NIC (at SERVER), `client` at the other end of the wire.

    Returns what `client` returned, after both have ended, both interfaces are down and the frames
    on the wire are balanced against those delivered and dropped.  AssertionError with a program's
    traceback, for something left behind, or for a balance that is off; TimeoutError after
    `seconds` of simulated time; BenchError if a bus or the wire saw a rule broken.
    """
    world = World(dut, settings)
    await world.up()
    serving = world.server.process("server", server)
    asking = world.client.process("client", client)
    try:
        await world.run(serving, asking, limit=seconds * SECOND)
    finally:
        for process in (serving, asking):
            assert not process.tracebacks, process.tracebacks[0]
    await world.down()
    wrong = [line for line in accounts.balance(world) if not line.ok]
    assert not wrong, wrong
    return asking.result
