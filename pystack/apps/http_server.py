"""An HTTP/1.1 file server: an ordinary blocking function on sockets.

`serve(socket, root)` answers GET and HEAD with the files and directories below `root`, and POST
with the length and the SHA-256 of what was sent.  Whatever a client sends, the server goes on.
"""

from __future__ import annotations

import errno
import hashlib
import html
import mimetypes
import os
import stat
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from pystack.apps.http_message import (
    CHUNK,
    HttpError,
    Request,
    read_body,
    read_request,
)

MAX_BODY = 1 << 30
IDLE_TIMEOUT = 60.0  # seconds a client may be silent
LINGER_BYTES, LINGER_TIMEOUT = 1 << 20, 2.0
READING, STORING = ("GET", "HEAD"), ("POST",)
KNOWN = {*READING, *STORING, "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"}

Spawn = Callable[..., Any]
Log = Callable[[str], None]


def serve(
    socket: Any,
    root: str,
    port: int = 80,
    *,
    host: str = "",
    spawn: Spawn | None = None,
    log: Log | None = None,
    backlog: int = 128,
    timeout: float = IDLE_TIMEOUT,
    max_body: int = MAX_BODY,
) -> None:
    """Serve `root` for ever on the module-like `socket`.

    `host` with a colon is an IPv6 address, "::" takes in both families.  `spawn(fn, *args)` runs a
    connection in its own thread; without it they take turns.  OSError if `root` is no directory or
    the port is taken.
    """
    root = os.path.realpath(root)
    if not os.path.isdir(root):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), root)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(backlog)
    door = Door(socket, listener)
    while True:
        try:
            conn, peer = door.accept()
        except OSError as exc:
            if exc.errno not in (errno.ECONNABORTED, errno.EMFILE, errno.ENFILE):
                raise
            continue
        connection = Connection(socket, conn, peer, root, log, timeout, max_body)
        if spawn is None:
            connection.run()
        else:
            spawn(connection.run)


class Door:
    """Accepts; and when descriptors run out, refuses, by a descriptor kept for that.

    Without it, connections that nobody can accept would wait, and the server spin on EMFILE.
    """

    def __init__(self, socket: Any, listener: Any) -> None:
        self.socket, self.listener = socket, listener
        self.spare = self._open_spare()

    def _open_spare(self) -> Any:
        return self.socket.socket(self.socket.AF_INET, self.socket.SOCK_STREAM)

    def accept(self) -> Any:
        """The next connection and its peer; EMFILE or ENFILE after one has been refused."""
        try:
            return self.listener.accept()
        except OSError as exc:
            if exc.errno not in (errno.EMFILE, errno.ENFILE):
                raise
        self.spare.close()
        conn, peer = self.listener.accept()
        try:
            self.spare = self._open_spare()
        except OSError:
            conn.close()
            self.spare = self._open_spare()
            raise
        return conn, peer  # there are descriptors again


def _file_error(exc: OSError) -> HttpError:
    forbidden = isinstance(exc, PermissionError)
    return HttpError(HTTPStatus.FORBIDDEN if forbidden else HTTPStatus.NOT_FOUND)


class Connection:
    """One client: requests in, responses out, until either side has enough."""

    def __init__(
        self,
        socket: Any,
        conn: Any,
        peer: tuple[str, int],
        root: str,
        log: Log | None,
        timeout: float,
        max_body: int,
    ) -> None:
        self.socket, self.conn, self.peer = socket, conn, peer
        self.root = root
        self.log = log
        self.max_body = max_body
        self.stream: Any = None
        self.request: Request | None = None
        self.responding = False  # the head of the response is out
        conn.settimeout(timeout)

    def run(self) -> None:
        """Serve the connection and close it."""
        with self.conn, self.conn.makefile("rb") as self.stream:
            try:
                while self._one_request():
                    pass
            except HttpError as exc:
                self._fail(exc)
            except TimeoutError:
                self._note("timed out")
            except OSError as exc:
                self._note(f"connection lost: {exc}")
            except Exception as exc:
                self._note(f"internal error: {exc!r}")
                self._fail(HttpError(HTTPStatus.INTERNAL_SERVER_ERROR))

    def _one_request(self) -> bool:
        """Answer one request; returns whether the connection stays open."""
        self.responding, self.request = False, None
        self.request = request = read_request(self.stream)
        if request is None:
            return False
        if request.method not in KNOWN:
            raise HttpError(HTTPStatus.NOT_IMPLEMENTED)
        if request.expects_continue and request.has_body:
            if (request.length or 0) > self.max_body:
                raise HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            self.conn.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if request.method in READING:
            for _ in read_body(self.stream, request, self.max_body):
                pass
            self._read(request)
        elif request.method in STORING:
            self._post(request)
        else:
            raise HttpError(HTTPStatus.METHOD_NOT_ALLOWED)
        return request.keep_alive

    # -- methods ---------------------------------------------------------------------------

    def _read(self, request: Request) -> None:
        """GET and HEAD: their errors leave the connection usable."""
        try:
            self._get(request)
        except HttpError as exc:
            self._respond(request, exc.status, f"{exc}\n".encode(), Content_Type="text/plain")

    def _get(self, request: Request) -> None:
        names = [name for name in request.path.split("/") if name not in ("", ".")]
        path, mode = self._locate(names)
        wants_directory = request.path.endswith("/")
        if stat.S_ISREG(mode) and not wants_directory:
            self._get_file(request, path)
        elif stat.S_ISDIR(mode) and wants_directory:
            self._get_directory(request, path)
        elif stat.S_ISDIR(mode):
            location = quote("/" + "/".join(names), errors="surrogateescape") + "/"
            self._respond(request, HTTPStatus.MOVED_PERMANENTLY, b"", Location=location)
        else:
            raise HttpError(HTTPStatus.NOT_FOUND)

    def _locate(self, names: list[str]) -> tuple[str, int]:
        """The real path and the mode of what a request means; 403 outside the root, be it by
        `..` or by a symbolic link."""
        if ".." in names:
            raise HttpError(HTTPStatus.FORBIDDEN)
        try:
            path = os.path.realpath(os.path.join(self.root, *names))
            if os.path.commonpath([self.root, path]) != self.root:
                raise HttpError(HTTPStatus.FORBIDDEN)
            return path, os.stat(path).st_mode
        except OSError as exc:
            raise _file_error(exc) from None

    def _get_directory(self, request: Request, path: str) -> None:
        try:
            with os.scandir(path) as entries:
                names = sorted(entry.name + "/" * entry.is_dir() for entry in entries)
        except OSError as exc:
            raise _file_error(exc) from None
        rows = []
        for name in names:
            link = html.escape(quote(name, errors="surrogateescape"))
            rows.append(f'<li><a href="./{link}">{html.escape(name)}</a></li>\n')
        title = html.escape(f"Index of {request.path}")
        page = (
            f'<!DOCTYPE html>\n<html><head><meta charset="utf-8"><title>{title}</title></head>\n'
            f"<body><h1>{title}</h1>\n<ul>\n{''.join(rows)}</ul></body></html>\n"
        )
        body = page.encode(errors="replace")
        self._respond(request, HTTPStatus.OK, body, Content_Type="text/html; charset=utf-8")

    def _get_file(self, request: Request, path: str) -> None:
        kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
        try:
            file = open(path, "rb")  # noqa: SIM115 (what fails here is not what fails below)
        except OSError as exc:
            raise _file_error(exc) from None
        with file:
            left = os.fstat(file.fileno()).st_size
            data = self._head(request, HTTPStatus.OK, left, Content_Type=kind)
            while left and request.method != "HEAD":
                piece = file.read(min(left, CHUNK))
                if not piece:
                    raise ConnectionAbortedError(f"{path} shrank while it was sent")
                self.conn.sendall(data + piece)
                data = b""
                left -= len(piece)
            if data:
                self.conn.sendall(data)

    def _post(self, request: Request) -> None:
        if request.length == 0 and "content-length" not in request.headers:
            raise HttpError(HTTPStatus.LENGTH_REQUIRED)
        digest, length = hashlib.sha256(), 0
        for piece in read_body(self.stream, request, self.max_body):
            digest.update(piece)
            length += len(piece)
        text = f"length {length}\nsha256 {digest.hexdigest()}\n"
        self._respond(request, HTTPStatus.OK, text.encode(), Content_Type="text/plain")

    # -- responses -------------------------------------------------------------------------

    def _respond(self, request: Request, status: HTTPStatus, body: bytes, **fields: str) -> None:
        head = self._head(request, status, len(body), **fields)
        self.conn.sendall(head if request.method == "HEAD" else head + body)

    def _head(
        self, request: Request | None, status: HTTPStatus, length: int, **fields: str
    ) -> bytes:
        """A response head, about to be sent; `fields` are header fields with "_" for "-"."""
        keep_alive = request is not None and request.keep_alive
        fields["Content_Length"] = str(length)
        fields["Connection"] = "keep-alive" if keep_alive else "close"
        lines = [f"HTTP/1.1 {status.value} {status.phrase}", "Server: wire2app"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        self.responding = True
        asked = "" if self.request is None else f"{self.request.method} {self.request.path} "
        self._note(f"{asked}{status.value} {length}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def _fail(self, error: HttpError) -> None:
        """Answer with an error, if nothing has been answered yet, and let the client read it."""
        if self.responding:
            return
        fields = {"Content_Type": "text/plain"}
        if error.status is HTTPStatus.METHOD_NOT_ALLOWED:
            fields["Allow"] = ", ".join(READING + STORING)
        body = f"{error}\n".encode()
        try:
            self.conn.sendall(self._head(None, error.status, len(body), **fields) + body)
            self._linger()
        except OSError as exc:
            self._note(f"connection lost: {exc}")

    def _linger(self) -> None:
        """Closing with unread input would reset the connection and take the answer with it
        (RFC 9112, 9.6): say there is no more, and read on for a while."""
        self.conn.shutdown(self.socket.SHUT_WR)
        self.conn.settimeout(LINGER_TIMEOUT)
        drained = 0
        while drained < LINGER_BYTES and (piece := self.stream.read1(CHUNK)):
            drained += len(piece)

    def _note(self, text: str) -> None:
        if self.log is not None:
            self.log(f"{self.peer[0]}:{self.peer[1]} {text}")
