"""`_io` of a process: `open` and `FileIO` over its descriptors.

Buffers and text layers are the real ones; only the raw file at the bottom is ours.
"""

from __future__ import annotations

import _io as real
import io
import os
import stat
from collections.abc import Callable
from types import ModuleType
from typing import Any

from pystack.uapi.python.derived import derived
from pystack.uapi.syscalls import Syscalls

_ACCESS = {"r": os.O_RDONLY, "w": os.O_WRONLY | os.O_CREAT | os.O_TRUNC}
_ACCESS |= {"x": os.O_WRONLY | os.O_CREAT | os.O_EXCL, "a": os.O_WRONLY | os.O_CREAT | os.O_APPEND}


def open_flags(mode: str) -> int:
    """open(2)'s flags for a mode of Python's; ValueError with CPython's text if it is none."""
    kinds = [letter for letter in mode if letter in "rwxa"]
    if set(mode) - set("rwxa+bt") or len(mode) != len(set(mode)):
        raise ValueError(f"invalid mode: {mode!r}")
    if len(kinds) != 1:
        raise ValueError("must have exactly one of create/read/write/append mode")
    flags = _ACCESS[kinds[0]] | os.O_CLOEXEC
    return flags & ~os.O_ACCMODE | os.O_RDWR if "+" in mode else flags


class DescriptorIO(io.RawIOBase):
    """`io.FileIO`: `file` is a descriptor, or a path that `opener` or the kernel opens."""

    _sys: Syscalls

    def __init__(
        self,
        file: Any,
        mode: str = "r",
        closefd: bool = True,
        opener: Callable[[Any, int], int] | None = None,
    ) -> None:
        self._fd = -1
        flags = open_flags(mode)
        if isinstance(file, int):
            if file < 0:
                raise ValueError("negative file descriptor")
            self._fd = file
        elif not closefd:
            raise ValueError("Cannot use closefd=False with file name")
        elif opener is not None:
            self._fd = opener(file, flags)
        else:
            self._fd = self._sys.openat(os.fspath(file), flags, 0o666)
        self.closefd = closefd
        self.name = file
        self.mode = mode.replace("t", "") if "b" in mode else mode.replace("t", "") + "b"
        self._readable = flags & os.O_ACCMODE != os.O_WRONLY
        self._writable = flags & os.O_ACCMODE != os.O_RDONLY
        if stat.S_ISDIR(self._sys.fstat(self._fd).st_mode):
            self.close()
            raise IsADirectoryError(21, os.strerror(21), file)
        if "a" in mode:
            self.seek(0, os.SEEK_END)

    def __repr__(self) -> str:
        return f"<_io.FileIO name={self.name!r} mode={self.mode!r} closefd={self.closefd}>"

    def __del__(self) -> None:
        """Descriptors of forgotten files are closed at the process's next system call."""
        fd, self._fd = getattr(self, "_fd", -1), -1
        if fd >= 0 and self.closefd:
            self._sys.process.abandoned.append(fd)

    def fileno(self) -> int:
        if self._fd < 0:
            raise ValueError("I/O operation on closed file")
        return self._fd

    def close(self) -> None:
        if not self.closed:
            super().close()
            fd, self._fd = self._fd, -1
            if fd >= 0 and self.closefd and self._sys.process.running:
                self._sys.close(fd)
            elif fd >= 0 and self.closefd:
                self._sys.process.abandoned.append(fd)  # called as its owner was collected

    def readable(self) -> bool:
        return self._readable

    def writable(self) -> bool:
        return self._writable

    def seekable(self) -> bool:
        try:
            self._sys.lseek(self.fileno(), 0, os.SEEK_CUR)
        except OSError:
            return False
        return True

    def isatty(self) -> bool:
        return False

    def readinto(self, buffer: Any) -> int | None:
        if not self._readable:
            raise io.UnsupportedOperation("not readable")
        view = memoryview(buffer).cast("B")
        try:
            with self._sys.process.signals.after_result():
                data = self._sys.read(self.fileno(), len(view))
        except BlockingIOError:
            return None
        view[: len(data)] = data
        return len(data)

    def write(self, data: Any) -> int | None:
        if not self._writable:
            raise io.UnsupportedOperation("not writable")
        try:
            with self._sys.process.signals.after_result():
                return self._sys.write(self.fileno(), data)
        except BlockingIOError:
            return None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._sys.lseek(self.fileno(), offset, whence)

    def tell(self) -> int:
        return self.seek(0, os.SEEK_CUR)

    def truncate(self, size: int | None = None) -> int:
        size = self.tell() if size is None else size
        self._sys.ftruncate(self.fileno(), size)
        return size


def _buffered(raw: Any, buffering: int) -> Any:
    size = io.DEFAULT_BUFFER_SIZE if buffering in (-1, 1) else buffering
    if raw.readable() and raw.writable():
        return io.BufferedRandom(raw, size)
    return io.BufferedWriter(raw, size) if raw.writable() else io.BufferedReader(raw, size)


def make_open(file_io: type[DescriptorIO]) -> Callable[..., Any]:
    def open(
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Callable[[Any, int], int] | None = None,
    ) -> Any:
        """`io.open`, as documented there."""
        binary = "b" in mode
        if binary and "t" in mode:
            raise ValueError("can't have text and binary mode at once")
        if binary and (encoding, errors, newline) != (None, None, None):
            raise ValueError("binary mode doesn't take an encoding, errors or newline argument")
        if buffering == 0 and not binary:
            raise ValueError("can't have unbuffered text I/O")
        raw = file_io(file, mode, closefd, opener)
        try:
            if buffering == 0:
                return raw
            buffered = _buffered(raw, buffering)
            if binary:
                return buffered
            text = io.TextIOWrapper(buffered, encoding, errors, newline, buffering == 1)
            text.mode = mode  # type: ignore[misc]
            return text
        except BaseException:
            raw.close()
            raise

    return open


def io_module(sys: Syscalls) -> ModuleType:
    file_io: type[DescriptorIO] = type("FileIO", (DescriptorIO,), {"_sys": sys})
    return derived("_io", real, {"FileIO": file_io, "open": make_open(file_io)})
