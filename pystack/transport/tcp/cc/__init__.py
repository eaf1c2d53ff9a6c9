"""Congestion controls by name (`net/ipv4/tcp_cong.c`); each connection has an object of its own.

`net.ipv4.tcp_congestion_control` names the one new sockets get, and a socket may choose another
with TCP_CONGESTION.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.transport.tcp.cc.base import CongestionControl
from pystack.transport.tcp.cc.cubic import Cubic
from pystack.transport.tcp.cc.reno import Reno

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock

__all__ = ["ALGORITHMS", "CongestionControl", "Cubic", "Reno", "create"]

ALGORITHMS: dict[str, type[CongestionControl]] = {"cubic": Cubic, "reno": Reno}


def create(name: str, sk: TcpSock) -> CongestionControl:
    """The algorithm called `name` for `sk`; KeyError if this host has none."""
    return ALGORITHMS[name](sk)
