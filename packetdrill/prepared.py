"""A system call made ready: how to make it, and what to make of its outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from packetdrill.session import Session
from pystack.uapi.syscalls import Syscalls


def nothing(_: Any) -> int:
    """Of a call that returns no number: 0."""
    return 0


def count(value: Any) -> int:
    """Of a call that returns a number."""
    return int(value or 0)


def _no_more(_: Any) -> None:
    """Nothing else to compare."""


@dataclass
class Prepared:
    """`result` makes Linux's return value of the host's; `after` compares what else came back.

    `makes_fd`: any descriptor is right, and the script's number stands for it.  `what` names the
    thing asked for, in case the host does not have it.
    """

    call: Callable[[Syscalls], Any]
    result: Callable[[Any], int] = nothing
    after: Callable[[Any], None] = _no_more
    makes_fd: bool = False
    what: str = ""


def descriptor(session: Session, script_fd: Any) -> int:
    """The live descriptor of one the script knows."""
    if not isinstance(script_fd, int):
        raise TypeError(f"descriptor {script_fd!r}")
    return session.live_fd(script_fd)
