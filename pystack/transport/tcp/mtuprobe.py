"""Finding the path's MTU by segments (RFC 4821; `tcp_mtu_probe`, `tcp_mtu_probing`).

`output` asks for a probe before it sends, `ack` and `recovery` say what became of it, and `timers`
that retransmissions get nowhere.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from pystack.core.headers.tcp import TCP_HLEN, TH_ACK, TH_PSH
from pystack.transport.tcp import loss, output
from pystack.transport.tcp.mss import current_mss, mtu_to_mss, sync_mss
from pystack.transport.tcp.segment import SEGMENT_OVERHEAD, TxSegment
from pystack.transport.tcp.seq import after, seq_add, seq_diff
from pystack.transport.tcp.state import CaState

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock

LEAST_CWND = 11
SECOND = 1_000_000_000


class MtuSearch:
    """The path takes `low` bytes and perhaps `high` (`icsk_mtup`).

    `size`: MTU of the probe from `seq` to `end_seq` that is under way, 0: none; `since` (ns): when
    the range was last as wide as the path may allow.
    """

    __slots__ = ("end_seq", "high", "low", "seq", "since", "size")

    def __init__(self, low: int, high: int, now: int) -> None:
        self.low = low
        self.high = high
        self.since = now
        self.size = self.seq = self.end_seq = 0


class Probe(enum.Enum):
    NONE = 0
    WAIT = 1  # an ACK will make room for one: send nothing until then
    SENT = 2


def init(sk: TcpSock) -> None:
    """The peer's MSS is known: tcp_mtu_probing = 2 searches from the start (`tcp_mtup_init`)."""
    sk.mtup = None
    if sk.kernel.sysctl["net.ipv4.tcp_mtu_probing"] > 1:
        sk.mtup = _new(sk, _most(sk))


def _new(sk: TcpSock, high: int) -> MtuSearch:
    base = _mss_to_mtu(sk, sk.kernel.sysctl["net.ipv4.tcp_base_mss"])
    return MtuSearch(base, high, sk.kernel.now)


def _most(sk: TcpSock) -> int:
    return sk.mss_clamp + TCP_HLEN + sk.inet.header_length


def _mss_to_mtu(sk: TcpSock, mss: int) -> int:
    return mss + sk.header_length + sk.inet.header_length


def black_hole(sk: TcpSock) -> None:
    """Retransmissions get nowhere: perhaps a router drops what is too long and says nothing
    (RFC 2923, 2.1).  Go down to tcp_base_mss, and then by halves."""
    sysctl, search = sk.kernel.sysctl, sk.mtup
    if not sysctl["net.ipv4.tcp_mtu_probing"]:
        return
    if search is None:
        sk.mtup = _new(sk, min(_most(sk), sk.pmtu))
    else:
        mss = min(sysctl["net.ipv4.tcp_base_mss"], mtu_to_mss(sk, search.low) >> 1)
        floors = sysctl["net.ipv4.tcp_mtu_probe_floor"], sysctl["net.ipv4.tcp_min_snd_mss"]
        search.low = _mss_to_mtu(sk, max(mss, *floors))
    sync_mss(sk, sk.pmtu)


# -- upward --------------------------------------------------------------------------------


def probe(sk: TcpSock) -> Probe:
    """Send a segment half-way between what is known and what may be, if enough would follow it for
    its loss to be noticed at once."""
    search, cw, rtx = sk.mtup, sk.cw, sk.rtx
    if search is None or search.size or cw.state is not CaState.OPEN or cw.cwnd < LEAST_CWND:
        return Probe.NONE
    if sk.sack_ok and sk.sacks:
        return Probe.NONE  # headers of varying length
    current_mss(sk)
    size = mtu_to_mss(sk, (search.high + search.low) >> 1)
    needed = size + (sk.reordering + 1) * sk.mss_cache
    threshold = sk.kernel.sysctl["net.ipv4.tcp_probe_threshold"]
    if size > mtu_to_mss(sk, search.high) or search.high - search.low < threshold:
        _search_again(sk, search)
        return Probe.NONE
    if seq_diff(sk.write_seq, sk.snd_nxt) < needed or sk.snd_wnd < needed:
        return Probe.NONE
    if after(seq_add(sk.snd_nxt, needed), sk.wnd_end):
        return Probe.WAIT
    if rtx.in_flight + 2 > cw.cwnd:
        return Probe.WAIT if rtx.in_flight else Probe.NONE
    return Probe.SENT if _send(sk, search, size) else Probe.NONE


def _send(sk: TcpSock, search: MtuSearch, size: int) -> bool:
    taken = sk.unsent.take_across(size)
    if taken is None:
        return False
    seq, end_seq = sk.snd_nxt, seq_add(sk.snd_nxt, size)
    segment = TxSegment(seq, end_seq, TH_ACK | (TH_PSH if taken.push else 0), taken.data)
    segment.overhead = SEGMENT_OVERHEAD
    sk.wmem_queued += (1 - taken.packets) * SEGMENT_OVERHEAD
    if not output.queue_and_send(sk, segment):
        sk.unsent.put_back(taken.data, taken.push)
        return False
    if sk.pacing is not None:
        sk.pacing.sent(size)
    sk.cw.cwnd -= 1  # it takes the place of two
    search.size = _mss_to_mtu(sk, size)
    search.seq, search.end_seq = seq, end_seq
    return True


def _search_again(sk: TcpSock, search: MtuSearch) -> None:
    """The path may have changed since the search ended (`tcp_mtu_check_reprobe`)."""
    now = sk.kernel.now
    if now - search.since >= sk.kernel.sysctl["net.ipv4.tcp_probe_interval"] * SECOND:
        sk.mtup = MtuSearch(_mss_to_mtu(sk, current_mss(sk)), _most(sk), now)


def acknowledged(sk: TcpSock, search: MtuSearch) -> None:
    """Something was: the probe, too?  Then so many bytes are fewer segments
    (`tcp_mtup_probe_success`)."""
    if after(search.end_seq, sk.snd_una):
        return
    cw, now = sk.cw, sk.kernel.now
    sk.undo.prior_ssthresh = cw.current_ssthresh()
    cw.cwnd = max(cw.cwnd * _mss_to_mtu(sk, sk.mss_cache) // search.size, 1)
    cw.cwnd_cnt, cw.stamp = 0, now
    cw.ssthresh = cw.current_ssthresh()
    search.low, search.size = search.size, 0
    sync_mss(sk, sk.pmtu)
    sk.kernel.mib["TcpExtTCPMTUPSuccess"] += 1


def lost(sk: TcpSock) -> bool:
    """Segments are: is it the probe?  Then it was too long, and that is no congestion."""
    search = sk.mtup
    if search is None or not search.size or sk.cw.state >= CaState.CWR:
        return False
    if sk.snd_una != search.seq:
        return False
    search.high, search.size = search.size - 1, 0
    sk.kernel.mib["TcpExtTCPMTUPFail"] += 1
    sk.cw.cwnd += 1
    loss.simple_retransmit(sk, current_mss(sk))
    return True
