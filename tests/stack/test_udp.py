"""UDP as a program sees it: every test runs on this machine's kernel, too, over loopback."""

from __future__ import annotations

import select
import socket as so
import struct
import termios
from typing import Any

from both import Machine, both

LO = "127.0.0.1"
MSG_ERRQUEUE = so.MSG_ERRQUEUE
SIOCOUTQ = termios.TIOCOUTQ
IP_PKTINFO, IP_MTU_DISCOVER, IP_RECVERR, IP_RECVTTL, IP_MTU, IP_FREEBIND = 8, 10, 11, 12, 14, 15
SO_TIMESTAMP, SO_RXQ_OVFL = 29, 40
UDP_CORK, SOL_UDP = 1, 17


def udp(m: Machine, address: tuple[str, int] | None = None, timeout: float | None = None) -> Any:
    sock = m.socket.socket(so.AF_INET, so.SOCK_DGRAM)
    sock.settimeout(timeout)
    if address is not None:
        sock.bind(address)
    return sock


def pair(m: Machine) -> tuple[Any, Any]:
    """A connected client and the server it talks to."""
    server = udp(m, (LO, 0))
    client = udp(m)
    client.connect(server.getsockname())
    return client, server


def readable(m: Machine, sock: Any, events: int = select.POLLIN | select.POLLOUT) -> int:
    poll = m.select.poll()
    poll.register(sock.fileno(), events)
    return sum(mask for _, mask in poll.poll(0))


# -- datagrams ---------------------------------------------------------------------------------


def boundaries(m: Machine) -> dict[str, object]:
    client, server = pair(m)
    with client, server:
        sent = [client.send(data) for data in (b"one", b"", b"three")]
        next_length = m.sys.ioctl(server.fileno(), termios.FIONREAD)
        got = [server.recvfrom(100)[0] for _ in range(3)]
        return {"sent": sent, "next": next_length, "got": got}


def test_each_send_is_one_datagram_even_an_empty_one() -> None:
    assert both(boundaries)["got"] == [b"one", b"", b"three"]


def truncation(m: Machine) -> dict[str, object]:
    client, server = pair(m)
    with client, server:
        for _ in range(3):
            client.send(b"0123456789")
        peeked = server.recvmsg(4, 0, so.MSG_PEEK)
        cut = server.recvmsg(4)
        buffer = bytearray(4)
        length = server.recv_into(buffer, 4, so.MSG_TRUNC)
        whole = server.recvmsg(100)
        return {
            "peeked": (peeked[0], peeked[2]),
            "cut": (cut[0], cut[2]),
            "real length": (length, bytes(buffer)),
            "whole": (whole[0], whole[2]),
            "from": cut[3] == client.getsockname(),
        }


def test_what_does_not_fit_is_cut_and_said_so() -> None:
    assert both(truncation)["cut"] == (b"0123", so.MSG_TRUNC)


def sizes(m: Machine) -> dict[str, object]:
    client, server = pair(m)
    with client, server:
        client.send(b"x" * 65507)
        biggest = len(server.recv(65535))
        result = {"biggest": biggest, "over": m.outcome(client.send, b"x" * 65508)}
        server.setsockopt(so.IPPROTO_IP, IP_MTU_DISCOVER, 2)
        result["over by far"] = m.outcome(client.send, b"x" * 70000)
        result["empty queue"] = m.outcome(server.recv, 10, so.MSG_DONTWAIT)
        return result


def test_a_datagram_has_at_most_65507_bytes() -> None:
    both(sizes)


def ioctls(m: Machine) -> dict[str, object]:
    client, server = pair(m)
    with client, server:
        fd = server.fileno()
        result: dict[str, object] = {"empty": m.sys.ioctl(fd, termios.FIONREAD)}
        client.send(b"12345")
        client.send(b"123")
        result["first"] = m.sys.ioctl(fd, termios.FIONREAD)
        server.recv(1)
        result["second"] = m.sys.ioctl(fd, termios.FIONREAD)
        result["outq"] = m.sys.ioctl(client.fileno(), SIOCOUTQ)
        return result


def test_fionread_is_the_length_of_the_next_datagram() -> None:
    both(ioctls)


def corking(m: Machine) -> dict[str, object]:
    client, server = pair(m)
    other = udp(m, (LO, 0))
    with client, server, other:
        client.send(b"a", so.MSG_MORE)
        client.sendto(b"b", so.MSG_MORE, other.getsockname())  # the first piece has chosen
        client.send(b"c")
        result: dict[str, object] = {"more": server.recv(10)}
        client.setsockopt(SOL_UDP, UDP_CORK, 1)
        client.send(b"d")
        client.send(b"e")
        result["held"] = m.outcome(server.recv, 10, so.MSG_DONTWAIT)
        result["corked"] = client.getsockopt(SOL_UDP, UDP_CORK)
        client.setsockopt(SOL_UDP, UDP_CORK, 0)
        result["uncorked"] = server.recv(10)
        client.send(b"x" * 60000, so.MSG_MORE)
        result["too long"] = m.outcome(client.send, b"x" * 6000, so.MSG_MORE)
        client.send(b"after")
        result["lost"] = server.recv(10)
        result["others"] = m.outcome(other.recv, 10, so.MSG_DONTWAIT)
        client.send(b"f", so.MSG_MORE)
        client.close()
        result["closed"] = m.outcome(server.recv, 10, so.MSG_DONTWAIT)
        return result


def test_a_cork_makes_one_datagram_of_several_sends() -> None:
    assert both(corking)["more"] == b"abc"


# -- addresses ---------------------------------------------------------------------------------


def names(m: Machine) -> dict[str, object]:
    sock, server = udp(m), udp(m, (LO, 0))
    with sock, server:
        result: dict[str, object] = {"unbound": sock.getsockname()}
        result["no peer"] = m.outcome(sock.getpeername)
        result["no destination"] = m.outcome(sock.send, b"x")
        result["port still 0"] = sock.getsockname()[1] == 0
        sock.sendto(b"x", server.getsockname())
        result["bound by sending"] = (sock.getsockname()[0], sock.getsockname()[1] > 0)
        result["port 0"] = m.outcome(sock.sendto, b"x", (LO, 0))
        sock.connect(server.getsockname())
        result["connected"] = sock.getsockname()[0]
        result["peer"] = sock.getpeername() == server.getsockname()
        result["to 0.0.0.0"] = sock.sendto(b"y", ("0.0.0.0", server.getsockname()[1]))
        server.recv(1)
        result["came from"] = server.recvfrom(1)[1][0]
        result["bind again"] = m.outcome(sock.bind, (LO, 0))
        result["listen"] = m.outcome(server.listen, 1)
        result["accept"] = m.outcome(server.accept)
        return result


def test_names_before_and_after_each_call() -> None:
    both(names)


def bind_errors(m: Machine) -> dict[str, object]:
    def bound(address: tuple[str, int], *options: int, family: int = so.AF_INET) -> Any:
        sock = m.socket.socket(family, so.SOCK_DGRAM)
        socks.append(sock)
        for option in options:
            sock.setsockopt(so.SOL_SOCKET, option, 1)
        return m.outcome(sock.bind, address)

    addr, port = so.SO_REUSEADDR, so.SO_REUSEPORT
    socks: list[Any] = []
    result = {
        "first": bound((LO, 7001)),
        "same": bound((LO, 7001)),
        "any": bound(("0.0.0.0", 7001)),
        "another address": bound(("127.0.0.2", 7001)),
        "reuse on one side": bound((LO, 7001), addr),
        "reuse": bound((LO, 7002), addr),
        "reuse on both sides": bound((LO, 7002), addr),
        "reuse any": bound(("0.0.0.0", 7002), addr),
        "reuseport": bound((LO, 7003), port),
        "reuseport on both sides": bound((LO, 7003), port),
        "reuseport against reuseaddr": bound((LO, 7003), addr),
        "both against reuseport": bound((LO, 7003), addr, port),
        "not ours": bound(("192.0.2.1", 7004)),
        "multicast": bound(("224.1.2.3", 7005)),
        "limited broadcast": bound(("255.255.255.255", 7006)),
        "privileged, as root": bound((LO, 53)),
    }
    for sock in socks:
        sock.close()
    return result


def test_bind_conflicts_are_linuxs() -> None:
    both(bind_errors)


def freebind(m: Machine) -> dict[str, object]:
    with udp(m) as sock:
        sock.setsockopt(so.IPPROTO_IP, IP_FREEBIND, 1)
        result = {"bind": m.outcome(sock.bind, ("192.0.2.1", 7004))}
        result["value"] = sock.getsockopt(so.IPPROTO_IP, IP_FREEBIND)
        result["name"] = sock.getsockname()
        return result


def test_freebind_takes_an_address_that_is_not_ours() -> None:
    both(freebind)


def connecting(m: Machine) -> dict[str, object]:
    client, server = pair(m)
    stranger = udp(m, (LO, 0))
    with client, server, stranger:
        stranger.sendto(b"stranger", client.getsockname())
        server.sendto(b"friend", client.getsockname())
        result: dict[str, object] = {"only the peer": client.recv(100)}
        result["elsewhere"] = client.sendto(b"x", stranger.getsockname())
        result["arrives"] = stranger.recv(10)
        client.connect(stranger.getsockname())
        client.send(b"moved")
        result["moved"] = stranger.recv(10)
        m.sys.connect(client.fileno(), None)
        result["free"] = m.outcome(client.getpeername)
        result["free name"] = client.getsockname()
        result["free send"] = m.outcome(client.send, b"x")
        return result


def test_connect_filters_and_af_unspec_takes_it_back() -> None:
    assert both(connecting)["only the peer"] == b"friend"


def disconnect_keeps_bind(m: Machine) -> dict[str, object]:
    server = udp(m, (LO, 0))
    with server, udp(m, (LO, 7010)) as client:
        client.connect(server.getsockname())
        m.sys.connect(client.fileno(), None)
        return {"name": client.getsockname(), "peer": m.outcome(client.getpeername)}


def test_disconnect_keeps_what_bind_fixed() -> None:
    assert both(disconnect_keeps_bind)["name"] == (LO, 7010)


def scores(m: Machine) -> dict[str, object]:
    """Whoever fits best gets it: any, the address, connected; of equals the newest."""
    result: dict[str, object] = {}
    sender, receivers = udp(m, (LO, 0)), {}

    def who() -> list[str]:
        sender.sendto(b"x", (LO, 7020))
        found = []
        for name, sock in receivers.items():
            if m.outcome(sock.recv, 10, so.MSG_DONTWAIT) == b"x":
                found.append(name)
        return found

    def add(name: str, address: str, connect: bool = False) -> None:
        sock = receivers[name] = udp(m)
        sock.setsockopt(so.SOL_SOCKET, so.SO_REUSEADDR, 1)
        sock.bind((address, 7020))
        if connect:
            sock.connect(sender.getsockname())
        result[name] = who()

    add("any", "0.0.0.0")
    add("newer any", "0.0.0.0")
    add("address", LO)
    add("newer address", LO)
    add("connected", LO, True)
    add("another", LO)
    receivers.pop("connected").close()
    result["without"] = who()
    for sock in (sender, *receivers.values()):
        sock.close()
    return result


def test_the_best_match_gets_the_datagram() -> None:
    both(scores)


# -- errors ------------------------------------------------------------------------------------


def refused(m: Machine) -> dict[str, object]:
    client, server = pair(m)
    with client:
        server.close()
        client.send(b"x")
        result: dict[str, object] = {"poll": readable(m, client)}
        result["next send"] = m.outcome(client.send, b"x")
        client.send(b"x")
        result["recv"] = m.outcome(client.recv, 10)
        client.send(b"x")
        result["SO_ERROR"] = client.getsockopt(so.SOL_SOCKET, so.SO_ERROR)
        result["again"] = client.getsockopt(so.SOL_SOCKET, so.SO_ERROR)
        result["nothing left"] = m.outcome(client.recv, 10, so.MSG_DONTWAIT)
        return result


def test_a_connected_socket_hears_that_a_port_is_closed() -> None:
    assert both(refused)["recv"] == "ECONNREFUSED"


def unconnected_refused(m: Machine) -> dict[str, object]:
    with udp(m) as sock:
        for _ in range(2):
            sock.sendto(b"x", (LO, 9))
        return {"recv": m.outcome(sock.recv, 10, so.MSG_DONTWAIT)}


def test_an_unconnected_one_does_not() -> None:
    assert both(unconnected_refused)["recv"] == "EAGAIN"


def error_queue(m: Machine) -> dict[str, object]:
    with udp(m) as sock:
        sock.setsockopt(so.IPPROTO_IP, IP_RECVERR, 1)
        sock.sendto(b"hello", (LO, 9))
        result: dict[str, object] = {"poll": readable(m, sock)}
        data, control, flags, address = sock.recvmsg(100, 200, MSG_ERRQUEUE)
        result["message"] = (data, control, flags, address)
        result["empty"] = m.outcome(sock.recvmsg, 100, 200, MSG_ERRQUEUE)
        result["taken along"] = m.outcome(sock.recv, 10, so.MSG_DONTWAIT)
        sock.sendto(b"again", (LO, 9))
        result["unconnected send"] = m.outcome(sock.sendto, b"x", (LO, 9))
        result["cut"] = sock.recvmsg(2, 200, MSG_ERRQUEUE)[0::2]
        result["too long"] = m.outcome(sock.sendto, b"x" * 65508, (LO, 9))
        local = sock.recvmsg(100, 200, MSG_ERRQUEUE)
        result["local"] = (local[0], local[1][0][2][:16], local[2])
        return result


def test_recverr_keeps_errors_with_what_they_are_about() -> None:
    number, origin = struct.unpack("=IB", both(error_queue)["message"][1][0][2][:5])
    assert (number, origin) == (111, 2)


def shutting(m: Machine) -> dict[str, object]:
    client, server = pair(m)
    with client, server:
        result: dict[str, object] = {"unconnected": m.outcome(server.shutdown, so.SHUT_RD)}
        result["bad how"] = m.outcome(m.sys.shutdown, client.fileno(), 7)
        result["write"] = m.outcome(client.shutdown, so.SHUT_WR)
        result["poll"] = readable(m, client)
        result["send"] = m.outcome(client.send, b"x")
        result["read"] = m.outcome(client.shutdown, so.SHUT_RD)
        client.settimeout(None)
        result["end"] = client.recv(10)
        result["hup"] = readable(m, client)
        return result


def test_shutdown_ends_a_datagram_socket_too() -> None:
    both(shutting)


def broadcast(m: Machine) -> dict[str, object]:
    receiver = udp(m, ("0.0.0.0", 7030))
    with receiver, udp(m) as sock:
        result: dict[str, object] = {}
        result["limited"] = m.outcome(sock.sendto, b"x", ("255.255.255.255", 7030))
        result["subnet"] = m.outcome(sock.sendto, b"x", ("127.255.255.255", 7030))
        result["connect"] = m.outcome(sock.connect, ("127.255.255.255", 7030))
        sock.setsockopt(so.SOL_SOCKET, so.SO_BROADCAST, 1)
        result["allowed"] = m.outcome(sock.sendto, b"x", ("127.255.255.255", 7030))
        result["arrives"] = receiver.recv(10)
        return result


def test_broadcast_needs_so_broadcast() -> None:
    assert both(broadcast)["subnet"] == "EACCES"


def flags(m: Machine) -> dict[str, object]:
    client, server = pair(m)
    with client, server:
        return {
            "oob": m.outcome(client.send, b"x", so.MSG_OOB),
            "waitall": (client.send(b"abc"), server.recv(100, so.MSG_WAITALL)),
            "dontwait": m.outcome(server.recv, 1, so.MSG_DONTWAIT),
            "poll": readable(m, client),
        }


def test_flags_of_send_and_recv() -> None:
    both(flags)
