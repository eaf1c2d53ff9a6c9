"""The sections by name, in the order they run; ratios follow what they are ratios of."""

from __future__ import annotations

from collections.abc import Callable

from wire2app.bench import cosim, forward, idle, memory, ratios, rtl, stack, startup, xdp
from wire2app.bench.context import Context
from wire2app.bench.figures import Tree

SECTIONS: dict[str, Callable[[Context], Tree]] = {
    "cosim": cosim.run,
    "stack": stack.run,
    "xdp": xdp.run,
    "forward": forward.run,
    "ratios": ratios.run,
    "memory": memory.run,
    "rtl": rtl.run,
    "startup": startup.run,
    "idle": idle.run,
}
