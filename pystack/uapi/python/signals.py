"""`_signal` of a process: handlers written in Python, run by its main thread."""

from __future__ import annotations

import _signal as real  # type: ignore[import-not-found]
import errno
import os
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pystack.uapi.python.derived import attributes, derived
from pystack.uapi.signals import SIG_DFL, SIG_IGN, Action, Restart

if TYPE_CHECKING:
    from pystack.uapi.process import Process
    from pystack.uapi.python.interpreter import Interpreter

Handler = Callable[[int, Any], object]
_MISSING = """
    alarm getitimer setitimer pause pidfd_send_signal pthread_sigmask sigpending sigtimedwait
    sigwait sigwaitinfo
""".split()


class SignalModule:
    """What differs from the real module.

    As in CPython SIGPIPE is ignored, SIGINT raises KeyboardInterrupt, and a call that a handler
    interrupts goes on.
    """

    def __init__(self, interpreter: Interpreter) -> None:
        self._interpreter = interpreter
        self._process: Process = interpreter.process
        self._handlers: dict[int, Any] = {}
        self._wakeup_fd = -1
        self.signal(real.SIGPIPE, SIG_IGN)
        self.signal(real.SIGINT, real.default_int_handler)

    def signal(self, signalnum: int, handler: Any, /) -> Any:
        if not 1 <= signalnum < real.NSIG:
            raise ValueError("signal number out of range")
        if not callable(handler) and handler not in (SIG_DFL, SIG_IGN):
            raise TypeError(
                "signal handler must be signal.SIG_IGN, signal.SIG_DFL, or a callable object"
            )
        old = self.getsignal(signalnum)
        action = handler if isinstance(handler, int) else self._deliver
        self._process.signals.set_action(signalnum, Action(action, Restart.ALWAYS))
        self._handlers[signalnum] = handler
        return old

    def getsignal(self, signalnum: int, /) -> Any:
        return self._handlers.get(signalnum, SIG_DFL)

    def _deliver(self, signalnum: int, frame: Any) -> None:
        if self._wakeup_fd >= 0:
            with suppress(BlockingIOError):  # full: whoever reads it will wake all the same
                self._process.sys.write(self._wakeup_fd, bytes([signalnum]))
        self._handlers[signalnum](signalnum, frame)

    def set_wakeup_fd(self, fd: int, /, *, warn_on_full_buffer: bool = True) -> int:
        old, self._wakeup_fd = self._wakeup_fd, fd
        return old

    def siginterrupt(self, signalnum: int, flag: bool, /) -> None:
        """Calls go on after a handler all the same, as PEP 475 has it."""

    def raise_signal(self, signalnum: int, /) -> None:
        self._interpreter.kill(self._process.pid, signalnum)

    def pthread_kill(self, thread_id: int, signalnum: int, /) -> None:
        if thread_id not in self._process.threads.values():
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        self.raise_signal(signalnum)


def signal_module(interpreter: Interpreter) -> ModuleType:
    return derived("_signal", real, attributes(SignalModule(interpreter)), _MISSING)
