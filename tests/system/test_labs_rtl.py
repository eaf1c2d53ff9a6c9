"""The labs with the server's host behind the RTL NIC: small on both simulators."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import SEED, SIMS

from labs.catalogue import LABS, lab_class
from labs.lab import Lab
from wire2app.lab import over_rtl


def silent(event: dict[str, Any]) -> None:
    """Nobody listens."""


# Only in `make regress`: many packets, which take minutes under Icarus.
HEAVY = {"verilator": [], "icarus": ["bdp", "interrupt-storm"]}


@pytest.mark.parametrize("sim", SIMS)
def test_every_lab_shows_its_mechanism_over_the_rtl_nic(sim: str, tmp_path: Path) -> None:
    run([cls for cls in LABS if cls.name not in HEAVY[sim]], sim, tmp_path)


@pytest.mark.regress
def test_labs_of_many_packets_show_their_mechanism_under_icarus(tmp_path: Path) -> None:
    run([lab_class(name) for name in HEAVY["icarus"]], "icarus", tmp_path)


def run(classes: Sequence[type[Lab]], sim: str, tmp_path: Path) -> None:
    labs = [cls.with_parameters("icarus", {}) for cls in classes]
    results = over_rtl([(lab, "") for lab in labs], sim, "fast", SEED, silent, tmp_path)
    for lab, result in zip(labs, results, strict=True):
        lab.check(result)


@pytest.mark.regress
def test_every_lab_shows_its_mechanism_with_the_numbers_for_verilator(tmp_path: Path) -> None:
    labs = [cls.with_parameters("verilator", {}) for cls in LABS]
    results = over_rtl([(lab, "") for lab in labs], "verilator", "fast", SEED, silent, tmp_path)
    for lab, result in zip(labs, results, strict=True):
        lab.check(result)


def test_a_lab_fails_over_the_rtl_nic_when_its_mechanism_is_switched_off(tmp_path: Path) -> None:
    lab = LABS[0].with_parameters("icarus", {})
    broken = [(lab, "no-wake-up")]
    (result,) = over_rtl(broken, SIMS[0], "fast", SEED, silent, tmp_path)
    with pytest.raises(Exception, match="0 of 30 lines came back right"):
        lab.check(result)
