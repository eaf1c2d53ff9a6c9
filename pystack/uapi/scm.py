"""Control data at the border: descriptors become open files, and open files descriptors again.

`net/core/scm.c`.  Called by `sendmsg` and `recvmsg`; a layer below sees SCM_RIGHTS as a tuple of
files; those of a received message each have a reference, which `recvmsg` takes over.
"""

from __future__ import annotations

import errno
import socket as so
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pystack.transport.sock import MSG_CTRUNC, Cmsg, Message, os_error
from pystack.uapi.files import File, FileTable

SCM_MAX_FD = 253
_HEADER = so.CMSG_LEN(0)
_INT = struct.calcsize("=i")


@contextmanager
def sending(table: FileTable, control: Sequence[Cmsg]) -> Iterator[tuple[Cmsg, ...]]:
    """The control data as the kernel passes it on; EBADF for a descriptor that is not open.

    The files are held as long as the call lasts; a protocol that queues them takes references.
    """
    passed: list[Cmsg] = []
    held: list[File] = []
    try:
        for level, type_, data in control:
            if level == so.SOL_SOCKET and type_ == so.SCM_RIGHTS:
                fds = _descriptors(data)
                files = tuple([table.file(fd) for fd in fds])
                held += [file.get() for file in files]
                passed.append((level, type_, files))
            else:
                passed.append((level, type_, data))
        yield tuple(passed)
    finally:
        for file in held:
            file.put()


def _descriptors(data: bytes) -> tuple[int, ...]:
    count = len(data) // _INT
    if count > SCM_MAX_FD:
        raise os_error(errno.EINVAL)
    return struct.unpack(f"={count}i", data[: count * _INT])


def receive(table: FileTable, message: Message, controllen: int, cloexec: bool) -> Message:
    """As much of the control data as fits into `controllen` bytes (`put_cmsg`)."""
    flags, left = message.flags, controllen
    taken: list[Cmsg] = []
    for level, type_, data in message.control:
        room = max(left - _HEADER, 0)
        if level == so.SOL_SOCKET and type_ == so.SCM_RIGHTS:
            packed = _install(table, data, room, cloexec)
            cut = len(packed) < len(data) * _INT
        else:
            packed, cut = data[:room], room < len(data)
        if cut:
            flags |= MSG_CTRUNC
        if packed or (left >= _HEADER and type_ != so.SCM_RIGHTS):
            taken.append((level, type_, packed))
            left -= min(so.CMSG_SPACE(len(packed)), left)
    return message._replace(control=tuple(taken), flags=flags)


def _install(table: FileTable, files: Sequence[File], room: int, cloexec: bool) -> bytes:
    """New descriptors for the files there is room for; the others are let go."""
    fds: list[int] = []
    for file in files[: room // _INT]:
        try:
            fd = table.reserve()
        except OSError:
            break
        fds.append(table.install(fd, file.get(), cloexec))
    for file in files:
        file.put()
    return struct.pack(f"={len(fds)}i", *fds)
