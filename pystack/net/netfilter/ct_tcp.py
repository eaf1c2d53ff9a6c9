"""TCP as connection tracking follows it (`net/netfilter/nf_conntrack_proto_tcp.c`).

States are those of the two ends as a middle box sees them: what it may have missed is let through,
what cannot belong to the connection is INVALID.  Called by `Conntrack`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.net.netfilter.conn import Conn, Status, Track
from pystack.net.netfilter.ct_tcp_types import (
    MASK,
    Flag,
    Kind,
    Seen,
    Segment,
    TcpState,
    TcpTrack,
    before,
    take_options,
)
from pystack.net.netfilter.ct_tcp_window import PREFIX, in_window

if TYPE_CHECKING:
    from pystack.core.sysctl import Sysctl

_LETTERS = dict(zip("NO SS SR ES FW CW LA TW CL S2 IV IG".split(), TcpState, strict=True))


def _rows(text: str) -> tuple[tuple[TcpState, ...], ...]:
    return tuple(tuple(_LETTERS[word] for word in line.split()) for line in text.split("\n"))


# By direction, index and old state: the new one.
_TRANSITIONS = (
    _rows(
        "SS SS IG IG IG IG IG SS SS S2\n"
        "IV IV SR IV IV IV IV IV IV SR\n"
        "IV IV FW FW LA LA LA TW CL IV\n"
        "ES IV ES ES CW CW TW TW CL IV\n"
        "IV CL CL CL CL CL CL CL CL CL\n"
        "IV IV IV IV IV IV IV IV IV IV"
    ),
    _rows(
        "IV S2 IV IV IV IV IV SS IV S2\n"
        "IV SR IG IG IG IG IG IG IG SR\n"
        "IV IV FW FW LA LA LA TW CL IV\n"
        "IV IG SR ES CW CW TW TW CL IG\n"
        "IV CL CL CL CL CL CL CL CL CL\n"
        "IV IV IV IV IV IV IV IV IV IV"
    ),
)
_TIMEOUT = {state: f"{PREFIX}timeout_{state.name.lower()}" for state in list(TcpState)[1:9]}
_TIMEOUT[TcpState.SYN_SENT2] = _TIMEOUT[TcpState.SYN_SENT]
_TIMEOUT[TcpState.NONE] = _TIMEOUT[TcpState.SYN_SENT]


def new(segment: Segment, sysctl: Sysctl) -> TcpTrack | None:
    """A connection that begins, or one met in its middle; None if it may not (`tcp_new`)."""
    state = _TRANSITIONS[0][segment.kind][TcpState.NONE]
    if state is TcpState.INVALID or (
        state is not TcpState.SYN_SENT and not sysctl[PREFIX + "loose"]
    ):
        return None
    track = TcpTrack()
    sender, receiver = track.seen
    sender.td_end = sender.td_maxend = segment.end
    sender.td_maxwin = segment.header.window or 1
    if state is TcpState.SYN_SENT:
        take_options(segment.options, sender)
    else:
        sender.td_maxend = (segment.end + sender.td_maxwin) & MASK
        # The scale of its windows is lost.
        sender.flags = receiver.flags = Flag.SACK_PERM | Flag.BE_LIBERAL
    return track


class Tcp:
    """Follows segments with the settings of one host."""

    def __init__(self, sysctl: Sysctl) -> None:
        self.sysctl = sysctl

    def packet(self, conn: Conn, segment: Segment, direction: int) -> Track:
        """Move the connection on; sets `conn.timeout` (`nf_conntrack_tcp_packet`)."""
        track: TcpTrack = conn.track
        old = track.state
        state = _TRANSITIONS[direction][segment.kind][old]
        in_sync = False
        if state is TcpState.SYN_SENT and old >= TcpState.TIME_WAIT:
            flags = track.seen[0].flags | track.seen[1].flags
            if flags & Flag.CLOSE_INIT or (
                track.last_dir == direction and track.last_kind is Kind.RST
            ):
                return Track.REOPEN
            state = TcpState.IGNORE
        if state is TcpState.IGNORE:
            if not _answers_ignored_syn(track, segment, direction):
                _remember_ignored(track, segment, direction, old)
                return Track.ACCEPT
            _get_in_sync(track, direction)
            old, state = TcpState.SYN_SENT, TcpState.SYN_RECV
            track.state = old
        elif state is TcpState.INVALID:
            return Track.INVALID
        elif state is TcpState.TIME_WAIT and _challenge_ack(track, segment, direction, old):
            return Track.ACCEPT
        elif state is TcpState.SYN_SENT2:
            track.last_flags |= Flag.SIMULTANEOUS_OPEN
        elif state is TcpState.SYN_RECV:
            if direction and segment.kind is Kind.ACK and track.last_flags & Flag.SIMULTANEOUS_OPEN:
                state = TcpState.ESTABLISHED
        elif state is TcpState.CLOSE and segment.kind is Kind.RST:
            judged = self._reset(conn, track, segment, direction)
            if judged is None:
                return Track.INVALID
            state, in_sync = judged
        if not in_sync:
            verdict = in_window(track, segment, direction, self.sysctl)
            if verdict is not Track.CONTINUE:
                if verdict is Track.INVALID:
                    self._out_of_window(conn, track, segment, direction)
                return verdict
        return self._in_sync(conn, segment, direction, old, state)

    def _reset(
        self, conn: Conn, track: TcpTrack, segment: Segment, direction: int
    ) -> tuple[TcpState, bool] | None:
        """The new state and whether the window need not be looked at; None: an invalid RST."""
        other, seq, state = track.seen[1 - direction], segment.header.seq, TcpState.CLOSE
        if can_early_drop(conn):
            return state, True
        established = track.state is TcpState.ESTABLISHED
        if other.flags & Flag.MAXACK_SET and track.last_kind is not Kind.SYN:
            if seq == 0 and not established:
                return state, False
            if before(seq, other.td_maxack) and not self.sysctl[PREFIX + "ignore_invalid_rst"]:
                return None
            if not established or seq == other.td_maxack:
                return state, False
            if (track.last_kind, track.last_dir) == (Kind.ACK, direction) and (
                seq == track.last_end
            ):
                return state, False  # right behind the text sent before
            state = track.state  # perhaps a challenge ACK will answer: RFC 5961
        answers_ignored = (conn.status & Status.SEEN_REPLY and track.last_kind is Kind.SYN) or (
            not conn.status & Status.ASSURED and track.last_kind is Kind.ACK
        )
        return state, bool(answers_ignored and segment.header.ack == track.last_end)

    def _out_of_window(self, conn: Conn, track: TcpTrack, segment: Segment, direction: int) -> None:
        """Both ends seem to close but we have lost track: do not keep the entry for days."""
        if segment.kind not in (Kind.RST, Kind.FIN):
            return
        closing = track.last_kind in (Kind.RST, Kind.FIN)
        if closing and track.last_dir != direction:
            conn.shorten(self.sysctl[PREFIX + "timeout_unacknowledged"])
        else:
            track.last_kind, track.last_dir = segment.kind, direction

    def _in_sync(
        self, conn: Conn, segment: Segment, direction: int, old: TcpState, state: TcpState
    ) -> Track:
        track: TcpTrack = conn.track
        track.last_kind, track.last_dir = segment.kind, direction
        track.state = state
        if old is not state and state is TcpState.FIN_WAIT:
            track.seen[direction].flags |= Flag.CLOSE_INIT
        timeout = self._timeout(track, segment, state)
        if not conn.status & Status.SEEN_REPLY:
            if segment.kind is Kind.RST:
                return Track.KILL  # refused: there is no connection to remember
            if segment.kind is Kind.SYN and old is TcpState.SYN_SENT:
                return Track.ACCEPT  # a client that goes on asking shall not keep it alive
            if state is TcpState.ESTABLISHED:
                timeout = min(timeout, self.sysctl[PREFIX + "timeout_unacknowledged"])
        elif state is TcpState.ESTABLISHED and old in (TcpState.SYN_RECV, TcpState.ESTABLISHED):
            conn.status |= Status.ASSURED
        conn.refresh(timeout)
        return Track.ACCEPT

    def _timeout(self, track: TcpTrack, segment: Segment, state: TcpState) -> int:
        """Seconds."""
        sysctl = self.sysctl
        timeout = sysctl[_TIMEOUT[state]]
        retrans = min(timeout, sysctl[PREFIX + "timeout_max_retrans"])
        if track.retrans >= sysctl[PREFIX + "max_retrans"]:
            return retrans
        if segment.kind is Kind.RST:
            return sysctl[_TIMEOUT[TcpState.CLOSE]]
        if (track.seen[0].flags | track.seen[1].flags) & Flag.DATA_UNACKNOWLEDGED:
            return min(timeout, sysctl[PREFIX + "timeout_unacknowledged"])
        return retrans if track.last_win == 0 else timeout


def can_early_drop(conn: Conn) -> bool:
    """Is the connection over, or nearly so? (`tcp_can_early_drop`)"""
    return conn.track.state in (
        TcpState.FIN_WAIT,
        TcpState.LAST_ACK,
        TcpState.TIME_WAIT,
        TcpState.CLOSE,
        TcpState.CLOSE_WAIT,
    )


def _answers_ignored_syn(track: TcpTrack, segment: Segment, direction: int) -> bool:
    """The peer accepts a SYN that we had ignored as invalid: they agree, we were out of step."""
    return (
        segment.kind is Kind.SYNACK
        and track.last_kind is Kind.SYN
        and track.last_dir != direction
        and segment.header.ack == track.last_end
    )


def _get_in_sync(track: TcpTrack, direction: int) -> None:
    sender = track.seen[track.last_dir]
    sender.td_end = sender.td_maxend = track.last_end
    sender.td_maxwin = track.last_win or 1
    sender.td_scale = track.last_wscale
    track.last_flags &= ~Flag.EXP_CHALLENGE_ACK
    sender.flags = track.last_flags
    seen = list(track.seen)
    seen[direction] = Seen()
    track.seen = (seen[0], seen[1])


def _remember_ignored(track: TcpTrack, segment: Segment, direction: int, old: TcpState) -> None:
    header = segment.header
    track.last_kind, track.last_dir = segment.kind, direction
    track.last_seq, track.last_end, track.last_win = header.seq, segment.end, header.window
    if segment.kind is Kind.SYN and direction == 0:
        track.last_flags, track.last_wscale = Flag(0), 0
        if segment.options.wscale is not None:
            track.last_flags |= Flag.WINDOW_SCALE
            track.last_wscale = segment.options.wscale
        if segment.options.sack_permitted:
            track.last_flags |= Flag.SACK_PERM
        if old is TcpState.LAST_ACK:
            track.last_flags |= Flag.EXP_CHALLENGE_ACK
    if old is TcpState.SYN_SENT and segment.kind is Kind.ACK and direction:
        track.last_ack = header.ack  # perhaps a challenge ACK


def _challenge_ack(track: TcpTrack, segment: Segment, direction: int, old: TcpState) -> bool:
    """An ACK that answers a stray SYN (RFC 5961) does not acknowledge the last FIN."""
    challenge = (
        old is TcpState.LAST_ACK
        and segment.kind is Kind.ACK
        and track.last_dir != direction
        and track.last_kind is Kind.SYN
        and bool(track.last_flags & Flag.EXP_CHALLENGE_ACK)
    )
    if challenge:
        track.last_flags &= ~Flag.EXP_CHALLENGE_ACK
    return challenge
