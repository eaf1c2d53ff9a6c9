"""Connection states (RFC 9293, 3.3.2) and the states of congestion recovery."""

from __future__ import annotations

import enum


class TcpState(enum.IntEnum):
    """Numbered as in `include/net/tcp_states.h`, which `ss` and `/proc/net/tcp` show."""

    ESTABLISHED = 1
    SYN_SENT = 2
    SYN_RECV = 3
    FIN_WAIT1 = 4
    FIN_WAIT2 = 5
    TIME_WAIT = 6
    CLOSE = 7
    CLOSE_WAIT = 8
    LAST_ACK = 9
    LISTEN = 10
    CLOSING = 11


OPENING = frozenset({TcpState.SYN_SENT, TcpState.SYN_RECV})
UNCONNECTED = frozenset({TcpState.CLOSE, TcpState.LISTEN})
NEEDS_RESET = frozenset(  # tcp_need_reset
    {
        TcpState.ESTABLISHED,
        TcpState.CLOSE_WAIT,
        TcpState.FIN_WAIT1,
        TcpState.FIN_WAIT2,
        TcpState.SYN_RECV,
    }
)
# The user closes or shuts down sending: next state, and whether that sends a FIN (3.10.4).
ON_CLOSE: dict[TcpState, tuple[TcpState, bool]] = {
    TcpState.ESTABLISHED: (TcpState.FIN_WAIT1, True),
    TcpState.SYN_SENT: (TcpState.CLOSE, False),
    TcpState.SYN_RECV: (TcpState.FIN_WAIT1, True),
    TcpState.FIN_WAIT1: (TcpState.FIN_WAIT1, False),
    TcpState.FIN_WAIT2: (TcpState.FIN_WAIT2, False),
    TcpState.CLOSE: (TcpState.CLOSE, False),
    TcpState.CLOSE_WAIT: (TcpState.LAST_ACK, True),
    TcpState.LAST_ACK: (TcpState.LAST_ACK, False),
    TcpState.LISTEN: (TcpState.CLOSE, False),
    TcpState.CLOSING: (TcpState.CLOSING, False),
}


class CaState(enum.IntEnum):
    """Where congestion control stands (`enum tcp_ca_state`)."""

    OPEN = 0
    DISORDER = 1  # duplicate ACKs or SACKs have come, too few to call it a loss
    CWR = 2  # the window is being reduced without a loss, for ECN told so
    RECOVERY = 3  # fast recovery
    LOSS = 4  # the retransmission timer expired


class ConnState(enum.Enum):
    """What the file's owner has done with the socket (`socket_state`), for connect's errors."""

    UNCONNECTED = 1
    CONNECTING = 2
    CONNECTED = 3
    DISCONNECTING = 4  # shut down before the end of connect was reported
