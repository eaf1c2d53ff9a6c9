"""Reducing the window in step with what is delivered (RFC 6937), in Recovery and in CWR.

Called by `recovery`, `tlp` and, for what an ACK delivers, by `ack`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.transport.tcp import ecn
from pystack.transport.tcp.constants import INFINITE_SSTHRESH
from pystack.transport.tcp.state import CaState

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock


def set_ca_state(sk: TcpSock, state: CaState) -> None:
    sk.cw.state = state
    sk.cw.algorithm.set_state(state)


def start_reduction(sk: TcpSock) -> None:
    """`tcp_init_cwnd_reduction`."""
    cw = sk.cw
    sk.high_seq = sk.snd_nxt
    sk.undo.tlp_high_seq = None
    sk.prior_cwnd = cw.cwnd
    sk.prr_delivered = 0
    sk.prr_out = 0
    cw.cwnd_cnt = 0
    cw.ssthresh = cw.algorithm.ssthresh(cw)
    ecn.queue_cwr(sk)


def enter_cwr(sk: TcpSock) -> None:
    """Congestion without a loss: reduce the window once for what is in flight (`tcp_enter_cwr`)."""
    sk.undo.prior_ssthresh = 0
    if sk.cw.state < CaState.CWR:
        sk.undo.marker = None
        start_reduction(sk)
        set_ca_state(sk, CaState.CWR)


def reduce_cwnd(sk: TcpSock, delivered: int, lost: int, advanced: bool) -> None:
    """Set cwnd so that sending falls to ssthresh in step with what is delivered.

    Below ssthresh it grows by what is delivered (conservative bound), and as in slow start only
    while every ACK advances and nothing more is found lost (`tcp_cwnd_reduction`).
    """
    if delivered <= 0 or not sk.prior_cwnd:
        return
    cw, in_flight = sk.cw, sk.rtx.in_flight
    room = cw.ssthresh - in_flight
    sk.prr_delivered += delivered
    if room < 0:
        goal = -(-cw.ssthresh * sk.prr_delivered // sk.prior_cwnd)
        more = goal - sk.prr_out
    else:
        more = max(sk.prr_delivered - sk.prr_out, delivered)
        if advanced and not lost and cw.state is not CaState.CWR:
            more += 1  # nothing is to be repaired in CWR: there is no need to hurry
        more = min(room, more)
    # The fast retransmit itself must always go out.
    more = max(more, 0 if sk.prr_out else 1)
    cw.cwnd = in_flight + more


def end_reduction(sk: TcpSock) -> None:
    """cwnd is ssthresh from now on, unless the reduction has been undone."""
    cw = sk.cw
    undone = cw.state is not CaState.CWR and sk.undo.marker is None
    if cw.ssthresh < INFINITE_SSTHRESH and not undone:
        cw.cwnd = cw.ssthresh
        cw.stamp = sk.kernel.now
