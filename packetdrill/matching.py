"""Does what the host sent look like what the script says?

Fields are compared in packetdrill's order and reported in its words.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from packetdrill import frames, script, tcpopts
from packetdrill.config import Config
from packetdrill.errors import ScriptFailure
from packetdrill.frames import Frame, IcmpFields, IpFields, TcpFields, UdpFields
from packetdrill.icmpwords import codes_of
from packetdrill.script import TimeKind, When
from pystack.core.headers.tcp import OPT_TIMESTAMPS

SEC = 1_000_000_000
ECN_BITS = {"noecn": 0, "ect1": 1, "ect0": 2, "ce": 3}
_FLAG_NAMES = ("fin", "syn", "rst", "psh", "ack", "urg")
_MARKS = ("ece", "cwr", "ae")
_LENIENT = frozenset({"fin", "psh", "cwr"})  # may differ between the segments of one large one


@dataclass(frozen=True)
class Expected:
    """A script packet made comparable: `frame` with zeros where nothing is said."""

    frame: Frame
    packet: script.Packet

    @property
    def any_options(self) -> bool:
        tcp = self.packet.transport
        return isinstance(tcp, script.Tcp) and tcp.options is None

    @property
    def any_window(self) -> bool:
        tcp = self.packet.transport
        return isinstance(tcp, script.Tcp) and tcp.window is None

    @property
    def counts_ace(self) -> bool:
        tcp = self.packet.transport
        return isinstance(tcp, script.Tcp) and any(c in "1234567" for c in tcp.flags)

    def __str__(self) -> str:
        text = frames.to_text(self.frame)
        if self.any_window:
            text = text.replace(" win 0", "", 1)
        return text + (" <...>" if self.any_options else "")


def build(packet: script.Packet, config: Config, defines: dict[str, str]) -> Expected:
    """The frame a script packet stands for, with the script's numbers and no addresses."""
    info = packet.ip
    tos = info.tos if info.tos is not None else ECN_BITS.get(info.ecn or "", 0)
    ip = IpFields(config.version, b"", b"", tos, info.ttl or 64, info.flowlabel or 0)
    spec = packet.transport
    if isinstance(spec, script.Tcp):
        tcp = TcpFields(
            packet.sport,
            packet.dport,
            spec.seq & 0xFFFFFFFF,
            spec.ack & 0xFFFFFFFF,
            frames.flag_bits(spec.flags),
            spec.window or 0,
            spec.urgent,
            spec.options or (),
        )
        return Expected(Frame(ip, tcp, bytes(spec.length)), packet)
    if isinstance(spec, script.Udp):
        return Expected(
            Frame(ip, UdpFields(packet.sport, packet.dport), bytes(spec.length)), packet
        )
    kind, code = codes_of(config.version, spec, defines)
    length = spec.echoed.length if spec.echoed is not None else 0
    return Expected(Frame(ip, IcmpFields(kind, code), bytes(length)), packet)


class _Mismatch(Exception):
    """`args`: message, and the field for grouping."""


def check_field(name: str, expected: int, actual: int) -> None:
    if expected != actual:
        raise _Mismatch(
            f"live packet field {name}: expected: {expected} ({expected:#x}) "
            f"vs actual: {actual} ({actual:#x})",
            f"packet {name}",
        )


def verify(expected: Expected, actual: Frame, config: Config, elapsed: int) -> None:
    """ScriptFailure, without its line, unless `actual` (in script space) is as expected.

    `elapsed` (ns) is the script's time so far: the tolerance of time stamps grows with it.
    """
    try:
        _verify_ip(expected, actual)
        if isinstance(actual.transport, TcpFields):
            _verify_tcp(expected, actual.transport)
            _verify_options(expected, actual.transport, config, elapsed)
        elif isinstance(actual.transport, IcmpFields):
            wanted = expected.frame.transport
            assert isinstance(wanted, IcmpFields)
            check_field("icmp_type", wanted.type, actual.transport.type)
            check_field("icmp_code", wanted.code, actual.transport.code)
            return
        if expected.frame.payload != actual.payload:
            raise _Mismatch("incorrect outbound data payload", "payload")
    except _Mismatch as exc:
        message, kind = exc.args
        raise ScriptFailure(message, kind=kind) from None


def _verify_ip(expected: Expected, actual: Frame) -> None:
    wanted = expected.frame
    if type(wanted.transport) is not type(actual.transport):
        names = {TcpFields: "TCP", UdpFields: "UDP", IcmpFields: "ICMP"}
        want, got = names[type(wanted.transport)], names[type(actual.transport)]
        raise _Mismatch(f"expected: {want} header vs actual: {got} header", "protocol")
    check_field("ip_version", wanted.ip.version, actual.ip.version)
    if not isinstance(actual.transport, IcmpFields):
        length = _total_length(wanted)
        if expected.any_options and isinstance(actual.transport, TcpFields):
            length += len(tcpopts.pack(actual.transport.options))
        check_field("ip_total_length", length, _total_length(actual))
    info = expected.packet.ip
    if info.ecn == "ect01":
        if actual.ip.tos & 3 not in (1, 2):
            text = f"expected: 0x1 or 0x2 vs actual: {actual.ip.tos & 3:#x}"
            raise _Mismatch(f"live packet field ip_ecn: {text}", "packet ip_ecn")
    elif info.ecn is not None:
        check_field("ip_ecn", ECN_BITS[info.ecn], actual.ip.tos & 3)
    elif info.tos is not None:
        check_field("tos", info.tos, actual.ip.tos)
    if info.ttl is not None:
        check_field("ttl", info.ttl, actual.ip.ttl)


def _total_length(frame: Frame) -> int:
    size = len(frame.payload) + (20 if frame.ip.version == 4 else 0)
    if isinstance(frame.transport, TcpFields):
        return size + 20 + len(tcpopts.pack(frame.transport.options))
    return size + 8


def _verify_tcp(expected: Expected, actual: TcpFields) -> None:
    wanted = expected.frame.transport
    assert isinstance(wanted, TcpFields)
    if not expected.any_options:
        want, got = (5 + len(tcpopts.pack(tcp.options)) // 4 for tcp in (wanted, actual))
        check_field("tcp_data_offset", want, got)
    verify_flags(wanted, actual, ace=expected.counts_ace)
    check_field("tcp_seq", wanted.seq, actual.seq)
    check_field("tcp_ack_seq", wanted.ack, actual.ack)
    if not expected.any_window:
        check_field("tcp_window", wanted.window, actual.window)
    check_field("tcp_urg_ptr", wanted.urgent, actual.urgent)


def verify_flags(
    wanted: TcpFields, actual: TcpFields, *, ace: bool, lenient: frozenset[str] = frozenset()
) -> None:
    """With `ace` the three bits of the AccECN counter are one number."""
    for bit, name in enumerate(_FLAG_NAMES):
        if name not in lenient:
            check_field(f"tcp_{name}", wanted.flags >> bit & 1, actual.flags >> bit & 1)
    if ace:
        check_field("tcp_ace", frames.ace_of(wanted.flags), frames.ace_of(actual.flags))
        return
    for bit, name in enumerate(_MARKS, 6):
        if name not in lenient:
            check_field(f"tcp_{name}", wanted.flags >> bit & 1, actual.flags >> bit & 1)


def _verify_options(expected: Expected, actual: TcpFields, config: Config, elapsed: int) -> None:
    """Options are expected in the script's order; of a time stamp only what is configured."""
    if expected.any_options:
        return
    wanted = expected.frame.transport
    assert isinstance(wanted, TcpFields)
    kinds = [option.kind for option in wanted.options], [option.kind for option in actual.options]
    texts = f"expected: {tcpopts.to_text(wanted.options)} actual: {tcpopts.to_text(actual.options)}"
    if kinds[0] != kinds[1]:
        raise _Mismatch(f"bad outbound TCP options: {texts}", "TCP options")
    for want, got in zip(wanted.options, actual.options, strict=True):
        if want.kind == OPT_TIMESTAMPS:
            _verify_timestamp(wanted, actual, config, elapsed)
        elif want != got:
            raise _Mismatch(
                f"bad value in outbound TCP option (kind={want.kind}): "
                f"expected: {want} actual: {got}",
                f"TCP option {str(want).split(' ')[0]}",
            )


def _verify_timestamp(wanted: TcpFields, actual: TcpFields, config: Config, elapsed: int) -> None:
    """TS ecr is a number of the script's own; packetdrill does not look at it."""
    want, got = (tcpopts.find_timestamps(tcp.options) for tcp in (wanted, actual))
    if want is None or got is None:
        return
    if want[1] != got[1]:
        raise _Mismatch(
            f"bad outbound TCP timestamp echo, expected {want[1]}, actual {got[1]}",
            "TCP timestamp echo",
        )
    if not config.ts_tick_usecs:
        return
    tolerance = max(config.tolerance, int(config.tolerance_percent / 100 * elapsed))
    off = (got[0] - want[0] + (1 << 31)) % (1 << 32) - (1 << 31)
    if abs(off) * config.ts_tick_usecs * 1000 > tolerance:
        raise _Mismatch(
            f"bad outbound TCP timestamp value, expected {want[0]}, actual {got[0]}, "
            f"tolerance {tolerance // 1000} us",
            "TCP timestamp value",
        )


# -- large segments --------------------------------------------------------------------------


def joins(previous: Frame, frame: Frame, last: bool) -> str | None:
    """Why `frame` cannot continue the large segment `previous` belongs to; None if it can.

    All but the last have the same length; flags that only one of the segments carries may differ.
    """
    before, now = previous.tcp, frame.tcp
    if before is None or now is None:
        return "not TCP"
    try:
        verify_flags(before, now, ace=False, lenient=_LENIENT)
        check_field("tcp_seq", (before.seq + len(previous.payload)) & 0xFFFFFFFF, now.seq)
        check_field("tcp_ack_seq", before.ack, now.ack)
        check_field("tcp_window", before.window, now.window)
    except _Mismatch as exc:
        return str(exc.args[0])
    if not last and len(frame.payload) != len(previous.payload):
        return (
            f"fragment payload: expected {len(previous.payload)} bytes "
            f"vs actual {len(frame.payload)} bytes"
        )
    return None


def merge(parts: list[Frame]) -> Frame:
    """The segment before it was cut: flags of the last, sequence number and CWR of the first."""
    first, last = parts[0].tcp, parts[-1].tcp
    assert first is not None and last is not None
    flags = last.flags & ~0x80 | first.flags & 0x80
    tcp = replace(last, seq=first.seq, flags=flags)
    return replace(parts[-1], transport=tcp, payload=b"".join(part.payload for part in parts))


# -- time ------------------------------------------------------------------------------------


def verify_time(when: When, actual: int, last: int | None, config: Config, what: str) -> None:
    """Times in ns from the script's start, `when` made absolute; `last`: of the event before."""
    if when.kind is TimeKind.ANY:
        return
    tolerance = config.tolerance
    if last is not None:
        tolerance = max(tolerance, int(config.tolerance_percent / 100 * (when.start - last)))
    end = when.end if when.kind.is_range else when.start
    if when.start - tolerance <= actual <= end + tolerance:
        return
    if when.kind.is_range:
        wanted = f"in time range {when.start / SEC:.6f}~{end / SEC:.6f} sec"
    else:
        wanted = f"at {when.start / SEC:.6f} sec"
    raise ScriptFailure(
        f"timing error: expected {what} {wanted} but happened at {actual / SEC:.6f} sec; "
        f"tolerance {tolerance / SEC:.6f} sec",
        kind=f"timing of {what}",
    )
