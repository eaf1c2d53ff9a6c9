"""Frames and clock cycles a wall second of the whole co-simulation, and who spends the time.

The job `tb.jobs.bench_job` runs in the simulation; its text says what it reads and leaves.  rx is
towards the NIC; "tcp" is bulk data from application to application, counted in full segments.
All simulators and buses run once a round, so that ratios compare neighbours in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wire2app.bench.context import Context
from wire2app.bench.figures import Figure, Tree, TreeDict
from wire2app.bench.simjob import run_job
from wire2app.simulator import BUSES

JOB = "tb.jobs.bench_job"
DIRECTIONS = ("rx", "tx")
FRAMES: tuple[int | str, ...] = (60, 256, 1514, "tcp")
SECONDS = 0.3  # of wall time a case and round
PARTS = ("rtl", "transactors", "python")

Record = dict[str, Any]
Rounds = dict[tuple[str, str], list[list[Record]]]
"""By simulator and bus: for each round the records of all cases."""


def run(context: Context) -> list[Tree]:
    """One row a simulator, bus, direction and frame size."""
    return [
        _row(sim, bus, records)
        for (sim, bus), rounds in measured(context).items()
        for records in zip(*rounds, strict=True)
    ]


def measured(context: Context) -> Rounds:
    """All cases on all simulators; measured once, whoever asks first."""
    return context.once("cosim", lambda: _measure(context, context.simulators()))


def frames_per_second(
    context: Context, sim: str, frame_bytes: int, direction: str = "rx"
) -> dict[str, list[float]]:
    """By bus, a value a round."""
    values: dict[str, list[float]] = {}
    for (name, bus), rounds in measured(context).items():
        if name == sim:
            values[bus] = [_rate(r, "frames") for r in _of(rounds, frame_bytes, direction)]
    return values


def _of(rounds: list[list[Record]], frame_bytes: int, direction: str) -> list[Record]:
    wanted = (direction, frame_bytes)
    return [
        r for records in rounds for r in records if (r["direction"], r["frame_bytes"]) == wanted
    ]


def _measure(context: Context, sims: Sequence[str]) -> Rounds:
    seconds = SECONDS / 2 if context.quick else SECONDS
    cases = [
        {"direction": direction, "frame_bytes": size, "seconds": seconds, "profile": True}
        for size in FRAMES
        for direction in DIRECTIONS
    ]
    runs = [(sim, bus) for sim in sims for bus in BUSES]
    rounds: Rounds = {run: [] for run in runs}
    for number in range(context.rounds):
        for at, (sim, bus) in enumerate(runs):
            context.progress(number * len(runs) + at, context.rounds * len(runs))
            rounds[sim, bus].append(run_job(context, JOB, sim, bus, "cosim", {"cases": cases}))
    return rounds


def _row(sim: str, bus: str, records: Sequence[Record]) -> TreeDict:
    """One case; `records` has one a round."""
    return {
        "sim": sim,
        "bus": bus,
        "direction": records[0]["direction"],
        "frame_bytes": records[0]["frame_bytes"],
        "frames_per_s": Figure(tuple(_rate(r, "frames") for r in records)),
        "cycles_per_s": Figure(tuple(_rate(r, "cycles") for r in records)),
        "share": {part: Figure(tuple(r["share"][part] for r in records)) for part in PARTS},
    }


def _rate(record: Record, what: str) -> float:
    return float(record[what]) / float(record["wall_s"])
