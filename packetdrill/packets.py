"""Packet events: inject what the script sends, compare what the host sent.

Called by the runner for each packet; moves the connection's state along.
"""

from __future__ import annotations

import struct
from dataclasses import replace

from packetdrill import frames, icmpwords, matching, script, tcpopts
from packetdrill.errors import ScriptFailure, Unsupported
from packetdrill.flow import Flow, FlowState
from packetdrill.frames import Frame, IcmpFields, IpFields, TcpFields
from packetdrill.matching import SEC, Expected
from packetdrill.script import TimeKind, When
from packetdrill.session import Session
from pystack.core.headers.ipv4 import IPPROTO_TCP, IPPROTO_UDP
from pystack.core.headers.tcp import TH_FIN, TH_PSH

PATIENCE = 2 * SEC  # how long a packet may be late before the script gives up on it
LONGEST_WAIT = 3600 * SEC  # for a packet that may come at any time
_TCP_START = struct.Struct("!HHI")
_UDP_HEADER = struct.Struct("!HHHH")


class Packets:
    def __init__(self, session: Session) -> None:
        self.session = session

    def build(self, packet: script.Packet, line: int) -> Expected:
        """Unsupported for what the interpreter does not build."""
        if packet.encapsulation:
            text = packet.encapsulation
            raise Unsupported(f"{text} encapsulation", kind=f"{text} encapsulation")
        built = matching.build(packet, self.session.config, self.session.config.defines)
        tcp = built.frame.tcp
        if tcp is None or not any(option.kind == tcpopts.OPT_MD5 for option in tcp.options):
            return built
        note = f"line {line}: the md5 option is ignored: segments are not signed here"
        self.session.notes.append(note)
        plain = replace(tcp, options=tcpopts.without_md5(tcp.options))
        return replace(built, frame=replace(built.frame, transport=plain))

    # -- which connection? -----------------------------------------------------------------

    def _flow(self, expected: Expected) -> Flow:
        session = self.session
        tcp = expected.frame.tcp
        if tcp is not None:
            self._choose_by_port(expected, tcp)
        flow = session.flow
        if tcp is not None:
            if expected.packet.inbound and (flow is None or flow.state is FlowState.LISTENING):
                return session.passive_flow(tcp.seq, next(session.ports))
            opens = not expected.packet.inbound and tcp.flags & 0x12 == 0x02
            if opens and flow is not None and flow.state is FlowState.CONNECTING:
                flow.state = FlowState.SYN_SENT
                flow.script_local_isn = tcp.seq
                return flow
        if flow is None:
            raise ScriptFailure("no matching socket for script packet", kind="no socket")
        return flow

    def _choose_by_port(self, expected: Expected, tcp: TcpFields) -> None:
        """A packet that names the remote port belongs to that connection, which a SYN to a
        listener opens; the packets after it that name none belong to it, too.  A port nobody has
        is foreign: the packet is the current connection's, with that port."""
        session, inbound = self.session, expected.packet.inbound
        port = tcp.sport if inbound else tcp.dport
        if not port:
            return
        known = session.flow_from(port)
        if known is not None:
            session.flow = known
        elif inbound and tcp.flags & 0x12 == 0x02 and session.listens:
            session.passive_flow(tcp.seq, port)

    # -- inbound ---------------------------------------------------------------------------

    def inject(self, expected: Expected) -> None:
        """Put a packet on the wire and let the host deal with it."""
        flow = self._flow(expected)
        tcp = expected.frame.tcp
        if tcp is not None:
            self._advance(flow, tcp)
        try:
            live = self._to_live(flow, expected)
        except ValueError as exc:
            raise ScriptFailure(str(exc), kind="TS ecr") from None
        for part in _cut(live, self.session.config.mss):
            self.session.machine.wire.inject(part)
        self.session.machine.settle()

    def _advance(self, flow: Flow, tcp: TcpFields) -> None:
        acks = bool(tcp.flags & 0x10)
        if flow.state is FlowState.SYNACK_SENT and acks:
            flow.state = FlowState.ESTABLISHED
        elif flow.state is FlowState.SYN_SENT and tcp.syn and acks:
            flow.state = FlowState.SYN_ACKED
            flow.remote_isn = tcp.seq

    def _to_live(self, flow: Flow, expected: Expected) -> Frame:
        config = self.session.config
        live, frame = flow.live, expected.frame
        local_ip, remote_ip = live.local_ip or config.local_ip, live.remote_ip or config.remote_ip
        ip = replace(frame.ip, src=remote_ip, dst=local_ip)
        transport = frame.transport
        if isinstance(transport, TcpFields):
            tcp = flow.to_live(transport, config.ts_ecr_scaled)
            return replace(frame, ip=ip, transport=tcp)
        if isinstance(transport, IcmpFields):
            spec = expected.packet.transport
            assert isinstance(spec, script.Icmp)
            transport = replace(transport, word=icmpwords.error_word(spec))
            payload = self._quote(flow, spec, IpFields(ip.version, local_ip, remote_ip))
            return replace(frame, ip=ip, transport=transport, payload=payload)
        udp = replace(
            transport,
            sport=transport.sport or live.remote_port or config.connect_port,
            dport=transport.dport or live.local_port or config.bind_port,
        )
        return replace(frame, ip=ip, transport=udp)

    def _quote(self, flow: Flow, spec: script.Icmp, ip: IpFields) -> bytes:
        """The start of our packet that an ICMP error is about: IP header and eight bytes."""
        echoed = spec.echoed or script.Echoed("tcp", 0)
        if echoed.protocol == "raw":
            return bytes(max(0, echoed.length - 8))
        ports = flow.live.local_port, flow.live.remote_port
        if echoed.protocol == "udp":
            length = _UDP_HEADER.size + echoed.length
            header = frames.encode_ip(ip, IPPROTO_UDP, length)
            return header + _UDP_HEADER.pack(*ports, length, 0)
        header = frames.encode_ip(ip, IPPROTO_TCP, 20 + echoed.length)
        return header + _TCP_START.pack(*ports, flow.echoed_seq(echoed.seq))

    # -- outbound --------------------------------------------------------------------------

    def expect(self, expected: Expected, when: When, last: int | None) -> None:
        """Wait for the next packet of the connection and compare it; `when` is absolute."""
        flow = self._flow(expected)
        tcp = expected.frame.tcp
        answers = tcp is not None and tcp.flags & 0x12 == 0x12
        if answers and flow.state is FlowState.SYN_RECEIVED and tcp is not None:
            flow.script_local_isn = tcp.seq
        whole, parts = len(expected.frame.payload), list[Frame]()
        got = 0
        while True:
            frame = self._next(flow, when, expected)
            if answers and flow.state is FlowState.SYN_RECEIVED and frame.tcp is not None:
                flow.state = FlowState.SYNACK_SENT
                flow.live_local_isn = frame.tcp.seq
            frame = self._to_script(flow, frame)
            got += len(frame.payload)
            if parts:
                why = matching.joins(parts[-1], frame, got >= whole)
                if why is not None:
                    raise self._mismatch(why, "segments", expected, [*parts, frame], when)
            parts.append(frame)
            if got >= whole or self.session.config.strict_segments:
                break
        if got != whole:
            why = f"live packet payload: expected {whole} bytes vs actual {got} bytes"
            raise self._mismatch(why, "packet payload length", expected, parts, when)
        self._compare(flow, expected, parts, when, last)

    def _compare(
        self, flow: Flow, expected: Expected, parts: list[Frame], when: When, last: int | None
    ) -> None:
        config = self.session.config
        actual = parts[0] if len(parts) == 1 else self._merge(parts, expected)
        wanted = expected.frame.tcp
        if actual.tcp is not None and wanted is not None:
            actual = replace(actual, transport=flow.map_timestamps(actual.tcp, wanted))
        try:
            matching.verify(expected, actual, config, when.start)
            matching.verify_time(when, actual.when, last, config, "outbound packet")
        except ScriptFailure as exc:
            raise self._mismatch(exc.message, exc.kind, expected, [actual], when) from None

    def _merge(self, parts: list[Frame], expected: Expected) -> Frame:
        """One large segment.  Linux sets PSH on those it leaves to the device to cut, so that the
        receiver merges no further; this host does not, and PSH is taken as the script has it."""
        actual = matching.merge(parts)
        wanted = expected.frame.tcp
        if wanted is None or actual.tcp is None:
            return actual
        flags = actual.tcp.flags & ~TH_PSH | wanted.flags & TH_PSH
        return replace(actual, transport=replace(actual.tcp, flags=flags))

    def _next(self, flow: Flow, when: When, expected: Expected) -> Frame:
        """The next live packet of `flow`; others are passed over, as packetdrill does."""
        machine = self.session.machine
        captured = machine.wire.captured
        if when.kind is TimeKind.ANY:
            deadline = machine.now + LONGEST_WAIT
        else:
            deadline = max(when.start, when.end) + PATIENCE
        while True:
            if not captured:
                machine.run_until(deadline, lambda: bool(captured))
            if machine.wire.errors:
                raise ScriptFailure(machine.wire.errors[0], kind="malformed packet")
            if not captured:
                raise self._mismatch(
                    "timed out waiting for packet", "no packet", expected, [], when
                )
            frame = captured.popleft()
            if flow.sends(frame):
                return frame
            if flow.begins_with(frame):
                flow.learn(frame)
                return frame

    def _to_script(self, flow: Flow, frame: Frame) -> Frame:
        when = frame.when - self.session.machine.start
        if frame.tcp is None:
            return replace(frame, when=when)
        return replace(frame, transport=flow.to_script(frame.tcp), when=when)

    def _mismatch(
        self, message: str, kind: str, expected: Expected, actual: list[Frame], when: When
    ) -> ScriptFailure:
        return ScriptFailure(
            message,
            kind=kind,
            expected=f"{when.start / SEC:9.6f} {expected}",
            actual="\n".join(f"{f.when / SEC:9.6f} {frames.to_text(f)}" for f in actual),
        )


def _cut(frame: Frame, mss: int) -> list[Frame]:
    """Data longer than `mss` arrives in segments, which GRO puts together again."""
    tcp = frame.tcp
    if tcp is None or not mss or len(frame.payload) <= mss:
        return [frame]
    parts = []
    for at in range(0, len(frame.payload), mss):
        data = frame.payload[at : at + mss]
        more = at + mss < len(frame.payload)
        part = replace(
            tcp,
            seq=(tcp.seq + at) & 0xFFFFFFFF,
            flags=tcp.flags & ~(TH_FIN | TH_PSH) if more else tcp.flags,
        )
        parts.append(replace(frame, transport=part, payload=data))
    return parts
