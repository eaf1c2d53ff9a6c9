"""AF_UNIX: names, the three types, credentials and passed descriptors, as this machine has them."""

from __future__ import annotations

import array
import os
import select as sel
import socket as so
import struct
import termios
from collections.abc import Callable
from typing import Any

import pytest
from both import Machine, both

DGRAM, STREAM, SEQ = so.SOCK_DGRAM, so.SOCK_STREAM, so.SOCK_SEQPACKET
UNIX = so.AF_UNIX
TYPES = STREAM, DGRAM, SEQ
UCRED = struct.Struct("=iII")


def bound(m: Machine, name: Any, type_: int = STREAM, backlog: int | None = 5) -> Any:
    sock = m.socket.socket(UNIX, type_)
    sock.bind(name)
    if type_ != DGRAM and backlog is not None:
        sock.listen(backlog)
    return sock


def pair(m: Machine, type_: int = STREAM) -> tuple[Any, Any]:
    first, second = m.socket.socketpair(UNIX, type_)
    first.setblocking(False)
    second.setblocking(False)
    return first, second


def fill(m: Machine, sock: Any, size: int) -> tuple[int, object, int]:
    """(bytes taken, what ended it, SIOCOUTQ)."""
    total = 0
    while isinstance(n := m.outcome(sock.send, bytes(size)), int) and n:
        total += n
    return total, n, m.sys.ioctl(sock.fileno(), termios.TIOCOUTQ)


def events(m: Machine, *socks: Any) -> list[int]:
    mask = sel.POLLIN | sel.POLLOUT | sel.POLLRDHUP
    return m.sys.poll([(s.fileno(), mask) for s in socks], 0)


def names(m: Machine) -> dict[str, object]:
    listener = bound(m, "path")
    new = m.socket.socket(UNIX)
    result: dict[str, object] = {
        "name": listener.getsockname(),
        "unnamed": new.getsockname(),
        "no peer": m.outcome(new.getpeername),
        "twice": m.outcome(listener.bind, "other"),
        "taken": m.outcome(new.bind, "path"),
        "nobody": m.outcome(new.connect, "nobody"),
        "empty": m.outcome(new.connect, ""),
        "abstract nobody": m.outcome(new.connect, b"\0nobody"),
        "type": m.outcome(m.socket.socket(UNIX, DGRAM).connect, "path"),
        "listen unbound": m.outcome(new.listen, 1),
    }
    auto = m.socket.socket(UNIX)
    auto.bind("")
    result["autobind"] = len(auto.getsockname()), auto.getsockname()[:1]
    long = m.socket.socket(UNIX)
    long.bind("x" * 107)
    result["long"] = long.getsockname() == "x" * 107
    with pytest.raises(OSError, match="path too long"):
        m.socket.socket(UNIX).bind("x" * 108)
    abstract = bound(m, b"\0name")
    result["abstract"] = abstract.getsockname()
    result["abstract taken"] = m.outcome(new.bind, b"\0name")
    result["of another type"] = m.outcome(m.socket.socket(UNIX, DGRAM).bind, b"\0name")
    new.connect("path")
    conn, address = listener.accept()
    result["accepted"] = address, conn.getsockname(), new.getpeername(), new.getsockname()
    listener.close()
    result["closed"] = m.outcome(m.socket.socket(UNIX).connect, "path")
    result["node stays"] = m.outcome(m.socket.socket(UNIX).bind, "path")
    m.sys.unlink("path")
    result["unlink"] = m.outcome(m.sys.unlink, "path")
    result["unlinked"] = m.outcome(m.socket.socket(UNIX).connect, "path")
    result["anew"] = m.outcome(m.socket.socket(UNIX).bind, "path")
    return result


def streams(m: Machine) -> dict[str, object]:
    a, b = pair(m)
    a.send(b"one")
    a.send(b"two")
    result: dict[str, object] = {
        "inq": m.sys.ioctl(b.fileno(), termios.FIONREAD),
        "peek": b.recv(4, so.MSG_PEEK),
        "part": b.recvfrom(2),
        "rest": b.recv(100),
        "empty": m.outcome(b.recv, 1),
        "to": m.outcome(a.sendto, b"x", "nobody"),
        "nothing": a.send(b""),
        "oob": m.outcome(b.recv, 1, so.MSG_OOB) in ("EINVAL", "ENOTSUP"),
        "events": events(m, a, b),
    }
    a.shutdown(so.SHUT_WR)
    result["half closed"] = events(m, a, b), b.recv(1), m.outcome(a.send, b"x"), b.send(b"yes")
    result["still reads"] = a.recv(9)
    b.close()
    result["closed"] = events(m, a), m.outcome(a.recv, 1), m.outcome(a.send, b"x")
    new = m.socket.socket(UNIX)
    result["unconnected"] = m.outcome(new.send, b"x"), m.outcome(new.recv, 1), events(m, new)
    result["shutdown"] = m.outcome(new.shutdown, 2), m.outcome(m.sys.shutdown, new.fileno(), 9)
    result["option"] = m.outcome(new.setsockopt, so.IPPROTO_TCP, 1, 1)
    return result


def unread_data_resets(m: Machine) -> dict[str, object]:
    result: dict[str, object] = {}
    for type_ in TYPES:
        a, b = pair(m, type_)
        a.send(b"unread")
        b.send(b"to a")
        b.close()
        result[str(type_)] = (
            *(events(m, a), m.outcome(a.send, b"x"), m.outcome(a.recv, 9)),
            *(m.outcome(a.recv, 9), m.outcome(a.recv, 9), m.outcome(a.send, b"x"), events(m, a)),
        )
    return result


def buffers(m: Machine) -> dict[str, object]:
    result: dict[str, object] = {}
    for type_ in TYPES:
        for size in (1, 192, 193, 700, 1500, 3777, 5000, 16384, 20000, 50000, 100_000):
            a, b = pair(m, type_)
            full = fill(m, a, size)
            b.recv(1000)
            result[f"{type_} {size}"] = full, events(m, a, b), m.outcome(a.send, b"x" * 100)
            while isinstance(m.outcome(b.recv, 1 << 20), bytes):
                pass
            result[f"{type_} {size} read"] = events(m, a), m.sys.ioctl(a.fileno(), termios.TIOCOUTQ)
        a, b = pair(m, type_)
        a.setsockopt(so.SOL_SOCKET, so.SO_SNDBUF, 5000)
        result[f"{type_} small"] = fill(m, a, 4000), m.outcome(a.send, bytes(9969))
    return result


def datagrams(m: Machine) -> dict[str, object]:
    a, b = bound(m, "a", DGRAM), bound(m, "b", DGRAM)
    c = m.socket.socket(UNIX, DGRAM)
    for sock in (a, b, c):
        sock.setblocking(False)
    result: dict[str, object] = {
        "unconnected": m.outcome(a.send, b"x"),
        "to": (a.sendto(b"hello", "b"), b.recvfrom(9)),
        "unnamed": (c.sendto(b"", "b"), b.recvfrom(9)),
        "cut": (a.sendto(b"long one", "b"), b.recvmsg(4)),
        "real length": (a.sendto(b"long one", "b"), b.recv_into(bytearray(4), 4, so.MSG_TRUNC)),
        "listen": m.outcome(a.listen, 1),
        "accept": m.outcome(a.accept),
        "two waiting": (a.sendto(b"12", "b"), a.sendto(b"345", "b")),
        "inq": m.sys.ioctl(b.fileno(), termios.FIONREAD),
        "peek": (b.recv(9, so.MSG_PEEK), b.recv(9), b.recv(9)),
        "empty": m.outcome(b.recv, 1),
        "too long": m.outcome(a.sendto, bytes(212992 - 31), "b"),
        "to nobody": m.outcome(a.sendto, b"", "nobody"),
    }
    c.connect("a")
    a.connect("b")
    b.connect("a")
    result["stranger"] = m.outcome(c.send, b"x"), m.outcome(c.connect, "b"), c.getpeername()
    result["both connected"] = fill(m, a, 10)[1], events(m, a)
    while isinstance(m.outcome(b.recv, 100), bytes):
        pass
    b.close()
    result["gone"] = m.outcome(a.send, b"x"), m.outcome(a.send, b"x"), m.outcome(a.getpeername)
    return result


def queue_of_a_receiver(m: Machine) -> dict[str, object]:
    a, b = m.socket.socket(UNIX, DGRAM), bound(m, "b", DGRAM)
    a.setblocking(False)
    count = 0
    while m.outcome(a.sendto, b"x", "b") == 1:
        count += 1
    result: dict[str, object] = {"qlen": count, "still writable": events(m, a)}
    a.connect("b")
    result["connected"] = events(m, a), m.outcome(a.send, b"x")
    b.recv(1)
    result["room"] = events(m, a), m.outcome(a.send, b"x"), m.outcome(a.send, b"x")
    a.setblocking(True)

    def reader() -> None:
        m.time.sleep(0.05)
        b.recv(1)

    m.thread(reader)
    result["waited"] = a.send(b"x")
    other = m.socket.socket(UNIX, DGRAM)
    m.thread(reader)
    result["waited unconnected"] = other.sendto(b"x", "b")
    other.settimeout(0.05)
    with pytest.raises(TimeoutError):
        a.settimeout(0.05)
        a.send(b"x")
    return result


def packets(m: Machine) -> dict[str, object]:
    listener = bound(m, "seq", SEQ)
    a = m.socket.socket(UNIX, SEQ)
    result: dict[str, object] = {"unconnected": (m.outcome(a.send, b"x"), m.outcome(a.recv, 1))}
    a.connect("seq")
    b, _ = listener.accept()
    a.send(b"first packet")
    a.send(b"second")
    a.send(b"")
    result["cut"] = b.recvmsg(5), b.recvmsg(100), b.recvmsg(100)
    a.sendto(b"address ignored", "nobody")
    result["address"] = b.recvfrom(100)
    a.shutdown(so.SHUT_WR)
    result["end"] = b.recv(9), m.outcome(a.send, b"x")
    b.setblocking(False)
    result["end again"] = m.outcome(b.recv, 9)
    return result


def datagram_shutdown(m: Machine) -> list[object]:
    a, b = m.socket.socketpair(UNIX, DGRAM)
    b.shutdown(so.SHUT_RD)
    result: list[object] = [m.outcome(a.send, b"x"), b.recv(1)]
    b.setblocking(False)
    result.append(m.outcome(b.recv, 1))
    b.shutdown(so.SHUT_WR)
    return [*result, m.outcome(b.send, b"x"), events(m, a, b)]


def backlog(m: Machine) -> dict[str, object]:
    listener = bound(m, "l", backlog=1)
    clients = [m.socket.socket(UNIX) for _ in range(4)]
    for client in clients:
        client.setblocking(False)
    result: dict[str, object] = {
        "listener": m.outcome(listener.connect, "l"),
        "connect": [m.outcome(c.connect, "l") for c in clients],
    }
    result["ready"] = events(m, listener, *clients)
    result["before accept"] = clients[0].send(b"early"), clients[0].getpeername()
    conn, _ = listener.accept()
    result["accepted"] = conn.recv(9), m.outcome(clients[2].connect, "l")
    result["again"] = m.outcome(clients[2].connect, "l")
    clients[3].setblocking(True)

    def acceptor() -> None:
        m.time.sleep(0.05)
        listener.accept()

    m.thread(acceptor)
    result["waited"] = m.outcome(clients[3].connect, "l")
    listener.close()
    result["listener closed"] = m.outcome(clients[2].recv, 9), m.outcome(clients[2].send, b"x")
    return result


def credentials(m: Machine) -> dict[str, object]:
    pid = m.sys.getpid()
    a, b = pair(m)
    size = UCRED.size
    result: dict[str, object] = {}

    def ours(data: bytes) -> tuple[bool, int, int]:
        found, uid, gid = UCRED.unpack(data)
        return found == pid, uid, gid

    result["peer"] = ours(a.getsockopt(so.SOL_SOCKET, so.SO_PEERCRED, size))
    lone = m.socket.socket(UNIX)
    result["no peer"] = UCRED.unpack(lone.getsockopt(so.SOL_SOCKET, so.SO_PEERCRED, size))[0]
    a.send(b"before")
    b.setsockopt(so.SOL_SOCKET, so.SO_PASSCRED, 1)
    a.send(b"after")
    result["option"] = b.getsockopt(so.SOL_SOCKET, so.SO_PASSCRED)
    space = so.CMSG_SPACE(size)
    data, control, flags, _ = b.recvmsg(100, space)
    result["not glued"] = data, [(c[0], c[1], UCRED.unpack(c[2])) for c in control], flags
    data, control, flags, _ = b.recvmsg(100, space)
    result["ours"] = data, ours(control[0][2]), flags
    a.send(b"x")
    result["no room"] = b.recvmsg(100, 0)[1:3]
    a.send(b"x")
    result["cut"] = b.recvmsg(100, so.CMSG_LEN(4))[2]
    mine = so.SOL_SOCKET, so.SCM_CREDENTIALS, UCRED.pack(pid, 0, 0)
    result["stated"] = a.sendmsg([b"s"], [mine]), ours(b.recvmsg(9, space)[1][0][2])
    result["short"] = m.outcome(a.sendmsg, [b"s"], [(mine[0], mine[1], b"1234")])
    result["unknown"] = m.outcome(a.sendmsg, [b"s"], [(so.SOL_SOCKET, 99, b"1234")])
    result["other level"] = m.outcome(a.sendmsg, [b"s"], [(so.IPPROTO_IP, 99, b"1234")])
    d = m.socket.socket(UNIX, DGRAM)
    d.setsockopt(so.SOL_SOCKET, so.SO_PASSCRED, 1)
    target = bound(m, b"\0target", DGRAM)
    d.sendto(b"x", b"\0target")
    result["autobound"] = len(d.getsockname()), len(target.recvfrom(1)[1])
    return result


def descriptors(m: Machine) -> dict[str, object]:
    a, b = pair(m)
    r, w = m.sys.pipe2(0)
    m.socket.send_fds(a, [b"take ", b"this"], [r, w])
    m.sys.close(r)
    data, fds, flags, _ = m.socket.recv_fds(b, 100, 5)
    m.sys.write(w, b"through")
    result: dict[str, object] = {
        "got": (data, len(fds), flags),
        "works": m.sys.read(fds[0], 100),
        "not open": m.outcome(m.socket.send_fds, a, [b"x"], [99]),
        "too many": m.outcome(m.socket.send_fds, a, [b"x"], [w] * 254),
        "most": m.outcome(m.socket.send_fds, a, [b"x"], [w] * 253),
        "all of them": len(m.socket.recv_fds(b, 1, 253)[1]),
    }
    a.send(b"plain ")
    m.socket.send_fds(a, [b"files"], [w])
    a.send(b" more")
    result["glued up to them"] = b.recvmsg(100, 100)[:1], b.recv(100)
    m.socket.send_fds(a, [b"abc"], [w, w, w])
    data, fds, flags, _ = m.socket.recv_fds(b, 100, 1)
    result["room for one"] = data, len(fds), flags
    m.socket.send_fds(a, [b"abc"], [w])
    result["room for none"] = b.recvmsg(100)[:3]
    m.socket.send_fds(a, [b"abc"], [w])
    result["not asked"] = b.recv(100)
    m.socket.send_fds(a, [b"ab"], [w])
    result["peek"] = [len(b.recvmsg(1, 100, flags)[1]) for flags in (so.MSG_PEEK, 0, 0)]
    result["cloexec"] = b_cloexec(m, a, b, w)
    return result


def b_cloexec(m: Machine, a: Any, b: Any, fd: int) -> list[object]:
    seen: list[object] = []
    for flag in (0, so.MSG_CMSG_CLOEXEC):
        m.socket.send_fds(a, [b"x"], [fd])
        _, control, flags, _ = b.recvmsg(1, 100, flag)
        got = array.array("i", control[0][2])[0]
        seen.append((flags, m.sys.fcntl(got, 1)))
    return seen


def descriptors_over_the_limit(m: Machine) -> list[object]:
    """What does not fit into the table is closed, and MSG_CTRUNC says so."""
    a, b = pair(m)
    r, w = m.sys.pipe2(0)
    m.socket.send_fds(a, [b"x"], [w, w, w, w])
    _, hard = m.sys.prlimit64(7)
    m.sys.prlimit64(7, (m.sys.dup(r) + 3, hard))
    data, fds, flags, _ = m.socket.recv_fds(b, 9, 4)
    return [data, len(fds), flags]


def passing_ends_a_pipe(m: Machine) -> list[object]:
    """A file in flight is open; dropped with its message it is closed."""
    a, b = pair(m)
    r, w = m.sys.pipe2(os.O_NONBLOCK)
    m.socket.send_fds(a, [b"x"], [w])
    m.sys.close(w)
    seen = [m.outcome(m.sys.read, r, 1)]
    b.close()
    return [*seen, m.outcome(m.sys.read, r, 1)]


def garbage(m: Machine) -> list[object]:
    """Sockets that only their own queues hold are collected, and what they held is closed."""
    r, w = m.sys.pipe2(os.O_NONBLOCK)
    a, b = pair(m)
    m.socket.send_fds(a, [b"x"], [a.fileno(), w])  # into b's queue
    m.socket.send_fds(b, [b"x"], [b.fileno()])
    m.sys.close(w)
    seen: list[object] = [m.outcome(m.sys.read, r, 1)]
    a.close()
    b.close()
    m.socket.socketpair(UNIX)[0].close()
    m.time.sleep(0.1)
    return [*seen, m.outcome(m.sys.read, r, 1)]


def passed_over_a_process(m: Machine) -> list[object]:
    """A child gets a connection that its parent has accepted."""
    a, b = m.socket.socketpair(UNIX)
    listener = m.socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    with m.socket.create_connection(address) as client:
        conn, _ = listener.accept()
        fd = b.fileno()

        def child(m: Machine) -> None:
            channel = m.socket.socket(UNIX, STREAM, fileno=m.sys.dup(fd))
            _, fds, _, _ = m.socket.recv_fds(channel, 1, 1)
            with m.socket.socket(fileno=fds[0]) as given:
                given.sendall(b"from the child")
            channel.close()

        pid = m.fork(child)
        m.socket.send_fds(a, [b"x"], [conn.fileno()])
        conn.close()
        status = m.sys.wait4(pid)[1]
        return [status, client.recv(100)]


PROGRAMS: list[Callable[[Machine], Any]] = [
    *(names, streams, unread_data_resets, buffers, datagrams, queue_of_a_receiver, packets),
    *(datagram_shutdown, backlog, credentials, descriptors, descriptors_over_the_limit),
    *(passing_ends_a_pipe, garbage, passed_over_a_process),
]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_unix_sockets_behave_as_on_this_machine(program: Callable[[Machine], Any]) -> None:
    both(program)
