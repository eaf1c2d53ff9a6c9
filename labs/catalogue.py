"""The labs there are, in the order of their rows."""

from __future__ import annotations

from labs.bdp import Bdp
from labs.echo import Echo
from labs.fd_leak import FdLeak
from labs.graceful_close import GracefulClose
from labs.handshake import Handshake
from labs.interrupt_storm import InterruptStorm
from labs.keepalive import KeepAlive
from labs.kube_proxy import KubeProxy
from labs.lab import Lab
from labs.lost_p3 import LostP3
from labs.multiplex import Multiplex
from labs.port_bomb import PortBomb
from labs.reuseport import ReusePort
from labs.slow_accept import SlowAccept
from labs.slow_reader import SlowReader
from labs.syn_flood import SynFlood

LABS: tuple[type[Lab], ...] = (
    *(Echo, PortBomb, FdLeak, Multiplex, Handshake, LostP3, SlowReader, SynFlood),
    *(SlowAccept, KubeProxy, KeepAlive, ReusePort, Bdp, InterruptStorm, GracefulClose),
)


def lab_class(name: str) -> type[Lab]:
    """KeyError if there is none of that name."""
    return {lab.name: lab for lab in LABS}[name]
