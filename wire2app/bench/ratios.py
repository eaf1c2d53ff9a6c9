"""Ratios, each of two figures measured in the same run, taking turns."""

from __future__ import annotations

from typing import Any

from wire2app.bench import cosim, wakeups
from wire2app.bench.context import Context
from wire2app.bench.figures import Tree, ratio
from wire2app.bench.simjob import run_job
from wire2app.simulator import Design, nic_sources

FRAME_BYTES = 1514
COCOTBEXT_JOB = "tb.jobs.cocotbext_job"
COCOTBEXT_SECONDS = 1.0  # one interrupt of 8 frames is a quarter of that on Icarus


def run(context: Context) -> dict[str, Tree]:
    """`fast_over_pins_<sim>`, `fast_over_cocotbext_<sim>`: frames a second of 1514 bytes to the
    NIC; `epoll_10000_over_10`: time of a wake-up."""
    rates = wakeups.rates(context)
    found: dict[str, Tree] = {
        "epoll_10000_over_10": ratio(rates[10].values, rates[10_000].values),
    }
    for sim in context.simulators():
        values = cosim.frames_per_second(context, sim, FRAME_BYTES)
        found[f"fast_over_pins_{sim}"] = ratio(values["fast"], values["pins"])
        found[f"fast_over_cocotbext_{sim}"] = _over_cocotbext(context, sim)
    return found


def _over_cocotbext(context: Context, sim: str) -> Tree:
    """BUS=fast against the NIC on the bus and wire models that cocotbext brings."""
    bare = Design("nic_top", nic_sources())
    fast, stock = [], []
    for _ in range(context.rounds):
        fast.append(_rate(run_job(context, cosim.JOB, sim, "fast", "ratio", _case(cosim.SECONDS))))
        case = _case(COCOTBEXT_SECONDS)
        stock.append(_rate(run_job(context, COCOTBEXT_JOB, sim, "pins", "stock", case, bare)))
    return ratio(fast, stock)


def _case(seconds: float) -> dict[str, Any]:
    return {"cases": [{"direction": "rx", "frame_bytes": FRAME_BYTES, "seconds": seconds}]}


def _rate(records: list[dict[str, Any]]) -> float:
    return float(records[0]["frames"]) / float(records[0]["wall_s"])
