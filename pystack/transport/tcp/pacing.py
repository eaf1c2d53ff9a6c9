"""Pacing: bursts of a few segments spread over the round trip instead of a window at once.

`tcp_pacing_check` (`net/ipv4/tcp_output.c`).  Where Linux hands packets with their departure times
to the `fq` queueing discipline, TCP here holds them itself until then, as Linux does on a device
without `fq` for a socket that asked to be paced.  Retransmissions are not held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.transport.tcp.constants import SEC
from pystack.transport.tcp.tso import pacing_rate

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock

UNPACED_SEGMENTS = 10  # the initial window goes out at once


class Pacing:
    """When the next burst of one socket may leave: `next_at`, in ns."""

    __slots__ = ("_bytes", "_previous", "_sent", "_sk", "next_at", "timer")

    def __init__(self, sk: TcpSock) -> None:
        self._sk = sk
        self.timer = sk.kernel.timer(self._expired)
        self.next_at = self._previous = sk.kernel.now
        self._bytes = 0  # payload of the present burst
        self._sent = 0  # segments ever

    def may_send(self) -> bool:
        """If not, the timer will go on with the queue."""
        now = self._sk.kernel.now
        if self.next_at > now:
            self.timer.mod(self.next_at)
            return False
        self._previous, self.next_at = self.next_at, now
        return True

    def sent(self, nbytes: int) -> None:
        """A segment with `nbytes` of payload has been sent."""
        self._bytes += nbytes
        self._sent += 1

    def end_burst(self) -> None:
        """When may the next one go?"""
        nbytes, self._bytes = self._bytes, 0
        rate = pacing_rate(self._sk)
        if not nbytes or not rate or self._sent < UNPACED_SEGMENTS:
            return
        duration = nbytes * SEC // rate
        # Up to half of it may make good for having left late (`tcp_update_skb_after_send`).
        credit = self.next_at - self._previous
        self.next_at += duration - min(duration // 2, credit)

    def _expired(self) -> None:
        self._sk.lock.run(self._sk.continue_sending)


def start(sk: TcpSock) -> None:
    """An established connection is paced if its device has the `fq` discipline."""
    if sk.pacing is None and sk.route is not None and sk.route.dev.qdisc == "fq":
        sk.pacing = Pacing(sk)
