"""What the processes of one host share: process ids, the open-file limit; and socket families,
which belong to a network namespace.

Built with the host; transports register the socket types they make.
"""

from __future__ import annotations

import copy
import errno
import socket
from collections.abc import Callable, Iterable
from itertools import count
from typing import TYPE_CHECKING

from pystack.core.kernel import Kernel
from pystack.dev.netdev import NetDevice
from pystack.transport.sock import Sock, os_error
from pystack.transport.unix import UnixHost
from pystack.uapi.files import OpenFiles

if TYPE_CHECKING:
    from pystack.uapi.process import Process

AF_MAX = 46  # include/linux/socket.h
SOCK_TYPE_MAX = 11
IPPROTO_MAX = 263
ANY_PROTOCOL = -1
_INET = socket.AF_INET, socket.AF_INET6


class System:
    """`file_max` is the host's `fs.file-max`."""

    def __init__(self, kernel: Kernel, file_max: int = 1 << 20) -> None:
        self.kernel = kernel
        self.open_files = OpenFiles(file_max)
        self.nr_open = 1 << 20  # fs.nr_open: the most a RLIMIT_NOFILE may be
        self.processes: dict[int, Process] = {}  # the living ones
        self.unix = UnixHost(lambda pid: pid in self.processes)
        self._pids = count(1)
        self._families: dict[int, dict[int, dict[int, Callable[..., Sock]]]] = {}
        self.interfaces: Callable[[], Iterable[NetDevice]] = tuple
        # `pid` is the calling thread's id, as in Linux's raw_syscalls; the arguments are a tuple
        # in the order of `table.SYSCALLS[name]`; a result is the call's, -errno or UNRETURNED.
        self.tp_enter = kernel.trace.point("sys_enter", "pid", "name", "args")
        self.tp_exit = kernel.trace.point("sys_exit", "pid", "name", "result")
        self.tp_signal = kernel.trace.point("signal_deliver", "pid", "signum", "info")
        self.tp_process_exit = kernel.trace.point("sched_process_exit", "pid", "name", "status")

    def next_pid(self) -> int:
        return next(self._pids)

    def unshare_net(self, kernel: Kernel) -> System:
        """The same system for the processes of another network namespace, with no family yet."""
        system = copy.copy(self)
        system.kernel = kernel
        system._families = {}
        return system

    def register(self, family: int, type_: int, protocol: int, create: Callable[..., Sock]) -> None:
        """`socket(family, type_, protocol)` calls `create`; the first of a type is its default.

        ANY_PROTOCOL: any that is not 0, and `create` is told which.
        """
        self._families.setdefault(family, {}).setdefault(type_, {})[protocol] = create

    def create_sock(self, family: int, type_: int, protocol: int) -> Sock:
        """A new transport socket, with the errors of `__sock_create` and `inet_create`."""
        if not 0 <= family < AF_MAX:
            raise os_error(errno.EAFNOSUPPORT)
        if not 0 <= type_ < SOCK_TYPE_MAX:
            raise os_error(errno.EINVAL)
        types = self._families.get(family)
        if types is None:
            raise os_error(errno.EAFNOSUPPORT)
        if family in _INET and not 0 <= protocol < IPPROTO_MAX:
            raise os_error(errno.EINVAL)
        protocols = types.get(type_)
        if protocols is None:
            raise os_error(errno.ESOCKTNOSUPPORT)
        if protocol == 0 and ANY_PROTOCOL not in protocols:
            return next(iter(protocols.values()))()
        create = protocols.get(protocol)
        if create is None and protocol and ANY_PROTOCOL in protocols:
            return protocols[ANY_PROTOCOL](protocol)
        if create is None:
            raise os_error(errno.EPROTONOSUPPORT)
        return create()
