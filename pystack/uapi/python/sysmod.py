"""`sys` and `builtins` of a process: its modules, arguments and standard streams."""

from __future__ import annotations

import builtins as real_builtins
import io
import sys as real
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from greenlet import getcurrent

from pystack.uapi.python.derived import derived
from pystack.uapi.python.descriptors import DescriptorIO, make_open

_MISSING = {"ps1", "ps2", "last_type", "last_value", "last_traceback"}
Hook = Callable[[Any], Any]


class AsyncgenHooks:
    """`sys.set_asyncgen_hooks` for each simulated thread.

    The interpreter keeps one pair of hooks for all that run in it; `first` and `last` are that
    pair while a program has set some, and find the thread's own.
    """

    def __init__(self) -> None:
        self._threads: dict[Any, tuple[Hook | None, Hook | None]] = {}
        self._finalizers: dict[int, Hook] = {}  # by the generator's id
        self._before: Any = None

    def set(self, firstiter: Hook | None = None, finalizer: Hook | None = None) -> None:
        thread = getcurrent()
        if not self._threads:
            self._before = real.get_asyncgen_hooks()
        old = self._threads.pop(thread, None)
        if old is not None:
            gone = old[1]
            self._finalizers = {k: v for k, v in self._finalizers.items() if v != gone}
        if firstiter is not None or finalizer is not None:
            self._threads[thread] = firstiter, finalizer
            real.set_asyncgen_hooks(self._first, self._last)
        elif not self._threads:
            real.set_asyncgen_hooks(*self._before)

    def get(self) -> Any:
        return self._threads.get(getcurrent(), (None, None))

    def _first(self, generator: Any) -> None:
        firstiter, finalizer = self._threads.get(getcurrent(), self._before)
        if finalizer is not None:
            self._finalizers[id(generator)] = finalizer
        if firstiter is not None:
            firstiter(generator)

    def _last(self, generator: Any) -> None:
        finalizer = self._finalizers.pop(id(generator), None)
        if finalizer is not None:
            finalizer(generator)


ASYNCGEN_HOOKS = AsyncgenHooks()
"""One for all processes, because the interpreter has one pair of hooks for all."""


def sys_module(argv: Sequence[str], path: Sequence[str], file_io: type[DescriptorIO]) -> ModuleType:
    """Without importers, which `importing.install` adds."""
    module = derived("sys", real, {}, _MISSING)
    vars(module).update(
        argv=list(argv),
        orig_argv=[real.executable, *argv],
        path=list(path),
        modules={"sys": module},
        meta_path=[],
        path_hooks=[],
        path_importer_cache={},
        dont_write_bytecode=True,
        warnoptions=[],
        set_asyncgen_hooks=ASYNCGEN_HOOKS.set,
        get_asyncgen_hooks=ASYNCGEN_HOOKS.get,
        setswitchinterval=lambda interval: None,
        **_streams(file_io),
    )
    return module


def _streams(file_io: type[DescriptorIO]) -> dict[str, Any]:
    """Standard streams, line by line as on a terminal."""
    stdin: Any = io.TextIOWrapper(io.BufferedReader(file_io(0, "rb", closefd=False)), "utf-8")
    streams = {"stdin": stdin}
    for fd, name, errors in ((1, "stdout", "strict"), (2, "stderr", "backslashreplace")):
        raw: Any = io.BufferedWriter(file_io(fd, "wb", closefd=False))
        streams[name] = io.TextIOWrapper(raw, "utf-8", errors, line_buffering=True)
    return streams | {f"__{name}__": stream for name, stream in streams.items()}


def builtins_module(sys_: ModuleType, file_io: type[DescriptorIO]) -> ModuleType:
    """`print`, `input` and `open` of the process; `__import__` comes with the importers."""

    def print(
        *values: object,
        sep: str | None = " ",
        end: str | None = "\n",
        file: Any = None,
        flush: bool = False,
    ) -> None:
        file = sys_.stdout if file is None else file
        if file is not None:
            real_builtins.print(*values, sep=sep, end=end, file=file, flush=flush)

    def input(prompt: object = "") -> str:
        sys_.stdout.write(str(prompt))
        sys_.stdout.flush()
        line: str = sys_.stdin.readline()
        if not line:
            raise EOFError("EOF when reading a line")
        return line.removesuffix("\n")

    def exit(code: Any = None) -> None:
        raise SystemExit(code)

    changes = {"print": print, "input": input, "open": make_open(file_io)}
    return derived("builtins", real_builtins, {**changes, "exit": exit, "quit": exit})
