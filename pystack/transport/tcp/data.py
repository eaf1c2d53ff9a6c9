"""The text of a segment and its FIN (RFC 9293, 3.10.7.4, seventh and eighth check).

Called by `input`; in-order packets go to the receive queue as they are, the rest waits in `ofo`.
"""

from __future__ import annotations

from select import EPOLLIN, EPOLLRDNORM
from typing import TYPE_CHECKING

from pystack.core.drop import Drop
from pystack.core.headers.tcp import TH_FIN
from pystack.core.skb import SkBuff
from pystack.transport.sock import RCV_SHUTDOWN, truesize
from pystack.transport.tcp import delack, ecn, rcvbuf, timewait
from pystack.transport.tcp.delack import ACK_NOW
from pystack.transport.tcp.lifecycle import set_state
from pystack.transport.tcp.segment import RxSegment
from pystack.transport.tcp.seq import SEQ_MASK, after, before, seq_add, seq_diff
from pystack.transport.tcp.state import TcpState
from pystack.transport.tcp.transmit import send_ack
from pystack.transport.tcp.window import receive_window

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock


def queue(sk: TcpSock, skb: SkBuff) -> None:
    """Take in a segment's data and FIN (`tcp_data_queue`); owns `skb`."""
    segment: RxSegment = skb.cb
    if segment.seq == segment.end_seq:
        skb.free()
        return
    if sk.ecn is not None:
        ecn.accept_cwr(sk, sk.ecn, segment)
    sk.sacks.dsack = None
    if segment.seq == sk.rcv_nxt:
        if not receive_window(sk):
            _out_of_window(sk, skb, Drop.TCP_ZERO_WINDOW)
            return
        _queue_in_order(sk, skb)
    elif not after(segment.end_seq, sk.rcv_nxt):
        sk.kernel.mib["TcpExtDelayedACKLost"] += 1
        set_dsack(sk, segment.seq, segment.end_seq)
        _out_of_window(sk, skb, Drop.TCP_DUPLICATE_DATA)
    elif not before(segment.seq, seq_add(sk.rcv_nxt, receive_window(sk))):
        _out_of_window(sk, skb, Drop.TCP_OUT_OF_WINDOW)
    elif before(segment.seq, sk.rcv_nxt):
        set_dsack(sk, segment.seq, sk.rcv_nxt)
        if not receive_window(sk):
            _out_of_window(sk, skb, Drop.TCP_ZERO_WINDOW)
            return
        _trim_front(sk, skb)
        _queue_in_order(sk, skb)
    else:
        _queue_out_of_order(sk, skb)


def set_dsack(sk: TcpSock, start: int, end: int) -> None:
    """Report a duplicate with the next ACK (RFC 2883)."""
    if sk.sack_ok and sk.kernel.sysctl["net.ipv4.tcp_dsack"]:
        counter = "TcpExtTCPDSACKOldSent"
        if not before(start, sk.rcv_nxt):
            counter = "TcpExtTCPDSACKOfoSent"
        sk.kernel.mib[counter] += 1
        sk.sacks.set_dsack(start, end)


def _out_of_window(sk: TcpSock, skb: SkBuff, reason: Drop) -> None:
    """Whoever sends that has missed our ACKs: answer at once, and the next ones, too."""
    if reason is Drop.TCP_ZERO_WINDOW:
        sk.kernel.mib["TcpExtTCPZeroWindowDrop"] += 1
    delack.enter_quickack(sk)
    sk.ack.schedule()
    sk.kernel.drop(skb, reason)


def _trim_front(sk: TcpSock, skb: SkBuff) -> None:
    """Cut off what we have."""
    skb.pull(seq_diff(sk.rcv_nxt, skb.cb.seq))
    skb.cb.seq = sk.rcv_nxt


def _queue_in_order(sk: TcpSock, skb: SkBuff) -> None:
    # With nothing in the queue one packet is always taken, or no progress would be possible.
    if sk.rmem_alloc > sk.sk_rcvbuf and not rcvbuf.schedule(sk) and sk.receive_queue:
        sk.kernel.mib["TcpExtTCPRcvQDrop"] += 1
        sk.wake(EPOLLIN | EPOLLRDNORM)
        sk.kernel.drop(skb, Drop.TCP_RCVBUF_FULL)
        return
    length = len(skb)
    if length:
        delack.data_received(sk, skb)
        if sk.ecn is not None:
            ecn.check_ce(sk, sk.ecn, skb)
    fin = _append(sk, skb)
    if fin:
        rcv_fin(sk)
    elif sk.ofo:
        _drain_out_of_order(sk)
        if not sk.ofo:
            sk.ack.pending |= ACK_NOW  # a gap is filled (RFC 5681, 4.2)
    if sk.sacks.blocks:
        sk.sacks.advance(sk.rcv_nxt)
    if length and not sk.dead:
        _data_ready(sk)


def _data_ready(sk: TcpSock) -> None:
    """Wake readers once there are SO_RCVLOWAT bytes (`tcp_data_ready`)."""
    ready = (sk.rcv_nxt - sk.copied_seq) & SEQ_MASK >= sk.sk_rcvlowat
    if ready or sk.sk_shutdown & RCV_SHUTDOWN:
        sk.wake(EPOLLIN | EPOLLRDNORM)


def _append(sk: TcpSock, skb: SkBuff) -> bool:
    """Put a packet at the end of the receive queue; returns whether it carries a FIN."""
    segment: RxSegment = skb.cb
    sk.stats.bytes_received += (segment.end_seq - sk.rcv_nxt) & SEQ_MASK
    sk.rcv_nxt = segment.end_seq
    fin = bool(segment.flags & TH_FIN)
    if not len(skb):
        skb.free()
        return fin
    rcvbuf.charge(sk, skb)
    sk.receive_queue.append(skb)
    tracepoint = sk.tcp.tp_sock_queue
    if tracepoint.enabled:
        for part in skb.parts():
            tracepoint(part.packet_id, part.end - part.off)
    return fin


def _drain_out_of_order(sk: TcpSock) -> None:
    """Move what has become in order to the receive queue (`tcp_ofo_queue`)."""
    while sk.ofo and not after(sk.ofo.first.cb.seq, sk.rcv_nxt):
        skb = sk.ofo.pop_first()
        sk.rmem_alloc -= truesize(skb)
        if not after(skb.cb.end_seq, sk.rcv_nxt):
            sk.kernel.drop(skb, Drop.TCP_DUPLICATE_DATA)
            continue
        if before(skb.cb.seq, sk.rcv_nxt):
            set_dsack(sk, skb.cb.seq, sk.rcv_nxt)
            _trim_front(sk, skb)
        if _append(sk, skb):
            rcv_fin(sk)
            break


def _queue_out_of_order(sk: TcpSock, skb: SkBuff) -> None:
    """There is a gap before it: keep it, and tell the sender at once (`tcp_data_queue_ofo`)."""
    mib, segment = sk.kernel.mib, skb.cb
    sk.stats.rcv_ooopack += 1 if skb.frags is None else 1 + len(skb.frags)
    sk.ack.schedule()
    if sk.ecn is not None:
        ecn.check_ce(sk, sk.ecn, skb)
    if not rcvbuf.schedule(sk):
        mib["TcpExtTCPOFODrop"] += 1
        sk.kernel.drop(skb, Drop.TCP_OFO_FULL)
        return
    covered = sk.ofo.insert(skb)
    if covered is None:
        mib["TcpExtTCPOFOMerge"] += 1
        set_dsack(sk, segment.seq, segment.end_seq)
        sk.kernel.drop(skb, Drop.TCP_DUPLICATE_DATA)
    else:
        mib["TcpExtTCPOFOQueue"] += 1
        rcvbuf.charge(sk, skb)
        for old in covered:
            set_dsack(sk, old.cb.seq, old.cb.end_seq)
            sk.rmem_alloc -= truesize(old)
            sk.kernel.drop(old, Drop.TCP_DUPLICATE_DATA)
    if sk.sack_ok:
        sk.sacks.add(segment.seq, segment.end_seq)


def rcv_fin(sk: TcpSock) -> None:
    """The peer has no more to say (`tcp_fin`)."""
    sk.ack.schedule()
    sk.sk_shutdown |= RCV_SHUTDOWN
    sk.done = True
    state = sk.state
    if state in (TcpState.SYN_RECV, TcpState.ESTABLISHED):
        set_state(sk, TcpState.CLOSE_WAIT)
        sk.ack.pingpong = 1
    elif state is TcpState.FIN_WAIT1:
        send_ack(sk)
        set_state(sk, TcpState.CLOSING)  # both closed at once (RFC 9293, 3.6, figure 13)
    elif state is TcpState.FIN_WAIT2:
        send_ack(sk)
        timewait.enter(sk, TcpState.TIME_WAIT)
    rcvbuf.purge_ofo(sk)
    if not sk.dead:
        sk.wake()
