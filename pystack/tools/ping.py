"""`ping`: echo requests from a process of the host (iputils)."""

from __future__ import annotations

import math
import socket as so
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from pystack.core.checksum import checksum
from pystack.tools.tool import Net, Options, ToolError, in_task
from pystack.uapi.process import Process
from pystack.uapi.sockmod import SocketModule

ECHO, REPLY = {4: 8, 6: 128}, {4: 0, 6: 129}
_IDS = struct.Struct("!HH")
_MINIMUM = 8  # bytes of ICMP
IP_RECVERR, IPV6_RECVERR = 11, 25
COUNT = 4  # without -c; the real one goes on until it is stopped
HEADERS = 28  # bytes of IPv4 and ICMP
_REASONS = {
    (4, 3, 0): "Destination Net Unreachable",
    (4, 3, 1): "Destination Host Unreachable",
    (4, 3, 3): "Destination Port Unreachable",
    (4, 3, 4): "Frag needed and DF set",
    (4, 3, 13): "Packet filtered",
    (4, 11, 0): "Time to live exceeded",
    (6, 1, 0): "Destination unreachable: No route",
    (6, 1, 1): "Destination unreachable: Administratively prohibited",
    (6, 1, 3): "Destination unreachable: Address unreachable",
    (6, 2, 0): "Packet too big",
    (6, 3, 0): "Time exceeded: Hop limit",
}


@dataclass
class _Run:
    """What is asked for, and what has come of it.  Times in ns."""

    net: Net
    target: str
    version: int
    count: int
    size: int
    interval: int
    patience: int
    ttl: int
    lines: list[str] = field(default_factory=list)
    rtts: list[int] = field(default_factory=list)
    sent: int = 0
    errors: int = 0
    started: int = 0
    identifier: int = 0


def ping(net: Net, args: Sequence[str]) -> str:
    """`ping [-c N] [-i SECONDS] [-s SIZE] [-W SECONDS] [-t TTL] [-n] ADDRESS`"""
    options = Options("ping", args, "c:i:s:W:t:nq46", {})
    if len(options.args) != 1:
        raise ToolError("ping: usage error: Destination address required", 2)
    target = options.args[0]
    try:
        version = ip_address(target).version
    except ValueError:
        raise ToolError(f"ping: {target}: Name or service not known", 2) from None
    run = _Run(
        *(net, target, version, int(_number(options, "c", COUNT))),
        *(int(_number(options, "s", 56)), int(_number(options, "i", 1) * 1e9)),
        *(int(_number(options, "W", 10) * 1e9),),
        int(_number(options, "t", 0)),
    )
    in_task(net, lambda: _process(run))
    text = "".join(line + "\n" for line in run.lines)
    if not run.rtts:
        raise ToolError("", 1, text)
    return text


def _number(options: Options, letter: str, default: float) -> float:
    text = options.value(letter, str(default))
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1 << 31:
        raise ToolError(f"ping: invalid argument: '{text}'")
    return value


def _process(run: _Run) -> None:
    process = Process(run.net.kernel, run.net.system, "ping")
    process.start(_main, SocketModule(process), run, process)
    process.wait()
    if process.tracebacks:
        raise ToolError(f"ping: {process.tracebacks[-1].splitlines()[-1]}")


def _main(socket: Any, run: _Run, process: Process) -> None:
    run.identifier = process.pid & 0xFFFF
    family, protocol = (
        (so.AF_INET, so.IPPROTO_ICMP) if run.version == 4 else (so.AF_INET6, so.IPPROTO_ICMPV6)
    )
    sock = socket.socket(family, so.SOCK_RAW, protocol)
    try:
        _prepare(sock, run)
        sock.connect((run.target, 0))
    except OSError as exc:
        run.lines.append(f"ping: connect: {exc.strerror}")
        return
    if run.version == 4:
        total = run.size + HEADERS
        text = f"PING {run.target} ({run.target}) {run.size}({total}) bytes of data."
    else:
        text = f"PING {run.target}({run.target}) {run.size} data bytes"
    run.lines.append(text)
    run.started = run.net.kernel.now
    for sequence in range(1, run.count + 1):
        _one(sock, run, sequence)
    _summary(run)


def _prepare(sock: Any, run: _Run) -> None:
    if run.version == 4:
        sock.setsockopt(so.IPPROTO_IP, IP_RECVERR, 1)
        if run.ttl:
            sock.setsockopt(so.IPPROTO_IP, so.IP_TTL, run.ttl)
    else:
        sock.setsockopt(so.IPPROTO_IPV6, so.IPV6_RECVHOPLIMIT, 1)
        sock.setsockopt(so.IPPROTO_IPV6, IPV6_RECVERR, 1)
        if run.ttl:
            sock.setsockopt(so.IPPROTO_IPV6, so.IPV6_UNICAST_HOPS, run.ttl)


def _request(run: _Run, sequence: int) -> bytes:
    """ICMPv6's checksum is the kernel's."""
    payload = bytes(at & 0xFF for at in range(run.size))
    rest = _IDS.pack(run.identifier, sequence & 0xFFFF) + payload
    header = bytes((ECHO[run.version], 0, 0, 0))
    if run.version == 4:
        header = header[:2] + checksum(header + rest).to_bytes(2, "big")
    return header + rest


def _one(sock: Any, run: _Run, sequence: int) -> None:
    """Send one request, and report what comes until the next one is due."""
    kernel = run.net.kernel
    sent, last = kernel.now, sequence == run.count
    run.sent += 1
    try:
        sock.send(_request(run, sequence))
    except OSError as exc:
        run.errors += 1
        run.lines.append(f"ping: sendmsg: {exc.strerror}")
    until = sent + (run.patience if last else run.interval)
    while (left := until - kernel.now) > 0:
        sock.settimeout(left / 1e9)
        try:
            data, control, _, peer = sock.recvmsg(65536, 256)
        except TimeoutError:
            return
        except OSError as exc:
            _error(sock, run, sequence, exc)
            if last:
                return
            continue
        if _reply(run, data, control, peer[0], sent) == sequence & 0xFFFF and last:
            return


def _reply(run: _Run, data: bytes, control: Any, peer: str, sent: int) -> int | None:
    """The sequence number of a reply to one of ours."""
    if run.version == 4:
        ttl, data = data[8], data[(data[0] & 15) << 2 :]
    else:
        ttl = next((int.from_bytes(value[:4], "little") for _, _, value in control), 0)
    if len(data) < _MINIMUM or data[0] != REPLY[run.version]:
        return None
    identifier, sequence = _IDS.unpack_from(data, 4)
    if identifier != run.identifier:
        return None
    rtt = run.net.kernel.now - sent
    run.rtts.append(rtt)
    run.lines.append(
        f"{len(data)} bytes from {peer}: icmp_seq={sequence} ttl={ttl} time={_ms(rtt)} ms"
    )
    return int(sequence)


def _ms(ns: int) -> str:
    """Three digits, as iputils has it."""
    us = (ns + 500) // 1000
    if us >= 100_000:
        return str(us // 1000)
    if us >= 10_000:
        return f"{us // 1000}.{us % 1000 // 100}"
    if us >= 1000:
        return f"{us // 1000}.{us % 1000 // 10:02}"
    return f"0.{us:03}"


def _error(sock: Any, run: _Run, sequence: int, exc: OSError) -> None:
    """What the error queue says of it (`struct sock_extended_err`)."""
    run.errors += 1
    try:
        _, control, _, _ = sock.recvmsg(65536, 512, so.MSG_ERRQUEUE | so.MSG_DONTWAIT)
    except OSError:
        run.lines.append(f"ping: recvmsg: {exc.strerror}")
        return
    for _, _, data in control:
        if len(data) < 16 + 8:
            continue
        origin, kind, code = data[4], data[5], data[6]
        if origin == 1:
            run.lines.append(f"ping: local error: message too long, mtu={_mtu(data)}")
            return
        offender = _address(data[16:], run.version)
        reason = _REASONS.get((run.version, kind, code), f"ICMP type {kind}, code {code}")
        run.lines.append(f"From {offender} icmp_seq={sequence} {reason}")
        return


def _mtu(data: bytes) -> int:
    return int.from_bytes(data[8:12], "little")


def _address(sockaddr: bytes, version: int) -> str:
    if version == 4:
        return so.inet_ntoa(sockaddr[4:8])
    return so.inet_ntop(so.AF_INET6, sockaddr[8:24])


def _summary(run: _Run) -> None:
    received, took = len(run.rtts), (run.net.kernel.now - run.started) // 10**6
    errors = f" +{run.errors} errors," if run.errors else ""
    loss = 100 * (run.sent - received) / run.sent if run.sent else 0
    run.lines += [
        "",
        f"--- {run.target} ping statistics ---",
        f"{run.sent} packets transmitted, {received} received,{errors} {loss:g}% packet loss, "
        f"time {took}ms",
    ]
    if run.rtts:
        ms = [rtt / 1e6 for rtt in run.rtts]
        mean = sum(ms) / len(ms)
        deviation = math.sqrt(max(sum(x * x for x in ms) / len(ms) - mean * mean, 0))
        run.lines.append(
            f"rtt min/avg/max/mdev = {min(ms):.3f}/{mean:.3f}/{max(ms):.3f}/{deviation:.3f} ms"
        )
    else:
        run.lines.append("")
