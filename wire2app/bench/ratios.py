"""Ratios, each of two figures measured in the same run, taking turns."""

from __future__ import annotations

from wire2app.bench import cosim, wakeups
from wire2app.bench.context import Context
from wire2app.bench.figures import Tree, ratio

FRAME_BYTES = 1514


def run(context: Context) -> dict[str, Tree]:
    """`fast_over_pins_<sim>`: frames a second of 1514 bytes to the NIC; `epoll_10000_over_10`:
    time of a wake-up."""
    rates = wakeups.rates(context)
    found: dict[str, Tree] = {
        "epoll_10000_over_10": ratio(rates[10].values, rates[10_000].values),
    }
    for sim in context.simulators():
        values = cosim.frames_per_second(context, sim, FRAME_BYTES)
        found[f"fast_over_pins_{sim}"] = ratio(values["fast"], values["pins"])
    return found
