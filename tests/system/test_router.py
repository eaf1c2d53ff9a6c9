"""A router behind the RTL NIC: client -- wire -- NIC of the router -- veth -- third host."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cocotb
import pytest
from conftest import SEED, SIMS
from test_devices import talk
from test_live_ipv4 import judged

from pystack.core.checksum import checksum
from pystack.core.headers.icmp import ICMP_ECHO, ICMP_ECHOREPLY, IcmpHeader
from pystack.core.headers.ipv4 import IPPROTO_ICMP
from pystack.core.skb import SkBuff
from pystack.host import Host
from tb.world import CLIENT, SERVER, World, WorldSettings
from wire2app.simulator import bench_design, simulate

FAR, NEAR = "10.2.0.2", "10.2.0.1"
MTU = 1000
SIZE = 9000
MS = 1_000_000


def packed(address: str) -> bytes:
    return bytes(map(int, address.split(".")))


def ping(host: Host, to: str, size: int) -> list[bytes]:
    """Send an echo request of `size` bytes, fragments allowed; replies appear in the list."""
    replies: list[bytes] = []

    def seen(skb: SkBuff) -> bool:
        if skb.protocol == IPPROTO_ICMP and skb.buf[skb.off] == ICMP_ECHOREPLY:
            replies.append(bytes(skb.data[8:]))
        return False

    def send() -> None:
        body = bytes(i & 255 for i in range(size))
        header = IcmpHeader(ICMP_ECHO, 0, 0, 1, 1)
        header = header._replace(checksum=checksum(header.pack() + body))
        skb = SkBuff(host.kernel, memoryview(body))
        skb.push(header.pack())
        route = host.ipv4.route(packed(to))
        host.ipv4.send(skb, route, route.saddr, packed(to), IPPROTO_ICMP, dont_fragment=False)

    host.ipv4.raw_deliver = seen
    host.start(send)
    return replies


@cocotb.test()
async def router(dut: Any) -> None:
    world = World(dut, WorldSettings(seed=1, capture=Path(os.environ["W2A_CAPTURE"])))
    await world.up()
    node, client = world.server, world.client
    far = node.add_namespace("far")
    port, inside = node.add_veth(
        "veth0", bytes([2, 0, 0, 0, 2, 1]), far, "eth0", bytes([2, 0, 0, 0, 2, 2])
    )
    port.mtu = MTU
    await world.run(node.start(node.up, port, f"{NEAR}/24"))
    await world.run(far.start(far.up, inside, f"{FAR}/24"))
    far.ipv4.add_route("default", NEAR)
    client.ipv4.add_route("default", SERVER)
    node.kernel.sysctl.write("net.ipv4.ip_forward", "1")

    replies = ping(client, FAR, SIZE)
    await world.run_for(50 * MS)
    assert replies == [bytes(i & 255 for i in range(SIZE))]
    assert far.kernel.mib["IpReasmReqds"] > client.kernel.mib["IpFragCreates"]

    await talk(world, far, FAR)
    assert client.ipv4.route(packed(FAR)).mtu == MTU
    assert node.kernel.mib["IpForwDatagrams"] > 40
    assert far.ipv4.route(packed(CLIENT)).gateway == packed(NEAR)
    await world.run(node.start(node.core.stop, port), far.start(far.core.stop, inside))
    await world.down()
    assert far.kernel.skbs_alive == 0


@pytest.mark.parametrize("sim", SIMS)
def test_packets_cross_the_router_in_pieces_and_whole(sim: str, tmp_path: Path) -> None:
    capture = tmp_path / "wire.pcapng"
    simulate(
        bench_design(),
        "test_router",
        sim=sim,
        seed=SEED,
        testcase="router",
        env={"W2A_CAPTURE": str(capture)},
    ).check()
    assert judged(capture) == ""
