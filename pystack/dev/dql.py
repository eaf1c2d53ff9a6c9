"""Byte queue limits: no more in the ring than keeps the device busy (`lib/dynamic_queue_limits.c`).

What is beyond the limit waits in the queueing discipline, where its order can still be chosen.
"""

from __future__ import annotations

MAX_LIMIT = 1879048192  # DQL_MAX_LIMIT
HOLD_NS = 1_000_000_000


class ByteQueueLimit:
    """`sent` and `completed` count bytes; `full`: the stack has to wait for a completion.

    The limit grows when the device ran dry although the stack had more, and shrinks to what was
    really needed when for a second there always was some slack.
    """

    def __init__(self) -> None:
        self.limit = 0
        self.min_limit = 0
        self.stops = 0
        self.reset()

    def reset(self) -> None:
        """The ring is empty (`netdev_tx_reset_queue`)."""
        self.queued = self.done = 0
        self._limited = False
        self._slack: int | None = None
        self._slack_since = 0

    @property
    def inflight(self) -> int:
        return self.queued - self.done

    @property
    def full(self) -> bool:
        if self.queued - self.done > self.limit:
            self._limited = True
            self.stops += 1
            return True
        return False

    def sent(self, length: int) -> None:
        self.queued += length

    def completed(self, length: int, now: int) -> bool:
        """The device has let go of `length` bytes at `now` ns; True if somebody waits for that."""
        self.done += length
        left = self.queued - self.done
        waited, self._limited = self._limited, False
        if waited and not left:
            self.limit = min(self.limit + length, MAX_LIMIT)
            self._slack, self._slack_since = None, now
        elif left > 0:
            self._slack = left if self._slack is None else min(self._slack, left)
            if now - self._slack_since > HOLD_NS:
                self.limit = max(self.limit - self._slack, self.min_limit)
                self._slack, self._slack_since = None, now
        return waited
