"""What stands on the RTL NIC besides IP: XDP programs, VLAN devices, a bridge to a Pod."""

from __future__ import annotations

from typing import Any

import cocotb
import pytest
from conftest import SEED, SIMS

from pystack.core.drop import Drop
from pystack.core.skb import SkBuff
from pystack.core.task import Task
from pystack.dev.xdp import XdpAction, XdpBuff
from pystack.host import NetNamespace
from tb import accounts
from tb.world import CLIENT_MAC, SERVER, SERVER_MAC, World, WorldSettings
from wire2app.simulator import bench_design, simulate

EXPERIMENTAL = 0x88B5  # ethertype for local experiments (IEEE 802)
POD = "10.0.0.3"
POD_MAC, PORT_MAC, BRIDGE_MAC = (bytes([2, 0, 0, 0, 1, n]) for n in (3, 4, 5))
SECOND = 1_000_000_000


def server(socket: Any, address: str) -> bytes:
    with socket.create_server((address, 80)) as listener:
        conn, _ = listener.accept()
        with conn:
            data = b""
            while piece := conn.recv(65536):
                data += piece
            conn.sendall(data.upper())
            return data


def client(socket: Any, address: str, data: bytes) -> bytes:
    with socket.create_connection((address, 80)) as conn:
        conn.sendall(data)
        conn.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := conn.recv(65536):
            answer += piece
        return answer


async def talk(world: World, at: NetNamespace, address: str, nbytes: int = 20_000) -> None:
    data = b"abcd" * (nbytes // 4)
    serving = at.process("server", server, address)
    await world.run_for(1_000_000)  # it listens
    asking = world.client.process("client", client, address, data)
    await world.run(serving, asking, limit=60 * SECOND)
    assert not serving.tracebacks + asking.tracebacks, (serving.tracebacks, asking.tracebacks)
    assert (serving.result, asking.result) == (data, data.upper())


def check(world: World) -> None:
    bad = [line for line in accounts.balance(world) if not line.ok]
    assert not bad, bad


@cocotb.test()
async def xdp_verdicts(dut: Any) -> None:
    """Frames of one type come back, of another vanish, and a connection goes on beside them."""
    back: list[bytes] = []

    def arrived(direction: str, frame: bytes, start: int, end: int) -> None:
        if direction == "rx" and frame[12:14] == EXPERIMENTAL.to_bytes(2, "big"):
            back.append(frame)

    def program(buff: XdpBuff) -> int:
        data = buff.data
        if data[12:14] != EXPERIMENTAL.to_bytes(2, "big"):
            return XdpAction.PASS
        if data[14] & 1:
            return XdpAction.DROP
        data[0:6], data[6:12] = bytes(data[6:12]), bytes(data[0:6])
        return XdpAction.TX

    world = World(dut, WorldSettings(seed=1, probes=[arrived]))
    await world.up()
    world.nic.dev.set_xdp(program)

    def inject() -> None:
        for n in range(100):
            header = SERVER_MAC + CLIENT_MAC + EXPERIMENTAL.to_bytes(2, "big")
            skb = SkBuff(world.client.kernel, memoryview(header + bytes([n]) * (46 + n)))
            skb.dev = world.softnic.dev
            world.client.core.queue_xmit(skb)

    injecting: Task = world.client.start(inject)
    await talk(world, world.server, SERVER)
    await world.run(injecting)
    header = CLIENT_MAC + SERVER_MAC + EXPERIMENTAL.to_bytes(2, "big")
    assert back == [header + bytes([n]) * (46 + n) for n in range(0, 100, 2)]
    drops = world.server.kernel.drops
    assert (drops[Drop.XDP_DROP], drops[Drop.XDP_ABORTED]) == (50, 0)
    assert world.client.kernel.drops[Drop.ETH_UNKNOWN_PROTOCOL] == 50
    await world.down()
    check(world)


@cocotb.test()
async def vlan(dut: Any) -> None:
    """A VLAN of the wire beside the untagged network, with full frames."""
    world = World(dut)
    await world.up()
    for host, real, address in (
        (world.server, world.nic.dev, "10.0.5.1"),
        (world.client, world.softnic.dev, "10.0.5.2"),
    ):
        await world.run(host.start(host.up, host.add_vlan(real, 5), f"{address}/24"))
    await talk(world, world.server, "10.0.5.1")
    await talk(world, world.server, SERVER)
    assert world.server.core.devices["eth0.5"].stats.rx_bytes > 20_000
    await world.down()
    check(world)


@cocotb.test()
async def pod_behind_a_bridge(dut: Any) -> None:
    """The NIC is a port of a bridge; a network namespace with its own MAC address is another."""
    world = World(dut)
    await world.bench.start()
    node = world.server
    pod = node.add_namespace("pod")
    bridge = node.add_bridge("br0", BRIDGE_MAC)
    port, inside = node.add_veth("veth0", PORT_MAC, pod, "eth0", POD_MAC)
    for dev in (world.nic.dev, port):
        bridge.add_port(dev)
        await world.run(node.start(node.core.open, dev))
    await world.run(
        node.start(node.up, bridge.dev, f"{SERVER}/24"),
        pod.start(pod.up, inside, f"{POD}/24"),
        world.client.start(world.client.up, world.softnic.dev, "10.0.0.2/24"),
    )
    await talk(world, pod, POD)
    await talk(world, node, SERVER)
    assert pod.kernel.mib["TcpPassiveOpens"] == node.kernel.mib["TcpPassiveOpens"] == 1
    await world.down()
    assert pod.kernel.skbs_alive == 0


@pytest.mark.parametrize("sim", SIMS)
@pytest.mark.parametrize("testcase", ["xdp_verdicts", "vlan", "pod_behind_a_bridge"])
def test_over_rtl(sim: str, testcase: str) -> None:
    simulate(bench_design(), "test_devices", sim=sim, seed=SEED, testcase=testcase).check()
