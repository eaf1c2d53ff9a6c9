"""Bytes through the RTL path under hardship: loss, bus errors, stalls, small rings."""

from __future__ import annotations

import hashlib
import os
import random
from typing import Any

import cocotb
import pytest
from conftest import SEED, SIMS

from pystack.dev.wire import Impairment
from tb import accounts
from tb.settings import BusSettings, Resp, Stalls
from tb.world import SERVER, World, WorldSettings
from wire2app.simulator import bench_design, simulate

PORT = 7000
CHUNK = 65536
MIB = 1 << 20


def content(nbytes: int, seed: object) -> bytes:
    return random.Random(f"content/{seed}").randbytes(nbytes)


def send_all(conn: Any, data: bytes) -> str:
    conn.sendall(data)
    return hashlib.sha256(data).hexdigest()


def receive_all(conn: Any) -> tuple[str, int]:
    digest, total = hashlib.sha256(), 0
    while piece := conn.recv(CHUNK):
        digest.update(piece)
        total += len(piece)
    return digest.hexdigest(), total


def server(socket: Any, down: bytes) -> tuple[str, int]:
    """Takes one upload until its end, then sends `down`."""
    with socket.create_server(("", PORT)) as listener:
        conn, _ = listener.accept()
        with conn:
            got = receive_all(conn)
            send_all(conn, down)
            return got


def client(socket: Any, up: bytes) -> tuple[str, int]:
    with socket.create_connection((SERVER, PORT)) as conn:
        send_all(conn, up)
        conn.shutdown(socket.SHUT_WR)
        return receive_all(conn)


async def exchange(world: World, nbytes: int) -> None:
    """`nbytes` each way, compared by hash; the world, which is up, is brought down after."""
    up, down = (content(nbytes, f"{way}/{world.settings.seed}") for way in ("up", "down"))
    serving = world.server.process("sink", server, down)
    asking = world.client.process("source", client, up)
    await world.run(serving, asking)
    for process in (serving, asking):
        assert not process.tracebacks, process.tracebacks[0]
    assert serving.result == (hashlib.sha256(up).hexdigest(), nbytes)
    assert asking.result == (hashlib.sha256(down).hexdigest(), nbytes)
    await world.down()
    bad = [line for line in accounts.balance(world) if not line.ok]
    assert not bad, bad


def run(sim: str, testcase: str, **env: object) -> None:
    settings = {f"W2A_{name.upper()}": str(value) for name, value in env.items()}
    simulate(
        bench_design(), "test_transfer", sim=sim, seed=SEED, testcase=testcase, env=settings
    ).check()


# -- in the simulator ------------------------------------------------------------------------


@cocotb.test()
async def impaired(dut: Any) -> None:
    setting = Impairment(loss=0.01, duplicate=0.01, reorder=0.01)
    world = World(dut, WorldSettings(seed=SEED, impairment=setting))
    await world.up()
    await exchange(world, int(os.environ["W2A_BYTES"]))
    wire = world.impaired
    assert wire is not None
    assert min(wire.lost, wire.duplicated, wire.reordered) > 0
    assert world.server.kernel.mib["TcpRetransSegs"] > 0
    assert world.client.kernel.mib["TcpRetransSegs"] > 0


@cocotb.test()
async def corrupted(dut: Any) -> None:
    """Flipped bits with a good FCS: only the checksums of IP and TCP can tell."""
    world = World(dut, WorldSettings(seed=SEED, impairment=Impairment(corrupt=0.02)))
    await world.up()
    await exchange(world, MIB // 4)
    drops = accounts.drops(world)
    assert drops.get("server/tcp.bad_checksum", 0) + drops.get("client/tcp.bad_checksum", 0) > 0


@cocotb.test()
async def stalled(dut: Any) -> None:
    settings = BusSettings(Stalls.everywhere(0.3), range(4, 60), range(4, 60), reorder=True)
    world = World(dut, WorldSettings(seed=SEED, bus_settings=settings))
    await world.up()
    await exchange(world, MIB // 8)


@cocotb.test()
async def small_ring(dut: Any) -> None:
    """A ring of 4: descriptors run out, frames are dropped by name, TCP makes up for it."""
    world = World(dut, WorldSettings(seed=SEED, ring_entries=4))
    await world.up()
    await exchange(world, MIB // 8)


@cocotb.test()
async def moderated(dut: Any) -> None:
    world = World(dut, WorldSettings(seed=SEED, moderation_cycles=3000, moderation_count=8))
    await world.up()
    await exchange(world, MIB // 4)
    pair = world.nic.queues[0]
    assert pair.interrupts * 2 < pair.napi.packets


@cocotb.test()
async def bus_errors(dut: Any) -> None:
    """An error on frame data stops a ring, as one on a completion does, or on a batch of
    descriptors, which is as long as data and may meet one by chance: the driver restarts it, and
    TCP sends again.
    """
    world = World(dut, WorldSettings(seed=SEED))
    await world.up()
    # Of a frame that the NIC was to cut, segments may have left before the error: the driver
    # cannot know how many, and the balance would be off by them.
    off = world.server.start(world.server.tool, "ethtool -K eth0 tso off", name="ethtool")
    await world.run(off)
    fail = world.bench.host.fail
    fail("write", resp=Resp.SLVERR, min_length=33, probability=0.01)  # longer than a completion
    fail("read", resp=Resp.DECERR, min_length=33, probability=0.01)
    ring = world.nic.queues[0].rx
    end = ring.completions + 16 * ring.entries
    fail("write", ring.completions, end, Resp.SLVERR, skip=39, times=1)
    await exchange(world, MIB // 4)
    errors = world.nic.hw_errors
    assert errors["RX_CPL_SLVERR"] == 1
    for ring, error in (("RX", "DATA_SLVERR"), ("TX", "DATA_DECERR")):
        assert 0 < errors[f"{ring}_{error}"] <= errors[error], errors
    stops = sum(count for name, count in errors.items() if name[:3] in ("RX_", "TX_"))
    assert stops / 2 <= world.nic.resets <= stops, "both rings of a queue may stop at once"


# -- from pytest -----------------------------------------------------------------------------


@pytest.mark.parametrize("sim", SIMS)
def test_one_percent_loss_duplication_and_reordering_arrive_intact(sim: str) -> None:
    run(sim, "impaired", bytes=MIB if sim == "verilator" else MIB // 4)


@pytest.mark.slow
@pytest.mark.skipif("verilator" not in SIMS, reason="16 MiB take Icarus too long")
def test_sixteen_mib_each_way_with_loss_arrive_intact() -> None:
    run("verilator", "impaired", bytes=16 * MIB)


@pytest.mark.parametrize("sim", SIMS)
def test_corrupted_frames_are_caught_by_checksums_and_made_good(sim: str) -> None:
    run(sim, "corrupted")


@pytest.mark.parametrize("sim", SIMS)
def test_stalls_and_reordered_bus_answers_change_nothing_but_time(sim: str) -> None:
    run(sim, "stalled")


@pytest.mark.parametrize("sim", SIMS)
def test_a_ring_of_four_loses_by_name_and_still_delivers(sim: str) -> None:
    run(sim, "small_ring")


@pytest.mark.parametrize("sim", SIMS)
def test_moderation_batches_interrupts(sim: str) -> None:
    run(sim, "moderated")


@pytest.mark.parametrize("sim", SIMS)
def test_bus_errors_are_survived_and_a_stopped_queue_restarted(sim: str) -> None:
    run(sim, "bus_errors")
