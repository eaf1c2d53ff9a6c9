"""System calls of a script: arguments in, the call, and what its outcome must be.

Buffers hold zeros and have no address: their place is taken by `...`.  What a call does to the
script's idea of its connections happens here too.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from socket import AF_INET, AF_INET6, IPPROTO_TCP, MSG_FASTOPEN, MSG_PEEK, SOL_SOCKET
from typing import Any

from packetdrill import sockopts, vectors, waiting
from packetdrill.errors import ScriptFailure, Unsupported
from packetdrill.flow import Flow, FlowState
from packetdrill.machine import RunningCall
from packetdrill.prepared import Prepared, count, descriptor, nothing
from packetdrill.script import WILD, Syscall
from packetdrill.session import Session
from packetdrill.values import Value, symbol_of
from pystack.uapi.syscalls import Syscalls

_NO_SUCH = {  # an errno that says the host lacks what was asked for
    "socket": {errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.ESOCKTNOSUPPORT},
    "setsockopt": {errno.ENOPROTOOPT},
    "getsockopt": {errno.ENOPROTOOPT},
    "ioctl": {errno.ENOTTY},
}
_PROTOCOLS = {0: "tcp", IPPROTO_TCP: "tcp", 17: "udp", 1: "icmp", 58: "icmp"}


@dataclass
class PendingCall:
    """A call that has been made, and what is to be compared when it returns."""

    spec: Syscall
    prepared: Prepared
    running: RunningCall


class Calls:
    def __init__(self, session: Session) -> None:
        self.session = session
        self._table: dict[str, Callable[[list[Value]], Prepared]] = {
            "socket": self._socket,
            "bind": self._bind,
            "listen": self._listen,
            "accept": self._accept,
            "connect": self._connect,
            "close": self._close,
            "shutdown": self._shutdown,
            "read": self._read,
            "recv": self._recv,
            "recvfrom": self._recvfrom,
            "recvmsg": self._recvmsg,
            "readv": self._readv,
            "write": self._write,
            "send": self._send,
            "sendto": self._sendto,
            "sendmsg": self._sendmsg,
            "writev": self._writev,
            "fcntl": self._fcntl,
            "ioctl": self._ioctl,
            "setsockopt": lambda args: sockopts.setsockopt(session, args),
            "getsockopt": lambda args: sockopts.getsockopt(session, args),
            "poll": lambda args: waiting.poll(session, args),
            "epoll_create": lambda args: waiting.epoll_create(session, args),
            "epoll_ctl": lambda args: waiting.epoll_ctl(session, args),
            "epoll_wait": lambda args: waiting.epoll_wait(session, args),
        }

    # -- making a call ---------------------------------------------------------------------

    def begin(self, spec: Syscall) -> PendingCall:
        """Make a call that may sleep."""
        prepared = self._prepare(spec)
        return PendingCall(spec, prepared, self.session.machine.begin(prepared.call))

    def run(self, spec: Syscall) -> None:
        """Make a call, wait for its end and compare its outcome."""
        prepared = self._prepare(spec)
        self.finish(PendingCall(spec, prepared, self.session.machine.call(prepared.call)))

    def _prepare(self, spec: Syscall) -> Prepared:
        method = self._table.get(spec.name)
        if method is None:
            raise Unsupported(f"system call {spec.name}()", kind=f"system call {spec.name}")
        args = [self.session.evaluator.value(arg) for arg in spec.args]
        try:
            return method(args)
        except (TypeError, ValueError, IndexError, KeyError, AttributeError) as exc:
            raise ScriptFailure(f"bad arguments: {exc}", kind="argument") from exc

    def finish(self, pending: PendingCall) -> None:
        """Compare result, errno and what was written through pointers; ScriptFailure if wrong."""
        spec, prepared, running = pending.spec, pending.prepared, pending.running
        if running.failure is not None:
            text = f"{type(running.failure).__name__}: {running.failure}"
            raise Unsupported(f"{spec.name}() is not possible here: {text}", kind=f"host: {text}")
        number = -1 if running.errno else prepared.result(running.value)
        self._compare(spec, prepared, number, running.errno)
        if not running.errno:
            if prepared.makes_fd:
                expected = self.session.evaluator.integer(spec.result)
                self.session.new_fd(expected, number)
            prepared.after(running.value)

    def _compare(self, spec: Syscall, prepared: Prepared, actual: int, number: int) -> None:
        if spec.result is WILD:
            return
        expected = self.session.evaluator.integer(spec.result)
        right = actual >= 0 if prepared.makes_fd and expected >= 0 else actual == expected
        if not right:
            text = f" with errno {number} ({os.strerror(number)})" if number else ""
            if number in _NO_SUCH.get(spec.name, ()):
                what = prepared.what or spec.name
                raise Unsupported(f"the host does not have {what}:{text}", kind=f"host: {what}")
            wanted = "non-negative result" if prepared.makes_fd else f"result {expected}"
            raise ScriptFailure(
                f"Expected {wanted} but got {actual}{text}", kind=f"result of {spec.name}"
            )
        if spec.errno is not None and number != self.session.evaluator.integer_of(spec.errno):
            got = f"{number} ({symbol_of(number, 'E')})" if number else "none"
            raise ScriptFailure(
                f"Expected errno {spec.errno} but got {got}", kind=f"errno of {spec.name}"
            )

    # -- sockets ---------------------------------------------------------------------------

    def _socket(self, args: list[Value]) -> Prepared:
        domain, kind, protocol = args
        if domain is WILD:
            domain = AF_INET6 if self.session.config.ipv6_sockets else AF_INET
        flow = Flow(_PROTOCOLS.get(protocol, "other"))

        def after(fd: Any) -> None:
            flow.fd = fd
            self.session.add_flow(flow)

        what = f"socket({symbol_of(domain, 'AF_')}, {kind}, {symbol_of(protocol, 'IPPROTO_')})"
        return Prepared(
            lambda sys: sys.socket(domain, kind, protocol),
            result=int,
            after=after,
            makes_fd=True,
            what=what,
        )

    def _bind(self, args: list[Value]) -> Prepared:
        fd = descriptor(self.session, args[0])
        config = self.session.config
        address = config.socket_address(config.local_ip, config.bind_port)
        return Prepared(lambda sys: sys.bind(fd, address))

    def _listen(self, args: list[Value]) -> Prepared:
        fd, backlog = descriptor(self.session, args[0]), args[1]

        def after(_: Any) -> None:
            flow = self.session.flow_of(fd)
            if flow is not None:
                flow.state = FlowState.LISTENING

        return Prepared(lambda sys: sys.listen(fd, backlog), after=after)

    def _accept(self, args: list[Value]) -> Prepared:
        fd = descriptor(self.session, args[0])
        return Prepared(
            lambda sys: sys.accept4(fd),
            result=lambda value: int(value[0]),
            after=lambda value: self.session.accepted(value[0], value[1][1]),
            makes_fd=True,
        )

    def _connect(self, args: list[Value]) -> Prepared:
        fd = descriptor(self.session, args[0])
        if args[1] is not WILD:
            return self._disconnect(fd, args[1])
        self.session.connects(fd)
        config = self.session.config
        address = config.socket_address(config.remote_ip, config.connect_port)
        return Prepared(lambda sys: sys.connect(fd, address))

    def _disconnect(self, fd: int, family: int) -> Prepared:
        """connect() to AF_UNSPEC."""
        raise Unsupported(
            f"connect() with family {symbol_of(family, 'AF_')}", kind="connect to AF_UNSPEC"
        )

    def _close(self, args: list[Value]) -> Prepared:
        fd = descriptor(self.session, args[0])

        def after(_: Any) -> None:
            self.session.fds.pop(args[0], None)

        return Prepared(lambda sys: sys.close(fd), after=after)

    def _shutdown(self, args: list[Value]) -> Prepared:
        fd, how = descriptor(self.session, args[0]), args[1]
        return Prepared(lambda sys: sys.shutdown(fd, how))

    # -- data ------------------------------------------------------------------------------

    def _read(self, args: list[Value]) -> Prepared:
        return self._receive(args[0], args[1], args[2], None)

    def _recv(self, args: list[Value]) -> Prepared:
        return self._receive(*args)

    def _recvfrom(self, args: list[Value]) -> Prepared:
        return self._receive(*args[:4])

    def _receive(self, script_fd: int, buffer: Value, size: int, flags: int | None) -> Prepared:
        fd = descriptor(self.session, script_fd)

        def call(sys: Syscalls) -> bytes:
            if buffer is not WILD and size:  # NULL: found out when there is something to copy
                if sys.recvfrom(fd, size, (flags or 0) | MSG_PEEK)[0]:
                    raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))
                return b""
            return sys.read(fd, size) if flags is None else sys.recvfrom(fd, size, flags)[0]

        return Prepared(call, result=len)

    def _readv(self, args: list[Value]) -> Prepared:
        return self._receive(args[0], WILD, vectors.total(args[1], args[2]), None)

    def _recvmsg(self, args: list[Value]) -> Prepared:
        message = vectors.message(args[1])
        if message.control or message.flags:
            raise Unsupported("recvmsg() with control messages", kind="recvmsg control messages")
        return self._receive(args[0], WILD, message.size, args[2])

    def _write(self, args: list[Value]) -> Prepared:
        return self._transmit(args[0], args[1], args[2], None)

    def _writev(self, args: list[Value]) -> Prepared:
        return self._transmit(args[0], WILD, vectors.total(args[1], args[2]), None)

    def _send(self, args: list[Value]) -> Prepared:
        return self._transmit(*args)

    def _sendto(self, args: list[Value]) -> Prepared:
        self.session.connects(descriptor(self.session, args[0]))
        fd, buffer, size, flags, address = args[:5]
        return self._transmit(fd, buffer, size, flags, addressed=address is WILD)

    def _sendmsg(self, args: list[Value]) -> Prepared:
        message = vectors.message(args[1])
        if message.control:
            raise Unsupported("sendmsg() with control messages", kind="sendmsg control messages")
        self.session.connects(descriptor(self.session, args[0]))
        return self._transmit(args[0], WILD, message.size, args[2], addressed=True)

    def _transmit(
        self, script_fd: int, buffer: Value, size: int, flags: int | None, addressed: bool = False
    ) -> Prepared:
        fd = descriptor(self.session, script_fd)
        config = self.session.config
        if (flags or 0) & MSG_FASTOPEN:  # the host ignores it, as it does all flags it lacks
            raise Unsupported("sending with MSG_FASTOPEN", kind="MSG_FASTOPEN")
        address = (
            config.socket_address(config.remote_ip, config.connect_port) if addressed else None
        )

        def call(sys: Syscalls) -> int:
            if buffer is not WILD and size:
                sys.getsockopt(fd, SOL_SOCKET, sockopts.SO_TYPE)  # EBADF and ENOTSOCK come first
                raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))
            data = bytes(size)
            return sys.write(fd, data) if flags is None else sys.sendto(fd, data, flags, address)

        return Prepared(call, result=count)

    # -- descriptors -----------------------------------------------------------------------

    def _fcntl(self, args: list[Value]) -> Prepared:
        fd = descriptor(self.session, args[0])
        return Prepared(lambda sys: sys.fcntl(fd, *args[1:]), result=count)

    def _ioctl(self, args: list[Value]) -> Prepared:
        fd, request = descriptor(self.session, args[0]), args[1]
        expected = args[2][0] if len(args) > 2 else None

        def after(value: Any) -> None:
            if expected is not None and value != expected:
                message = f"Bad ioctl optval: expected: {expected} actual: {value}"
                raise ScriptFailure(message, kind="ioctl value")

        return Prepared(
            lambda sys: sys.ioctl(fd, request),
            result=nothing,
            after=after,
            what=f"ioctl {symbol_of(request, 'SIOC')}",
        )
