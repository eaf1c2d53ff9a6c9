"""`hdl/synth-budget.toml`: what the one-queue NIC may cost at most, and the clock it must reach.

Each family is a table of upper bounds by kind of cell; `mhz` is a lower bound, `ns` the upper bound
of the estimate before placement.  What is not named is not bounded.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping

from wire2app.simulator import ROOT

BUDGET = ROOT / "hdl" / "synth-budget.toml"


def over_budget(family: str, figures: Mapping[str, float]) -> list[str]:
    """A sentence for each figure of a family that breaks its bound."""
    bounds = tomllib.loads(BUDGET.read_text())[family]
    broken = []
    for name, figure in figures.items():
        bound = bounds.get(name)
        if bound is None:
            continue
        if figure < bound if name == "mhz" else figure > bound:
            word = "below" if name == "mhz" else "above"
            broken.append(f"{family}: {name} {figure:g} is {word} the budget of {bound:g}")
    return broken
