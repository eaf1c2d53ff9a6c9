"""epoll: interests stay in the kernel, and a wait looks only at what is ready (`fs/eventpoll.c`).

An interest is an entry in the wait queue of its file; a wake-up there puts it on the ready list
and wakes one waiter.  `wait` takes interests off that list and asks their files, so a call costs
by what is ready, whatever is registered.  Called by `syscalls`; nests, being a file itself.
"""

from __future__ import annotations

import errno
from collections import OrderedDict
from select import (
    EPOLLERR,
    EPOLLET,
    EPOLLEXCLUSIVE,
    EPOLLHUP,
    EPOLLIN,
    EPOLLONESHOT,
    EPOLLOUT,
    EPOLLRDNORM,
)
from typing import Any

from pystack.core.kernel import Kernel
from pystack.core.wait import WaitEntry, WaitQueue
from pystack.transport.sock import os_error
from pystack.uapi.block import Waiter
from pystack.uapi.files import File, OpenFiles

EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD = 1, 2, 3
EPOLLWAKEUP = 1 << 29
MAX_NESTS = 4  # EP_MAX_NESTS
_PRIVATE = EPOLLWAKEUP | EPOLLONESHOT | EPOLLET | EPOLLEXCLUSIVE
_INOUT = EPOLLIN | EPOLLOUT
_EXCLUSIVE_OK = _INOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE
_ALWAYS = EPOLLERR | EPOLLHUP


class EpollItem(WaitEntry):
    """One interest: descriptor `fd`, which meant `file` when it was added."""

    __slots__ = ("data", "epoll", "events", "fd", "file")

    def __init__(self, epoll: Epoll, fd: int, file: File, events: int, data: Any) -> None:
        super().__init__(bool(events & EPOLLEXCLUSIVE))
        self.epoll, self.fd, self.file = epoll, fd, file
        self.events = events
        self.data = data

    def ready(self) -> int:
        """The events asked for that hold now."""
        return self.file.poll() & self.events

    def func(self, mask: int) -> bool:
        """The file was woken (`ep_poll_callback`); returns whether that used up the wake-up."""
        if not self.events & ~_PRIVATE:  # a one-shot that has fired
            return False
        if mask and not mask & self.events:
            return False
        waited = self.epoll.make_ready(self)
        if not self.events & EPOLLEXCLUSIVE:
            return True
        inout = mask & _INOUT
        return waited and (inout in (0, _INOUT) or bool(inout & self.events))


class Epoll(File):
    """An epoll instance."""

    def __init__(self, open_files: OpenFiles, kernel: Kernel) -> None:
        super().__init__(open_files)
        self.kernel = kernel
        self.items: dict[tuple[int, File], EpollItem] = {}
        self._ready: OrderedDict[EpollItem, None] = OrderedDict()
        self._waiters = WaitQueue()  # threads in `wait`
        self._wq = WaitQueue()  # who polls this instance as a file

    @property
    def wq(self) -> WaitQueue:
        return self._wq

    def poll(self) -> int:
        """Readable when an interest is ready; those that no longer are leave the list."""
        for item in list(self._ready):
            if item.ready():
                return EPOLLIN | EPOLLRDNORM
            del self._ready[item]
        return 0

    def lseek(self, offset: int, whence: int) -> int:
        return 0  # noop_llseek

    def release(self) -> None:
        for item in list(self.items.values()):
            self.forget(item)

    # -- interests -------------------------------------------------------------------------

    def ctl(self, op: int, fd: int, file: File, events: int, data: Any) -> None:
        """epoll_ctl with the errors of `do_epoll_ctl`."""
        if file is self:
            raise os_error(errno.EINVAL)
        if op != EPOLL_CTL_DEL and events & EPOLLEXCLUSIVE:
            wrong = op == EPOLL_CTL_MOD or isinstance(file, Epoll) or events & ~_EXCLUSIVE_OK
            if wrong:
                raise os_error(errno.EINVAL)
        if op == EPOLL_CTL_ADD and isinstance(file, Epoll):
            self._check_nesting(file)
        item = self.items.get((fd, file))
        if op == EPOLL_CTL_ADD:
            if item is not None:
                raise os_error(errno.EEXIST)
            self._insert(EpollItem(self, fd, file, events | _ALWAYS, data))
        elif op not in (EPOLL_CTL_DEL, EPOLL_CTL_MOD):
            raise os_error(errno.EINVAL)
        elif item is None:
            raise os_error(errno.ENOENT)
        elif op == EPOLL_CTL_DEL:
            self.forget(item)
        else:
            self._modify(item, events | _ALWAYS, data)

    def _insert(self, item: EpollItem) -> None:
        self.items[item.fd, item.file] = item
        item.file.epoll_items += (item,)
        item.file.wq.add(item)
        if item.ready():
            self.make_ready(item)

    def _modify(self, item: EpollItem, events: int, data: Any) -> None:
        if item.events & EPOLLEXCLUSIVE:
            raise os_error(errno.EINVAL)
        item.events, item.data = events, data
        if item.ready():
            self.make_ready(item)

    def forget(self, item: EpollItem) -> None:
        """Drop an interest: deleted, or its file or this instance is going away."""
        del self.items[item.fd, item.file]
        item.file.epoll_items = tuple(i for i in item.file.epoll_items if i is not item)
        item.file.wq.remove(item)
        self._ready.pop(item, None)

    def _check_nesting(self, target: Epoll) -> None:
        """ELOOP for a cycle, or a chain too long to wake along (`ep_loop_check`)."""
        below = target._depth_below(self)
        if below > MAX_NESTS or below + 1 + self._depth_above() > MAX_NESTS:
            raise os_error(errno.ELOOP)

    def _depth_below(self, forbidden: Epoll, depth: int = 0) -> int:
        deepest = 0
        for _, file in self.items:
            if isinstance(file, Epoll):
                if file is forbidden or depth > MAX_NESTS:
                    return MAX_NESTS + 1
                deepest = max(deepest, file._depth_below(forbidden, depth + 1) + 1)
        return deepest

    def _depth_above(self) -> int:
        return max((item.epoll._depth_above() + 1 for item in self.epoll_items), default=0)

    # -- events ----------------------------------------------------------------------------

    def make_ready(self, item: EpollItem) -> bool:
        """Put an interest on the ready list; returns whether a thread was waiting for it."""
        self._ready.setdefault(item)
        waited = bool(self._waiters)
        self._waiters.wake(EPOLLIN)
        self._wq.wake(EPOLLIN | EPOLLRDNORM)
        return waited

    def wait(self, maxevents: int, timeout: int | None) -> list[tuple[int, Any]]:
        """Up to `maxevents` of `(events, data)`; [] when `timeout` ns have passed."""
        events = self._harvest(maxevents)
        if not events and timeout != 0:
            # exclusive: an event wakes one of the threads that wait here
            with Waiter(self.kernel, exclusive=True) as waiter:
                waiter.watch(self._waiters, EPOLLIN)

                def condition() -> bool:
                    events.extend(self._harvest(maxevents))
                    return bool(events)

                waiter.wait(condition, timeout, restartable=False)
        if self._ready:  # what is left is for another waiter (`ep_done_scan`)
            self._waiters.wake(EPOLLIN)
        return events

    def _harvest(self, maxevents: int) -> list[tuple[int, Any]]:
        """Take ready interests from the front of the list (`ep_send_events`).

        Level-triggered ones go back to its end and are asked again by the next call, which makes
        the order round robin.
        """
        events: list[tuple[int, Any]] = []
        again: list[EpollItem] = []
        while self._ready and len(events) < maxevents:
            item, _ = self._ready.popitem(last=False)
            revents = item.ready()
            if not revents:
                continue
            events.append((revents, item.data))
            if item.events & EPOLLONESHOT:
                item.events &= _PRIVATE
            elif not item.events & EPOLLET:
                again.append(item)
        self._ready.update(dict.fromkeys(again))
        return events
