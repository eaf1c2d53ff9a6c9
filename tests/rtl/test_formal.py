"""The proofs of hdl/formal: they hold, they are not empty, and each finds a deliberate mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from wire2app.formal.proofs import Proof, holds, proofs, reached

PROOFS = proofs()
QUICK = [name for name, proof in PROOFS.items() if proof.quick]
LONG = [name for name, proof in PROOFS.items() if not proof.quick]


def check(proof: Proof, folder: Path) -> None:
    assert holds(proof, folder) == ""
    assert reached(proof, folder) == ""
    assert holds(proof, folder, broken=True) != "", f"blind to {proof.change}"


@pytest.mark.parametrize("module", QUICK)
def test_quick_proof_holds_and_sees_a_mistake(module: str, tmp_path: Path) -> None:
    check(PROOFS[module], tmp_path)


@pytest.mark.regress
@pytest.mark.parametrize("module", LONG)
def test_long_proof_holds_and_sees_a_mistake(module: str, tmp_path: Path) -> None:
    check(PROOFS[module], tmp_path)
