"""Raw and ping sockets: the same program on this machine's kernel and on ours."""

from __future__ import annotations

import socket as so
import struct
from typing import Any

from both import Machine, both
from test_udp import LO, udp

from pystack.core.checksum import checksum
from pystack.core.engine import VirtualEngine
from pystack.host import Host
from pystack.uapi.process import Process
from pystack.uapi.sockmod import SocketModule

SOL_RAW, ICMP_FILTER = 255, 1


def raw(m: Machine, protocol: int, family: int = so.AF_INET) -> Any:
    sock = m.socket.socket(family, so.SOCK_RAW, protocol)
    sock.setblocking(False)
    return sock


def echo(identifier: int, sequence: int = 1, data: bytes = b"ping") -> bytes:
    """An echo request with its checksum."""
    head = struct.pack("!BBHHH", 8, 0, 0, identifier, sequence)
    return head[:2] + checksum(head + data).to_bytes(2) + head[4:] + data


def kinds(m: Machine) -> dict[str, object]:
    def made(*args: int) -> Any:
        result = m.outcome(m.socket.socket, *args)
        if isinstance(result, str):
            return result
        result.close()
        return True

    return {
        "wild": made(so.AF_INET, so.SOCK_RAW, 0),
        "udp": made(so.AF_INET, so.SOCK_RAW, so.IPPROTO_UDP),
        "any number": made(so.AF_INET, so.SOCK_RAW, 200),
        "too big": made(so.AF_INET, so.SOCK_RAW, 263),
        "v6": made(so.AF_INET6, so.SOCK_RAW, so.IPPROTO_ICMPV6),
        "ping, not allowed": made(so.AF_INET, so.SOCK_DGRAM, so.IPPROTO_ICMP),
        "datagrams of TCP": made(so.AF_INET, so.SOCK_DGRAM, so.IPPROTO_TCP),
        "no type": made(so.AF_INET, so.SOCK_RDM, 0),
    }


def test_which_sockets_there_are() -> None:
    both(kinds)


def own_ping(m: Machine) -> dict[str, object]:
    """A request to ourselves comes back as request and as reply; ICMP_FILTER takes one away."""
    with raw(m, so.IPPROTO_ICMP) as sock, raw(m, so.IPPROTO_ICMP) as filtered:
        result: dict[str, object] = {"name": sock.getsockname()}
        result["filter"] = filtered.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("I", 1 << 8))
        result["filter back"] = filtered.getsockopt(SOL_RAW, ICMP_FILTER, 4)
        result["sent"] = sock.sendto(echo(77), (LO, 0))
        got = []
        for receiver in (sock, sock, filtered):
            packet, sender = receiver.recvfrom(100)
            got.append((packet[0], packet[8:10], packet[16:20], packet[20:], sender))
        result["got"] = got
        result["no more"] = [m.outcome(s.recv, 10) for s in (sock, filtered)]
        return result


def test_a_raw_socket_sees_packets_with_their_headers() -> None:
    both(own_ping)


def taps(m: Machine) -> dict[str, object]:
    """UDP is seen, and still delivered; a socket bound elsewhere does not see it."""
    with raw(m, so.IPPROTO_UDP) as tap, raw(m, so.IPPROTO_UDP) as other, udp(m, (LO, 7070)) as sock:
        other.bind(("127.0.0.9", 0))
        with udp(m, (LO, 7071)) as client:
            client.sendto(b"data", (LO, 7070))
        return {
            "tap": tap.recv(100)[20:26],
            "socket": sock.recv(10),
            "other": m.outcome(other.recv, 10),
            "name": other.getsockname(),
        }


def test_raw_sockets_take_nothing_from_the_protocol() -> None:
    both(taps)


def whole_headers(m: Machine) -> dict[str, object]:
    """IP_HDRINCL: length, checksum, and an empty source are filled in."""
    with raw(m, so.IPPROTO_RAW) as sender, raw(m, 222) as receiver, raw(m, 222) as plain:
        result: dict[str, object] = {"on": sender.getsockopt(so.IPPROTO_IP, so.IP_HDRINCL)}
        to = so.inet_aton(LO)
        packet = struct.pack("!BBHHHBBH4s4s", 0x45, 4, 0, 99, 0, 31, 222, 0, bytes(4), to) + b"abc"
        result["sent"] = sender.sendto(packet, (LO, 0))
        result["got"] = receiver.recv(100), plain.recv(100)[20:]
        result["short"] = m.outcome(sender.sendto, packet[:10], (LO, 0))
        result["bad length"] = m.outcome(sender.sendto, b"\x41" + packet[1:], (LO, 0))
        result["payload"] = plain.sendto(b"payload", (LO, 0))
        result["echoed"] = receiver.recv(100)[20:]
        result["own"] = plain.recv(100)[20:]
        result["refused"] = m.outcome(receiver.recv, 10)
        return result


def test_a_program_may_write_the_ip_header_itself() -> None:
    both(whole_headers)


def raw_addresses(m: Machine) -> dict[str, object]:
    with raw(m, 199) as sock:
        result: dict[str, object] = {"no destination": m.outcome(sock.send, b"x")}
        result["not ours"] = m.outcome(sock.bind, ("192.0.2.7", 0))
        result["connect"] = m.outcome(sock.connect, (LO, 0))
        result["peer"] = m.outcome(sock.getpeername)
        result["name"] = sock.getsockname()
        result["send"] = sock.send(b"x")
        result["comes back"] = sock.recv(100)[20:]
        result["protocol unreachable"] = m.outcome(sock.recv, 10)
        return result


def test_addresses_of_raw_sockets() -> None:
    both(raw_addresses)


def icmpv6(m: Machine) -> dict[str, object]:
    """The kernel fills in the checksum, and headers stay with it."""
    with raw(m, so.IPPROTO_ICMPV6, so.AF_INET6) as sock:
        result: dict[str, object] = {}
        result["sent"] = sock.sendto(struct.pack("!BBHHH", 128, 0, 0, 5, 6) + b"six", ("::1", 0))
        result["got"] = [sock.recvfrom(100) for _ in range(2)]
        result["short"] = m.outcome(sock.sendto, b"x", ("::1", 0))
        return result


def test_icmpv6_checksums_are_the_kernels_business() -> None:
    both(icmpv6)


# -- ping sockets, which need a sysctl that a namespace of the real kernel cannot always set ------


def ping_host() -> Host:
    host = Host(VirtualEngine(), "h")
    host.kernel.sysctl["net.ipv4.ping_group_range"] = (0, 100)
    return host


def run(host: Host, program: Any, uid: int = 0) -> Any:
    process = Process(host.kernel, host.system, "ping", uid=uid)
    process.start(lambda: program(SocketModule(process)))
    host.engine.run(until=10**10, stop=lambda: not host.system.processes)
    assert not process.tracebacks, process.tracebacks[0]
    assert (host.ping.alive(), host.raw.alive(), host.kernel.skbs_alive) == (0, 0, 0)
    return process.result


def test_a_ping_socket_sends_requests_and_hears_its_own_replies() -> None:
    def program(socket: Any) -> Any:
        first, second = (
            socket.socket(so.AF_INET, so.SOCK_DGRAM, so.IPPROTO_ICMP) for _ in range(2)
        )
        with first, second:
            first.sendto(echo(0), (LO, 0))
            second.sendto(echo(0, 2, b"other"), (LO, 0))
            reply, sender = first.recvfrom(100)
            identifier = first.getsockname()[1]
            return reply[0], reply[4:6] == identifier.to_bytes(2), reply[8:], sender[0]

    assert run(ping_host(), program) == (0, True, b"ping", LO)


def test_a_ping_socket_sends_nothing_but_echo_requests() -> None:
    def program(socket: Any) -> list[int | None]:
        errors = []
        with socket.socket(so.AF_INET, so.SOCK_DGRAM, so.IPPROTO_ICMP) as sock:
            for packet in (b"short", b"\0" * 8, b"\x08\x01" + b"\0" * 6):
                try:
                    sock.sendto(packet, (LO, 0))
                except OSError as exc:
                    errors.append(exc.errno)
        return errors

    assert run(ping_host(), program) == [22, 22, 22]


def test_sockets_for_root_and_for_groups_are_refused_to_others() -> None:
    def program(socket: Any) -> list[int | None]:
        errors = []
        for type_, protocol in ((so.SOCK_RAW, 1), (so.SOCK_DGRAM, so.IPPROTO_ICMP)):
            try:
                socket.socket(so.AF_INET, type_, protocol).close()
            except OSError as exc:
                errors.append(exc.errno)
        return errors

    assert run(ping_host(), program, uid=1000) == [1, 13]
