"""User data not yet sent, in the packets it will be charged and pushed as (`sk_write_queue`).

`stream` fills packets up to the size goal, `output` takes bursts from the front.
"""

from __future__ import annotations

from typing import NamedTuple

from pystack.core.skb import EMPTY


class Chunk:
    """A packet of many segments.  `push`: the application pushed its last byte; `eor`: a record
    ends there, so nothing is added (MSG_EOR)."""

    __slots__ = ("eor", "length", "parts", "push")

    def __init__(self) -> None:
        self.parts: list[memoryview] = []
        self.length = 0
        self.push = False
        self.eor = False

    def take(self, n: int) -> memoryview:
        """The first `n` bytes; copied only when they span parts."""
        self.length -= n
        parts = self.parts
        if not n:
            return EMPTY
        first = parts[0]
        if len(first) > n:
            parts[0] = first[n:]
            return first[:n]
        if len(first) == n:
            return parts.pop(0)
        taken = []
        while n:
            part = parts.pop(0)
            if len(part) > n:
                parts.insert(0, part[n:])
                part = part[:n]
            taken.append(part)
            n -= len(part)
        return memoryview(b"".join(taken))


class Taken(NamedTuple):
    """`data` were the whole of so many `packets`, one of them pushed, and perhaps a part of the
    next."""

    data: memoryview
    packets: int
    push: bool


class WriteQueue:
    """Oldest first.  `fin`: a FIN follows the last byte."""

    __slots__ = ("chunks", "fin", "length")

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.length = 0
        self.fin = False

    def __bool__(self) -> bool:
        return self.length > 0 or self.fin

    def room(self, goal: int) -> int:
        """What the last packet can still take."""
        if not self.chunks or self.chunks[-1].eor:
            return 0
        return max(goal - self.chunks[-1].length, 0)

    def append(self, data: memoryview, new: bool) -> None:
        """Add to the last packet, or to a new one."""
        if new:
            self.chunks.append(Chunk())
        chunk = self.chunks[-1]
        chunk.parts.append(data)
        chunk.length += len(data)
        self.length += len(data)

    def take(self, n: int) -> tuple[memoryview, bool]:
        """The first `n` bytes, of the oldest packet, and whether that is all of it."""
        if not self.chunks:
            return EMPTY, True
        chunk = self.chunks[0]
        data = chunk.take(n)
        self.length -= n
        if chunk.length:
            return data, False
        self.chunks.pop(0)
        return data, True

    def take_across(self, n: int) -> Taken | None:
        """The first `n` bytes, of as many packets as it takes; None if a record ends among them
        (`tcp_can_coalesce_send_queue_head`)."""
        rest = n
        for chunk in self.chunks:
            if rest <= chunk.length:
                break
            if chunk.eor:
                return None
            rest -= chunk.length
        self.length -= n
        parts, push, packets = [], False, 0
        while n:
            chunk = self.chunks[0]
            parts.append(chunk.take(min(n, chunk.length)))
            n -= len(parts[-1])
            if not chunk.length:
                self.chunks.pop(0)
                packets += 1
                push = push or chunk.push
        return Taken(memoryview(b"".join(parts)), packets, push)

    def put_back(self, data: memoryview, push: bool) -> None:
        """What was taken could not be sent."""
        if not data:
            return
        chunk = Chunk()
        chunk.parts.append(data)
        chunk.length = len(data)
        chunk.push = push
        self.chunks.insert(0, chunk)
        self.length += len(data)

    def clear(self) -> None:
        self.chunks.clear()
        self.length = 0
        self.fin = False
