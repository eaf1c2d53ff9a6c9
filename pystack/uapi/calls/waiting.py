"""Waiting for many files: poll, select, epoll (`fs/select.c`, `fs/eventpoll.c`)."""

from __future__ import annotations

import errno
import select as sel
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pystack.transport.sock import os_error
from pystack.uapi.calls.base import Calls
from pystack.uapi.epoll import Epoll
from pystack.uapi.files import File
from pystack.uapi.poll import SELECT_EXCEPT, SELECT_READ, SELECT_WRITE, wait_any
from pystack.uapi.table import syscall

_MS, _US = 1_000_000, 1_000  # ns


class WaitCalls(Calls):
    @syscall
    def poll(self, fds: Sequence[tuple[int, int]], timeout_ms: int) -> list[int]:
        """The events of each `(fd, events)`; POLLNVAL for one not open, negative ones skipped."""
        return self._poll(fds, _nanoseconds(timeout_ms, _MS))

    @syscall
    def ppoll(
        self,
        fds: Sequence[tuple[int, int]],
        timeout_ns: int | None,
        sigmask: Iterable[int] | None = None,
    ) -> list[int]:
        """As poll, in ns, None for ever; with another signal mask while it waits."""
        if timeout_ns is not None and timeout_ns < 0:
            raise os_error(errno.EINVAL)
        with self.process.signals.masked(sigmask):
            return self._poll(fds, timeout_ns)

    def _poll(self, fds: Sequence[tuple[int, int]], timeout: int | None) -> list[int]:
        if len(fds) > self._table.limit:
            raise os_error(errno.EINVAL)
        result = [0] * len(fds)
        opened = []
        with self._hold(fd for fd, _ in fds) as files:
            for index, (fd, events) in enumerate(fds):
                file = files.get(fd)
                if file is not None:
                    opened.append((index, file, events | sel.POLLERR | sel.POLLHUP))
                elif fd >= 0:
                    result[index] = sel.POLLNVAL
            waits = [(file, mask) for _, file, mask in opened]
            found = wait_any(self._kernel, waits, 0 if any(result) else timeout)
        for (index, _, _), events in zip(opened, found, strict=True):
            result[index] = events
        return result

    @syscall
    def select(
        self,
        readfds: Sequence[int],
        writefds: Sequence[int],
        exceptfds: Sequence[int],
        timeout_us: int | None,
    ) -> tuple[list[int], list[int], list[int]]:
        """The ready ones of each set, in its order; EBADF if any is not open."""
        if timeout_us is not None and timeout_us < 0:
            raise os_error(errno.EINVAL)
        masks: dict[int, int] = {}
        kinds = (readfds, SELECT_READ), (writefds, SELECT_WRITE), (exceptfds, SELECT_EXCEPT)
        for fds, mask in kinds:
            for fd in fds:
                self._table.file(fd)
                masks[fd] = masks.get(fd, 0) | mask
        with self._hold(masks) as files:
            waits = [(files[fd], mask) for fd, mask in masks.items()]
            timeout = None if timeout_us is None else timeout_us * _US
            events = dict(zip(masks, wait_any(self._kernel, waits, timeout), strict=True))
        read, write, exceptional = ([fd for fd in fds if events[fd] & mask] for fds, mask in kinds)
        return read, write, exceptional

    @syscall
    def epoll_create1(self, flags: int) -> int:
        if flags & ~sel.EPOLL_CLOEXEC:
            raise os_error(errno.EINVAL)
        return self._new_file(lambda: Epoll(self._system.open_files, self._kernel), flags)

    @syscall
    def epoll_ctl(self, epfd: int, op: int, fd: int, event: tuple[int, Any] | None = None) -> None:
        """`event` is (events, data)."""
        file, events_data = self._table.file(epfd), event or (0, None)
        target = self._table.file(fd)
        if not isinstance(file, Epoll):
            raise os_error(errno.EINVAL)
        file.ctl(op, fd, target, *events_data)

    @syscall
    def epoll_wait(self, epfd: int, maxevents: int, timeout_ms: int) -> list[tuple[int, Any]]:
        """Up to `maxevents` of (events, data)."""
        return self._epoll_wait(epfd, maxevents, _nanoseconds(timeout_ms, _MS))

    @syscall
    def epoll_pwait2(
        self,
        epfd: int,
        maxevents: int,
        timeout_ns: int | None,
        sigmask: Iterable[int] | None = None,
    ) -> list[tuple[int, Any]]:
        """As epoll_wait, in ns, None for ever; with another signal mask while it waits."""
        if timeout_ns is not None and timeout_ns < 0:
            raise os_error(errno.EINVAL)
        with self.process.signals.masked(sigmask):
            return self._epoll_wait(epfd, maxevents, timeout_ns)

    def _epoll_wait(self, epfd: int, maxevents: int, timeout: int | None) -> list[tuple[int, Any]]:
        if maxevents <= 0:
            raise os_error(errno.EINVAL)
        with self._table.file(epfd).get() as file:
            if not isinstance(file, Epoll):
                raise os_error(errno.EINVAL)
            return file.wait(maxevents, timeout)

    @contextmanager
    def _hold(self, fds: Iterable[int]) -> Iterator[dict[int, File]]:
        """The open ones of `fds`, each with a reference."""
        files = {fd: file.get() for fd in set(fds) if (file := self._table.find(fd)) is not None}
        try:
            yield files
        finally:
            for file in files.values():
                file.put()


def _nanoseconds(timeout: int, unit: int) -> int | None:
    """A negative timeout waits for ever."""
    return None if timeout < 0 else timeout * unit
