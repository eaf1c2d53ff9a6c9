"""Python programs over the RTL NIC: the job that `wire2app run --rtl` runs in a simulator.

The first program's host has the NIC.  Output goes line by line to the descriptor W2A_OUTPUT_FD,
as JSON `[prefix, line, fd]`; the last line is the exit status.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cocotb

from tb.jobs.job import Job
from tb.programs import Program, Programs
from tb.straces import Straces
from tb.watchdog import Watchdog
from tb.world import SECOND, World, WorldSettings

SLICE = 10 * SECOND


@cocotb.test()
async def programs_over_the_nic(dut: Any) -> None:
    job = Job.load()
    output = os.fdopen(int(os.environ["W2A_OUTPUT_FD"]), "w", buffering=1)

    def show(prefix: str, line: str, fd: int) -> None:
        output.write(json.dumps([prefix, line, fd]) + "\n")

    os.chdir(job.raw["directory"])
    capture = job.raw["pcap"]
    world = World(
        dut, WorldSettings(seed=job.seed, capture=None if capture is None else Path(capture))
    )
    await world.up()
    hosts = (world.server, world.client)
    commands = [
        Program(host, path, args, prefix)
        for host, (prefix, path, *args) in zip(hosts, job.raw["programs"], strict=False)
    ]
    straces = Straces.from_settings(job.raw["strace"], show)
    programs = Programs(commands, show, job.raw["env"], on_start=straces.attach)
    dog = Watchdog(hosts, lambda process, text: show("wire2app", text, 2))
    programs.start()
    with dog.watching():
        while not programs.done():
            await world.engine.run(stop=programs.done, until=world.engine.now + SLICE)
            if world.engine.next_time() is None:
                programs.end_stuck()
    status = programs.finish()
    await world.down()
    output.write(json.dumps(status) + "\n")
