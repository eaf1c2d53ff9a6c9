"""One message between two sockets: data, the sender's credentials, files in flight."""

from __future__ import annotations

import socket as so
import struct
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pystack.transport.sock import PAGE_SIZE, SKB_SHARED_INFO, SKB_STRUCT, Cmsg, Sock

if TYPE_CHECKING:
    from pystack.transport.unix.base import UnixSock

SKB_MAX_HEAD = PAGE_SIZE - SKB_SHARED_INFO  # SKB_MAX_HEAD(0)
SKB_MAX_ALLOC = 4 * PAGE_SIZE - SKB_SHARED_INFO
UNIX_SKB_FRAGS_SZ = 32768
OVERFLOW_ID = 65534  # who is not known is `nobody`
_UCRED = struct.Struct("=iII")


class Credentials(NamedTuple):
    """`struct ucred`."""

    pid: int
    uid: int
    gid: int

    def pack(self) -> bytes:
        return _UCRED.pack(*self)

    @classmethod
    def parse(cls, data: bytes) -> Credentials:
        """ValueError unless it has the length."""
        if len(data) != _UCRED.size:
            raise ValueError(f"credentials of {len(data)} bytes")
        return cls(*_UCRED.unpack(data))


UNKNOWN = Credentials(0, OVERFLOW_ID, OVERFLOW_ID)


class OpenFile(Protocol):
    """What a message knows of a file that is passed: `uapi.files.File`."""

    refs: int

    @property
    def sock(self) -> Sock | None:
        """The socket, if it is one."""

    def get(self) -> OpenFile: ...

    def put(self) -> None: ...


class UnixMessage:
    """`off` is how much of `data` has been read; `truesize` is what the sender is charged.

    `uid` is the user whose files are in flight.
    """

    __slots__ = ("cred", "data", "files", "off", "sender", "truesize", "uid")

    def __init__(
        self,
        sender: UnixSock,
        data: bytes,
        truesize: int,
        cred: Credentials | None,
        files: tuple[OpenFile, ...],
        uid: int,
    ) -> None:
        self.sender = sender
        self.data = data
        self.off = 0
        self.truesize = truesize
        self.cred = cred
        self.files = files
        self.uid = uid

    def __len__(self) -> int:
        return len(self.data) - self.off


def control_of(message: UnixMessage, passcred: bool, peek: bool) -> tuple[Cmsg, ...]:
    """What goes to a receiver beside the data; files with references of its own when it peeks."""
    control: list[Cmsg] = []
    if passcred:
        cred = message.cred or UNKNOWN
        control.append((so.SOL_SOCKET, so.SCM_CREDENTIALS, cred.pack()))
    if message.files:
        if peek:
            for file in message.files:
                file.get()
        control.append((so.SOL_SOCKET, so.SCM_RIGHTS, message.files))
    return tuple(control)


def stream_piece(length: int, sndbuf: int) -> int:
    """How much of `length` bytes goes into one packet (`unix_stream_sendmsg`)."""
    return min(length, (sndbuf >> 1) - 64, SKB_MAX_HEAD + UNIX_SKB_FRAGS_SZ)


def stream_truesize(length: int) -> int:
    """What does not fit into a page's head goes into pages of its own."""
    paged = min(length, _page_align(max(0, length - SKB_MAX_HEAD)))
    return _truesize(length - paged, paged)


def dgram_truesize(length: int) -> int:
    """A head of up to four pages, and pages for the rest (`unix_dgram_sendmsg`)."""
    paged = min(length, _page_align(length - SKB_MAX_ALLOC)) if length > SKB_MAX_ALLOC else 0
    return _truesize(length - paged, paged)


def _page_align(length: int) -> int:
    return -(-length // PAGE_SIZE) * PAGE_SIZE


def _truesize(head: int, paged: int) -> int:
    allocated = 1 << (head + SKB_SHARED_INFO - 1).bit_length()
    return SKB_STRUCT + allocated + _page_align(paged)
