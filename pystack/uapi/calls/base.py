"""What the families of system calls share: the process they belong to."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from pystack.transport.sock import MSG_NOSIGNAL
from pystack.uapi.block import ProcessExit

if TYPE_CHECKING:
    from pystack.uapi.process import Process

Buffer = bytes | bytearray | memoryview


class Calls:
    def __init__(self, process: Process) -> None:
        self.process = process
        self._kernel = process.kernel
        self._system = process.system
        self._table = process.files

    def _or_sigpipe(self, send: Callable[[], int], flags: int) -> int:
        """Writing to a stream that cannot take it kills, unless the process ignores SIGPIPE."""
        try:
            return send()
        except BrokenPipeError:
            if not flags & MSG_NOSIGNAL and signal.SIGPIPE not in self.process.ignored:
                self.process.begin_exit(-signal.SIGPIPE)
                raise ProcessExit from None
            raise
