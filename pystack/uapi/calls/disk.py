"""Files on disk: open, their state, their length (`fs/open.c`, `fs/stat.c`)."""

from __future__ import annotations

import errno
import os
import stat

from pystack.transport.sock import os_error
from pystack.uapi.calls.base import Calls
from pystack.uapi.diskfile import DiskFile, open_file
from pystack.uapi.files import Console
from pystack.uapi.sockfile import SocketFile
from pystack.uapi.table import syscall


class DiskCalls(Calls):
    @syscall
    def openat(self, path: str | bytes, flags: int, mode: int = 0o666) -> int:
        """Relative to the working directory of the interpreter."""
        fd = self._table.reserve()
        try:
            file = open_file(self._system.open_files, path, flags, mode)
        except OSError:
            self._table.unreserve(fd)
            raise
        return self._table.install(fd, file, bool(flags & os.O_CLOEXEC))

    @syscall
    def fstat(self, fd: int) -> os.stat_result:
        """Of what is no file on disk only the kind is known."""
        file = self._table.file(fd)
        if isinstance(file, DiskFile):
            return file.stat()
        kind = stat.S_IFCHR if isinstance(file, Console) else stat.S_IFIFO
        if isinstance(file, SocketFile):
            kind = stat.S_IFSOCK
        return os.stat_result((kind | 0o600, 0, 0, 1, self.process.uid, 0, 0, 0, 0, 0))

    @syscall
    def ftruncate(self, fd: int, length: int) -> None:
        file = self._table.file(fd)
        if not isinstance(file, DiskFile):
            raise os_error(errno.EINVAL)
        file.truncate(length)
