"""What a congestion control is to TCP (`struct tcp_congestion_ops`).

`ack` and `recovery` call it; it acts on the connection's `CongestionWindow`, in segments.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from pystack.transport.tcp.congestion import CongestionWindow
    from pystack.transport.tcp.sock import TcpSock
    from pystack.transport.tcp.state import CaState


class CongestionControl(ABC):
    """One connection's; an algorithm overrides what it has a say in."""

    __slots__ = ("sk",)

    name: ClassVar[str]

    def __init__(self, sk: TcpSock) -> None:
        self.sk = sk

    def init(self) -> None:
        """The connection is established: the transfer starts."""

    @abstractmethod
    def ssthresh(self, cw: CongestionWindow) -> int:
        """The slow-start threshold after a loss."""

    def cong_avoid(self, cw: CongestionWindow, acked: int) -> None:
        """`acked` segments have been delivered: raise the window if it was in use."""
        if not cw.is_limited():
            return
        if cw.in_slow_start:
            acked = cw.slow_start(acked)
            if not acked:
                return
        self.avoid(cw, acked)

    @abstractmethod
    def avoid(self, cw: CongestionWindow, acked: int) -> None:
        """Raise the window in congestion avoidance."""

    def undo_cwnd(self, cw: CongestionWindow) -> int:
        """cwnd once a reduction has turned out to be a mistake."""
        return max(cw.cwnd, self.sk.prior_cwnd)

    def pkts_acked(self, cw: CongestionWindow, rtt_us: int) -> None:
        """An ACK came `rtt_us` after the last of the segments it acknowledges was sent."""

    def set_state(self, state: CaState) -> None:
        """Loss recovery enters `state`."""

    def tx_start(self) -> None:
        """The first data after a time in which none was in flight goes out."""
