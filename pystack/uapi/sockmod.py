"""The `socket` module as one simulated process sees it.

`SocketModule(process)` can be passed wherever a program says `socket`.  Constants, exceptions and
pure helpers are the real module's; whatever would reach a kernel goes to the simulated one, and
what is not simulated does not exist.
"""

from __future__ import annotations

import array
import errno
import os
import signal
import socket as so
from collections.abc import Iterable, Mapping
from typing import Any

from pystack.uapi.process import Process
from pystack.uapi.sockaddr import Hosts
from pystack.uapi.sockobj import SimSocket
from pystack.uapi.socktime import SocketDefaults, check_timeout
from pystack.uapi.syscalls import Buffer

PURE = (
    *("error", "timeout", "gaierror", "herror", "AddressFamily", "SocketKind", "SocketIO"),
    *("AddressInfo", "MsgFlag", "has_ipv6", "errorTab", "CMSG_LEN", "CMSG_SPACE"),
    *("inet_aton", "inet_ntoa", "inet_pton", "inet_ntop", "htons", "htonl", "ntohs", "ntohl"),
)
_GLOBAL_DEFAULT_TIMEOUT = object()


class SocketModule:
    """`hosts` maps names to addresses; `process` ignores SIGPIPE from now on, as CPython does."""

    __name__ = "socket"

    def __init__(self, process: Process, hosts: Mapping[str, str] | None = None) -> None:
        process.signals.ignore(signal.SIGPIPE)
        self._process = process
        self._hosts = Hosts(hosts)
        self._defaults = SocketDefaults()
        for name in (*PURE, *filter(str.isupper, dir(so))):
            if hasattr(so, name):
                setattr(self, name, getattr(so, name))
        bound = {"_sys": process.sys, "_hosts": self._hosts, "_defaults": self._defaults}
        self.socket: type[SimSocket] = type("socket", (SimSocket,), bound)
        self.SocketType = self.socket

    def __getattr__(self, name: str) -> Any:
        """Only reached for what neither this class nor the copied names have."""
        raise AttributeError(f"module 'socket' has no attribute {name!r} on a simulated host")

    def getdefaulttimeout(self) -> float | None:
        return self._defaults.timeout

    def setdefaulttimeout(self, timeout: float | None) -> None:
        self._defaults.timeout = check_timeout(timeout)

    def close(self, fd: int) -> None:
        self._process.sys.close(fd)

    def dup(self, fd: int) -> int:
        return self._process.sys.dup(fd)

    def fromfd(self, fd: int, family: int, type: int, proto: int = 0) -> SimSocket:
        return self.socket(family, type, proto, fileno=self._process.sys.dup(fd))

    def socketpair(
        self, family: int = so.AF_UNIX, type: int = so.SOCK_STREAM, proto: int = 0
    ) -> tuple[SimSocket, SimSocket]:
        """Two connected sockets."""
        fds = self._process.sys.socketpair(family, type | so.SOCK_CLOEXEC, proto)
        first, second = (self.socket(family, type, proto, fileno=fd) for fd in fds)
        return first, second

    # -- interfaces ------------------------------------------------------------------------

    def if_nameindex(self) -> list[tuple[int, str]]:
        names = self._process.sys.interface_names()
        return sorted((index, name) for name, index in names.items())

    def if_nametoindex(self, name: str) -> int:
        index = self._process.sys.interface_names().get(name)
        if index is None:
            raise OSError("no interface with this name")
        return index

    def if_indextoname(self, index: int) -> str:
        for number, name in self.if_nameindex():
            if number == index:
                return name
        raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))

    # -- descriptors over AF_UNIX (Lib/socket.py) ------------------------------------------

    def send_fds(
        self,
        sock: SimSocket,
        buffers: Iterable[Buffer],
        fds: Iterable[int],
        flags: int = 0,
        address: Any = None,
    ) -> int:
        rights = so.SOL_SOCKET, so.SCM_RIGHTS, array.array("i", fds).tobytes()
        return sock.sendmsg(buffers, [rights], flags, address)

    def recv_fds(
        self, sock: SimSocket, bufsize: int, maxfds: int, flags: int = 0
    ) -> tuple[bytes, list[int], int, Any]:
        fds = array.array("i")
        space = so.CMSG_LEN(maxfds * fds.itemsize)
        data, control, msg_flags, address = sock.recvmsg(bufsize, space, flags)
        for level, type_, rights in control:
            if (level, type_) == (so.SOL_SOCKET, so.SCM_RIGHTS):
                fds.frombytes(rights[: len(rights) // fds.itemsize * fds.itemsize])
        return data, list(fds), msg_flags, address

    # -- names -----------------------------------------------------------------------------

    def gethostname(self) -> str:
        return self._process.kernel.name

    def getfqdn(self, name: str = "") -> str:
        return name or self.gethostname()

    def gethostbyname(self, hostname: str) -> str:
        return so.inet_ntoa(self._hosts.resolve(so.AF_INET, hostname))

    def getaddrinfo(
        self,
        host: str | bytes | None,
        port: str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[tuple[so.AddressFamily, so.SocketKind, int, str, Any]]:
        """Literals of both families and names of the host's table; ports as numbers."""
        if family not in (0, so.AF_INET, so.AF_INET6):
            raise so.gaierror(so.EAI_FAMILY, "ai_family not supported")
        if isinstance(host, bytes):
            host = host.decode("ascii")
        if port is not None and not str(port).isdigit():
            raise so.gaierror(so.EAI_SERVICE, "Servname not supported for ai_socktype")
        scope = 0
        if host is not None:
            host, _, zone = host.partition("%")
            scope = int(zone or 0) if zone.isdigit() or not zone else self.if_nametoindex(zone)
            found = self._hosts.lookup(family, host)
        elif flags & so.AI_PASSIVE:
            found = [(k, bytes(n)) for k, n in ((so.AF_INET, 4), (so.AF_INET6, 16))]
        else:
            found = [(k, self._hosts.resolve(k, "localhost")) for k in (so.AF_INET6, so.AF_INET)]
        kinds = {
            so.SOCK_STREAM: so.IPPROTO_TCP,
            so.SOCK_DGRAM: so.IPPROTO_UDP,
            so.SOCK_RAW: so.IPPROTO_IP,
        }
        return [
            (
                so.AddressFamily(af),
                kind,
                int(proto or protocol),
                "",
                (so.inet_ntop(af, ip), int(port or 0), *((0, scope) if af == so.AF_INET6 else ())),
            )
            for af, ip in found
            if family in (0, af)
            for kind, protocol in kinds.items()
            if type in (0, kind) and proto in (0, protocol)
        ]

    def has_dualstack_ipv6(self) -> bool:
        return True

    # -- conveniences of Lib/socket.py -----------------------------------------------------

    def create_connection(
        self,
        address: tuple[str, int],
        timeout: Any = _GLOBAL_DEFAULT_TIMEOUT,
        source_address: tuple[str, int] | None = None,
        *,
        all_errors: bool = False,
    ) -> SimSocket:
        """Connect to the first address that answers; the first failure if none does."""
        host, port = address
        failures: list[OSError] = []
        for family, kind, proto, _, target in self.getaddrinfo(host, port, 0, so.SOCK_STREAM):
            sock = self.socket(family, kind, proto)
            try:
                if timeout is not _GLOBAL_DEFAULT_TIMEOUT:
                    sock.settimeout(timeout)
                if source_address:
                    sock.bind(source_address)
                sock.connect(target)
                return sock
            except OSError as exc:
                failures.append(exc)
                sock.close()
        if all_errors:
            raise ExceptionGroup("create_connection failed", failures)
        raise failures[0]

    def create_server(
        self,
        address: tuple[str, int],
        *,
        family: int = so.AF_INET,
        backlog: int | None = None,
        reuse_port: bool = False,
        dualstack_ipv6: bool = False,
    ) -> SimSocket:
        """A listening socket with SO_REUSEADDR."""
        if dualstack_ipv6 and family != so.AF_INET6:
            raise ValueError("dualstack_ipv6 requires AF_INET6 family")
        sock = self.socket(family, so.SOCK_STREAM)
        try:
            if family == so.AF_INET6:
                sock.setsockopt(so.IPPROTO_IPV6, so.IPV6_V6ONLY, 0 if dualstack_ipv6 else 1)
            sock.setsockopt(so.SOL_SOCKET, so.SO_REUSEADDR, 1)
            if reuse_port:
                sock.setsockopt(so.SOL_SOCKET, so.SO_REUSEPORT, 1)
            try:
                sock.bind(address)
            except OSError as exc:
                number = exc.errno or errno.EINVAL
                message = f"{os.strerror(number)} (while attempting to bind on {address!r})"
                raise OSError(number, message) from None
            sock.listen(backlog)
            return sock
        except BaseException:
            sock.close()
            raise
