"""Sending: what may go now, in which pieces, and again (`tcp_write_xmit`, RFC 9293 3.8.6.2.1).

Called by `stream` after a write, by `input` after an ACK, by `timers`; calls `transmit`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.core.headers.tcp import TH_ACK, TH_FIN, TH_PSH, TH_SYN
from pystack.transport.tcp import ecn, mtuprobe, prr, rate, tso, urgent
from pystack.transport.tcp.congestion import cwnd_validate
from pystack.transport.tcp.mss import current_mss
from pystack.transport.tcp.rto import after_sending, arm_probe, rearm_rto
from pystack.transport.tcp.segment import EVER_RETRANS, SEGMENT_OVERHEAD, TxSegment
from pystack.transport.tcp.seq import SEQ_MASK, after, before, seq_add, seq_diff
from pystack.transport.tcp.state import TcpState
from pystack.transport.tcp.stats import RWND_LIMITED, SNDBUF_LIMITED
from pystack.transport.tcp.transmit import can_gso, timestamp, transmit
from pystack.transport.tcp.tso import Defer

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


def write_xmit(sk: TcpSock, nonagle: int, push_one: bool = False) -> int:
    """Send what congestion and receive window allow, in bursts; returns the bursts sent.

    `push_one`: one burst, without waiting for more to join it.
    """
    mss = current_mss(sk)
    sent = segments = burst = 0
    if sk.mtup is not None and not push_one:
        probed = mtuprobe.probe(sk)
        if probed is mtuprobe.Probe.WAIT:
            return 0
        sent = segments = int(probed is mtuprobe.Probe.SENT)
    unsent = sk.unsent
    limit = Defer.NOT
    while unsent:
        quota = _cwnd_quota(sk)
        if quota <= 0 or (sk.pacing is not None and not sk.pacing.may_send()):
            break
        chunks = unsent.chunks
        length = chunks[0].length if chunks else 0
        tail = len(chunks) < 2
        end_seq = sk.snd_nxt + (mss if length > mss else length + (tail and unsent.fin))
        if after(end_seq & SEQ_MASK, sk.wnd_end):
            limit = Defer.RWND
            break
        if length <= mss:
            if tail and not _nagle_test(sk, length, mss, nonagle):
                break
        else:
            burst = burst or tso.burst_segments(sk, mss)
            if not push_one:
                limit = tso.should_defer(sk, length, tail, burst)
                if limit is not Defer.NOT:
                    break
            if urgent.sending(sk):
                length = mss  # each segment bears an urgent pointer of its own
            else:
                length = _split_point(sk, length, tail, mss, min(quota, burst), nonagle)
        count = send_burst(sk, length, mss)
        segments += count
        if not count:
            break
        if sk.pacing is not None:
            sk.pacing.end_burst()
        sent += 1
        if push_one:
            break
    _after_sending(sk, sent, segments, limit)
    return sent


def _cwnd_quota(sk: TcpSock) -> int:
    """Segments cwnd allows in one burst (`tcp_cwnd_test`): half the window, so that there are two
    bursts in flight.  A FIN alone is always allowed."""
    rtx, cwnd = sk.rtx, sk.cw.cwnd
    if sk.unsent.fin and not sk.unsent.length:
        return 1
    return min(max(cwnd >> 1, 1), cwnd - rtx.in_flight)


def _split_point(sk: TcpSock, length: int, tail: bool, mss: int, quota: int, nonagle: int) -> int:
    """Bytes of a packet longer than `mss` that go out now (`tcp_mss_split_point`)."""
    longest = mss * quota
    window = seq_diff(sk.wnd_end, sk.snd_nxt)
    if longest <= window and not tail:
        return min(longest, length)
    needed = min(length, window)
    if longest <= needed:
        return longest
    partial = needed % mss
    if partial and _nagle_holds(sk, nonagle):
        return needed - partial
    return needed


def _after_sending(sk: TcpSock, sent: int, segments: int, limit: Defer) -> None:
    chrono, now = sk.stats.chrono, sk.kernel.now
    if limit is Defer.RWND:
        chrono.begin(now, RWND_LIMITED)
    elif chrono.type == RWND_LIMITED:
        chrono.end(now, RWND_LIMITED, idle=not sk.rtx and not sk.unsent)
    if sk.cw.reducing:
        sk.prr_out += segments
    if sent:
        after_sending(sk)
    limited = limit is Defer.CWND or sk.rtx.in_flight >= sk.cw.cwnd
    if sent or limited:
        cwnd_validate(sk, limited)
        if sk.nospace and not sk.unsent and not sk.cw.is_limited():
            # All is sent, cwnd allows more, and the application has more: the buffer is too small.
            chrono.begin(now, SNDBUF_LIMITED)


def _nagle_holds(sk: TcpSock, nonagle: int) -> bool:
    """Must less than a full segment wait? (RFC 9293, 3.7.4, with Minshall's rule)

    A small segment waits only for an earlier small one, not for full ones.
    """
    if nonagle & NAGLE_CORK:
        return True
    small_in_flight = after(sk.snd_sml, sk.snd_una) and not after(sk.snd_sml, sk.snd_nxt)
    return not nonagle and bool(sk.rtx) and small_in_flight


def _nagle_test(sk: TcpSock, length: int, mss: int, nonagle: int) -> bool:
    """May the last piece go?"""
    if nonagle & NAGLE_PUSH or sk.unsent.fin or length >= mss or urgent.sending(sk):
        return True
    return not _nagle_holds(sk, nonagle)


def send_burst(sk: TcpSock, length: int, mss: int, push: bool = False) -> int:
    """Send `length` bytes of the oldest packet in segments of `mss`; returns how many those are.

    PSH is set at the end of what the application pushed, and of every burst of several segments
    (`__tcp_transmit_skb`): the receiver's GRO need not wait for more then.  A FIN that follows the
    last byte goes along if it fits into the window.
    """
    unsent = sk.unsent
    pushed = bool(unsent.chunks) and unsent.chunks[0].push
    data, whole = unsent.take(length)
    burst = seq = sk.snd_nxt
    overhead = SEGMENT_OVERHEAD
    if not whole or not length:
        sk.wmem_queued += SEGMENT_OVERHEAD  # cutting makes another packet
    if length % mss:
        sk.snd_sml = seq_add(seq, length)
    psh = TH_PSH if length and (push or (whole and pushed)) else 0
    if length > mss and can_gso(sk):
        return _send_large(sk, data, mss, psh, pushed)
    count = offset = 0
    while True:
        piece = data[offset : offset + mss] if length > mss else data
        offset += len(piece)
        end_seq = seq_add(seq, len(piece))
        flags = TH_ACK
        if offset >= length:
            flags |= psh
            if unsent.fin and _take_fin(sk, end_seq):
                flags |= TH_FIN
                end_seq = seq_add(end_seq, 1)
        segment = TxSegment(seq, end_seq, flags, piece)
        segment.overhead = overhead
        segment.burst = burst
        if not queue_and_send(sk, segment, TH_PSH if length > mss and offset >= length else 0):
            _put_back(sk, segment, data[offset - len(piece) :], pushed)
            return count
        if sk.pacing is not None:
            sk.pacing.sent(len(piece))
        count += 1
        if offset >= length:
            return count
        seq, overhead = end_seq, 0


def _send_large(sk: TcpSock, data: memoryview, mss: int, psh: int, pushed: bool) -> int:
    """A burst in one packet, which the device or the last moment in software cuts up."""
    first, now = sk.snd_nxt, sk.kernel.now
    segments = []
    for at in range(0, len(data), mss):
        seq, piece = seq_add(first, at), data[at : at + mss]
        segment = TxSegment(seq, seq_add(seq, len(piece)), TH_ACK, piece)
        segment.overhead = 0 if at else SEGMENT_OVERHEAD
        segment.burst, segment.sent_at = first, now
        segments.append(segment)
    last = segments[-1]
    last.flags |= psh
    if sk.unsent.fin and _take_fin(sk, last.end_seq):
        last.flags |= TH_FIN
        last.end_seq = seq_add(last.end_seq, 1)
    was_empty = not sk.rtx
    if not transmit(sk, first, last.flags | TH_PSH, data, gso_size=mss):
        prr.enter_cwr(sk)
        sk.unsent.put_back(data, pushed)
        sk.unsent.fin |= bool(last.flags & TH_FIN)
        return 0
    for segment in segments:
        rate.sent(sk, segment)
        sk.rtx.append(segment)
        if sk.pacing is not None:
            sk.pacing.sent(len(segment.data))
    sk.snd_nxt = last.end_seq
    sk.kernel.mib["TcpExtTCPOrigDataSent"] += len(segments)
    if was_empty:
        rearm_rto(sk)
    return len(segments)


def _take_fin(sk: TcpSock, end_seq: int) -> bool:
    """May the FIN ride on the segment that ends at `end_seq`?"""
    if sk.unsent.length or not before(end_seq, sk.wnd_end):
        return False
    sk.unsent.fin = False
    return True


def _put_back(sk: TcpSock, segment: TxSegment, data: memoryview, pushed: bool) -> None:
    """The rest of a burst goes back to where it came from, to be tried again."""
    sk.unsent.put_back(data, pushed)
    sk.unsent.fin |= bool(segment.flags & TH_FIN)
    if not segment.overhead:
        sk.wmem_queued += SEGMENT_OVERHEAD
    elif not data:
        sk.wmem_queued -= SEGMENT_OVERHEAD  # a FIN alone is no packet of the queue


def queue_and_send(sk: TcpSock, segment: TxSegment, more_flags: int = 0) -> bool:
    """First transmission of a segment (`tcp_event_new_data_sent`).

    `more_flags` are for this transmission only, not to be remembered.  False if our own device
    has no room for it: then it counts as not sent.
    """
    segment.sent_at = sk.kernel.now
    was_empty = not sk.rtx
    sent = transmit(sk, segment.seq, segment.flags | more_flags, segment.data)
    if not sent and not segment.flags & TH_SYN:
        prr.enter_cwr(sk)
        return False
    rate.sent(sk, segment)
    sk.rtx.append(segment)
    sk.snd_nxt = segment.end_seq
    sk.kernel.mib["TcpExtTCPOrigDataSent"] += not segment.flags & TH_SYN
    if was_empty:
        rearm_rto(sk)
    return True


def send_fin(sk: TcpSock) -> None:
    """Queue a FIN behind the data and send what can be sent (`tcp_send_fin`)."""
    sk.unsent.fin = True
    sk.write_seq = seq_add(sk.write_seq, 1)
    push_pending(sk, NAGLE_OFF)


# -- again ---------------------------------------------------------------------------------


def retransmit(sk: TcpSock, segment: TxSegment, probe: bool = False, more_flags: int = 0) -> bool:
    """Send a queued segment again; False if the peer's window or our device does not allow it.

    `probe`: a tail loss probe, which is not counted as in flight a second time.
    """
    if sk.mtup is not None:
        sk.mtup.size = 0  # what becomes of a probe says nothing now
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
        sk.rtx.split(segment, length).overhead = SEGMENT_OVERHEAD
        sk.wmem_queued += SEGMENT_OVERHEAD
    mib = sk.kernel.mib
    mib["TcpRetransSegs"] += 1
    if segment.flags & TH_SYN:
        mib["TcpExtTCPSynRetrans"] += 1
        segment.flags = ecn.fallback(sk, segment.flags)
    sk.total_retrans += 1
    sk.stats.bytes_retrans += len(segment.data)
    segment.sacked |= EVER_RETRANS
    before_it, segment.sent_at = segment.sent_at, sk.kernel.now
    if not probe:
        _count_retransmission(sk)
    if transmit(sk, segment.seq, segment.flags | more_flags, segment.data):
        rate.sent(sk, segment)
        if not probe:
            sk.rtx.mark_retransmitted(segment)
        return True
    segment.sent_at = before_it
    mib["TcpExtTCPRetransFail"] += 1
    prr.enter_cwr(sk)
    return False


def _count_retransmission(sk: TcpSock) -> None:
    """What `undo` needs to know, of an attempt as well (`tcp_retransmit_skb`)."""
    undo = sk.undo
    if undo.retrans_stamp is None:
        undo.retrans_stamp = timestamp(sk)
    undo.retrans = max(undo.retrans, 0) + 1


def _trim_head(sk: TcpSock, segment: TxSegment) -> None:
    acked = seq_diff(sk.snd_una, segment.seq)
    sk.rtx.trim_head(segment, sk.snd_una)
    sk.wmem_queued -= acked


# -- probing a closed window ---------------------------------------------------------------


def write_wakeup(sk: TcpSock) -> bool:
    """Send something that makes the peer tell its window (`tcp_write_wakeup`).

    Whatever still fits, else an ACK with an old number.  False if not even our own device takes it.
    """
    room = seq_diff(sk.wnd_end, sk.snd_nxt)
    if sk.unsent and room > 0:
        mss = current_mss(sk)
        length = sk.unsent.chunks[0].length if sk.unsent.chunks else 0
        return send_burst(sk, min(room, mss, length), mss, push=True) > 0
    return probe_window(sk)


def probe_window(sk: TcpSock) -> bool:
    """An ACK one below SND.UNA: out of the window, so it must be answered.

    Urgent data that has to wait is announced before it (RFC 9293, 3.8.6.1).
    """
    sk.kernel.mib["TcpExtTCPWinProbe"] += 1
    if urgent.sending(sk):
        transmit(sk, sk.snd_una, TH_ACK)
    return transmit(sk, seq_add(sk.snd_una, -1), TH_ACK)
