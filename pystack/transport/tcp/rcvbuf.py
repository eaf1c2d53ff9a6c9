"""Receive memory: what queued packets hold, and what to do when it is too much.

Called by `data` for each segment to be queued.  Compare `tcp_try_rmem_schedule` and
`tcp_prune_queue` in `net/ipv4/tcp_input.c`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.core.drop import Drop
from pystack.core.headers.tcp import TH_FIN
from pystack.core.skb import SkBuff
from pystack.transport.sock import SKB_SHARED_INFO, truesize
from pystack.transport.tcp.segment import RxSegment
from pystack.transport.tcp.seq import seq_diff

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock

COLLAPSED = 4096 - SKB_SHARED_INFO  # payload of a packet made from several: one page


def charge(sk: TcpSock, skb: SkBuff) -> None:
    sk.rmem_alloc += truesize(skb)


def release(sk: TcpSock, skb: SkBuff) -> None:
    """The packet has left the queue: give its memory back."""
    sk.rmem_alloc -= truesize(skb)
    skb.free()


def schedule(sk: TcpSock) -> bool:
    """Is there memory for one packet more?  Tries hard; False means drop the packet."""
    if sk.rmem_alloc <= sk.sk_rcvbuf:
        return True
    if not _prune(sk):
        return False
    while sk.rmem_alloc > sk.sk_rcvbuf:
        if not _prune_ofo(sk):
            return False
    return True


def _prune(sk: TcpSock) -> bool:
    """Join small packets; with that much unread the window must not grow (`tcp_prune_queue`)."""
    sk.kernel.mib["TcpExtPruneCalled"] += 1
    _clamp_window(sk)
    if sk.rmem_alloc <= sk.sk_rcvbuf:
        return True
    sk.receive_queue = _collapse(sk, sk.receive_queue)
    if sk.rmem_alloc > sk.sk_rcvbuf:
        _prune_ofo(sk)
    if sk.rmem_alloc <= sk.sk_rcvbuf:
        return True
    sk.kernel.mib["TcpExtRcvPruned"] += 1
    return False


def _clamp_window(sk: TcpSock) -> None:
    """The sender's packets waste memory: take a larger buffer if we may (`tcp_clamp_window`)."""
    limit = sk.kernel.sysctl.vector("net.ipv4.tcp_rmem")[2]
    sk.ack.quick = 0
    if sk.sk_rcvbuf < limit and not sk.rcvbuf_locked:
        sk.sk_rcvbuf = min(sk.rmem_alloc, limit)
    if sk.rmem_alloc > sk.sk_rcvbuf:
        sk.rcv_ssthresh = min(sk.window_clamp, 2 * sk.advmss)


def _prune_ofo(sk: TcpSock) -> bool:
    """Drop the last out-of-order packet; the sender still has it (RFC 2018, 8)."""
    if not sk.ofo:
        return False
    skb = sk.ofo.pop_last()
    sk.rmem_alloc -= truesize(skb)
    sk.kernel.mib["TcpExtOfoPruned"] += 1
    sk.kernel.drop(skb, Drop.TCP_OFO_FULL)
    # What we reported may be gone now, so nothing is reported until more comes.
    sk.sacks.clear()
    return True


def _collapse(sk: TcpSock, queue: list[SkBuff]) -> list[SkBuff]:
    """Copy runs of small packets into packets of a page, without their headers' room."""
    result: list[SkBuff] = []
    run: list[SkBuff] = []
    size = 0
    for skb in queue:
        if run and size + len(skb) > COLLAPSED:
            _finish_run(sk, run, result)
            run, size = [], 0
        run.append(skb)
        size += len(skb)
    _finish_run(sk, run, result)
    return result


def _finish_run(sk: TcpSock, run: list[SkBuff], result: list[SkBuff]) -> None:
    if len(run) < 2:
        result.extend(run)
        return
    first, last = run[0].cb, run[-1].cb
    data = b"".join([view for skb in run for view in skb.views()])
    joined = SkBuff(sk.kernel, memoryview(data), packet_id=run[-1].packet_id)
    joined.cb = RxSegment(
        first.sport,
        first.dport,
        first.seq,
        last.ack,
        last.flags,
        last.window,
        last.options,
        last.end_seq,
    )
    for skb in run:
        release(sk, skb)
    charge(sk, joined)
    sk.kernel.mib["TcpExtTCPRcvCollapsed"] += len(run)
    result.append(joined)


def purge(sk: TcpSock) -> int:
    """Free both receive queues; returns the bytes the user has not read."""
    unread = 0
    while sk.receive_queue:
        skb = sk.receive_queue.pop(0)
        fin = bool(skb.cb.flags & TH_FIN)
        unread += seq_diff(skb.cb.end_seq, sk.copied_seq) - fin
        sk.copied_seq = skb.cb.end_seq
        release(sk, skb)
    purge_ofo(sk)
    return unread


def purge_ofo(sk: TcpSock) -> None:
    for skb in sk.ofo.drain():
        release(sk, skb)
    sk.sacks.clear()
