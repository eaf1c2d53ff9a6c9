"""UDP over IPv6 and on sockets of both families, on this machine's kernel and on ours."""

from __future__ import annotations

import socket as so
import struct
from typing import Any

from both import Machine, both

SIX, LO4 = "::1", "127.0.0.1"
IPV6_RECVERR, IPV6_MTU_DISCOVER, UDP_NO_CHECK6_TX, UDP_NO_CHECK6_RX = 25, 23, 101, 102


def udp6(m: Machine, address: str | None = None, port: int = 0) -> Any:
    sock = m.socket.socket(so.AF_INET6, so.SOCK_DGRAM)
    if address is not None:
        sock.bind((address, port))
    return sock


def both_families(m: Machine) -> dict[str, object]:
    """A socket bound to `::` hears IPv4, too, and sees mapped addresses."""
    four = m.socket.socket(so.AF_INET, so.SOCK_DGRAM)
    four.bind((LO4, 7101))
    with four, udp6(m, "::", 7100) as dual, udp6(m, SIX, 7102) as six:
        four.sendto(b"four", (LO4, 7100))
        six.sendto(b"six", (SIX, 7100))
        result: dict[str, object] = {"got": [dual.recvfrom(10) for _ in range(2)]}
        dual.sendto(b"back", ("::ffff:127.0.0.1", 7101))
        result["to four"] = four.recvfrom(10)
        result["name"] = dual.getsockname()
        dual.connect(("::ffff:127.0.0.1", 7101))
        result["connected"] = dual.getsockname(), dual.getpeername()
        result["six now"] = m.outcome(six.sendto, b"x", (SIX, 7100))
        result["not heard"] = m.outcome(dual.recv, 10, so.MSG_DONTWAIT)
        six.setsockopt(so.IPPROTO_IPV6, so.IPV6_RECVPKTINFO, 1)
        result["only six"] = m.outcome(six.setsockopt, so.IPPROTO_IPV6, so.IPV6_V6ONLY, 1)
        return result


def test_an_ipv6_socket_speaks_both() -> None:
    both(both_families)


def conflicts(m: Machine) -> dict[str, object]:
    socks: list[Any] = []

    def bound(family: int, address: str, port: int, v6only: int = 0) -> Any:
        sock = m.socket.socket(family, so.SOCK_DGRAM)
        socks.append(sock)
        if v6only:
            sock.setsockopt(so.IPPROTO_IPV6, so.IPV6_V6ONLY, 1)
        return m.outcome(sock.bind, (address, port))

    six, four = so.AF_INET6, so.AF_INET
    result = {
        "any6": bound(six, "::", 7110),
        "any4 after any6": bound(four, "0.0.0.0", 7110),
        "lo4 after any6": bound(four, LO4, 7110),
        "lo6 after any6": bound(six, SIX, 7110),
        "only6": bound(six, "::", 7111, 1),
        "any4 after only6": bound(four, "0.0.0.0", 7111),
        "lo4": bound(four, LO4, 7112),
        "any6 after lo4": bound(six, "::", 7112),
        "lo6 after lo4": bound(six, SIX, 7112),
        "mapped": bound(six, "::ffff:127.0.0.1", 7113),
        "lo4 after mapped": bound(four, LO4, 7113),
        "mapped, only6": bound(six, "::ffff:127.0.0.1", 7114, 1),
        "not ours": bound(six, "2001:db8::1", 7115),
        "multicast": bound(six, "ff05::1", 7116),
    }
    for sock in socks:
        sock.close()
    return result


def test_bind_conflicts_across_families() -> None:
    both(conflicts)


def told6(m: Machine) -> dict[str, object]:
    with udp6(m, SIX, 7120) as server, udp6(m, SIX, 7121) as client:
        for option in (so.IPV6_RECVPKTINFO, so.IPV6_RECVHOPLIMIT, so.IPV6_RECVTCLASS):
            server.setsockopt(so.IPPROTO_IPV6, option, 1)
        client.setsockopt(so.IPPROTO_IPV6, so.IPV6_UNICAST_HOPS, 21)
        client.setsockopt(so.IPPROTO_IPV6, so.IPV6_TCLASS, 0x30)
        client.sendto(b"x", (SIX, 7120))
        result: dict[str, object] = {"plain": server.recvmsg(10, 500)[1]}
        control = [
            (so.IPPROTO_IPV6, so.IPV6_HOPLIMIT, struct.pack("i", 5)),
            (so.IPPROTO_IPV6, so.IPV6_TCLASS, struct.pack("i", 8)),
        ]
        client.sendmsg([b"y"], control, 0, (SIX, 7120))
        result["own"] = server.recvmsg(10, 500)[1]
        bad = [(so.IPPROTO_IPV6, so.IPV6_HOPLIMIT, struct.pack("i", 256))]
        result["bad"] = m.outcome(client.sendmsg, [b"y"], bad, 0, (SIX, 7120))
        return result


def test_control_data_of_ipv6() -> None:
    both(told6)


def errors6(m: Machine) -> dict[str, object]:
    with udp6(m, SIX, 7130) as sock:
        result: dict[str, object] = {}
        sock.connect((SIX, 9))
        sock.send(b"x")
        result["refused"] = m.outcome(sock.recv, 10, so.MSG_DONTWAIT)
        sock.setsockopt(so.IPPROTO_IPV6, IPV6_RECVERR, 1)
        sock.send(b"hello")
        result["queued"] = sock.recvmsg(100, 500, so.MSG_ERRQUEUE)
        result["too long"] = m.outcome(sock.send, b"x" * 65536)
        result["longest"] = m.outcome(sock.send, b"x" * 65527)
        result["no route"] = m.outcome(sock.sendto, b"x", ("2001:db8::1", 9))
        result["four"] = m.outcome(sock.sendto, b"x", ("::ffff:127.0.0.1", 9))
        return result


def test_errors_of_ipv6() -> None:
    both(errors6)


OPTIONS = {
    "v6only": (so.IPV6_V6ONLY, 1),
    "hops": (so.IPV6_UNICAST_HOPS, 12),
    "hops 0": (so.IPV6_UNICAST_HOPS, 0),
    "hops 256": (so.IPV6_UNICAST_HOPS, 256),
    "hops default": (so.IPV6_UNICAST_HOPS, -1),
    "mhops": (so.IPV6_MULTICAST_HOPS, 4),
    "mhops 300": (so.IPV6_MULTICAST_HOPS, 300),
    "loop": (so.IPV6_MULTICAST_LOOP, 0),
    "loop 2": (so.IPV6_MULTICAST_LOOP, 2),
    "tclass": (so.IPV6_TCLASS, 0xFF),
    "tclass 256": (so.IPV6_TCLASS, 256),
    "pmtu": (IPV6_MTU_DISCOVER, 2),
    "pmtu 9": (IPV6_MTU_DISCOVER, 9),
    "recverr": (IPV6_RECVERR, 1),
    "pktinfo": (so.IPV6_RECVPKTINFO, 1),
    "hoplimit": (so.IPV6_RECVHOPLIMIT, 1),
    "recvtclass": (so.IPV6_RECVTCLASS, 1),
    "dontfrag": (so.IPV6_DONTFRAG, 1),
    "mif": (so.IPV6_MULTICAST_IF, 1),
    "mif none": (so.IPV6_MULTICAST_IF, 99),
    "unknown": (999, 1),
}


def options6(m: Machine) -> dict[str, object]:
    result: dict[str, object] = {}
    for type_ in (so.SOCK_DGRAM, so.SOCK_STREAM):
        with m.socket.socket(so.AF_INET6, type_) as sock:
            for name, (option, value) in OPTIONS.items():
                before = m.outcome(sock.getsockopt, so.IPPROTO_IPV6, option)
                done = m.outcome(sock.setsockopt, so.IPPROTO_IPV6, option, value)
                after = m.outcome(sock.getsockopt, so.IPPROTO_IPV6, option)
                result[f"{name} {type_.name}"] = before, done, after
            result[f"of ip {type_.name}"] = (
                m.outcome(sock.setsockopt, so.IPPROTO_IP, so.IP_TTL, 9),
                m.outcome(sock.getsockopt, so.IPPROTO_IP, so.IP_TTL),
                m.outcome(sock.getsockopt, 777, 1),
            )
    with udp6(m) as sock:
        for option in (UDP_NO_CHECK6_TX, UDP_NO_CHECK6_RX):
            sock.setsockopt(so.IPPROTO_UDP, option, 1)
            result[f"udp {option}"] = sock.getsockopt(so.IPPROTO_UDP, option)
    return result


def test_options_of_ipv6_have_linuxs_values_and_errors() -> None:
    both(options6)
