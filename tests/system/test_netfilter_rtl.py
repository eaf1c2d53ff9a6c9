"""kube-proxy's rules on the host behind the RTL NIC: the service address never leaves it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import cocotb
import pytest
from conftest import SEED, SIMS

from pystack.core.headers.ipv4 import IPPROTO_TCP, Ipv4Header
from pystack.core.headers.tcp import TcpHeader
from tb import accounts
from tb.world import CLIENT, World, WorldSettings
from wire2app.simulator import bench_design, simulate

SERVICE = ("10.96.0.1", 80)
PODS = {"10.0.0.11": "10.0.1.2", "10.0.0.12": "10.0.2.2", "10.0.0.13": "10.0.3.2"}
RULES = Path(__file__).parents[1] / "netfilter" / "kube-proxy.rules"
SECOND = 1_000_000_000
ASKED = 12


def rules() -> str:
    """The file's, with the Pods at addresses of the wire's other end."""
    text = RULES.read_text()
    for here, there in PODS.items():
        text = text.replace(there, here)
    return text


def pod(socket: Any, address: str) -> list[tuple[str, int]]:
    """Answers with its name, until nobody has come for a second."""
    peers: list[tuple[str, int]] = []
    with socket.create_server((address, 8080)) as listener:
        listener.settimeout(1)
        while True:
            try:
                conn, peer = listener.accept()
            except TimeoutError:
                return peers
            with conn:
                conn.sendall(conn.recv(100) + address.encode())
            peers.append(peer)


def client(socket: Any) -> list[tuple[tuple[str, int], str]]:
    answers = []
    for _ in range(ASKED):
        with socket.create_connection(SERVICE) as conn:
            conn.sendall(b"who? ")
            answers.append((conn.getpeername(), conn.recv(100).split()[1].decode()))
    return answers


@cocotb.test()
async def kube_proxy(dut: Any) -> None:
    seen: Counter[tuple[str, int]] = Counter()

    def frame(direction: str, data: bytes, start: int, end: int) -> None:
        """Both ends of every TCP segment on the wire."""
        if data[12:14] == b"\x08\x00":
            ip = Ipv4Header.parse(data, 14)
            if ip.protocol == IPPROTO_TCP:
                tcp = TcpHeader.parse(data, 14 + ip.header_length)
                for address, port in ((ip.src, tcp.sport), (ip.dst, tcp.dport)):
                    seen[".".join(map(str, address)), port] += 1

    world = World(dut, WorldSettings(seed=SEED, probes=[frame]))
    await world.up()
    node, far = world.server, world.client
    node.iptables_restore(rules())
    node.ipv4.add_route("10.96.0.0/12", CLIENT)
    for address in PODS:
        far.ipv4.add_address(far.core.devices["eth0"], f"{address}/24")
    pods = [far.process("pod", pod, address) for address in PODS]
    await world.run_for(1_000_000)  # they listen
    asking = node.process("client", client)
    await world.run(asking, *pods, limit=60 * SECOND)
    for process in (asking, *pods):
        assert not process.tracebacks, process.tracebacks[0]
    assert {name for name, _ in asking.result} == {SERVICE}
    share = Counter(who for _, who in asking.result)
    assert set(share) == set(PODS), share
    assert [len(process.result) for process in pods] == [share[address] for address in PODS]
    assert {where for where in seen if where[0].startswith("10.96")} == set()
    assert {(address, 8080) for address in PODS} <= set(seen)
    assert len(node.conntrack("-L -p tcp -d 10.96.0.1").splitlines()) == ASKED
    await world.run_for(130 * SECOND)  # every entry runs out, and nothing is left behind
    assert len(node.netfilter.conntrack) == 0
    await world.down()
    bad = [line for line in accounts.balance(world) if not line.ok]
    assert not bad, bad


@pytest.mark.parametrize("sim", SIMS)
def test_client_of_a_service_reaches_three_pods_over_the_wire(sim: str) -> None:
    simulate(
        bench_design(), "test_netfilter_rtl", sim=sim, seed=SEED, testcase="kube_proxy"
    ).check()
