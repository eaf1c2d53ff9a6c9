"""`nstat`: the SNMP counters of a namespace by the kernel's names (`misc/nstat.c`).

`nstat` shows what is not zero, since the last call, whose values it keeps as the real one does in
a file; `-a` since the start, `-z` zeros too, `-s` keeps nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from pystack.tools.mib import counters
from pystack.tools.tool import Net, Options

_NAMES = {"ignore": "a", "zeros": "z", "noupdate": "s", "reset": "r", "nooutput": "n"}


def nstat(net: Net, args: Sequence[str]) -> str:
    """`-a`, `-z`, `-s`, `-r`, `-n`, and patterns of names."""
    options = Options("nstat", args, "azsrn", _NAMES)
    values = counters(net)
    history = net.nstat_history
    before = {} if options.any("ar") else dict(history)
    if "s" not in options:
        history.clear()
        history.update(values)
    if "n" in options:
        return ""
    lines = ["#kernel"]
    for name, value in values.items():
        shown = value - before.get(name, 0)
        wanted = not options.args or any(fnmatchcase(name, word) for word in options.args)
        if wanted and (shown or "z" in options):
            lines.append(f"{name:<32}{shown:<16}{0.0:6.1f}")
    return "\n".join(lines) + "\n"
