"""One of the two processes of `two_kernels`: its sockets, and the calls of a sequence.

The same code runs on this machine's kernel and on a simulated host; only the modules under it
differ.  A sequence names sockets by number, wrapped to those there are, and addresses by a place
("lo", "any", "other") and a port 0 or 1, which mean something in every family.  What is chosen by
chance, a port or a process's number, is not told.
"""

from __future__ import annotations

import array
import errno
import select as sel
import socket as so
import struct
import termios
from collections.abc import Callable, Sequence
from typing import Any

UDP_CORK, UDP_SEGMENT, UDP_GRO = 1, 103, 104
KINDS: dict[str, tuple[int, int]] = {
    "tcp4": (so.AF_INET, so.SOCK_STREAM),
    "tcp6": (so.AF_INET6, so.SOCK_STREAM),
    "udp4": (so.AF_INET, so.SOCK_DGRAM),
    "udp6": (so.AF_INET6, so.SOCK_DGRAM),
    "unix stream": (so.AF_UNIX, so.SOCK_STREAM),
    "unix dgram": (so.AF_UNIX, so.SOCK_DGRAM),
    "unix seqpacket": (so.AF_UNIX, so.SOCK_SEQPACKET),
}
PLACES: dict[int, dict[str, str]] = {
    so.AF_INET: {"lo": "127.0.0.1", "any": "0.0.0.0", "other": "127.0.0.2"},
    so.AF_INET6: {"lo": "::1", "any": "::", "other": "::ffff:127.0.0.1"},
    so.AF_UNIX: {"lo": "\0w2a", "any": "path", "other": "./path"},
}
OPTIONS: dict[str, tuple[int, int]] = {
    "SO_REUSEADDR": (so.SOL_SOCKET, so.SO_REUSEADDR),
    "SO_REUSEPORT": (so.SOL_SOCKET, so.SO_REUSEPORT),
    "SO_KEEPALIVE": (so.SOL_SOCKET, so.SO_KEEPALIVE),
    "SO_BROADCAST": (so.SOL_SOCKET, so.SO_BROADCAST),
    "SO_DONTROUTE": (so.SOL_SOCKET, so.SO_DONTROUTE),
    "SO_ERROR": (so.SOL_SOCKET, so.SO_ERROR),
    "SO_TYPE": (so.SOL_SOCKET, so.SO_TYPE),
    "SO_DOMAIN": (so.SOL_SOCKET, so.SO_DOMAIN),
    "SO_PROTOCOL": (so.SOL_SOCKET, so.SO_PROTOCOL),
    "SO_ACCEPTCONN": (so.SOL_SOCKET, so.SO_ACCEPTCONN),
    "SO_RCVBUF": (so.SOL_SOCKET, so.SO_RCVBUF),
    "SO_RCVLOWAT": (so.SOL_SOCKET, so.SO_RCVLOWAT),
    "SO_OOBINLINE": (so.SOL_SOCKET, so.SO_OOBINLINE),
    "SO_PEEK_OFF": (so.SOL_SOCKET, 42),
    "SO_PASSCRED": (so.SOL_SOCKET, so.SO_PASSCRED),
    "SO_PRIORITY": (so.SOL_SOCKET, so.SO_PRIORITY),
    "TCP_NODELAY": (so.IPPROTO_TCP, so.TCP_NODELAY),
    "TCP_KEEPIDLE": (so.IPPROTO_TCP, so.TCP_KEEPIDLE),
    "TCP_KEEPCNT": (so.IPPROTO_TCP, so.TCP_KEEPCNT),
    "TCP_USER_TIMEOUT": (so.IPPROTO_TCP, so.TCP_USER_TIMEOUT),
    "TCP_SYNCNT": (so.IPPROTO_TCP, so.TCP_SYNCNT),
    "TCP_DEFER_ACCEPT": (so.IPPROTO_TCP, so.TCP_DEFER_ACCEPT),
    "TCP_LINGER2": (so.IPPROTO_TCP, so.TCP_LINGER2),
    "UDP_CORK": (so.IPPROTO_UDP, UDP_CORK),
    "IP_TTL": (so.IPPROTO_IP, so.IP_TTL),
    "IP_TOS": (so.IPPROTO_IP, so.IP_TOS),
    "IP_PKTINFO": (so.IPPROTO_IP, 8),
    "IP_MTU_DISCOVER": (so.IPPROTO_IP, 10),
    "IP_RECVERR": (so.IPPROTO_IP, 11),
    "IP_RECVTTL": (so.IPPROTO_IP, 12),
    "IP_RECVTOS": (so.IPPROTO_IP, 13),
    "IP_MTU": (so.IPPROTO_IP, 14),
    "IP_FREEBIND": (so.IPPROTO_IP, 15),
    "IP_MULTICAST_LOOP": (so.IPPROTO_IP, so.IP_MULTICAST_LOOP),
    "IPV6_V6ONLY": (so.IPPROTO_IPV6, so.IPV6_V6ONLY),
    "IPV6_UNICAST_HOPS": (so.IPPROTO_IPV6, so.IPV6_UNICAST_HOPS),
    "IPV6_TCLASS": (so.IPPROTO_IPV6, so.IPV6_TCLASS),
    "IPV6_RECVPKTINFO": (so.IPPROTO_IPV6, so.IPV6_RECVPKTINFO),
    "IPV6_RECVHOPLIMIT": (so.IPPROTO_IPV6, so.IPV6_RECVHOPLIMIT),
    "IPV6_RECVTCLASS": (so.IPPROTO_IPV6, so.IPV6_RECVTCLASS),
    "IPV6_RECVERR": (so.IPPROTO_IPV6, 25),
    "unknown": (so.IPPROTO_TCP, 250),
    "unknown level": (99, 1),
}
EVENTS: dict[str, int] = {
    "none": 0,
    "in": sel.EPOLLIN,
    "out": sel.EPOLLOUT,
    "all": sel.EPOLLIN | sel.EPOLLOUT | sel.EPOLLPRI | sel.EPOLLRDHUP,
    "edge": sel.EPOLLIN | sel.EPOLLOUT | sel.EPOLLRDHUP | sel.EPOLLET,
    "edge in": sel.EPOLLIN | sel.EPOLLET,
    "once": sel.EPOLLIN | sel.EPOLLONESHOT,
    "edge once": sel.EPOLLIN | sel.EPOLLOUT | sel.EPOLLET | sel.EPOLLONESHOT,
    "exclusive": sel.EPOLLIN | sel.EPOLLEXCLUSIVE,
}
INQUIRIES = {"FIONREAD": termios.FIONREAD, "SIOCATMARK": 0x8905, "SIOCOUTQ": termios.TIOCOUTQ}
_TIMEVAL = struct.Struct("=qq")


class Actor:
    """`ports` are what ports 0 and 1 of a sequence are here; `ask(sock, request)` is an ioctl."""

    def __init__(
        self, socket: Any, select: Any, ask: Callable[[Any, int], int], ports: Sequence[int]
    ) -> None:
        self._so, self._select, self._ask, self._ports = socket, select, ask, ports
        self.socks: list[Any] = []
        self._epoll: Any = None
        self._registered: dict[int, int] = {}  # descriptor: how many had been registered before

    def step(self, call: str, *args: Any) -> Any:
        """What a call gives, or the name of its errno."""
        try:
            return getattr(self, call)(*args)
        except OSError as exc:
            return errno.errorcode.get(exc.errno or 0, repr(exc))

    def finish(self) -> None:
        for sock in self.socks:
            sock.close()
        if self._epoll is not None:
            self._epoll.close()
        self._so.socket(so.AF_UNIX).close()  # so that sockets in flight to themselves are found

    def paths(self) -> list[str]:
        """The names of AF_UNIX a sequence may have left in the file system."""
        return [f"path{port}" for port in self._ports]

    def _sock(self, number: int) -> Any:
        if not self.socks:
            self.socket("tcp4")
        return self.socks[number % len(self.socks)]

    def _keep(self, sock: Any) -> None:
        sock.setblocking(False)
        self.socks.append(sock)

    def _address(self, sock: Any, place: str, port: int | None) -> Any:
        """No port: any, which for AF_UNIX is a name the kernel makes."""
        where = PLACES[sock.family][place]
        if sock.family == so.AF_UNIX:
            return "" if port is None else f"{where}{self._ports[port]}"
        return where, 0 if port is None else self._ports[port]

    def _name(self, address: Any) -> Any:
        """An address without what is chosen by chance."""
        if isinstance(address, tuple):
            host, port, *rest = address
            return host, self._ports.index(port) if port in self._ports else bool(port), rest
        if isinstance(address, bytes):
            address = address.decode()
        for place in PLACES[so.AF_UNIX].values():
            for number, port in enumerate(self._ports):
                if address == f"{place}{port}":
                    return place, number
        return len(address) if address is not None else None

    # -- the calls of a sequence -----------------------------------------------------------

    def socket(self, kind: str) -> None:
        self._keep(self._so.socket(*KINDS[kind]))

    def socketpair(self, kind: str) -> None:
        for sock in self._so.socketpair(*KINDS[kind]):
            self._keep(sock)

    def bind(self, number: int, place: str, port: int | None) -> None:
        sock = self._sock(number)
        sock.bind(self._address(sock, place, port))

    def listen(self, number: int, backlog: int) -> None:
        self._sock(number).listen(backlog)

    def connect(self, number: int, place: str, port: int) -> None:
        sock = self._sock(number)
        sock.connect(self._address(sock, place, port))

    def accept(self, number: int) -> Any:
        sock, address = self._sock(number).accept()
        self._keep(sock)
        return self._name(address)

    def wait(self, number: int, milliseconds: int) -> None:
        """Calls of this socket wait so long from now on; 0: they do not wait."""
        sock = self._sock(number)
        sock.setblocking(milliseconds > 0)
        for option in (so.SO_RCVTIMEO, so.SO_SNDTIMEO):
            sock.setsockopt(so.SOL_SOCKET, option, _TIMEVAL.pack(0, milliseconds * 1000))

    def send(self, number: int, size: int, flags: int) -> int:
        sock = self._sock(number)
        return int(sock.send(b"d" * size, self._sent(sock, flags)))

    def _sent(self, sock: Any, flags: int) -> int:
        """When TCP lets go of what MSG_MORE holds back depends, on Linux, on how much memory a
        socket has been given in advance, and on time."""
        return flags if sock.type == so.SOCK_DGRAM else flags & ~so.MSG_MORE

    def sendto(self, number: int, size: int, place: str, port: int) -> int:
        sock = self._sock(number)
        return int(sock.sendto(b"t" * size, self._address(sock, place, port)))

    def sendmsg(self, number: int, size: int, flags: int, passed: int | None) -> int:
        """With the descriptor of another socket."""
        sock, control = self._sock(number), []
        if passed is not None:
            rights = array.array("i", [self._sock(passed).fileno()])
            control.append((so.SOL_SOCKET, so.SCM_RIGHTS, rights.tobytes()))
        flags = self._sent(sock, flags)
        return int(sock.sendmsg([b"m" * size, b"n" * size], control, flags))

    def recv(self, number: int, size: int, flags: int) -> Any:
        data = self._sock(number).recv(size, flags)
        return len(data), *(() if flags & so.MSG_TRUNC else (data[:1], data[-1:]))

    def recvfrom(self, number: int, size: int, flags: int) -> Any:
        data, address = self._sock(number).recvfrom(size, flags)
        return len(data), self._name(address)

    def recvmsg(self, number: int, size: int, space: int, flags: int) -> Any:
        data, control, told, address = self._sock(number).recvmsg(size, space, flags)
        return len(data), [self._cmsg(*cmsg) for cmsg in control], told, self._name(address)

    def _cmsg(self, level: int, kind: int, data: bytes) -> Any:
        """Sockets that were passed become this process's."""
        if (level, kind) == (so.SOL_SOCKET, so.SCM_RIGHTS):
            fds = array.array("i", data)
            for fd in fds:
                self._keep(self._so.socket(fileno=fd))
            return "descriptors", len(fds)
        if level == so.SOL_SOCKET:
            return kind, len(data)
        return level, kind, data

    def shutdown(self, number: int, how: int) -> None:
        self._sock(number).shutdown(how)

    def close(self, number: int) -> None:
        if self.socks:
            self.socks.pop(number % len(self.socks)).close()

    def dup(self, number: int) -> None:
        self.socks.append(self._sock(number).dup())

    def getsockname(self, number: int) -> Any:
        return self._name(self._sock(number).getsockname())

    def getpeername(self, number: int) -> Any:
        return self._name(self._sock(number).getpeername())

    def getsockopt(self, number: int, option: str) -> int:
        return int(self._sock(number).getsockopt(*OPTIONS[option]))

    def setsockopt(self, number: int, option: str, value: int) -> None:
        self._sock(number).setsockopt(*OPTIONS[option], value)

    def linger(self, number: int) -> None:
        """close resets"""
        value = struct.pack("ii", 1, 0)
        self._sock(number).setsockopt(so.SOL_SOCKET, so.SO_LINGER, value)

    def ioctl(self, number: int, request: str) -> Any:
        """Of a stream of TCP, what is not acknowledged yet depends on time."""
        sock = self._sock(number)
        if request == "SIOCOUTQ" and sock.family != so.AF_UNIX:
            return None
        return self._ask(sock, INQUIRIES[request])

    def state(self, number: int) -> int:
        """tcpi_state"""
        return int(self._sock(number).getsockopt(so.IPPROTO_TCP, so.TCP_INFO, 1)[0])

    # -- waiting ---------------------------------------------------------------------------

    def poll(self, number: int) -> int:
        poll = self._select.poll()
        poll.register(self._sock(number), 0xFFFF & ~self._select.POLLNVAL)
        return sum(events for _, events in poll.poll(0))

    def select(self, milliseconds: int) -> list[list[int]]:
        """The numbers of the sockets that can be read, written, and have something urgent."""
        found = self._select.select(self.socks, self.socks, self.socks, milliseconds / 1000)
        return [[self.socks.index(sock) for sock in socks] for socks in found]

    def _epolled(self) -> Any:
        if self._epoll is None:
            self._epoll = self._select.epoll()
        return self._epoll

    def epoll_add(self, number: int, events: str) -> None:
        sock, epoll = self._sock(number), self._epolled()
        epoll.register(sock, EVENTS[events])
        self._registered[sock.fileno()] = len(self._registered)

    def epoll_mod(self, number: int, events: str) -> None:
        self._epolled().modify(self._sock(number), EVENTS[events])

    def epoll_del(self, number: int) -> None:
        self._epolled().unregister(self._sock(number))

    def epoll_wait(self, milliseconds: int, most: int) -> list[tuple[int, int]]:
        found = self._epolled().poll(milliseconds / 1000, most)
        return [(self._registered[fd], events) for fd, events in found]
