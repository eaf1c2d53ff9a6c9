"""Our packetdrill scripts with the RTL NIC in the path, on both simulators."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import SEED, SIMS

from wire2app.packetdrill import OWN, OverRtl, own_scripts


@pytest.mark.parametrize("sim", SIMS)
def test_our_scripts_pass_over_the_rtl(sim: str, tmp_path: Path) -> None:
    results = list(OverRtl(sim, "fast", SEED, tmp_path)(own_scripts(), ipv6=False))
    assert len(results) >= 9
    assert [f"{r.path}:{r.line}: {r.message}" for r in results if r.status != "pass"] == []


@pytest.mark.parametrize("sim", SIMS)
def test_a_wrong_script_fails_over_the_rtl_with_its_line(sim: str, tmp_path: Path) -> None:
    (result,) = OverRtl(sim, "fast", SEED, tmp_path)([OWN / "wrong-ack.pkt"], ipv6=False)
    assert result.status == "fail" and result.line == 8
    assert "expected: 102" in result.message and "actual: 101" in result.message
