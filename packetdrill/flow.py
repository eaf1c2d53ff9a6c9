"""The connection a script talks about: its state, and the map between script and live numbers.

As in tcpdump's output, numbers of segments with SYN are absolute, all others count from the first
SYN.  The host chooses its sequence numbers, time stamps and ports; the script knows its own.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace

from packetdrill import tcpopts
from packetdrill.frames import Frame, IcmpFields, TcpFields, UdpFields

MASK = 0xFFFFFFFF


class FlowState(enum.Enum):
    NEW = "new"
    LISTENING = "listening"
    CONNECTING = "connecting"
    SYN_SENT = "SYN sent"
    SYN_ACKED = "SYN acknowledged"
    SYN_RECEIVED = "SYN received"
    SYNACK_SENT = "SYN-ACK sent"
    ESTABLISHED = "SYN-ACK acknowledged"


@dataclass
class Endpoints:
    """As the host sees them: local is the host."""

    local_ip: bytes = b""
    local_port: int = 0
    remote_ip: bytes = b""
    remote_port: int = 0


@dataclass
class Flow:
    """`fd`: the live descriptor.  ISNs: `local` is the host's, `remote` the script's peer's."""

    protocol: str = "tcp"
    state: FlowState = FlowState.NEW
    fd: int = -1
    live: Endpoints = field(default_factory=Endpoints)
    script_local_isn: int = 0
    live_local_isn: int = 0
    remote_isn: int = 0
    ts_map: dict[int, int] = field(default_factory=dict)  # script TSval: live TSval
    ts_base: tuple[int, int] | None = None  # the first (script, live) TSval

    # -- does a live packet belong to it? --------------------------------------------------

    def sends(self, frame: Frame) -> bool:
        """Is `frame`, which the host sent, one of this connection?"""
        live = self.live
        if (frame.ip.src, frame.ip.dst) != (live.local_ip, live.remote_ip):
            return False
        transport = frame.transport
        if isinstance(transport, IcmpFields):
            return self.protocol == "icmp"
        return (transport.sport, transport.dport) == (live.local_port, live.remote_port)

    def begins_with(self, frame: Frame) -> bool:
        """Is `frame` the first one of this connection, whose local port was not known yet?"""
        transport, live = frame.transport, self.live
        if frame.ip.dst != live.remote_ip:
            return False
        if isinstance(transport, TcpFields):
            opens = transport.flags & 0x12 == 0x02 and self.state is FlowState.SYN_SENT
            return self.protocol == "tcp" and opens and transport.dport == live.remote_port
        if self.state is not FlowState.CONNECTING:
            return False
        if isinstance(transport, UdpFields):
            return self.protocol == "udp" and transport.dport == live.remote_port
        return self.protocol == "icmp"

    def learn(self, frame: Frame) -> None:
        """Take the local end from the first packet of an active connection."""
        self.live.local_ip = frame.ip.src
        transport = frame.transport
        if isinstance(transport, (TcpFields, UdpFields)):
            self.live.local_port = transport.sport
        if isinstance(transport, TcpFields):
            self.live_local_isn = transport.seq

    # -- script to live --------------------------------------------------------------------

    def _local_offset(self, syn: bool) -> int:
        return self.live_local_isn - (self.script_local_isn if syn else 0)

    def _remote_offset(self, syn: bool) -> int:
        return 0 if syn else self.remote_isn

    def to_live(self, tcp: TcpFields, scaled: bool) -> TcpFields:
        """An inbound segment with live numbers; ValueError for an unknown time stamp echo."""
        acks = bool(tcp.flags & 0x10)
        offset = self._local_offset(tcp.syn)
        options = tcpopts.shift_sack(tcp.options, offset)
        stamps = tcpopts.find_timestamps(options)
        if acks and stamps is not None:
            options = tcpopts.replace_timestamps(options, ecr=self._live_ecr(stamps[1], scaled))
        return replace(
            tcp,
            sport=tcp.sport or self.live.remote_port,
            dport=tcp.dport or self.live.local_port,
            seq=(tcp.seq + self._remote_offset(tcp.syn)) & MASK,
            ack=(tcp.ack + offset) & MASK if acks else tcp.ack,
            options=options,
        )

    def _live_ecr(self, ecr: int, scaled: bool) -> int:
        live = self.ts_map.get(ecr)
        if live is not None:
            return live
        if scaled and self.ts_base is not None:
            return (ecr - self.ts_base[0] + self.ts_base[1]) & MASK
        raise ValueError(
            f"unable to infer live TS ecr for script TS ecr {ecr}; "
            "no matching or preceding outbound TS val"
        )

    def echoed_seq(self, seq: int) -> int:
        """A sequence number of ours that an ICMP error quotes."""
        return (seq + self._local_offset(False)) & MASK

    # -- live to script --------------------------------------------------------------------

    def to_script(self, tcp: TcpFields) -> TcpFields:
        """An outbound segment with the script's sequence numbers; time stamps stay."""
        offset = self._remote_offset(tcp.syn)
        return replace(
            tcp,
            seq=(tcp.seq - self._local_offset(tcp.syn)) & MASK,
            ack=(tcp.ack - offset) & MASK if tcp.flags & 0x10 else tcp.ack,
            options=tcpopts.shift_sack(tcp.options, -offset),
        )

    def map_timestamps(self, actual: TcpFields, script: TcpFields) -> TcpFields:
        """`actual` with its TSval in script time; remembers which live value stands for which."""
        wanted = tcpopts.find_timestamps(script.options)
        found = tcpopts.find_timestamps(actual.options)
        if wanted is None or found is None:
            return actual
        self.ts_map[wanted[0]] = found[0]
        if self.ts_base is None:
            self.ts_base = wanted[0], found[0]
        value = (self.ts_base[0] + found[0] - self.ts_base[1]) & MASK
        return replace(actual, options=tcpopts.replace_timestamps(actual.options, val=value))
