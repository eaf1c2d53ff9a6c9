"""Parameters of the NIC, checked before it is built.

What is legal says `hdl/nic/nic_params.sv`; Verilator elaborates that module by itself, since in the
whole NIC an absurd value makes others complain first.  Called by `builds.build`.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from wire2app.errors import ToolError
from wire2app.runners import verilator_root

CHECKS = "nic_params"
DECLARED = re.compile(r"parameter \w+ (\w+)")
SENTENCE = re.compile(r"^%Error-USERERROR: \S+ (.*)$", re.MULTILINE)


def check_parameters(sources: Sequence[Path], parameters: Mapping[str, int]) -> None:
    """Raises ToolError with the first sentence that refuses one, if the NIC is in the sources."""
    checks = [path for path in sources if path.stem == CHECKS]
    if not checks:
        return
    declared = DECLARED.findall(checks[0].read_text())
    given = [f"-G{name}={parameters[name]}" for name in declared if name in parameters]
    root = verilator_root()
    packages = [str(path) for path in sources if path.stem == "nic_regs_pkg"]
    command = [str(root / "bin" / "verilator_bin"), "--lint-only", "-Werror-USERERROR"]
    done = subprocess.run(
        [*command, "--top-module", CHECKS, *given, *packages, str(checks[0])],
        env={**os.environ, "VERILATOR_ROOT": str(root)},
        capture_output=True,
        text=True,
    )
    if found := SENTENCE.search(done.stderr):
        raise ToolError(f"{found[1]}.")
