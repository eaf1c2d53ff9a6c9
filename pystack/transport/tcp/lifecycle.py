"""State changes and the end of a socket: `tcp_set_state`, `tcp_done`, `tcp_reset`.

Called from everywhere in TCP; the socket is locked.
"""

from __future__ import annotations

import errno
from select import EPOLLERR
from typing import TYPE_CHECKING

from pystack.transport.sock import SHUT_MASK
from pystack.transport.tcp import keepalive, rcvbuf
from pystack.transport.tcp.state import OPENING, TcpState

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock


# What tcpCurrEstab counts, and what ends as a reset (RFC 2012).
CURR_ESTAB = frozenset({TcpState.ESTABLISHED, TcpState.CLOSE_WAIT})


def set_state(sk: TcpSock, state: TcpState) -> None:
    """Enter `state`; CLOSE leaves the tables and gives back a port nobody asked for by number."""
    old, mib = sk.state, sk.kernel.mib
    if old is state:
        return
    mib["TcpCurrEstab"] += (state in CURR_ESTAB) - (old in CURR_ESTAB)
    if state is TcpState.ESTABLISHED:
        if sk.sk_keepalive:
            keepalive.start(sk)
    elif state is TcpState.CLOSE:
        if old in CURR_ESTAB:
            mib["TcpEstabResets"] += 1
        sk.tcp.tables.unhash(sk)
        if not sk.bound_port:
            put_port(sk)
    tracepoint = sk.tcp.tp_set_state
    if tracepoint.enabled:
        tracepoint(sk, old, state)
    sk.state = state


def put_port(sk: TcpSock) -> None:
    if sk.holds_port:
        sk.tcp.tables.put_port(sk, sk.lport)
        sk.holds_port = False


def clear_timers(sk: TcpSock) -> None:
    sk.xmit_pending = None
    sk.xmit_timer.delete()
    sk.delack_timer.delete()
    if sk.pacing is not None:
        sk.pacing.timer.delete()
    sk.ack.pending = 0
    sk.sk_timer.delete()


def purge_write_queue(sk: TcpSock) -> None:
    sk.unsent.clear()
    sk.rtx.clear()
    sk.wmem_queued = 0


def done(sk: TcpSock) -> None:
    """The connection is over (`tcp_done`); the user may still read what has arrived."""
    if sk.state in OPENING:
        sk.kernel.mib["TcpAttemptFails"] += 1
    set_state(sk, TcpState.CLOSE)
    clear_timers(sk)
    sk.sk_shutdown = SHUT_MASK
    if sk.dead:
        destroy(sk)
    else:
        sk.wake()


def destroy(sk: TcpSock) -> None:
    """Nobody refers to the socket any more (`inet_csk_destroy_sock`)."""
    purge_write_queue(sk)
    rcvbuf.purge(sk)
    put_port(sk)
    sk.tcp.sockets.pop(sk, None)


def fail(sk: TcpSock, error: int) -> None:
    """End the connection with an error for the user."""
    sk.sk_err = error
    purge_write_queue(sk)
    done(sk)
    if not sk.dead:
        sk.wake(EPOLLERR)


def reset(sk: TcpSock) -> None:
    """An acceptable RST came (RFC 9293, 3.10.7.4; `tcp_reset`)."""
    if sk.state is TcpState.CLOSE:
        return
    errors = {TcpState.SYN_SENT: errno.ECONNREFUSED, TcpState.CLOSE_WAIT: errno.EPIPE}
    fail(sk, errors.get(sk.state, errno.ECONNRESET))


def write_error(sk: TcpSock) -> None:
    """Retransmission was given up (`tcp_write_err`): ETIMEDOUT, or what ICMP said."""
    sk.kernel.mib["TcpExtTCPAbortOnTimeout"] += 1
    fail(sk, sk.sk_err_soft or errno.ETIMEDOUT)
