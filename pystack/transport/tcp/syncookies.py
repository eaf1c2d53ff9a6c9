"""SYN cookies (RFC 4987, 3.6; `net/ipv4/syncookies.c`): answer SYNs without remembering them.

Called by `listen` when its queue of requests is full (or always, with net.ipv4.tcp_syncookies=2).
Our initial sequence number is what was to be remembered: the minute, the peer's MSS in two bits,
and a keyed hash nobody else can make.  The low bits of a timestamp hold the options; without
timestamps there are none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.core.headers.tcp import TH_ACK, TH_CWR, TH_ECE, TH_RST, TH_SYN, TcpOptions
from pystack.transport.tcp.constants import MSEC, MSS_DEFAULT, SEC
from pystack.transport.tcp.request import RequestSock
from pystack.transport.tcp.segment import RxSegment
from pystack.transport.tcp.seq import SEQ_MASK, seq_add

if TYPE_CHECKING:
    from pystack.core.skb import SkBuff
    from pystack.transport.tcp.isn import Secrets
    from pystack.transport.tcp.sock import TcpSock
    from pystack.transport.tcp.tables import FourTuple

PERIOD = 60 * SEC
MAX_AGE = 2  # periods
VALID = MAX_AGE * PERIOD  # TCP_SYNCOOKIE_VALID
COOKIE_BITS = 24
COOKIE_MASK = (1 << COOKIE_BITS) - 1
MSS_TABLES = {4: (536, 1300, 1440, 1460), 16: (1220, 1420, 1440, 8940)}
"""By the length of an address."""

TS_BITS = 6
TS_WSCALE_MASK = 0xF  # this value: no window scaling
TS_SACK = 1 << 4
TS_ECN = 1 << 5


# -- the cookie ----------------------------------------------------------------------------


def make(secrets: Secrets, tuple4: FourTuple, peer_isn: int, now: int, data: int) -> int:
    """A sequence number with `data`, 0 to 2**24 - 1, in it (`secure_tcp_syn_cookie`)."""
    count = now // PERIOD
    low = (secrets.cookie_hash(tuple4, count) + data) & COOKIE_MASK
    return (secrets.cookie_hash(tuple4, None) + peer_isn + (count << COOKIE_BITS) + low) & SEQ_MASK


def data_of(secrets: Secrets, tuple4: FourTuple, peer_isn: int, now: int, cookie: int) -> int:
    """The data of a cookie that is no older than two periods; -1 for any other."""
    count = now // PERIOD
    rest = (cookie - secrets.cookie_hash(tuple4, None) - peer_isn) & SEQ_MASK
    age = (count - (rest >> COOKIE_BITS)) & (SEQ_MASK >> COOKIE_BITS)
    if age >= MAX_AGE:
        return -1
    return (rest - secrets.cookie_hash(tuple4, count - age)) & COOKIE_MASK


def mss_index(table: tuple[int, ...], mss: int) -> int:
    """Of the largest entry of the table that is not above `mss`."""
    return max((i for i, entry in enumerate(table) if entry <= mss), default=0)


# -- SYN -----------------------------------------------------------------------------------


def send(req: RequestSock) -> None:
    """Answer a SYN with a cookie; `req` can be forgotten (`cookie_init_sequence`)."""
    listener, kernel = req.listener, req.tcp.kernel
    if not req.tstamp_ok:
        req.sack_ok = req.ecn_ok = False
        req.snd_wscale = None
    # Only for a while after this a bare ACK may be one of a cookie (`tcp_synq_overflow`).
    listener.ts_recent_stamp = kernel.now
    index = mss_index(MSS_TABLES[len(req.four_tuple[0])], req.mss or MSS_DEFAULT)
    secrets = req.tcp.secrets
    req.snt_isn = make(secrets, req.four_tuple, req.rcv_isn, kernel.now, index)
    kernel.mib["TcpExtSyncookiesSent"] += 1
    clock = None
    if req.tstamp_ok:
        clock = encode(req, kernel.now // MSEC & SEQ_MASK)
    req.send_synack(clock)


def encode(req: RequestSock, clock: int) -> int:
    """The millisecond clock, a little late, with the options in its low bits."""
    options = TS_WSCALE_MASK if req.snd_wscale is None else req.snd_wscale
    options |= TS_SACK * req.sack_ok | TS_ECN * req.ecn_ok
    value = clock >> TS_BITS << TS_BITS | options
    return value if value <= clock else (value - (1 << TS_BITS)) & SEQ_MASK


# -- ACK -----------------------------------------------------------------------------------


def check(listener: TcpSock, skb: SkBuff) -> RequestSock | None:
    """The request that an ACK for a listener completes by a cookie (`cookie_v4_check`)."""
    segment: RxSegment = skb.cb
    kernel, tcp = listener.kernel, listener.tcp
    enabled = kernel.sysctl["net.ipv4.tcp_syncookies"]
    if not enabled or segment.flags & (TH_ACK | TH_RST | TH_SYN) != TH_ACK:
        return None
    overflow = listener.ts_recent_stamp
    if overflow is None or kernel.now - overflow > VALID:
        return None
    tuple4 = skb.daddr, segment.dport, skb.saddr, segment.sport
    peer_isn, isn = seq_add(segment.seq, -1), seq_add(segment.ack, -1)
    index = data_of(tcp.secrets, tuple4, peer_isn, kernel.now, isn)
    table = MSS_TABLES[len(skb.daddr)]
    if not 0 <= index < len(table):
        kernel.mib["TcpExtSyncookiesFailed"] += 1
        return None
    kernel.mib["TcpExtSyncookiesRecv"] += 1
    options = TcpOptions(mss=table[index])
    flags = TH_SYN
    if segment.options.timestamps is not None:
        offset = tcp.secrets.timestamp_offset(skb.daddr, skb.saddr)
        bits = (segment.options.timestamps[1] - offset) & SEQ_MASK
        options = _decode(options, bits)._replace(timestamps=segment.options.timestamps)
        if not _still_allowed(listener, options):
            return None
        if bits & TS_ECN:
            flags |= TH_ECE | TH_CWR
    syn = RxSegment(
        segment.sport, segment.dport, peer_isn, 0, flags, segment.window, options, segment.seq
    )
    req = RequestSock(listener, skb, syn, isn)
    req.sent_at = None  # nobody knows
    return req


def _decode(options: TcpOptions, bits: int) -> TcpOptions:
    wscale = bits & TS_WSCALE_MASK
    return options._replace(
        sack_permitted=bool(bits & TS_SACK), wscale=None if wscale == TS_WSCALE_MASK else wscale
    )


def _still_allowed(listener: TcpSock, options: TcpOptions) -> bool:
    """What the cookie grants may have been switched off since."""
    sysctl = listener.kernel.sysctl
    return bool(
        sysctl["net.ipv4.tcp_timestamps"]
        and (not options.sack_permitted or sysctl["net.ipv4.tcp_sack"])
        and (options.wscale is None or sysctl["net.ipv4.tcp_window_scaling"])
    )
