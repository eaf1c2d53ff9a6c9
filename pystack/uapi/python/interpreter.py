"""One process's Python: its module table, its main program, its end.

Made by `Host.run_python`; everything the program does that reaches a kernel arrives at
`Process.sys`.
"""

from __future__ import annotations

import os
import signal
import sys as real_sys
from collections.abc import Callable, Collection, Mapping, Sequence
from types import FunctionType, ModuleType
from typing import Any

from pystack.core.kernel import Kernel
from pystack.uapi.block import ProcessExit
from pystack.uapi.files import Console
from pystack.uapi.process import Process
from pystack.uapi.python import importing, posixmod, signals, small, sockets, sysmod, threads, tls
from pystack.uapi.python.derived import attributes
from pystack.uapi.python.descriptors import io_module
from pystack.uapi.selectmod import SelectModule
from pystack.uapi.system import System
from pystack.uapi.timemod import TimeModule

PYSTACK = os.path.dirname(os.path.dirname(os.path.dirname(__file__))) + os.sep
Program = str | os.PathLike[str] | Callable[..., Any]


class Interpreter:
    """`argv[0]` names the program; `env` is all of its environment."""

    def __init__(
        self,
        process: Process,
        argv: Sequence[str],
        env: dict[str, str],
        shared: Collection[str] = (),
    ) -> None:
        self.process = process
        self.atexit = small.ExitHandlers(self.report)
        io = io_module(process.sys)
        self.sys = sysmod.sys_module(argv, real_sys.path, io.FileIO)
        self.builtins = sysmod.builtins_module(self.sys, io.FileIO)
        self.main = ModuleType("__main__")
        vars(self.main).update(__builtins__=self.builtins)
        self.modules: dict[str, Any] = self.sys.modules
        self.modules.update(self._replaced(io, env), __main__=self.main)
        importing.install(self.sys, self.builtins, shared)

    def _replaced(self, io: ModuleType, env: dict[str, str]) -> dict[str, ModuleType]:
        """The modules that reach a kernel, or hold what is the process's own."""
        process = self.process
        socket = sockets.socket_module(process)
        time = ModuleType("time")
        vars(time).update(attributes(TimeModule(process)), strptime=self._strptime)
        select = ModuleType("select")
        vars(select).update(attributes(SelectModule(process)))
        modules = [
            *(io, socket, select, time, self.builtins, self.atexit.module()),
            threads.thread_module(self),
            posixmod.posix_module(self, env),
            signals.signal_module(self),
            tls.ssl_module(socket.socket),
            small.random_module(process),
            small.fcntl_module(process),
            small.resource_module(process),
            small.subprocess_module(),
        ]
        return {module.__name__: module for module in modules}

    def _strptime(self, string: str, format: str = "%a %b %d %H:%M:%S %Y") -> Any:
        return self.import_module("_strptime")._strptime_time(string, format)

    def import_module(self, name: str) -> Any:
        return vars(self.builtins)["__import__"](name, fromlist=("*",))

    def kill(self, pid: int, signum: int) -> None:
        """kill(2), of a process of the same host."""
        self.process.sys.kill(pid, signum)

    def interrupt(self, signum: int = signal.SIGINT) -> None:
        """`_thread.interrupt_main`."""
        self.kill(self.process.pid, signum)

    # -- the program -----------------------------------------------------------------------

    def run(self, program: Program) -> None:
        """Run it as `__main__` to its end, with what CPython does after it.

        What a callable returns is the process's `result`.
        """
        status = self._status_of(lambda: self._run(program))
        status = self._status_of(self._finish) or status
        self.process.sys.exit_group(status)

    def _run(self, program: Program) -> None:
        if callable(program):
            self.process.result = self.adopt(program)()
        else:
            self._run_file(os.fspath(program))

    def _status_of(self, work: Callable[[], None]) -> int:
        """0, or what an exception makes of it; a process that is killed just unwinds."""
        try:
            work()
        except SystemExit as exc:
            return self._exit_code(exc)
        except ProcessExit:
            raise
        except BaseException as exc:
            self.report(exc)
            return 128 + signal.SIGINT if isinstance(exc, KeyboardInterrupt) else 1
        return 0

    def adopt(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` as a function of `__main__`: it must import by itself what it uses."""
        if not isinstance(function, FunctionType):
            raise TypeError(f"{function!r} is not a function written in Python")
        adopted = FunctionType(
            function.__code__,
            vars(self.main),
            function.__name__,
            function.__defaults__,
            function.__closure__,
        )
        adopted.__kwdefaults__ = function.__kwdefaults__
        return adopted

    def _run_file(self, path: str) -> None:
        self.sys.path[0:1] = [os.path.dirname(os.path.abspath(path))]
        vars(self.main).update(__file__=path, __cached__=None, __spec__=None)
        exec(importing.code_of(path), vars(self.main))

    def _exit_code(self, exc: SystemExit) -> int:
        if exc.code is None:
            return 0
        if isinstance(exc.code, int):
            return exc.code & 0xFF
        self.write_error(f"{exc.code}\n")
        return 1

    def _finish(self) -> None:
        """Wait for the threads that are no daemons, call exit handlers, flush."""
        threading = self.modules.get("threading")
        if threading is not None:
            threading._shutdown()
        self.atexit.run()
        for stream in (self.sys.stdout, self.sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                continue  # closed, or replaced by something that has no flush

    # -- trouble ---------------------------------------------------------------------------

    def write_error(self, text: str) -> None:
        try:
            self.sys.stderr.write(text)
            self.sys.stderr.flush()
        except (OSError, ValueError, AttributeError):
            self.process.console.write(text.encode())

    def report(self, exc: BaseException, heading: str = "") -> None:
        """Print an exception as the interpreter would: without the frames that are not Linux's."""
        hook = self.sys.excepthook
        if hook is not real_sys.excepthook:
            hook(type(exc), exc, exc.__traceback__)
            return
        traceback = self.import_module("traceback")
        told = traceback.TracebackException(type(exc), exc, exc.__traceback__)
        _hide(told, traceback.StackSummary)
        self.write_error(heading + "".join(told.format()))


def _hide(told: Any, summary: Any) -> None:
    """Take the kernel's and importlib's frames out of a TracebackException and its causes."""
    while told is not None:
        shown = [
            frame
            for frame in told.stack
            if not frame.filename.startswith(PYSTACK) and "importlib/_boot" not in frame.filename
        ]
        told.stack = summary.from_list(shown)
        told = told.__cause__ or (None if told.__suppress_context__ else told.__context__)


def start_program(
    kernel: Kernel,
    system: System,
    program: Program,
    argv: Sequence[str],
    env: Mapping[str, str] | None,
    shared: Collection[str],
    cpu: int,
) -> Process:
    """See `Host.run_python`."""
    path = program.__name__ if callable(program) else os.fspath(program)
    process = Process(kernel, system, os.path.basename(path))
    stderr = Console(system.open_files)
    process.files.close(2)
    process.files.install(process.files.reserve(), stderr)
    process.stderr = stderr.output

    def main() -> None:
        Interpreter(process, [path, *argv], dict(env or {}), shared).run(program)

    return process.start(main, cpu=cpu)
