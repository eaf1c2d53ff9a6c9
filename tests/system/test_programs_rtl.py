"""The unmodified programs of tests/programs, with the server's host behind the RTL NIC."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cocotb
import pytest
from conftest import SEED, SIMS
from programs_run import PROGRAMS, Ran, arguments, certificates, on_hosts

from tb import accounts
from tb.programs import Program, Programs
from tb.world import SECOND, SERVER, World, WorldSettings
from wire2app.simulator import bench_design, simulate

NAMES = "files http_files mail procedures threads tls waiting web".split()


def run(sim: str, names: list[str], tmp_path: Path, echo: int) -> None:
    """Run programs over the NIC; each must write what it writes in virtual time."""
    jobs = []
    for name in names:
        server: list[str] = []
        client: list[str] = []
        if name == "tls":
            server, client = certificates(tmp_path)
        if name == "asyncio_echo":
            server = client = [str(echo)]
        jobs.append((name, server, client, on_hosts(name, server, client)))
    simulate(
        bench_design(),
        "test_programs_rtl",
        sim=sim,
        seed=SEED,
        testcase="programs_behind_the_nic",
        env={"W2A_PROGRAMS": json.dumps(jobs)},
    ).check()


@cocotb.test()
async def programs_behind_the_nic(dut: Any) -> None:
    world = World(dut, WorldSettings(seed=SEED))
    await world.up()
    for name, server, client, expected in json.loads(os.environ["W2A_PROGRAMS"]):
        hosts = (world.server, world.client)
        args = arguments(SERVER, server, client)
        path = str(PROGRAMS / f"{name}.py")
        both = [Program(host, path, arg) for host, arg in zip(hosts, args, strict=True)]
        programs = Programs(both, lambda prefix, line, fd: None, {"PATH": "/usr/bin:/bin"})
        programs.start()
        await world.engine.run(stop=programs.done, until=world.engine.now + 600 * SECOND)
        output = []
        for program in both:
            process = program.process
            assert process is not None and not process.alive, (name, program)
            assert process.stderr == b"", process.stderr.decode()
            output.append(process.stdout.decode())
        assert Ran(output[0], output[1], (both[0].status, both[1].status)) == Ran(
            *expected[:2], tuple(expected[2])
        )
    await world.down()
    bad = [line for line in accounts.balance(world) if not line.ok]
    assert not bad, bad


@pytest.mark.parametrize("sim", SIMS)
def test_unmodified_programs_run_behind_the_rtl_nic(sim: str, tmp_path: Path) -> None:
    run(sim, NAMES if sim == "verilator" else ["tls", "threads"], tmp_path, 0)


def test_asyncio_echo_serves_a_thousand_connections_behind_the_rtl_nic(tmp_path: Path) -> None:
    run("verilator", ["asyncio_echo"], tmp_path, 1000)
