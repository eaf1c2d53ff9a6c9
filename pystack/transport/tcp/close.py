"""The user ends it: shutdown, close, disconnect (RFC 9293, 3.10.4 and 3.10.5; `tcp_close`)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from pystack.transport.sock import RCV_SHUTDOWN, SEND_SHUTDOWN, SHUT_MASK, os_error
from pystack.transport.tcp import connect, lifecycle, output, rcvbuf, timers, timewait
from pystack.transport.tcp.constants import TIMEWAIT_LEN
from pystack.transport.tcp.lifecycle import set_state
from pystack.transport.tcp.state import NEEDS_RESET, ON_CLOSE, OPENING, ConnState, TcpState
from pystack.transport.tcp.transmit import send_active_reset

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock

_SHUTDOWN_SENDS_FIN = (TcpState.ESTABLISHED, TcpState.CLOSE_WAIT, TcpState.SYN_RECV)


def shutdown(sk: TcpSock, how: int) -> None:
    """SHUT_RD, SHUT_WR or SHUT_RDWR; EINVAL, ENOTCONN (`inet_shutdown`)."""
    if not 0 <= how <= 2:
        raise os_error(errno.EINVAL)
    mask = how + 1
    state = sk.state
    if sk.conn_state is ConnState.CONNECTING:
        unfinished = state in OPENING or state is TcpState.CLOSE
        sk.conn_state = ConnState.DISCONNECTING if unfinished else ConnState.CONNECTED
    try:
        if state is TcpState.LISTEN and not mask & RCV_SHUTDOWN:
            return
        if state in (TcpState.LISTEN, TcpState.SYN_SENT):
            disconnect(sk)
            sk.conn_state = ConnState.UNCONNECTED
            return
        sk.sk_shutdown |= mask
        if mask & SEND_SHUTDOWN and state in _SHUTDOWN_SENDS_FIN:
            close_sending(sk)
        if state is TcpState.CLOSE:
            raise os_error(errno.ENOTCONN)
    finally:
        sk.wake()


def close_sending(sk: TcpSock) -> None:
    state, fin = ON_CLOSE[sk.state]
    set_state(sk, state)
    if fin:
        output.send_fin(sk)


def close(sk: TcpSock) -> None:
    """No file refers to the socket any more; TCP finishes alone, or gives up (`__tcp_close`)."""
    begin(sk)
    orphan(sk)


def begin(sk: TcpSock) -> None:
    """The user neither reads nor writes any more; again does no harm."""
    sk.sk_shutdown = SHUT_MASK
    if sk.state is TcpState.LISTEN:
        set_state(sk, TcpState.CLOSE)
        stop_listening(sk)
    else:
        unread = rcvbuf.purge(sk)
        if sk.state is TcpState.CLOSE:
            pass
        elif unread:
            # What was not read is lost: the peer must learn that (RFC 2525, 2.17).
            sk.kernel.mib["TcpExtTCPAbortOnClose"] += 1
            _abort(sk)
        elif sk.sk_linger == 0:
            sk.kernel.mib["TcpExtTCPAbortOnData"] += 1
            disconnect(sk)
        else:
            close_sending(sk)


def _abort(sk: TcpSock) -> None:
    send_active_reset(sk)
    set_state(sk, TcpState.CLOSE)
    lifecycle.clear_timers(sk)
    lifecycle.purge_write_queue(sk)


def orphan(sk: TcpSock) -> None:
    """`sock_orphan`: from now on the end of the connection is the end of the socket."""
    sk.dead = True
    if sk.state is TcpState.FIN_WAIT2:
        timeout = timers.fin_time(sk)
        if sk.linger2 is not None and sk.linger2 < 0:
            sk.kernel.mib["TcpExtTCPAbortOnLinger"] += 1
            _abort(sk)
        elif timeout > TIMEWAIT_LEN:
            sk.sk_timer.mod(sk.kernel.now + timeout - TIMEWAIT_LEN)
        else:
            timewait.enter(sk, TcpState.FIN_WAIT2, timeout)
            return
    if sk.state is TcpState.CLOSE:
        lifecycle.clear_timers(sk)
        lifecycle.destroy(sk)


def stop_listening(sk: TcpSock) -> None:
    """Forget requests, reset connections nobody accepted (`inet_csk_listen_stop`)."""
    for req in list(sk.requests):
        req.unlink()
    while sk.accept_queue:
        child = sk.accept_queue.popleft()
        with child.lock:
            disconnect(child)
            orphan(child)


def disconnect(sk: TcpSock) -> None:
    """Back to an unconnected socket, aborting what there was (`tcp_disconnect`)."""
    old = sk.state
    if old in NEEDS_RESET:
        send_active_reset(sk)
        sk.sk_err = errno.ECONNRESET
    set_state(sk, TcpState.CLOSE)
    if old is TcpState.LISTEN:
        stop_listening(sk)
    elif old is TcpState.SYN_SENT:
        sk.sk_err = errno.ECONNRESET
    lifecycle.clear_timers(sk)
    lifecycle.purge_write_queue(sk)
    rcvbuf.purge(sk)
    connect.forget_peer(sk)
    sk.sk_shutdown = 0
    sk.init_connection()
    sk.wake()
