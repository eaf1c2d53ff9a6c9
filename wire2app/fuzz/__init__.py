"""`wire2app fuzz`: frames nobody would send, by the million, against one host.

`frames` makes and damages them, `target` is the host under fire and its peer, `run` is one seed.
"""

from __future__ import annotations

from wire2app.fuzz.run import FUZZ

__all__ = ["FUZZ"]
