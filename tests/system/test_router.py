"""A router behind the RTL NIC: client - wire - NIC of the router - a link of 1000 bytes - far."""

from __future__ import annotations

import errno
import os
import socket as so
from pathlib import Path
from typing import Any

import cocotb
import pytest
from conftest import SEED, SIMS
from test_devices import client as sender
from test_devices import server as receiver
from test_live_ipv4 import judged

from pystack.core.drop import Drop
from pystack.dev.wire import Link
from pystack.host import Host
from tb import accounts
from tb.world import SERVER, World, WorldSettings
from wire2app.simulator import bench_design, simulate

FAR, NEAR = "10.2.0.2", "10.2.0.1"
FAR_MAC, NEAR_MAC = bytes([2, 0, 0, 0, 2, 2]), bytes([2, 0, 0, 0, 2, 1])
MTU = 1000
DATA = bytes(i % 251 for i in range(9000))
STREAM = bytes(i * i % 251 for i in range(20_000))
IP_MTU_DISCOVER, IP_RECVERR, IP_PMTUDISC_DONT = 10, 11, 0


def packed(address: str) -> bytes:
    return bytes(map(int, address.split(".")))


def echo(socket: Any) -> None:
    with socket.socket(so.AF_INET, so.SOCK_DGRAM) as sock:
        sock.setsockopt(so.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
        sock.bind(("", 7))
        data, peer = sock.recvfrom(10_000)
        sock.sendto(data[::-1], peer)


def ask(socket: Any) -> tuple[bool, int | None]:
    """Does a long datagram come back whole, and what becomes of one with too few hops?"""
    with socket.socket(so.AF_INET, so.SOCK_DGRAM) as sock:
        sock.setsockopt(so.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
        sock.setsockopt(so.IPPROTO_IP, IP_RECVERR, 1)
        sock.settimeout(5)
        sock.connect((FAR, 7))
        sock.send(DATA)
        whole = sock.recv(10_000) == DATA[::-1]
        sock.setsockopt(so.IPPROTO_IP, so.IP_TTL, 1)
        sock.send(b"no further")
        try:
            sock.recv(1)
        except OSError as exc:
            return whole, exc.errno
    return whole, None


def sent(frames: list[bytes]) -> list[tuple[int, bytes]]:
    """The client's segments to port 80: where in the stream their bytes stand, and the bytes."""
    segments: list[tuple[int, bytes]] = []
    for frame in frames:
        if (frame[12:14], frame[23], frame[36:38]) == (b"\x08\0", so.IPPROTO_TCP, b"\0P"):
            end = 14 + int.from_bytes(frame[16:18], "big")
            data = frame[34 + (frame[46] >> 4) * 4 : end]
            segments.append((int.from_bytes(frame[38:42], "big"), data))
    first = segments[0][0] + 1  # behind the SYN
    return [(seq - first, data) for seq, data in segments[1:] if data]


@cocotb.test()
async def router(dut: Any) -> None:
    frames: list[bytes] = []

    def into_the_nic(direction: str, frame: bytes, start: int, end: int) -> None:
        if direction == "tx":
            frames.append(frame)

    capture = Path(os.environ["W2A_CAPTURE"])
    world = World(dut, WorldSettings(seed=SEED, capture=capture, probes=[into_the_nic]))
    await world.up()
    node, client, link = world.server, world.client, Link(world.engine)
    far = Host(world.engine, "far", seed=SEED)
    port = node.add_softnic("eth1", NEAR_MAC, link.a)
    inside = far.add_softnic("eth0", FAR_MAC, link.b)
    port.mtu = MTU
    await world.run(node.start(node.up, port, f"{NEAR}/24"))
    await world.run(far.start(far.up, inside, f"{FAR}/24"))
    far.ipv4.add_route("default", NEAR)
    client.ipv4.add_route("default", SERVER)
    node.kernel.sysctl.write("net.ipv4.ip_forward", "1")

    serving, asking = far.process("echo", echo), client.process("ask", ask)
    await world.run(serving, asking)
    assert asking.result == (True, errno.EHOSTUNREACH), asking.tracebacks
    assert node.kernel.drops[Drop.IP_TTL_EXCEEDED] == 1
    # Client and far made seven pieces each; the narrow link needs more
    assert far.kernel.mib["IpReasmReqds"] == 7 + node.kernel.mib["IpFragOKs"] == 13
    assert client.kernel.mib["IpReasmReqds"] == 7

    serving = far.process("receiver", receiver, FAR)
    await world.run_for(1_000_000)  # it listens
    asking = client.process("sender", sender, FAR, STREAM)
    await world.run(serving, asking)
    assert (serving.result, asking.result) == (STREAM, STREAM.upper())
    segments = sent(frames)
    assert all(STREAM[at : at + len(data)] == data for at, data in segments)
    assert sum(len(data) for _, data in segments) > len(STREAM), "nothing was resent"
    assert client.ipv4.route(packed(FAR)).mtu == MTU
    assert node.kernel.drops[Drop.IP_TOO_BIG] > 0
    assert node.kernel.mib["IpForwDatagrams"] > 40
    await world.down()
    await world.run(
        node.start(node.down, port),
        far.start(far.down, inside),
    )
    bad = [line for line in accounts.balance(world) if not line.ok]
    assert not bad, bad
    assert node.kernel.skbs_alive == far.kernel.skbs_alive == 0


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
    # What was too long is sent again in smaller pieces: putting the stream together, tshark warns
    # that they overlap what it has.  That the bytes are the same has been asserted above.
    assert judged(capture, "-otcp.desegment_tcp_streams:FALSE") == ""
