"""The example of docs/first-test.md: a server behind the NIC answers in capitals."""

import cocotb
import pytest
from conftest import SEED, SIMS

from tb.system import SERVER, run_over_nic
from wire2app.simulator import bench_design, simulate


def server(socket):
    with socket.create_server(("", 7)) as listener, listener.accept()[0] as connection:
        while data := connection.recv(4096):
            connection.sendall(data.upper())


def client(socket):
    with socket.create_connection((SERVER, 7)) as connection:
        connection.sendall(b"from the wire")
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(4096)


@cocotb.test()
async def capitals_come_back(dut):
    assert await run_over_nic(dut, server, client) == b"FROM THE WIRE"


@pytest.mark.parametrize("sim", SIMS)
def test_first(sim: str) -> None:
    simulate(bench_design(), __name__, sim=sim, seed=SEED).check()
