"""Options, control data, multicast and shared ports, on this machine's kernel and on ours."""

from __future__ import annotations

import socket as so
import struct
from typing import Any

from both import Machine, both
from test_udp import LO, pair, udp

IP_PKTINFO, IP_MTU_DISCOVER, IP_RECVERR, IP_RECVTTL, IP_MTU, IP_FREEBIND = 8, 10, 11, 12, 14, 15
IP_TRANSPARENT, IP_MULTICAST_ALL, IP_RECVORIGDSTADDR = 19, 49, 20
SO_TIMESTAMP, SO_TIMESTAMPNS, SO_TIMESTAMPING, SO_RXQ_OVFL, SO_PEEK_OFF = 29, 35, 37, 40, 42
SO_NO_CHECK, SO_BINDTOIFINDEX = 11, 62
SOCKET_OPTIONS = {
    "reuseaddr": (so.SO_REUSEADDR, 1),
    "reuseport": (so.SO_REUSEPORT, 7),
    "broadcast": (so.SO_BROADCAST, 1),
    "dontroute": (so.SO_DONTROUTE, 1),
    "keepalive": (so.SO_KEEPALIVE, 1),
    "oobinline": (so.SO_OOBINLINE, 1),
    "no check": (SO_NO_CHECK, 1),
    "rxq ovfl": (SO_RXQ_OVFL, 1),
    "rcvbuf": (so.SO_RCVBUF, 5000),
    "rcvbuf, tiny": (so.SO_RCVBUF, 1),
    "sndbuf": (so.SO_SNDBUF, 6000),
    "sndbuf, tiny": (so.SO_SNDBUF, 1),
    "rcvlowat": (so.SO_RCVLOWAT, 0),
    "priority": (so.SO_PRIORITY, 6),
    "mark": (so.SO_MARK, 77),
    "incoming cpu": (so.SO_INCOMING_CPU, 1),
    "timestamp": (SO_TIMESTAMP, 1),
    "timestampns": (SO_TIMESTAMPNS, 1),
    "timestamp again": (SO_TIMESTAMP, 1),
    "timestamping": (SO_TIMESTAMPING, 1 << 3 | 1 << 4),
    "timestamping, unknown": (SO_TIMESTAMPING, 1 << 30),
    "type": (so.SO_TYPE, 1),
    "protocol": (so.SO_PROTOCOL, 1),
    "domain": (so.SO_DOMAIN, 1),
    "error": (so.SO_ERROR, 1),
    "acceptconn": (so.SO_ACCEPTCONN, 1),
    "unknown": (999, 1),
    "device": (SO_BINDTOIFINDEX, 1),
    "no device": (SO_BINDTOIFINDEX, -1),
}
IP_OPTIONS = {
    "tos": (so.IP_TOS, 0x5F),
    "ttl": (so.IP_TTL, 9),
    "ttl 0": (so.IP_TTL, 0),
    "ttl 256": (so.IP_TTL, 256),
    "ttl, default": (so.IP_TTL, -1),
    "mtu discover": (IP_MTU_DISCOVER, 3),
    "mtu discover 9": (IP_MTU_DISCOVER, 9),
    "mtu": (IP_MTU, 1),
    "pktinfo": (IP_PKTINFO, 1),
    "recvttl": (IP_RECVTTL, 5),
    "recvtos": (so.IP_RECVTOS, 1),
    "recverr": (IP_RECVERR, 1),
    "hdrincl": (so.IP_HDRINCL, 1),
    "freebind": (IP_FREEBIND, 1),
    "freebind 2": (IP_FREEBIND, 2),
    "transparent": (IP_TRANSPARENT, 1),
    "multicast ttl": (so.IP_MULTICAST_TTL, 4),
    "multicast ttl 256": (so.IP_MULTICAST_TTL, 256),
    "multicast ttl -1": (so.IP_MULTICAST_TTL, -1),
    "multicast loop": (so.IP_MULTICAST_LOOP, 0),
    "multicast all": (IP_MULTICAST_ALL, 0),
    "multicast all 2": (IP_MULTICAST_ALL, 2),
    "unknown": (999, 1),
}


def options(m: Machine, level: int, table: dict[str, tuple[int, int]]) -> dict[str, object]:
    result: dict[str, object] = {}
    for type_ in (so.SOCK_DGRAM, so.SOCK_STREAM):
        with m.socket.socket(so.AF_INET, type_) as sock:
            for name, (option, value) in table.items():
                before = m.outcome(sock.getsockopt, level, option)
                if name in ("rcvbuf", "sndbuf"):
                    before = None  # TCP's default depends on the machine's memory
                done = m.outcome(sock.setsockopt, level, option, value)
                after = m.outcome(sock.getsockopt, level, option)
                result[f"{name} {type_.name}"] = before, done, after
    return result


def socket_options(m: Machine) -> dict[str, object]:
    return options(m, so.SOL_SOCKET, SOCKET_OPTIONS)


def test_options_of_sol_socket_have_linuxs_values_and_errors() -> None:
    both(socket_options)


def ip_options(m: Machine) -> dict[str, object]:
    return options(m, so.IPPROTO_IP, IP_OPTIONS)


def test_options_of_ip_have_linuxs_values_and_errors() -> None:
    both(ip_options)


def odd_values(m: Machine) -> dict[str, object]:
    with udp(m) as sock:
        return {
            "device lo": m.outcome(sock.setsockopt, so.SOL_SOCKET, so.SO_BINDTODEVICE, b"lo\0"),
            "get": sock.getsockopt(so.SOL_SOCKET, so.SO_BINDTODEVICE, 16),
            "none": m.outcome(sock.setsockopt, so.SOL_SOCKET, so.SO_BINDTODEVICE, b"\0"),
            "get none": sock.getsockopt(so.SOL_SOCKET, so.SO_BINDTODEVICE, 16),
            "nodev": m.outcome(sock.setsockopt, so.SOL_SOCKET, so.SO_BINDTODEVICE, b"x7\0"),
            "short": m.outcome(sock.setsockopt, so.SOL_SOCKET, so.SO_RCVBUF, b"12"),
            "byte": m.outcome(sock.setsockopt, so.IPPROTO_IP, so.IP_TOS, b"\x10"),
            "tos": sock.getsockopt(so.IPPROTO_IP, so.IP_TOS),
            "level": m.outcome(sock.setsockopt, 777, 1, 1),
            "ipv6": m.outcome(sock.setsockopt, so.IPPROTO_IPV6, so.IPV6_V6ONLY, 1),
            "udp": m.outcome(sock.setsockopt, so.IPPROTO_UDP, 999, 1),
            "tcp": m.outcome(sock.getsockopt, so.IPPROTO_TCP, so.TCP_NODELAY),
            "linger": m.outcome(
                sock.setsockopt, so.SOL_SOCKET, so.SO_LINGER, struct.pack("ii", 1, 5)
            ),
            "linger back": sock.getsockopt(so.SOL_SOCKET, so.SO_LINGER, 8),
        }


def test_values_of_other_shapes() -> None:
    both(odd_values)


# -- control data ------------------------------------------------------------------------------


def told(m: Machine) -> dict[str, object]:
    client, server = pair(m)
    port = struct.pack("!H", server.getsockname()[1])
    with client, server:
        for option in (IP_PKTINFO, IP_RECVTTL, so.IP_RECVTOS, IP_RECVORIGDSTADDR):
            server.setsockopt(so.IPPROTO_IP, option, 1)
        client.setsockopt(so.IPPROTO_IP, so.IP_TTL, 33)
        client.setsockopt(so.IPPROTO_IP, so.IP_TOS, 0x48)
        client.send(b"x")
        plain = [(a, b, c.replace(port, b"PP")) for a, b, c in server.recvmsg(10, 500)[1]]
        client.sendmsg([b"y"], [(0, so.IP_TTL, struct.pack("i", 7)), (0, so.IP_TOS, b"\x10")])
        own = [(a, b, c.replace(port, b"PP")) for a, b, c in server.recvmsg(10, 500)[1]]
        client.send(b"z")
        cut = server.recvmsg(10, 40)
        return {"plain": plain, "own": own, "cut": (len(cut[1]), cut[2])}


def test_control_data_tells_what_was_asked() -> None:
    both(told)


def bad_control(m: Machine) -> dict[str, object]:
    client, server = pair(m)

    def send(*control: Any) -> Any:
        return m.outcome(client.sendmsg, [b"x"], list(control))

    with client, server:
        return {
            "ttl 0": send((0, so.IP_TTL, struct.pack("i", 0))),
            "ttl short": send((0, so.IP_TTL, b"1")),
            "tos": send((0, so.IP_TOS, struct.pack("i", 256))),
            "unknown": send((0, 99, b"1234")),
            "socket": send((so.SOL_SOCKET, 99, b"1234")),
            "other level": send((77, 99, b"1234")),
            "mark": send((so.SOL_SOCKET, so.SO_MARK, struct.pack("i", 5))),
            "source": send((0, IP_PKTINFO, struct.pack("i4s4s", 0, bytes((127, 0, 0, 9)), b""))),
            "came from": [server.recvfrom(1)[1][0] for _ in range(3)],
            "foreign": send((0, IP_PKTINFO, struct.pack("i4s4s", 0, b"\xc0\0\2\1", b""))),
        }


def test_control_data_of_a_sender_is_checked() -> None:
    both(bad_control)


def stamps(m: Machine) -> dict[str, object]:
    client, server = pair(m)
    with client, server:
        result: dict[str, object] = {}
        for name, option, value in (
            ("us", SO_TIMESTAMP, 1),
            ("ns", SO_TIMESTAMPNS, 1),
            ("off", SO_TIMESTAMPNS, 0),
            ("ing", SO_TIMESTAMPING, 1 << 3 | 1 << 4),
        ):
            server.setsockopt(so.SOL_SOCKET, option, value)
            before = m.time.time()
            # Linux begins to stamp when a work queue comes to it (net_enable_timestamp), so the
            # first packets may have none yet.
            for _ in range(100 if value else 1):
                client.send(b"x")
                control = server.recvmsg(10, 500)[1]
                if control:
                    break
                m.time.sleep(0.01)
            shown = []
            for level, type_, data in control:
                seconds, part = struct.unpack_from("=qq", data)
                at = seconds + part / (1e6 if type_ == SO_TIMESTAMP else 1e9)
                shown.append((level, type_, len(data), before - 1e-3 <= at <= m.time.time() + 1e-3))
            result[name] = shown
        return result


def test_time_stamps_of_arrival() -> None:
    assert both(stamps)["us"] == [(so.SOL_SOCKET, SO_TIMESTAMP, 16, True)]


# -- limits ------------------------------------------------------------------------------------


def overflow(m: Machine) -> dict[str, object]:
    client, server = pair(m)
    with client, server:
        server.setsockopt(so.SOL_SOCKET, so.SO_RCVBUF, 4096)
        server.setsockopt(so.SOL_SOCKET, SO_RXQ_OVFL, 1)
        sent = [client.send(b"x" * 10) for _ in range(50)]
        server.setblocking(False)
        got = 0
        while m.outcome(server.recv, 100) != "EAGAIN":
            got += 1
        client.send(b"x" * 10)
        dropped = server.recvmsg(10, 100)[1]
        return {"sent": set(sent), "got": got, "dropped": dropped}


def test_a_full_receive_buffer_drops_silently_and_counts() -> None:
    assert both(overflow)["sent"] == {10}


def exhaustion(m: Machine) -> dict[str, object]:
    """All ports of one address, but for those the real kernel gives others meanwhile."""
    socks = [udp(m) for _ in range(3)]
    names = set()
    for sock in socks:
        sock.bind((LO, 0))
        names.add(sock.getsockname()[1])
        sock.close()
    return {"different": len(names), "in range": all(32768 <= port <= 60999 for port in names)}


def test_ephemeral_ports_come_from_the_range() -> None:
    both(exhaustion)


# -- multicast ---------------------------------------------------------------------------------

GROUP = "239.1.2.3"


def multicast(m: Machine) -> dict[str, object]:
    lo = so.inet_aton(LO)
    group = so.inet_aton(GROUP)
    members = [udp(m) for _ in range(3)]
    result: dict[str, object] = {}
    for sock in members:
        sock.setsockopt(so.SOL_SOCKET, so.SO_REUSEADDR, 1)
        sock.bind(("0.0.0.0", 7040))
        sock.setblocking(False)
    mreq = group + lo
    join, leave = so.IP_ADD_MEMBERSHIP, so.IP_DROP_MEMBERSHIP
    result["leave first"] = m.outcome(members[0].setsockopt, 0, leave, mreq)
    result["join"] = [m.outcome(s.setsockopt, 0, join, mreq) for s in members[:2]]
    result["join again"] = m.outcome(members[0].setsockopt, 0, join, mreq)
    result["no group"] = m.outcome(members[0].setsockopt, 0, join, lo + lo)
    result["no device"] = m.outcome(members[0].setsockopt, 0, join, group + b"\xc0\0\2\1")
    result["short"] = m.outcome(members[0].setsockopt, 0, join, b"1234")
    members[2].setsockopt(0, IP_MULTICAST_ALL, 0)
    with udp(m) as sender:
        result["nowhere"] = m.outcome(sender.sendto, b"x", (GROUP, 7040))
        result["if"] = m.outcome(sender.setsockopt, 0, so.IP_MULTICAST_IF, lo)
        result["if back"] = sender.getsockopt(0, so.IP_MULTICAST_IF, 4)
        result["if bad"] = m.outcome(sender.setsockopt, 0, so.IP_MULTICAST_IF, b"\xc0\0\2\1")
        result["sent"] = sender.sendto(b"hello", (GROUP, 7040))
        result["got"] = [m.outcome(s.recv, 10) for s in members]
        result["leave"] = m.outcome(members[0].setsockopt, 0, leave, mreq)
        sender.sendto(b"again", (GROUP, 7040))
        result["without one"] = [m.outcome(s.recv, 10) for s in members]
        members[1].close()
        sender.sendto(b"nobody", (GROUP, 7040))
        result["nobody"] = [m.outcome(s.recv, 10) for s in members[::2]]
    for sock in members:
        sock.close()
    return result


def test_a_group_reaches_every_member() -> None:
    assert both(multicast)["got"] == [b"hello", b"hello", "EAGAIN"]


# -- shared ports ------------------------------------------------------------------------------


def balance(m: Machine) -> dict[str, object]:
    """Who gets what depends on a secret; that all of a flow goes one way, and all share, not."""
    servers = []
    for _ in range(4):
        sock = udp(m)
        sock.setsockopt(so.SOL_SOCKET, so.SO_REUSEPORT, 1)
        sock.bind((LO, 7050))
        sock.setblocking(False)
        servers.append(sock)
    clients = [udp(m) for _ in range(64)]
    for client in clients:
        client.connect((LO, 7050))
        client.send(b"1")
        client.send(b"2")
    flows: list[set[tuple[str, int]]] = []
    total = 0
    for server in servers:
        seen = set()
        while True:
            got = m.outcome(server.recvfrom, 10)
            if got == "EAGAIN":
                break
            total += 1
            seen.add(got[1])
        flows.append(seen)
    for sock in (*servers, *clients):
        sock.close()
    apart = sum(map(len, flows)) == len(set().union(*flows)) == 64
    return {"total": total, "apart": apart, "all share": min(map(len, flows)) > 2}


def test_reuseport_spreads_flows_over_udp_sockets() -> None:
    both(balance)


def tcp_balance(m: Machine) -> dict[str, object]:
    listeners = []
    for _ in range(4):
        sock = m.socket.socket()
        sock.setsockopt(so.SOL_SOCKET, so.SO_REUSEPORT, 1)
        sock.bind((LO, 7060))
        sock.listen(64)
        sock.setblocking(False)
        listeners.append(sock)
    with m.socket.socket() as stranger:
        without = m.outcome(stranger.bind, (LO, 7060))
    clients = [m.socket.create_connection((LO, 7060)) for _ in range(64)]
    accepted = []
    for listener in listeners:
        conns = []
        while (got := m.outcome(listener.accept)) != "EAGAIN":
            conns.append(got[0])
        accepted.append(len(conns))
        for conn in conns:
            conn.close()
    for sock in (*listeners, *clients):
        sock.close()
    return {"without": without, "all": sum(accepted), "all share": min(accepted) > 2}


def test_reuseport_spreads_connections_over_listeners() -> None:
    assert both(tcp_balance)["without"] == "EADDRINUSE"
