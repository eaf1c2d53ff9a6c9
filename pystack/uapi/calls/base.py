"""What the families of system calls share: the process they belong to."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from pystack.transport.sock import MSG_NOSIGNAL
from pystack.uapi.block import ProcessExit
from pystack.uapi.files import File

if TYPE_CHECKING:
    from pystack.uapi.process import Process

Buffer = bytes | bytearray | memoryview


class Calls:
    def __init__(self, process: Process) -> None:
        self.process = process
        self._kernel = process.kernel
        self._system = process.system
        self._table = process.files

    def _or_sigpipe(self, file: File, send: Callable[[], int], flags: int) -> int:
        """Writing to a stream that cannot take it kills, unless the process ignores SIGPIPE."""
        try:
            return send()
        except BrokenPipeError:
            if file.sigpipe and not flags & MSG_NOSIGNAL:
                self.process.signals.send_own(signal.SIGPIPE)
                if self.process.exiting:
                    raise ProcessExit from None
            raise

    def _new_file(self, make: Callable[[], File], flags: int) -> int:
        """A descriptor for the file `make` gives; without one left it is not made."""
        fd = self._table.reserve()
        try:
            file = make()
        except BaseException:
            self._table.unreserve(fd)
            raise
        return self._table.install(fd, file, bool(flags & os.O_CLOEXEC))

    def _install_pair(self, first: File, second: File, cloexec: bool) -> tuple[int, int]:
        """Two descriptors, or none and both files put."""
        fds: list[int] = []
        try:
            fds = [self._table.reserve()]
            fds.append(self._table.reserve())
        except OSError:
            for fd in fds:
                self._table.unreserve(fd)
            first.put()
            second.put()
            raise
        self._table.install(fds[0], first, cloexec)
        self._table.install(fds[1], second, cloexec)
        return fds[0], fds[1]
