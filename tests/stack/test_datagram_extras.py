"""UDP_SEGMENT, transmit time stamps, IPv6 headers of the user, sticky IPV6_PKTINFO, SO_PEEK_OFF
and urgent bytes of AF_UNIX: on this machine's kernel and on ours."""

from __future__ import annotations

import ctypes
import errno
import socket as so
import struct
from typing import Any

from both import Machine, both

UDP_SEGMENT, UDP_GRO, SO_PEEK_OFF, SO_TIMESTAMPING = 103, 104, 42, 37
TX_SOFTWARE, SOFTWARE, OPT_ID, OPT_TSONLY = 1 << 1, 1 << 4, 1 << 7, 1 << 11
IPV6_HDRINCL, IPV6_PKTINFO = 36, 50
LO = "127.0.0.1"


def _pair(m: Machine, family: int = so.AF_INET, address: str = LO) -> tuple[Any, Any]:
    receiver, sender = (
        m.socket.socket(family, so.SOCK_DGRAM),
        m.socket.socket(family, so.SOCK_DGRAM),
    )
    receiver.bind((address, 0))
    receiver.setblocking(False)
    sender.connect(receiver.getsockname())
    return receiver, sender


def _all(m: Machine, sock: Any) -> list[int]:
    sizes = []
    while isinstance(data := m.outcome(sock.recv, 70_000), bytes):
        sizes.append(len(data))
    return sizes


def segments(m: Machine) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, family, address in (("4", so.AF_INET, LO), ("6", so.AF_INET6, "::1")):
        receiver, sender = _pair(m, family, address)

        def send(sender: Any, size: int, gso: bytes) -> Any:
            return m.outcome(sender.sendmsg, [b"x" * size], [(so.IPPROTO_UDP, UDP_SEGMENT, gso)])

        for size, gso in ((2500, 1000), (1000, 1000), (999, 1000), (0, 1000), (3000, 0), (300, 2)):
            sent = send(sender, size, gso.to_bytes(2, "little"))
            result[f"{name}: {size} by {gso}"] = sent, _all(m, receiver)
        result[f"{name}: four bytes"] = send(sender, 9, bytes(4))
        for value in (500, 65_535, 65_536, -1):
            set_it = sender.setsockopt, so.IPPROTO_UDP, UDP_SEGMENT, value
            result[f"{name}: option {value}"] = m.outcome(*set_it)
        sender.setsockopt(so.IPPROTO_UDP, UDP_SEGMENT, 500)
        result[f"{name}: told"] = sender.getsockopt(so.IPPROTO_UDP, UDP_SEGMENT)
        result[f"{name}: by the option"] = sender.send(b"y" * 1300), _all(m, receiver)
        sender.send(b"a" * 300, so.MSG_MORE)
        result[f"{name}: corked"] = sender.send(b"b" * 300), _all(m, receiver)
        receiver.setsockopt(so.IPPROTO_UDP, UDP_GRO, 1)
        result[f"{name}: gro"] = receiver.getsockopt(so.IPPROTO_UDP, UDP_GRO)
        sender.close(), receiver.close()
    return result


def test_udp_segment_sends_a_datagram_for_each_piece() -> None:
    seen = both(segments)
    assert seen["4: 2500 by 1000"] == (2500, [1000, 1000, 500])


def stamps(m: Machine) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, family, address in (("4", so.AF_INET, LO), ("6", so.AF_INET6, "::1")):
        for options in (0, OPT_ID, OPT_ID | OPT_TSONLY):
            receiver, sender = _pair(m, family, address)
            sender.setblocking(False)
            flags = TX_SOFTWARE | SOFTWARE | options
            sender.setsockopt(so.SOL_SOCKET, SO_TIMESTAMPING, flags)
            for size in (10, 20):
                sender.send(bytes(size))
            poll = m.select.poll()
            poll.register(sender, m.select.POLLIN)
            seen: list[Any] = [poll.poll(1000)[0][1]]
            for _ in range(2):
                data, control, told, peer = sender.recvmsg(500, 500, so.MSG_ERRQUEUE)
                (_, _, times), (level, kind, error) = control
                seconds, ns = struct.unpack_from("=qq", times)
                seen.append((len(data), told, peer, seconds > 10**9, 0 <= ns < 10**9))
                seen.append((level, kind, struct.unpack_from("=IBBBBII", error), len(error)))
            seen.append(m.outcome(sender.recvmsg, 500, 500, so.MSG_ERRQUEUE))
            one = so.SOL_SOCKET, SO_TIMESTAMPING, struct.pack("=I", TX_SOFTWARE)
            sender.setsockopt(so.SOL_SOCKET, SO_TIMESTAMPING, SOFTWARE)
            sender.send(b"not this one")
            sender.sendmsg([b"this one"], [one])
            seen.append(len(sender.recvmsg(500, 500, so.MSG_ERRQUEUE)[1]))
            seen.append(m.outcome(sender.recvmsg, 500, 500, so.MSG_ERRQUEUE))
            bad = so.SOL_SOCKET, SO_TIMESTAMPING, struct.pack("=I", SOFTWARE)
            seen.append(m.outcome(sender.sendmsg, [b"bad"], [bad]))
            result[f"{name}: {options:#x}"] = seen
            sender.close(), receiver.close()
    return result


def test_transmit_time_stamps_are_in_the_error_queue() -> None:
    seen = both(stamps)
    assert seen["4: 0x880"][4][2][0] == errno.ENOMSG


def whole_headers(m: Machine) -> dict[str, Any]:
    """An IPv6 packet of the user's own, and the device IPV6_PKTINFO fixes."""
    result: dict[str, Any] = {}
    receiver, sender = _pair(m, so.AF_INET6, "::1")
    port = receiver.getsockname()[1]
    raw = m.socket.socket(so.AF_INET6, so.SOCK_RAW, so.IPPROTO_RAW)
    result["of IPPROTO_RAW"] = raw.getsockopt(so.IPPROTO_IPV6, IPV6_HDRINCL)
    own = so.inet_pton(so.AF_INET6, "::1")
    source = so.inet_pton(so.AF_INET6, "fd77::9")
    udp = struct.pack("!HHHH", 4000, port, 12, 0) + b"data"
    total = int.from_bytes(source) + int.from_bytes(own) + 12 + 17 + int.from_bytes(udp)
    udp = udp[:6] + (0xFFFF - total % 0xFFFF).to_bytes(2) + udp[8:]
    header = struct.pack("!IHBB", 6 << 28, len(udp), so.IPPROTO_UDP, 7) + source + own
    result["sent"] = raw.sendto(header + udp, ("::1", 0))
    data = m.outcome(receiver.recvfrom, 100)
    result["received"] = data[0], data[1][:2]
    result["too short"] = m.outcome(raw.sendto, header[:39], ("::1", 0))
    result["switched off"] = raw.setsockopt(so.IPPROTO_IPV6, IPV6_HDRINCL, 0)
    result["of UDP"] = m.outcome(sender.setsockopt, so.IPPROTO_IPV6, IPV6_HDRINCL, 1)
    for name, value in (("lo", own + struct.pack("i", 1)), ("short", own)):
        set_it = sender.setsockopt, so.IPPROTO_IPV6, IPV6_PKTINFO, value
        result[f"pktinfo {name}"] = m.outcome(*set_it)
    result["sent by lo"] = sender.send(b"lo"), receiver.recv(10)
    raw.close(), sender.close(), receiver.close()
    return result


def test_ipv6_headers_of_the_users_own_and_sticky_pktinfo() -> None:
    both(whole_headers)


ATTACH, DETACH = 26, 27
LDH_ABS, LDB_ABS, LD_LEN, JEQ, RET_K = 0x28, 0x30, 0x80, 0x15, 6
NET_OFF = 0xFFF00000


def filters(m: Machine) -> dict[str, Any]:
    receiver, sender = _pair(m)
    result: dict[str, Any] = {}

    def attach(*insns: tuple[int, int, int, int]) -> Any:
        code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *i) for i in insns))
        program = struct.pack("@HP", len(insns), ctypes.addressof(code))
        return m.outcome(receiver.setsockopt, so.SOL_SOCKET, ATTACH, program)

    def arrive() -> list[Any]:
        sent = [sender.send(data) for data in (b"a", b"bcd", b"x" * 100, b"")]
        seen = []
        while isinstance(data := m.outcome(receiver.recvmsg, 200), tuple):
            seen.append((data[0], data[2]))
        return [sent, seen]

    keep = (RET_K, 0, 0, 0xFFFF), (RET_K, 0, 0, 0)
    result["detach none"] = m.outcome(receiver.setsockopt, so.SOL_SOCKET, DETACH, 0)
    result["first byte is b"] = attach((LDB_ABS, 0, 0, 8), (JEQ, 0, 1, ord("b")), *keep), arrive()
    result["length is 11"] = attach((LD_LEN, 0, 0, 0), (JEQ, 0, 1, 11), *keep), arrive()
    result["length field"] = attach((LDH_ABS, 0, 0, 4), (JEQ, 0, 1, 108), *keep), arrive()
    ttl = (LDB_ABS, 0, 0, NET_OFF + 8)
    result["TTL is 64"] = attach(ttl, (JEQ, 0, 1, 64), *keep), arrive()
    result["cut"] = attach((RET_K, 0, 0, 10)), arrive()
    result["cut to less than a header"] = attach((RET_K, 0, 0, 1)), arrive()
    result["bad"] = attach((0xFFFF, 0, 0, 0))
    result["none"] = attach((RET_K, 0, 0, 0)), arrive()
    result["detach"] = receiver.setsockopt(so.SOL_SOCKET, DETACH, 0), arrive()
    receiver.close(), sender.close()
    return result


def test_filter_of_a_udp_socket_keeps_cuts_and_drops() -> None:
    both(filters)


def peeks(m: Machine) -> dict[str, Any]:
    result: dict[str, Any] = {}
    stream = m.socket.socketpair(so.AF_UNIX, so.SOCK_STREAM)
    packets = m.socket.socketpair(so.AF_UNIX, so.SOCK_SEQPACKET)
    listener = m.socket.create_server((LO, 0))
    tcp = m.socket.create_connection(listener.getsockname())
    pairs = {
        "unix": stream,
        "packets": packets,
        "udp": _pair(m),
        "tcp": (listener.accept()[0], tcp),
    }
    for name, (a, b) in pairs.items():
        a.setblocking(False)
        seen: list[Any] = [a.getsockopt(so.SOL_SOCKET, SO_PEEK_OFF)]
        a.setsockopt(so.SOL_SOCKET, SO_PEEK_OFF, 2)
        b.send(b"abcdef"), b.send(b"ghi")
        for n, flags in (
            (3, so.MSG_PEEK),
            (9, so.MSG_PEEK),
            (9, so.MSG_PEEK),
            (4, 0),
            (9, so.MSG_PEEK),
        ):
            seen.append(m.outcome(a.recv, n, flags))
            seen.append(a.getsockopt(so.SOL_SOCKET, SO_PEEK_OFF))
        result[name] = seen
        a.close(), b.close()
    listener.close()
    raw = m.socket.socket(so.AF_INET, so.SOCK_RAW, 17)
    result["raw"] = m.outcome(raw.setsockopt, so.SOL_SOCKET, SO_PEEK_OFF, 0)
    raw.close()
    return result


def test_peek_goes_on_from_an_offset() -> None:
    both(peeks)


def urgent(m: Machine) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for inline in (0, 1):
        a, b = m.socket.socketpair(so.AF_UNIX, so.SOCK_STREAM)
        a.setblocking(False)
        a.setsockopt(so.SOL_SOCKET, so.SO_OOBINLINE, inline)
        seen: list[Any] = [m.outcome(a.recv, 1, so.MSG_OOB)]
        b.send(b"abc", so.MSG_OOB)
        seen.append(m.outcome(a.recvfrom, 0, so.MSG_PEEK))  # the mark ends it before a byte
        b.send(b"def")
        poll = m.select.poll()
        poll.register(a, 0xFFFF & ~m.select.POLLNVAL)
        seen.append(poll.poll(0)[0][1])
        for n, flags in ((9, so.MSG_PEEK), (1, so.MSG_OOB | so.MSG_PEEK), (9, 0), (1, so.MSG_OOB)):
            seen.append(m.outcome(a.recv, n, flags))
        seen.append(m.outcome(a.recv, 9))
        b.send(b"xy", so.MSG_OOB), b.send(b"z", so.MSG_OOB)
        seen += [m.outcome(a.recv, 9), m.outcome(a.recv, 9), m.outcome(a.recv, 9)]
        seen.append(m.outcome(b.send, b"", so.MSG_OOB))
        result[f"inline {inline}"] = seen
        a.close(), b.close()
    return result


def test_urgent_bytes_of_unix_streams() -> None:
    both(urgent)
