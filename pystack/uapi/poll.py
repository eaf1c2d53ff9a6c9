"""poll and select: wait for any of a list of files (`fs/select.c`).

Called by `syscalls`.  A call costs one look at each file before it sleeps and after it wakes.
"""

from __future__ import annotations

from collections.abc import Sequence
from select import (
    EPOLLERR,
    EPOLLHUP,
    EPOLLIN,
    EPOLLOUT,
    EPOLLPRI,
    EPOLLRDBAND,
    EPOLLRDNORM,
    EPOLLWRBAND,
    EPOLLWRNORM,
)

from pystack.core.kernel import Kernel
from pystack.uapi.block import Waiter
from pystack.uapi.files import File

SELECT_READ = EPOLLRDNORM | EPOLLRDBAND | EPOLLIN | EPOLLHUP | EPOLLERR
SELECT_WRITE = EPOLLWRBAND | EPOLLWRNORM | EPOLLOUT | EPOLLERR
SELECT_EXCEPT = EPOLLPRI


def look(files: Sequence[tuple[File, int]]) -> list[int]:
    """What each file has of the events asked of it."""
    return [file.poll() & mask for file, mask in files]


def wait_any(kernel: Kernel, files: Sequence[tuple[File, int]], timeout: int | None) -> list[int]:
    """Wait up to `timeout` ns until one of `(file, mask)` has an event; the events of each."""
    events = look(files)
    if any(events) or timeout == 0:
        return events

    def condition() -> bool:
        nonlocal events
        events = look(files)
        return any(events)

    with Waiter(kernel) as waiter:
        for file, mask in files:
            waiter.watch(file.wq, mask)
        waiter.wait(condition, timeout, restartable=False)
    return events
