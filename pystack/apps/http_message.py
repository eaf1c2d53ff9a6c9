"""HTTP/1.1 messages as the server reads them: request heads and bodies (RFC 9112).

Bad input ends in `HttpError`, whatever it is; a connection that fails ends in `OSError`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

MAX_LINE = 8192  # bytes
MAX_FIELDS = 100
CHUNK = 65536
Headers = dict[str, list[str]]
"""Field values by name in lower case, in order."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_VERSION = re.compile(r"HTTP/(\d)\.(\d)")
_DECIMAL = re.compile(r"[0-9]{1,18}")
_HEX = re.compile(rb"[0-9A-Fa-f]{1,15}")


class HttpError(Exception):
    """The request is answered with `status`, and the connection ends."""

    def __init__(self, status: HTTPStatus, detail: str = "") -> None:
        super().__init__(f"{status.value} {status.phrase}{': ' if detail else ''}{detail}")
        self.status = status
        self.detail = detail


def bad_request(detail: str) -> HttpError:
    return HttpError(HTTPStatus.BAD_REQUEST, detail)


@dataclass(frozen=True)
class Request:
    """A request head.  `path` is decoded and starts with "/"; `length` None: chunked body."""

    method: str
    path: str
    version: tuple[int, int]
    headers: Headers
    length: int | None

    @property
    def keep_alive(self) -> bool:
        options = {option.strip().lower() for option in self.header("Connection").split(",")}
        return "close" not in options and (self.version >= (1, 1) or "keep-alive" in options)

    @property
    def has_body(self) -> bool:
        return self.length != 0

    @property
    def expects_continue(self) -> bool:
        """The client waits for 100 before it sends the body."""
        expectation = self.header("Expect").lower()
        if expectation not in ("", "100-continue"):
            raise HttpError(HTTPStatus.EXPECTATION_FAILED)
        return expectation != "" and self.version >= (1, 1)

    def header(self, name: str) -> str:
        """Its values, joined; "" without one."""
        return ", ".join(self.headers.get(name.lower(), []))


def read_request(stream: BinaryIO) -> Request | None:
    """The next request head; None when the client has closed the connection between requests."""
    line = _read_line(stream, HTTPStatus.REQUEST_URI_TOO_LONG)
    if line in (b"\r\n", b"\n"):  # RFC 9112, 2.2: tolerate one
        line = _read_line(stream, HTTPStatus.REQUEST_URI_TOO_LONG)
    if not line:
        return None
    method, target, version = _parse_request_line(line)
    headers = _read_headers(stream)
    if version >= (1, 1) and len(headers.get("host", [])) != 1:
        raise bad_request("exactly one Host field is needed")
    return Request(method, _parse_target(target), version, headers, _body_length(headers, version))


def read_body(stream: BinaryIO, request: Request, limit: int) -> Iterator[bytes]:
    """The body in pieces; 413 as soon as it is, or says it will be, above `limit` bytes."""
    if request.length is None:
        yield from _read_chunked(stream, limit)
        return
    if request.length > limit:
        raise HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    left = request.length
    while left:
        piece = stream.read(min(left, CHUNK))
        if not piece:
            raise bad_request("truncated body")
        left -= len(piece)
        yield piece


def _read_line(stream: BinaryIO, too_long: HTTPStatus) -> bytes:
    line = stream.readline(MAX_LINE + 1)
    if len(line) > MAX_LINE:
        raise HttpError(too_long)
    return line


def _parse_request_line(line: bytes) -> tuple[str, str, tuple[int, int]]:
    if not line.endswith(b"\n"):
        raise bad_request("truncated request line")
    try:
        words = line.decode("ascii").rstrip("\r\n").split(" ")
    except UnicodeDecodeError:
        raise bad_request("request line is not ASCII") from None
    if len(words) != 3 or not _TOKEN.fullmatch(words[0]):
        raise bad_request("malformed request line")
    version = _VERSION.fullmatch(words[2])
    if version is None:
        raise bad_request("malformed version")
    if version[1] != "1":
        raise HttpError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    return words[0], words[1], (1, int(version[2]))


def _read_headers(stream: BinaryIO) -> Headers:
    """Header fields or trailers, to the empty line; folded lines are refused (RFC 9112, 5.2)."""
    headers: Headers = {}
    for _ in range(MAX_FIELDS + 1):
        line = _read_line(stream, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if not line.endswith(b"\n"):
            raise bad_request("truncated header")
        text = line.decode("latin-1").rstrip("\r\n")
        if not text:
            return headers
        name, colon, value = text.partition(":")
        if not colon or not _TOKEN.fullmatch(name) or "\r" in value or "\0" in value:
            raise bad_request("malformed header")
        headers.setdefault(name.lower(), []).append(value.strip(" \t"))
    raise HttpError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)


def _parse_target(target: str) -> str:
    """The decoded path of an origin-form or absolute-form target (RFC 9112, 3.2)."""
    if target.startswith("/"):
        path = target.partition("?")[0].partition("#")[0]
    else:
        try:
            parts = urlsplit(target)
        except ValueError:
            raise bad_request("malformed target") from None
        if parts.scheme != "http" or not parts.netloc:
            raise bad_request("malformed target")
        path = parts.path or "/"
    path = unquote(path, errors="surrogateescape")  # file names need not be UTF-8
    if "\0" in path:
        raise bad_request("NUL in target")
    return path


def _body_length(headers: Headers, version: tuple[int, int]) -> int | None:
    """Bytes of the body, None if chunked (RFC 9112, 6.3)."""
    lengths = {
        text.strip() for value in headers.get("content-length", []) for text in value.split(",")
    }
    codings = ",".join(headers.get("transfer-encoding", [])).lower().strip()
    if codings:
        if lengths or version < (1, 1):  # the means of request smuggling
            raise bad_request("Transfer-Encoding is not allowed here")
        if codings != "chunked":
            raise HttpError(HTTPStatus.NOT_IMPLEMENTED, "only the chunked transfer coding")
        return None
    if not lengths:
        return 0
    if len(lengths) > 1 or not _DECIMAL.fullmatch(min(lengths)):
        raise bad_request("malformed Content-Length")
    return int(min(lengths))


def _read_chunked(stream: BinaryIO, limit: int) -> Iterator[bytes]:
    """RFC 9112, 7.1; extensions and trailers are read and ignored."""
    total = 0
    while size := _read_chunk_size(stream):
        total += size
        if total > limit:
            raise HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        while size:
            piece = stream.read(min(size, CHUNK))
            if not piece:
                raise bad_request("truncated chunk")
            size -= len(piece)
            yield piece
        if stream.read(2) != b"\r\n":
            raise bad_request("chunk does not end with its size")
    _read_headers(stream)


def _read_chunk_size(stream: BinaryIO) -> int:
    line = _read_line(stream, HTTPStatus.BAD_REQUEST)
    size = line.partition(b";")[0].rstrip()
    if not line.endswith(b"\n") or not _HEX.fullmatch(size):
        raise bad_request("malformed chunk size")
    return int(size, 16)
