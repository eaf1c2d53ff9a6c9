"""The labs there are, in the order of their rows."""

from __future__ import annotations

from labs.echo import Echo
from labs.lab import Lab
from labs.lost_p3 import LostP3
from labs.syn_flood import SynFlood

LABS: tuple[type[Lab], ...] = (Echo, LostP3, SynFlood)


def lab_class(name: str) -> type[Lab]:
    """KeyError if there is none of that name."""
    return {lab.name: lab for lab in LABS}[name]
