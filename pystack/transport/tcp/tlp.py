"""Tail loss probe (RFC 8985, 7): send something when the ACKs of a flight's tail do not come.

`rto.schedule_loss_probe` arms its timer; called by `timers` when that fires and by `ack`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.transport.tcp import output, prr, undo
from pystack.transport.tcp.ackevent import (
    DATA_SACKED,
    DSACK_TLP,
    NOT_DUP,
    SND_UNA_ADVANCED,
)
from pystack.transport.tcp.mss import current_mss
from pystack.transport.tcp.rto import rearm_rto
from pystack.transport.tcp.seq import after, before, seq_add
from pystack.transport.tcp.state import CaState

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock


def send_probe(sk: TcpSock) -> None:
    """One segment of new data, or else the last one again; then the RTO (`tcp_send_loss_probe`)."""
    state = sk.undo
    if state.tlp_high_seq is None and sk.rtx and _probe(sk):
        state.tlp_high_seq = sk.snd_nxt
        sk.kernel.mib["TcpExtTCPLossProbes"] += 1
        sk.xmit_pending = None  # the RTO starts from now
    rearm_rto(sk)


def _probe(sk: TcpSock) -> bool:
    sk.undo.tlp_retrans = False
    if sk.unsent:
        mss = current_mss(sk)
        chunks = sk.unsent.chunks
        length = min(mss, chunks[0].length) if chunks else 0
        fin = sk.unsent.fin and length == sk.unsent.length
        if not after(seq_add(sk.snd_nxt, length + fin), sk.wnd_end):
            segments = output.send_burst(sk, length, mss)
            if sk.cw.reducing:
                sk.prr_out += segments
            return segments > 0
    if not output.retransmit(sk, sk.rtx.segments[-1], probe=True):
        return False
    sk.undo.tlp_retrans = True
    return True


def process_ack(sk: TcpSock, ack: int, flag: int) -> None:
    """What an ACK tells of the probe (RFC 8985, 7.4.2; `tcp_process_tlp_ack`)."""
    state = sk.undo
    if state.tlp_high_seq is None or before(ack, state.tlp_high_seq):
        return
    if not state.tlp_retrans or flag & DSACK_TLP:
        state.tlp_high_seq = None  # new data, or original and probe have both arrived
    elif after(ack, state.tlp_high_seq):
        # The probe repaired a loss that no duplicate ACK has told of: reduce once.
        prr.start_reduction(sk)
        prr.set_ca_state(sk, CaState.CWR)
        prr.end_reduction(sk)
        undo.keep_open(sk)
        sk.kernel.mib["TcpExtTCPLossProbeRecovery"] += 1
    elif not flag & (SND_UNA_ADVANCED | NOT_DUP | DATA_SACKED):
        state.tlp_high_seq = None  # a duplicate ACK: both have arrived
