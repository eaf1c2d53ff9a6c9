"""`wire2app netsim`: two hosts on a bad wire, all drawn from a seed (after smoltcp's netsim).

`draw` says what a seed stands for, `peers` are the applications, `net` is the two hosts and the
account of what is left, `run` is one seed.
"""

from __future__ import annotations

from wire2app.netsim.run import NETSIM

__all__ = ["NETSIM"]
