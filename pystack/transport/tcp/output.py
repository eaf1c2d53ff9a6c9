"""Sending: what may go now, in which pieces, and again (`tcp_write_xmit`, RFC 9293 3.8.6.2.1).

Called by `stream` after a write, by `input` after an ACK, by `timers`; calls `transmit`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.core.headers.tcp import TH_ACK, TH_FIN, TH_PSH, TH_SYN
from pystack.transport.tcp.congestion import cwnd_validate
from pystack.transport.tcp.mss import current_mss
from pystack.transport.tcp.rto import arm_probe, rearm_rto
from pystack.transport.tcp.segment import SEGMENT_OVERHEAD, TxSegment
from pystack.transport.tcp.seq import after, before, seq_add, seq_diff
from pystack.transport.tcp.state import TcpState
from pystack.transport.tcp.transmit import transmit

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock

NAGLE_OFF = 1  # TCP_NODELAY
NAGLE_CORK = 2  # hold partial segments back (MSG_MORE)
NAGLE_PUSH = 4


def push_pending(sk: TcpSock, nonagle: int | None = None, push_one: bool = False) -> None:
    """Send what the windows allow; arm the probe timer if a closed window allows nothing."""
    if not sk.unsent or sk.state is TcpState.CLOSE:
        return
    nonagle = sk.nonagle if nonagle is None else nonagle
    write_xmit(sk, nonagle, push_one)
    if sk.unsent and not sk.rtx and sk.xmit_pending is None:
        arm_probe(sk)


def write_xmit(sk: TcpSock, nonagle: int, push_one: bool = False) -> None:
    mss = current_mss(sk)
    sent = 0
    while sk.unsent and sk.rtx.in_flight < sk.cw.cwnd:
        length = min(mss, sk.unsent.length)
        rest = length == sk.unsent.length
        end_seq = seq_add(sk.snd_nxt, length + (rest and sk.unsent.fin))
        if after(end_seq, sk.wnd_end):
            break
        if rest and not _nagle_test(sk, length, mss, nonagle):
            break
        if length < mss:
            sk.snd_sml = end_seq
        send_new(sk, length)
        sent += 1
        if push_one:
            break
    limited = sk.rtx.in_flight >= sk.cw.cwnd
    if sent or limited:
        cwnd_validate(sk, limited)
    if sk.cw.reducing:
        sk.prr_out += sent


def _nagle_test(sk: TcpSock, length: int, mss: int, nonagle: int) -> bool:
    """May the last piece go? (RFC 9293, 3.7.4, with Minshall's rule)

    A small segment waits only for an earlier small one, not for full ones.
    """
    if nonagle & NAGLE_PUSH or sk.unsent.fin or length >= mss:
        return True
    if nonagle & NAGLE_CORK:
        return False
    small_in_flight = after(sk.snd_sml, sk.snd_una) and not after(sk.snd_sml, sk.snd_nxt)
    return bool(nonagle & NAGLE_OFF) or not sk.rtx or not small_in_flight


def send_new(sk: TcpSock, length: int, push: bool = False) -> None:
    """Cut a segment of `length` bytes from the unsent data and send it, PSH at the data's end.

    A FIN that follows the last byte goes along if it fits into the window.
    """
    unsent = sk.unsent
    data = unsent.take(length)
    flags = TH_ACK
    seq = sk.snd_nxt
    end_seq = seq_add(seq, length)
    if length and (push or not unsent.length):
        flags |= TH_PSH
    if unsent.fin and not unsent.length and before(end_seq, sk.wnd_end):
        unsent.fin = False
        flags |= TH_FIN
        end_seq = seq_add(end_seq, 1)
    segment = TxSegment(seq, end_seq, flags, data)
    sk.wmem_queued += SEGMENT_OVERHEAD
    queue_and_send(sk, segment)


def queue_and_send(sk: TcpSock, segment: TxSegment) -> None:
    """First transmission of a segment (`tcp_event_new_data_sent`)."""
    segment.sent_at = sk.kernel.now
    was_empty = not sk.rtx
    transmit(sk, segment.seq, segment.flags, segment.data)
    sk.rtx.append(segment)
    sk.snd_nxt = segment.end_seq
    sk.kernel.mib["TcpExtTCPOrigDataSent"] += 1
    if was_empty:
        rearm_rto(sk)


def send_fin(sk: TcpSock) -> None:
    """Queue a FIN behind the data and send what can be sent (`tcp_send_fin`)."""
    sk.unsent.fin = True
    sk.write_seq = seq_add(sk.write_seq, 1)
    push_pending(sk, NAGLE_OFF)


# -- again ---------------------------------------------------------------------------------


def retransmit(sk: TcpSock, segment: TxSegment) -> bool:
    """Send a queued segment again; False if the peer's window does not allow it now."""
    if before(segment.seq, sk.snd_una):
        _trim_head(sk, segment)
    mss = current_mss(sk)
    room = seq_diff(sk.wnd_end, segment.seq)
    if room <= 0:
        # The peer took its window back.  The oldest segment serves as a window probe.
        if segment.seq != sk.snd_una:
            return False
        room = mss
    length = min(mss, room)
    if len(segment.data) > length:
        sk.rtx.split(segment, length)
        sk.wmem_queued += SEGMENT_OVERHEAD
    mib = sk.kernel.mib
    mib["TcpRetransSegs"] += 1
    if segment.flags & TH_SYN:
        mib["TcpExtTCPSynRetrans"] += 1
    sk.total_retrans += 1
    segment.sent_at = sk.kernel.now
    sk.rtx.mark_retransmitted(segment)
    transmit(sk, segment.seq, segment.flags, segment.data)
    return True


def _trim_head(sk: TcpSock, segment: TxSegment) -> None:
    acked = seq_diff(sk.snd_una, segment.seq)
    sk.rtx.trim_head(segment, sk.snd_una)
    sk.wmem_queued -= acked


# -- probing a closed window ---------------------------------------------------------------


def write_wakeup(sk: TcpSock) -> bool:
    """Send something that makes the peer tell its window (`tcp_write_wakeup`).

    Whatever still fits, else an ACK with an old number.  Returns whether data went out.
    """
    room = seq_diff(sk.wnd_end, sk.snd_nxt)
    if sk.unsent and room > 0:
        send_new(sk, min(room, current_mss(sk), sk.unsent.length), push=True)
        return True
    probe_window(sk)
    return False


def probe_window(sk: TcpSock) -> None:
    """An ACK one below SND.UNA: out of the window, so it must be answered."""
    sk.kernel.mib["TcpExtTCPWinProbe"] += 1
    transmit(sk, seq_add(sk.snd_una, -1), TH_ACK)
