"""UDP over the RTL NIC: datagrams of every size both ways, fragments too, and a closed port."""

from __future__ import annotations

import errno
import socket as so
from typing import Any

import cocotb
import pytest
from conftest import SEED, SIMS

from tb.system import SERVER, WorldSettings, run_over_nic
from wire2app.simulator import bench_design, simulate

SIZES = (0, 1, 18, 512, 1472, 1473, 5000)


def server(socket: Any) -> None:
    with socket.socket(so.AF_INET, so.SOCK_DGRAM) as sock:
        sock.bind(("", 7))
        for _ in SIZES:
            data, peer = sock.recvfrom(10_000)
            sock.sendto(data[::-1], peer)


def client(socket: Any) -> tuple[list[bool], int | None]:
    with socket.socket(so.AF_INET, so.SOCK_DGRAM) as sock:
        sock.connect((SERVER, 7))
        right = []
        for size in SIZES:
            data = bytes(i % 251 for i in range(size))
            sock.send(data)
            right.append(sock.recv(10_000) == data[::-1])
        sock.connect((SERVER, 99))
        sock.send(b"nobody")
        try:
            sock.recv(1)
        except OSError as exc:
            return right, exc.errno
    return right, None


@cocotb.test()
async def datagrams_behind_the_nic(dut: Any) -> None:
    result = await run_over_nic(dut, server, client, settings=WorldSettings(seed=SEED))
    assert result == ([True] * len(SIZES), errno.ECONNREFUSED)


@pytest.mark.parametrize("sim", SIMS)
def test_datagrams_of_every_size_cross_the_nic_both_ways(sim: str) -> None:
    simulate(
        bench_design(), "test_udp_rtl", sim=sim, seed=SEED, testcase="datagrams_behind_the_nic"
    ).check()
