"""What Linux's TCP sockets answer, as a model: two hosts, a perfect wire, all packets arrived.

Every call of `ModelSocket` gives what Linux gives: a value, or an errno's name.  Written from
`net/ipv4/af_inet.c`, `tcp.c`, `inet_connection_sock.c` and `tcp_minisocks.c`; a test compares it
with this machine's kernel.  Between two calls so much time passes that whatever was sent has been
received and acknowledged, so FIN_WAIT_1, CLOSING, LAST_ACK and the SYN states are never seen.
"""

from __future__ import annotations

from select import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP

RCV, SEND, BOTH = 1, 2, 3
HOLDERS = list["ModelSocket"]


class ModelHost:
    """`holders`: whoever keeps a port, living sockets and TIME_WAITs, by port."""

    def __init__(self) -> None:
        self.holders: dict[int, HOLDERS] = {}

    def listener(self, port: int) -> ModelSocket | None:
        return next((s for s in self.holders.get(port, []) if s.tcp == "LISTEN"), None)

    def forget_time_wait(self) -> None:
        for sock in [s for holders in self.holders.values() for s in holders]:
            if sock.tcp in ("TIME_WAIT", "TW_FIN_WAIT2"):
                sock._gone()


class ModelSocket:
    def __init__(self, host: ModelHost) -> None:
        self.host = host
        self.tcp = "CLOSE"  # TW_FIN_WAIT2: an orphan in FIN_WAIT_2, kept as a TIME_WAIT
        self.file = "unconnected"  # enum socket_state: connecting, connected, disconnecting
        self.port = 0  # 0: any, chosen by the kernel
        self.explicit = False  # SOCK_BINDPORT_LOCK
        self.reuse = self.linger = self.dead = False
        self.shut = 0
        self.err = ""
        self.done = False  # SOCK_DONE: a FIN has come
        self.received = bytearray()
        self.peer: ModelSocket | None = None
        self.has_peer_name = False
        self.queue: list[ModelSocket] = []
        self.backlog = 0

    # -- opening ---------------------------------------------------------------------------

    def bind(self, port: int) -> str:
        if self.tcp != "CLOSE" or self.port:
            return "EINVAL"
        if self._conflict(port):
            return "EADDRINUSE"
        self.explicit = True
        self._hold(port)
        return ""

    def listen(self, backlog: int) -> str:
        if self.file != "unconnected" or self.tcp not in ("CLOSE", "LISTEN"):
            return "EINVAL"
        if self.tcp == "CLOSE":
            # Whoever only shared the port may not listen beside another listener.
            if self.port > 0 and self._conflict(self.port):
                return "EADDRINUSE"
            self.tcp = "LISTEN"
            if not self.port:
                self._hold(-1)
        self.backlog = backlog
        return ""

    def connect(self, target: ModelHost, port: int, blocking: bool) -> str:
        if self.file == "disconnecting":
            return "EINVAL"
        if self.file == "connected":
            return "EISCONN"
        if self.file == "connecting":
            return self._connect_again()
        if self.tcp != "CLOSE":
            return "EISCONN"
        listener = target.listener(port)
        self.err = ""
        if not self.port:
            self._hold(-1)
        self.file = "connecting"
        if listener is None:
            self._over("ECONNREFUSED")
        else:
            listener.queue.append(self._established(listener))
        return self._connect_again() if blocking else "EINPROGRESS"

    def _connect_again(self) -> str:
        if self.tcp == "CLOSE":
            error = self._take_error() or "ECONNABORTED"
            self._disconnect()
            self.file = "unconnected"
            return error
        self.file = "connected"
        return ""

    def _established(self, listener: ModelSocket) -> ModelSocket:
        child = ModelSocket(listener.host)
        child.reuse, child.linger = listener.reuse, listener.linger
        child._hold(listener.port)
        for end, other in ((self, child), (child, self)):
            end.tcp, end.peer, end.has_peer_name, end.done = "ESTABLISHED", other, True, False
        return child

    def accept(self) -> ModelSocket | str:
        if self.tcp != "LISTEN":
            return "EINVAL"
        if not self.queue:
            return "EAGAIN"
        child = self.queue.pop(0)
        child.file = "connected"
        return child

    # -- data ------------------------------------------------------------------------------

    def send(self, data: bytes) -> int | str:
        if self.err:
            return self._take_error()
        if self.shut & SEND or self.tcp not in ("ESTABLISHED", "CLOSE_WAIT"):
            return "EPIPE"
        peer = self.peer
        assert peer is not None
        if peer.tcp in ("ESTABLISHED", "CLOSE_WAIT") or (
            peer.tcp == "FIN_WAIT2" and not peer.shut & RCV
        ):
            peer.received += data
        else:  # nobody can read that any more
            peer._gone() if peer.dead else peer._over("ECONNRESET")
            self._reset()
        return len(data)

    def recv(self, n: int) -> bytes | str:
        if self.tcp == "LISTEN":
            return "ENOTCONN"
        if self.received:
            data = bytes(self.received[:n])
            del self.received[:n]
            return data
        if self.done:
            return b""
        if self.err:
            return self._take_error()
        if self.shut & RCV:
            return b""
        return "ENOTCONN" if self.tcp == "CLOSE" else "EAGAIN"

    # -- closing ---------------------------------------------------------------------------

    def shutdown(self, how: int) -> str:
        mask = how + 1
        if self.file == "connecting":
            self.file = "disconnecting" if self.tcp == "CLOSE" else "connected"
        if self.tcp == "LISTEN":
            if mask & RCV:
                self._stop_listening()
                self._disconnect()
                self.file = "unconnected"
            return ""
        self.shut |= mask
        if self.tcp == "CLOSE":
            return "ENOTCONN"
        if mask & SEND:
            self._send_fin()
        return ""

    def close(self) -> None:
        self.dead = True
        if self.tcp == "LISTEN":
            self._stop_listening()
            self._gone()
            return
        self.shut = BOTH
        unread = bool(self.received)
        if self.tcp == "CLOSE":
            self._gone()
        elif unread or self.linger:
            assert self.peer is not None
            self.peer._reset()
            self._gone()
        else:
            self._send_fin()
            if self.tcp == "FIN_WAIT2":
                self.tcp = "TW_FIN_WAIT2"
            elif self.tcp == "CLOSE":
                self._gone()

    def _send_fin(self) -> None:
        peer = self.peer
        assert peer is not None
        if self.tcp == "ESTABLISHED":
            self.tcp, peer.tcp = "FIN_WAIT2", "CLOSE_WAIT"
            peer.done = True
            peer.shut |= RCV
        elif self.tcp == "CLOSE_WAIT" and peer.tcp == "CLOSE":  # it did not wait for ever
            self._over("ECONNRESET")
        elif self.tcp == "CLOSE_WAIT":
            peer._time_wait()
            self._over("")

    def _time_wait(self) -> None:
        """Its file, if it still has one, keeps a closed socket."""
        if self.dead:
            self.tcp = "TIME_WAIT"
            return
        rest = ModelSocket(self.host)
        rest.tcp, rest.dead, rest.reuse = "TIME_WAIT", True, self.reuse
        rest._hold(self.port)
        self.done = True
        self._over("")

    def _reset(self) -> None:
        """A RST comes."""
        if self.dead:
            self._gone()
        elif self.tcp != "CLOSE":
            self._over("EPIPE" if self.tcp == "CLOSE_WAIT" else "ECONNRESET")

    def _over(self, error: str) -> None:
        """`tcp_done`"""
        self.tcp, self.shut, self.err = "CLOSE", BOTH, error
        if not self.explicit:
            self._put_port()

    def _disconnect(self) -> None:
        """`tcp_disconnect`"""
        self.tcp, self.shut, self.err, self.done = "CLOSE", 0, self.err, False
        self.received.clear()
        self.has_peer_name = False
        if not self.explicit:
            self._put_port()

    def _stop_listening(self) -> None:
        self.tcp = "CLOSE"
        for child in self.queue:
            if child.tcp != "CLOSE" and child.peer is not None:
                child.peer._reset()
            child._gone()
        self.queue.clear()

    def _gone(self) -> None:
        self.tcp, self.dead = "CLOSE", True
        self._put_port()

    def _take_error(self) -> str:
        error, self.err = self.err, ""
        return error

    # -- ports -----------------------------------------------------------------------------

    def _hold(self, port: int) -> None:
        self.port = port
        self.host.holders.setdefault(port, []).append(self)

    def _put_port(self) -> None:
        if self.port:
            self.host.holders[self.port].remove(self)
            self.port = 0

    def _conflict(self, port: int) -> bool:
        others = [s for s in self.host.holders.get(port, []) if s is not self]
        return any(not (self.reuse and s.reuse) or s.tcp == "LISTEN" for s in others)

    # -- asking ----------------------------------------------------------------------------

    def take_so_error(self) -> str:
        return self._take_error()

    def named_peer(self) -> ModelSocket | None:
        """Whose name `getpeername` tells; None: ENOTCONN."""
        return self.peer if self.has_peer_name and self.tcp != "CLOSE" else None

    def poll(self) -> int:
        """`tcp_poll`"""
        if self.tcp == "LISTEN":
            return POLLIN if self.queue else 0
        mask = POLLOUT
        if self.shut == BOTH or self.tcp == "CLOSE":
            mask |= POLLHUP
        if self.shut & RCV:
            mask |= POLLIN | POLLRDHUP
        if self.received:
            mask |= POLLIN
        if self.err:
            mask |= POLLERR
        return mask
