"""`_ssl` of a process: TLS over its sockets.

OpenSSL is the real one, reading and writing memory; what it wants on the wire goes through the
simulated socket.  So Lib/ssl.py's `SSLSocket` works unmodified, as does asyncio, which does the
same by itself.  OpenSSL's random numbers and its clock (for certificates) are this machine's.
"""

from __future__ import annotations

import _ssl as real
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import Any

from pystack.uapi.python.derived import derived

CHUNK = 16 << 10
_ATTRIBUTES = "context owner server_hostname server_side session session_reused".split()


class BioObject:
    """`_ssl._SSLSocket` over `sock`, an unconnected copy of nothing: `core` has its real methods.

    `core` is `_socket.socket`: `sock` is a subclass of it that encrypts.
    """

    def __init__(self, sock: Any, core: type[Any], wrap: Callable[[Any, Any], Any]) -> None:
        self._sock, self._core = sock, core
        self._incoming, self._outgoing = real.MemoryBIO(), real.MemoryBIO()
        self._unsent = b""
        self._object = wrap(self._incoming, self._outgoing)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._object, name)

    def do_handshake(self) -> None:
        self._run(self._object.do_handshake, "The handshake operation timed out")

    def read(self, *args: Any) -> Any:
        return self._run(lambda: self._object.read(*args), "The read operation timed out")

    def write(self, data: Any) -> int:
        """What a non-blocking socket does not take at once stays for the next call."""
        self._flush()
        done: int = self._run(lambda: self._object.write(data), "The write operation timed out")
        return done

    def shutdown(self) -> Any:
        self._run(self._object.shutdown, "The read operation timed out")
        return self._sock

    def _run(self, operation: Callable[[], Any], timed_out: str) -> Any:
        while True:
            try:
                result = operation()
            except real.SSLWantReadError:
                self._timed(self._flush, timed_out)
                self._timed(self._fill, timed_out)
                continue
            except real.SSLError:
                self._send_alert()
                raise
            # what a full socket does not take now goes with the next call
            with suppress(real.SSLWantWriteError):
                self._timed(self._flush, timed_out)
            return result

    def _timed(self, operation: Callable[[], None], timed_out: str) -> None:
        try:
            operation()
        except TimeoutError:
            raise TimeoutError(timed_out) from None

    def _flush(self) -> None:
        self._unsent += self._outgoing.read()
        while self._unsent:
            try:
                sent = self._core.send(self._sock, self._unsent)
            except BlockingIOError:
                raise real.SSLWantWriteError(
                    real.SSL_ERROR_WANT_WRITE, "The operation did not complete (write)"
                ) from None
            self._unsent = self._unsent[sent:]

    def _fill(self) -> None:
        try:
            data = self._core.recv(self._sock, CHUNK)
        except BlockingIOError:
            raise real.SSLWantReadError(
                real.SSL_ERROR_WANT_READ, "The operation did not complete (read)"
            ) from None
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _send_alert(self) -> None:
        """Tell the other side why, if it still listens."""
        try:
            self._flush()
        except OSError:
            return


def _attribute(name: str) -> property:
    def get(self: BioObject) -> Any:
        return getattr(self._object, name)

    def set(self: BioObject, value: Any) -> None:
        setattr(self._object, name, value)

    return property(get, set)


for _name in _ATTRIBUTES:
    setattr(BioObject, _name, _attribute(_name))


def ssl_module(core: type[Any]) -> ModuleType:
    """`core` is the process's `_socket.socket`."""

    class Context(real._SSLContext):
        def _wrap_socket(
            self,
            sock: Any,
            server_side: bool,
            server_hostname: str | None = None,
            *,
            owner: Any = None,
            session: Any = None,
        ) -> BioObject:
            return BioObject(
                sock,
                core,
                lambda incoming, outgoing: self._wrap_bio(  # type: ignore[attr-defined]
                    incoming, outgoing, server_side, server_hostname, owner=owner, session=session
                ),
            )

    return derived("_ssl", real, {"_SSLContext": Context, "_SSLSocket": BioObject})
