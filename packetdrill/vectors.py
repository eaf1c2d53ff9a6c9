"""`struct iovec` and `struct msghdr` as scripts write them."""

from __future__ import annotations

from dataclasses import dataclass

from packetdrill.script import WILD
from packetdrill.values import Value


@dataclass(frozen=True)
class Message:
    """`size`: bytes of all buffers together."""

    size: int
    flags: int
    control: list[Value]


def total(vector: Value, declared: int) -> int:
    """Bytes of `[{..., 100}, {..., 200}]`; ValueError if it has not `declared` elements."""
    if len(vector) != declared:
        raise ValueError(f"iov_count {declared} does not match {len(vector)}-element iovec array")
    if any(len(part) != 2 or part[0] is not WILD for part in vector):
        raise ValueError("an iovec is written {..., length}")
    return sum(part[1] for part in vector)


def message(value: Value) -> Message:
    """A msghdr; KeyError for a missing field."""
    vector = value["msg_iov"]
    return Message(
        total(vector, len(vector)), value.get("msg_flags", 0), value.get("msg_control", [])
    )
