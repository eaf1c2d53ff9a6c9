"""When to acknowledge (RFC 9293, 3.8.6.3; RFC 5681, 4.2; Linux's quick ACKs).

Called by `input` after each segment and by `stream` when the user has read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.core.headers.tcp import TCP_HLEN, TH_FIN, TH_PSH, TH_SYN, TH_URG
from pystack.core.skb import SkBuff
from pystack.transport.sock import RCV_SHUTDOWN
from pystack.transport.tcp import rcvspace, transmit, window
from pystack.transport.tcp.constants import (
    ATO_MIN,
    DELACK_MAX,
    DELACK_MIN,
    MAX_QUICKACKS,
    MIN_MSS,
    MSS_DEFAULT,
    PINGPONG_THRESH,
    USEC,
)
from pystack.transport.tcp.seq import SEQ_MASK
from pystack.transport.tcp.state import UNCONNECTED, TcpState

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock

_NOT_PLAIN = TH_FIN | TH_URG | TH_SYN | TH_PSH


# Bits of `AckState.pending` (plain ints: this is the hot path)
ACK_SCHED = 1  # something wants an ACK
ACK_TIMER = 2  # the delayed-ACK timer runs
ACK_PUSHED = 4  # less than a full segment came: the sender has probably no more
ACK_PUSHED2 = 8  # twice
ACK_NOW = 16  # send it at once


class AckState:
    """`icsk_ack`.  `ato` and `timeout` in ns, `rcv_mss` the peer's segment size as we see it."""

    __slots__ = (
        *("ato", "last_seg_size", "lrcvtime", "pending", "pingpong", "quick", "rcv_mss"),
        "timeout",
    )

    def __init__(self) -> None:
        self.pending = 0
        self.quick = 0  # ACKs still to be sent without delay
        self.pingpong = 0  # an interactive session: data goes back and takes the ACK along
        self.ato = 0
        self.timeout = 0
        self.lrcvtime = 0
        self.last_seg_size = 0
        self.rcv_mss = MSS_DEFAULT

    @property
    def interactive(self) -> bool:
        return self.pingpong >= PINGPONG_THRESH

    @property
    def quick_mode(self) -> bool:
        return self.quick > 0 and not self.interactive

    def schedule(self) -> None:
        self.pending |= ACK_SCHED

    def sent(self) -> None:
        """An ACK has gone out."""
        scheduled, self.pending = self.pending & ACK_SCHED, 0
        if self.quick and scheduled:
            self.quick -= 1
            if not self.quick:
                self.ato = ATO_MIN


def initialize_rcv_mss(sk: TcpSock) -> None:
    hint = min(sk.advmss, sk.mss_cache, sk.rcv_wnd // 2, MSS_DEFAULT)
    sk.ack.rcv_mss = max(hint, MIN_MSS)


def increase_quickack(sk: TcpSock, limit: int = MAX_QUICKACKS) -> None:
    """A new or slow-starting sender needs our ACKs to grow its window."""
    acks = sk.rcv_wnd // (2 * sk.ack.rcv_mss) or 2
    sk.ack.quick = max(sk.ack.quick, min(acks, limit))


def enter_quickack(sk: TcpSock, limit: int = MAX_QUICKACKS) -> None:
    increase_quickack(sk, limit)
    sk.ack.pingpong = 0
    sk.ack.ato = ATO_MIN


def data_received(sk: TcpSock, skb: SkBuff) -> None:
    """New data is in the queue: adapt the delay to the rate it comes at (`tcp_event_data_recv`)."""
    ack, now = sk.ack, sk.kernel.now
    ack.schedule()
    _measure_rcv_mss(sk, skb)
    rcvspace.measure(sk)
    if not ack.ato:
        increase_quickack(sk)
        ack.ato = ATO_MIN
    else:
        gap = now - ack.lrcvtime
        if gap <= ATO_MIN // 2:
            ack.ato = (ack.ato >> 1) + ATO_MIN // 2
        elif gap < ack.ato:
            ack.ato = min((ack.ato >> 1) + gap, sk.rtt.rto)
        elif gap > sk.rtt.rto:
            increase_quickack(sk)  # the sender paused long enough to start slowly again
    ack.lrcvtime = now
    if len(skb) >= 128:
        window.grow_window(sk, skb)


def _measure_rcv_mss(sk: TcpSock, skb: SkBuff) -> None:
    """Estimate the sender's segment size from what comes (`tcp_measure_rcv_mss`)."""
    ack, length, flags = sk.ack, skb.gso_size or len(skb), skb.cb.flags
    last, ack.last_seg_size = ack.last_seg_size, 0
    if length >= ack.rcv_mss:
        ack.rcv_mss = min(length, sk.advmss)
        if flags & TH_PSH:
            ack.pending |= ACK_PUSHED
        return
    total = length + skb.off - skb.transport_header
    if total >= MSS_DEFAULT + TCP_HLEN or (total >= MIN_MSS + TCP_HLEN and not flags & _NOT_PLAIN):
        # Two equal segments in a row: the sender may have been told a smaller MTU.
        size = total - sk.header_length
        ack.last_seg_size = size
        if size == last:
            ack.rcv_mss = size
            return
    if ack.pending & ACK_PUSHED:
        ack.pending |= ACK_PUSHED2
    ack.pending |= ACK_PUSHED


def ack_check(sk: TcpSock, out_of_order: bool = True) -> None:
    """After a segment: acknowledge now, later, or not at all (`tcp_ack_snd_check`)."""
    ack = sk.ack
    if not ack.pending & ACK_SCHED or sk.state in UNCONNECTED:
        return
    full_segment = (sk.rcv_nxt - sk.rcv_wup) & SEQ_MASK > ack.rcv_mss and (
        (sk.rcv_nxt - sk.copied_seq) & SEQ_MASK < sk.sk_rcvlowat
        or window.choose_window(sk) >= sk.rcv_wnd
    )
    if full_segment or ack.quick_mode or ack.pending & ACK_NOW or (out_of_order and sk.ofo):
        transmit.send_ack(sk)
    else:
        _delay(sk)


def _delay(sk: TcpSock) -> None:
    """`tcp_send_delayed_ack`."""
    ack, now = sk.ack, sk.kernel.now
    ato = ack.ato
    if ato > DELACK_MIN:
        limit = 500_000_000
        if ack.interactive or ack.pending & ACK_PUSHED:
            limit = DELACK_MAX
        if sk.rtt.srtt_us:
            limit = min(limit, max((sk.rtt.srtt_us >> 3) * USEC, DELACK_MIN))
        ato = min(ato, limit)
    timeout = now + min(ato, DELACK_MAX)
    if ack.pending & ACK_TIMER:
        if ack.timeout <= now + (ato >> 2):
            transmit.send_ack(sk)  # it would fire any moment
            return
        timeout = min(timeout, ack.timeout)
    ack.pending |= ACK_SCHED | ACK_TIMER
    ack.timeout = timeout
    sk.delack_timer.mod(timeout)


def delack_timer(sk: TcpSock) -> None:
    """The delay is over (`tcp_delack_timer_handler`)."""
    ack = sk.ack
    if sk.state in UNCONNECTED or not ack.pending & ACK_TIMER or sk.delack_timer.pending:
        return
    ack.pending &= ~ACK_TIMER
    if not ack.pending & ACK_SCHED:
        return
    if ack.interactive:
        ack.pingpong = 0  # the answer did not come in time
        ack.ato = ATO_MIN
    else:
        ack.ato = min(ack.ato << 1, sk.rtt.rto)
    sk.kernel.mib["TcpExtDelayedACKs"] += 1
    transmit.send_ack(sk)


def after_read(sk: TcpSock, copied: int) -> None:
    """The user has read `copied` bytes: is an ACK or a window update due? (`tcp_cleanup_rbuf`)."""
    ack = sk.ack
    if sk.state in UNCONNECTED:
        return
    due = False
    if ack.pending & ACK_SCHED:
        pushed = ack.pending & ACK_PUSHED2 or (ack.pending & ACK_PUSHED and not ack.interactive)
        due = (sk.rcv_nxt - sk.rcv_wup) & SEQ_MASK > ack.rcv_mss or bool(
            copied and pushed and not sk.rmem_alloc
        )
    if copied and not due and not sk.sk_shutdown & RCV_SHUTDOWN:
        due = _window_worth_telling(sk)
    if due:
        transmit.send_ack(sk)


def set_quickack(sk: TcpSock, value: int) -> None:
    """TCP_QUICKACK: not permanent, as any ACK may enter the interactive mode again.

    An even value other than 0 sends what is due and then delays as before.
    """
    ack = sk.ack
    if not value:
        ack.pingpong = PINGPONG_THRESH
        return
    ack.pingpong = 0
    if sk.state in (TcpState.ESTABLISHED, TcpState.CLOSE_WAIT) and ack.pending & ACK_SCHED:
        ack.pending |= ACK_PUSHED
        after_read(sk, 1)
        if not value & 1:
            ack.pingpong = PINGPONG_THRESH


def _window_worth_telling(sk: TcpSock) -> bool:
    """It would at least double (RFC 9293, 3.8.6.2.2, with Linux's figure)."""
    current = window.receive_window(sk)
    if 2 * current > sk.window_clamp:
        return False
    new = window.choose_window(sk)
    return new > 0 and new >= 2 * current
