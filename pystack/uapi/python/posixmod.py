"""`posix` of a process: what `os` is made of.

Descriptors, process and signals are the simulated host's; files have the names and contents they
have on this machine.  Whatever else takes a descriptor, or makes a process, is refused or missing,
which `os` and its users are prepared for.
"""

from __future__ import annotations

import errno
import fcntl as real_fcntl
import os
import posix as real
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pystack.uapi.python.derived import attributes, derived

if TYPE_CHECKING:
    from pystack.uapi.python.interpreter import Interpreter

NO_PROCESSES = "a simulated host starts no other programs"
_REFUSED = """
    execv execve fork forkpty posix_spawn posix_spawnp system wait wait3 wait4 waitid waitpid
""".split()
_MISSING = """
    copy_file_range device_encoding fchdir fchmod fchown fdatasync fpathconf fstatvfs fsync
    getlogin killpg lockf login_tty memfd_create openpty pidfd_open posix_fadvise posix_fallocate
    pread preadv pwrite pwritev readv sendfile setegid seteuid setgid setgroups setpgid setpgrp
    setpriority setregid setresgid setresuid setreuid setsid setuid splice tcgetpgrp tcsetpgrp
    ttyname writev
""".split()


_PATHS_ONLY = {"HAVE_LCHMOD", "HAVE_LCHOWN", "HAVE_LSTAT", "HAVE_LUTIMES"}


def refused(*args: Any, **kwargs: Any) -> Any:
    raise OSError(errno.ENOSYS, NO_PROCESSES)


def _no_terminal(*args: Any) -> Any:
    raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))


class PosixModule:
    """The functions that differ from the real module's, by their names there."""

    def __init__(self, interpreter: Interpreter, env: dict[str, str]) -> None:
        self._process = interpreter.process
        self._sys = interpreter.process.sys
        self.environ = {key.encode(): value.encode() for key, value in env.items()}
        self.kill = interpreter.kill
        self.register_at_fork = self.putenv = self.unsetenv = lambda *args, **kwargs: None
        self.get_terminal_size = _no_terminal
        for name in _REFUSED:
            setattr(self, name, refused)

    # -- descriptors -----------------------------------------------------------------------

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: Any = None) -> int:
        return self._sys.openat(os.fspath(path), flags | os.O_CLOEXEC, mode)

    def read(self, fd: int, n: int, /) -> bytes:
        return self._sys.read(fd, n)

    def write(self, fd: int, data: Any, /) -> int:
        return self._sys.write(fd, data)

    def close(self, fd: int) -> None:
        self._sys.close(fd)

    def closerange(self, fd_low: int, fd_high: int, /) -> None:
        for fd, _ in list(self._process.files):
            if fd_low <= fd < fd_high:
                self._sys.close(fd)

    def dup(self, fd: int, /) -> int:
        return self._sys.fcntl(fd, real_fcntl.F_DUPFD_CLOEXEC, 0)

    def dup2(self, fd: int, fd2: int, inheritable: bool = True) -> int:
        return self._sys.dup2(fd, fd2) if inheritable else self._sys.dup3(fd, fd2, os.O_CLOEXEC)

    def lseek(self, fd: int, position: int, how: int, /) -> int:
        return self._sys.lseek(fd, position, how)

    def ftruncate(self, fd: int, length: int, /) -> None:
        self._sys.ftruncate(fd, length)

    def fstat(self, fd: int) -> os.stat_result:
        return self._sys.fstat(fd)

    def stat(self, path: Any, *, dir_fd: Any = None, follow_symlinks: bool = True) -> Any:
        if isinstance(path, int):
            return self._sys.fstat(path)
        return real.stat(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)

    def pipe(self) -> tuple[int, int]:
        return self._sys.pipe2(os.O_CLOEXEC)

    def pipe2(self, flags: int, /) -> tuple[int, int]:
        return self._sys.pipe2(flags)

    def isatty(self, fd: int, /) -> bool:
        return False

    def get_blocking(self, fd: int, /) -> bool:
        return not self._sys.fcntl(fd, real_fcntl.F_GETFL) & os.O_NONBLOCK

    def set_blocking(self, fd: int, blocking: bool, /) -> None:
        flags = self._sys.fcntl(fd, real_fcntl.F_GETFL) & ~os.O_NONBLOCK
        self._sys.fcntl(fd, real_fcntl.F_SETFL, flags | (0 if blocking else os.O_NONBLOCK))

    def get_inheritable(self, fd: int, /) -> bool:
        return not self._sys.fcntl(fd, real_fcntl.F_GETFD) & real_fcntl.FD_CLOEXEC

    def set_inheritable(self, fd: int, inheritable: bool, /) -> None:
        self._sys.fcntl(fd, real_fcntl.F_SETFD, 0 if inheritable else real_fcntl.FD_CLOEXEC)

    # -- the process -----------------------------------------------------------------------

    def getpid(self) -> int:
        return self._sys.getpid()

    def getppid(self) -> int:
        return self._sys.getppid()

    def getuid(self) -> int:
        return self._process.uid

    geteuid = getuid

    def _exit(self, status: int) -> None:
        self._sys.exit_group(status)

    def abort(self) -> None:
        self._process.kill(6)

    def sched_yield(self) -> None:
        self._sys.sched_yield()

    # -- the host --------------------------------------------------------------------------

    def cpu_count(self) -> int:
        return len(self._process.kernel.cpus)

    def sched_getaffinity(self, pid: int, /) -> set[int]:
        return set(range(self.cpu_count()))

    def getloadavg(self) -> tuple[float, float, float]:
        return 0.0, 0.0, 0.0

    def uname(self) -> Any:
        system, _, *rest = real.uname()
        return real.uname_result((system, self._process.kernel.name, *rest))

    def urandom(self, size: int, /) -> bytes:
        """From the host's seed, so that a run can be repeated."""
        return self._process.kernel.rng.randbytes(size)

    def getrandom(self, size: int, flags: int = 0) -> bytes:
        return self.urandom(size)


def posix_module(interpreter: Interpreter, env: dict[str, str]) -> ModuleType:
    facade = PosixModule(interpreter, env)
    changes = attributes(facade, ["_exit"])
    # No function takes a descriptor for a path, or a directory's: `os.supports_fd` and the like.
    changes["_have_functions"] = [n for n in vars(real)["_have_functions"] if n in _PATHS_ONLY]
    return derived("posix", real, changes, _MISSING)
