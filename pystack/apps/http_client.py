"""An HTTP/1.1 client: ordinary blocking functions on sockets.

`fetch(socket, host, port, path)` and `post(socket, host, port, path, body)` make one request on
one connection; `Session` makes several.  Replies are parsed by the standard library.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from typing import Any, Self
from urllib.parse import quote

CHUNK = 65536
Body = bytes | Iterable[bytes]


@dataclass(frozen=True)
class Response:
    """`body` is empty when it went to a sink; `length` and `sha256` describe it all the same."""

    status: int
    reason: str
    headers: HTTPMessage
    body: bytes
    length: int
    sha256: str


class Session:
    """Requests on one kept-alive connection.  OSError and HTTPException end it."""

    def __init__(self, socket: Any, host: str, port: int, timeout: float | None = None) -> None:
        self._host = host if port == 80 else f"{host}:{port}"
        self._conn = socket.create_connection((host, port), timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._conn.close()

    def request(
        self,
        method: str,
        path: str,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
        sink: Callable[[bytes], object] | None = None,
    ) -> Response:
        """Send a request and read its response; bodies that are no `bytes` go out chunked."""
        fields = {"Host": self._host, **(headers or {})}
        if isinstance(body, bytes):
            fields.setdefault("Content-Length", str(len(body)))
        elif body is not None:
            fields["Transfer-Encoding"] = "chunked"
        # a server that refuses a body may have answered before it closed
        with suppress(BrokenPipeError, ConnectionResetError):
            self._send(method, path, fields, body)
        return self._read_response(method, sink)

    def _send(self, method: str, path: str, fields: Mapping[str, str], body: Body | None) -> None:
        lines = [f"{method} {quote(path, safe='/?&=%#:')} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        self._conn.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        if isinstance(body, bytes):
            self._conn.sendall(body)
        elif body is not None:
            for piece in filter(None, body):
                self._conn.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            self._conn.sendall(b"0\r\n\r\n")

    def _read_response(self, method: str, sink: Callable[[bytes], object] | None) -> Response:
        digest, length = hashlib.sha256(), 0
        kept: list[bytes] = []
        with HTTPResponse(self._conn, method=method) as reply:
            reply.begin()
            expected = reply.length if method != "HEAD" else 0
            while piece := reply.read(CHUNK):
                digest.update(piece)
                length += len(piece)
                (kept.append if sink is None else sink)(piece)
            if expected is not None and length != expected:
                raise HTTPException(f"body ended after {length} of {expected} bytes")
            return Response(
                reply.status, reply.reason, reply.msg, b"".join(kept), length, digest.hexdigest()
            )


def fetch(
    socket: Any,
    host: str,
    port: int,
    path: str,
    *,
    method: str = "GET",
    timeout: float | None = None,
    sink: Callable[[bytes], object] | None = None,
) -> Response:
    """GET `path`; with `sink` the body goes there piece by piece."""
    with Session(socket, host, port, timeout) as session:
        return session.request(method, path, headers={"Connection": "close"}, sink=sink)


def post(
    socket: Any, host: str, port: int, path: str, body: Body, *, timeout: float | None = None
) -> Response:
    """POST `body`: bytes with their length, anything else in chunks."""
    with Session(socket, host, port, timeout) as session:
        return session.request("POST", path, body, {"Connection": "close"})
