"""Poll mode over the RTL NIC: a second queue in an application's hands, the kernel beside it."""

from __future__ import annotations

from typing import Any

import cocotb
import pytest
from conftest import SEED, SIMS

from labs.forwarder import forward
from pystack.core.headers.ethernet import ETH_P_IP, EthernetHeader
from pystack.core.headers.ipv4 import IP_HLEN, IPPROTO_UDP, Ipv4Header
from tb.world import CLIENT_MAC, SERVER_MAC, World, WorldSettings
from wire2app.simulator import bench_design, simulate

FRAMES = 200
MSEC = 1_000_000
TARGET = bytes((10, 9, 0, 1))


def datagram(number: int) -> bytes:
    """A flow of its own, for somebody the kernel does not know."""
    text = bytes([number]) * (18 + number * 7)
    udp = (5000 + number).to_bytes(2, "big") + b"\0\x09"
    udp += (8 + len(text)).to_bytes(2, "big") + b"\0\0" + text
    ip = Ipv4Header(IP_HLEN + len(udp), IPPROTO_UDP, bytes((10, 0, 0, 2)), TARGET).pack()
    return EthernetHeader(SERVER_MAC, CLIENT_MAC, ETH_P_IP).pack() + ip + udp


@cocotb.test()
async def forwarded_back(dut: Any) -> None:
    seen: list[bytes] = []

    def probe(direction: str, frame: bytes, start: int, end: int) -> None:
        if direction == "rx" and frame[30:34] == TARGET:
            seen.append(frame)

    world = World(dut, WorldSettings(seed=SEED, cpus=2, probes=[probe]))
    await world.up()
    task = world.server.start(forward, world.nic, 1, world.engine.now + MSEC // 4, cpu=1)
    await world.run_for(MSEC // 50)
    interrupts, polls = world.nic.queues[0].interrupts, world.nic.queues[0].napi.polls
    sent = []
    for number in range(FRAMES):
        frame = datagram(number)
        sent.append(frame)
        world.bench.wire.send(frame)
    await world.run(task)
    due = [CLIENT_MAC + SERVER_MAC + frame[12:] for frame in sent]
    await world.run_for(MSEC)
    assert task.result.packets + task.result.lost == FRAMES
    assert seen == due[: len(seen)] and len(seen) == FRAMES
    assert (world.nic.queues[0].interrupts, world.nic.queues[0].napi.polls) == (interrupts, polls)
    await the_kernel_has_its_flows_again(world)
    await world.down()


async def the_kernel_has_its_flows_again(world: World) -> None:
    def server(socket: Any) -> bytes:
        with socket.create_server(("", 7)) as listener, listener.accept()[0] as connection:
            data: bytes = connection.recv(100)
            return data

    def client(socket: Any) -> None:
        with socket.create_connection(("10.0.0.1", 7)) as connection:
            connection.sendall(b"hello")

    processes = world.server.process("server", server), world.client.process("client", client)
    await world.run(*processes, limit=1000 * MSEC)
    assert processes[0].result == b"hello"


@pytest.mark.parametrize("sim", SIMS)
def test_a_forwarder_in_poll_mode_sends_back_every_frame(sim: str) -> None:
    simulate(bench_design(Queues=3), __name__, sim=sim, seed=SEED).check()
