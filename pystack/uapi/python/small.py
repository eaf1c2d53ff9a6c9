"""The smaller modules of a process."""

from __future__ import annotations

import _random
import atexit
import errno
import fcntl
import os
import resource
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from pystack.uapi.process import Process
from pystack.uapi.python.derived import derived
from pystack.uapi.python.posixmod import refused
from pystack.uapi.selectmod import to_fd


def random_module(process: Process) -> ModuleType:
    """Generators that nobody seeds are seeded from the host's seed."""

    class Random(_random.Random):
        def seed(self, n: Any = None, /) -> None:
            super().seed(process.kernel.rng.getrandbits(256) if n is None else n)

    module = ModuleType("_random")
    module.Random = Random  # type: ignore[attr-defined]
    return module


class ExitHandlers:
    """`atexit`: `run` calls them, the last registered first; `report` is told of exceptions."""

    def __init__(self, report: Callable[[BaseException, str], None]) -> None:
        self._report = report
        self._calls: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = []

    def register(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        self._calls.append((func, args, kwargs))
        return func

    def unregister(self, func: Callable[..., Any], /) -> None:
        self._calls = [call for call in self._calls if call[0] != func]

    def run(self) -> None:
        while self._calls:
            func, args, kwargs = self._calls.pop()
            try:
                func(*args, **kwargs)
            except Exception as exc:
                self._report(exc, "Exception ignored in atexit callback:\n")

    def module(self) -> ModuleType:
        module = ModuleType(atexit.__name__)
        vars(module).update(
            register=self.register,
            unregister=self.unregister,
            _clear=self._calls.clear,
            _run_exitfuncs=self.run,
            _ncallbacks=lambda: len(self._calls),
        )
        return module


def fcntl_module(process: Process) -> ModuleType:
    def call(fd: Any, cmd: int, arg: int = 0, /) -> int:
        return process.sys.fcntl(to_fd(fd), cmd, arg)

    def ioctl(fd: Any, request: int, arg: Any = 0, mutate_flag: bool = True, /) -> Any:
        """Requests whose argument is an int; in a buffer, it is read from and written to there."""
        if isinstance(arg, int):
            return process.sys.ioctl(to_fd(fd), request, arg)
        value = int.from_bytes(bytes(arg)[:4], sys.byteorder, signed=True)
        answer = process.sys.ioctl(to_fd(fd), request, value)
        data = answer.to_bytes(4, sys.byteorder, signed=True) + bytes(arg)[4:]
        if isinstance(arg, (bytes, str)) or not mutate_flag:
            return data
        memoryview(arg).cast("B")[:] = data
        return 0

    def no_locks(*args: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    changes = {"fcntl": call, "ioctl": ioctl, "flock": no_locks, "lockf": no_locks}
    return derived("fcntl", fcntl, changes)


def resource_module(process: Process) -> ModuleType:
    """RLIMIT_NOFILE is the process's; other limits are those of this machine, to be read only."""

    def getrlimit(which: int, /) -> tuple[int, int]:
        if which == resource.RLIMIT_NOFILE:
            return process.files.limit, process.files.limit
        return resource.getrlimit(which)

    def setrlimit(which: int, limits: tuple[int, int], /) -> None:
        if which != resource.RLIMIT_NOFILE:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        process.files.limit = limits[0]

    return derived("resource", resource, {"getrlimit": getrlimit, "setrlimit": setrlimit})


def subprocess_module() -> ModuleType:
    module = ModuleType("_posixsubprocess")
    module.fork_exec = refused  # type: ignore[attr-defined]
    return module
