"""Reno (RFC 5681; `net/ipv4/tcp_cong.c`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.transport.tcp.cc.base import CongestionControl

if TYPE_CHECKING:
    from pystack.transport.tcp.congestion import CongestionWindow


class Reno(CongestionControl):
    __slots__ = ()
    name = "reno"

    def ssthresh(self, cw: CongestionWindow) -> int:
        return max(cw.cwnd >> 1, 2)

    def avoid(self, cw: CongestionWindow, acked: int) -> None:
        cw.avoid_additively(cw.cwnd, acked)
