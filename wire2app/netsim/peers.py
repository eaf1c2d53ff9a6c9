"""The application at either end: writes its bytes, reads the other's, ends as its `Side` says.

Once as two threads that block, once as one that polls, so that both ways of being woken count.
"""

from __future__ import annotations

import errno
import hashlib
import random
import struct
from typing import Any

from pystack.host import Host
from pystack.uapi.process import Process
from pystack.uapi.selectmod import SelectModule
from pystack.uapi.sockmod import SocketModule
from pystack.uapi.timemod import TimeModule
from wire2app.netsim.draw import Side

__all__ = ["PORT", "Peer", "payload"]

PORT = 80
FORCED = frozenset({"reset", "unread"})
RESET = frozenset({errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN})  # of calls after a RST
KEEPALIVE = (10, 5, 100)  # seconds idle, seconds between probes, probes
FIRST_MOVE = 0.001  # seconds the server has to listen


def payload(size: int, name: str) -> bytes:
    return random.Random(name).randbytes(size)


class Peer:
    """A process of `host`.  `received` counts bytes, `digest` hashes them; `errors` are errnos."""

    def __init__(self, host: Host, name: str, side: Side, other: Side, seed: int) -> None:
        self.name, self.side, self.other = name, side, other
        self.received = 0
        self.digest = hashlib.sha256()
        self.ended = False  # the end of the peer's stream has been read
        self.errors: list[int] = []
        self.payload = payload(side.amount, f"{name}/{seed}")
        self._rng = random.Random(f"{name}'s calls/{seed}")
        self._unsent = memoryview(self.payload)
        self._working = 0
        self.process = Process(host.kernel, host.system, name)
        self._socket: Any = SocketModule(self.process)
        self._time: Any = TimeModule(self.process)
        self._select: Any = SelectModule(self.process)

    # -- beginnings ------------------------------------------------------------------------

    def serve(self, cpu: int) -> Process:
        return self.process.start(self._serve, cpu=cpu)

    def call(self, address: str, cpu: int) -> Process:
        return self.process.start(self._call, address, cpu=cpu)

    def _serve(self) -> None:
        with self._socket.socket() as listener:
            self._set_buffers(listener)
            listener.bind(("0.0.0.0", PORT))
            listener.listen(4)
            sk, _ = listener.accept()
        self._converse(sk)

    def _call(self, address: str) -> None:
        self._time.sleep(FIRST_MOVE)
        sk = self._socket.socket()
        self._set_buffers(sk)
        if self.side.style == "threads":
            sk.connect((address, PORT))
        else:
            self._connect_polling(sk, address)
        self._converse(sk)

    def _set_buffers(self, sk: Any) -> None:
        so = self._socket
        for name, size in ((so.SO_SNDBUF, self.side.sndbuf), (so.SO_RCVBUF, self.side.rcvbuf)):
            if size:
                sk.setsockopt(so.SOL_SOCKET, name, size)

    def _connect_polling(self, sk: Any, address: str) -> None:
        sk.setblocking(False)
        assert sk.connect_ex((address, PORT)) == errno.EINPROGRESS
        poll = self._select.poll()
        poll.register(sk, self._select.POLLOUT)
        assert poll.poll() == [(sk.fileno(), self._select.POLLOUT)]
        assert sk.getsockopt(self._socket.SOL_SOCKET, self._socket.SO_ERROR) == 0

    def _converse(self, sk: Any) -> None:
        so = self._socket
        sk.setsockopt(so.IPPROTO_TCP, so.TCP_NODELAY, self.side.nodelay)
        if self.other.end in FORCED:  # a RST is sent once: who only reads must ask
            sk.setsockopt(so.SOL_SOCKET, so.SO_KEEPALIVE, 1)
            names = (so.TCP_KEEPIDLE, so.TCP_KEEPINTVL, so.TCP_KEEPCNT)
            for name, value in zip(names, KEEPALIVE, strict=True):
                sk.setsockopt(so.IPPROTO_TCP, name, value)
        if self.side.style == "poll":
            self._poll_loop(sk)
            self._close(sk)
        elif self.side.read_first:
            self._working = 1
            self._read(sk, self._wanted)
            self._write_all(sk)
            self._read_on(sk)
        else:
            self._working = 2
            self.process.thread(self._writer, sk)
            self._read_on(sk)

    # -- threads ---------------------------------------------------------------------------

    def _writer(self, sk: Any) -> None:
        self._write_all(sk)
        self._leave(sk)

    def _read_on(self, sk: Any) -> None:
        self._read(sk, None if self.side.end == "shutdown" else self._wanted)
        self._leave(sk)

    def _leave(self, sk: Any) -> None:
        """The last thread closes."""
        self._working -= 1
        if not self._working:
            self._close(sk)

    def _read(self, sk: Any, until: int | None) -> None:
        """To the end, or until so many bytes have come."""
        try:
            while (until is None or self.received < until) and self._receive(sk, until):
                self._pause()
        except OSError as error:
            self._failed(error)

    def _write_all(self, sk: Any) -> None:
        try:
            while self._unsent:
                self._pause()
                self._unsent = self._unsent[sk.send(self._unsent[: self._draw_size()]) :]
            self._written(sk)
        except OSError as error:
            self._failed(error)

    # -- polling ---------------------------------------------------------------------------

    def _poll_loop(self, sk: Any) -> None:
        sk.setblocking(False)
        poll, pollin, pollout = self._select.poll(), self._select.POLLIN, self._select.POLLOUT
        writing = True
        while True:
            if writing and not self._unsent:
                writing = False
                self._written(sk)
            may_write = writing and (not self.side.read_first or self._has_all)
            events = (0 if self._has_read else pollin) | (pollout if may_write else 0)
            if not events or self.errors:
                return
            poll.register(sk, events)
            [(_, ready)] = poll.poll()
            self._pause()
            try:
                if ready & ~pollout and not self._has_read:
                    self._receive(sk, None if self.side.end == "shutdown" else self._wanted)
                if ready & ~pollin and may_write:
                    self._unsent = self._unsent[sk.send(self._unsent[: self._draw_size()]) :]
            except BlockingIOError:
                assert ready & (pollin | pollout) == ready & events, "woken for nothing"
            except OSError as error:
                self._failed(error)

    @property
    def _has_all(self) -> bool:
        return self.received >= self._wanted

    @property
    def _has_read(self) -> bool:
        return self.ended if self.side.end == "shutdown" else self._has_all

    # -- calls -----------------------------------------------------------------------------

    @property
    def _wanted(self) -> int:
        """Bytes a side reads that does not read to the end."""
        return self.other.amount if self.side.limit is None else self.side.limit

    def _receive(self, sk: Any, until: int | None) -> bool:
        size = self._rng.choice(self.side.reads)
        data = sk.recv(size if until is None else min(size, until - self.received))
        self.digest.update(data)
        self.received += len(data)
        self.ended = not data
        return bool(data)

    def _draw_size(self) -> int:
        return self._rng.choice(self.side.writes)

    def _pause(self) -> None:
        pause = self._rng.choice(self.side.pauses)
        if pause:
            self._time.sleep(pause / 1e9)

    def _written(self, sk: Any) -> None:
        if self.side.end == "shutdown":
            sk.shutdown(self._socket.SHUT_WR)

    def _close(self, sk: Any) -> None:
        so = self._socket
        if self.side.end == "reset":
            sk.setsockopt(so.SOL_SOCKET, so.SO_LINGER, struct.pack("ii", 1, 0))
        sk.close()

    def _failed(self, error: OSError) -> None:
        """Only a peer that resets may bring an error."""
        if self.other.end not in FORCED or error.errno not in RESET:
            raise error
        self.errors.append(error.errno or 0)
