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

    def cong_avoid(self, cw: CongestionWindow, acked: int) -> None:
        if not cw.is_limited():
            return
        if cw.in_slow_start:
            acked = cw.slow_start(acked)
            if not acked:
                return
        cw.avoid_additively(cw.cwnd, acked)
