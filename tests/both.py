"""One program, two kernels: this machine's Linux, and a simulated host.

A test writes its program once and asks for the same outcome from both:

    def program(m: Machine) -> dict[str, object]:
        sock = m.socket.socket()
        return {"port 70000": m.outcome(sock.bind, ("127.0.0.1", 70000)), ...}

    def test_bind() -> None:
        both(program)

What the program returns, or raises, is compared whole.  A difference that is meant is declared:
`both(program, differs={"key": Differs(linux=..., here=..., why="...")})`; it fails when the two
agree after all.  The real run has a process of its own in a new user and network namespace with
only `lo`, and an empty working directory.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import pickle
import select
import shlex
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
from leaks import left_over
from realsys import RealSys

from pystack.core.engine import VirtualEngine
from pystack.host import Host
from pystack.uapi.process import Process
from pystack.uapi.selectmod import SelectModule
from pystack.uapi.sockmod import SocketModule
from pystack.uapi.timemod import TimeModule

SECOND = 10**9
ATTEMPTS = 3
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
PATIENCE = 20.0  # seconds a real run may take
Program = Callable[..., Any]


@dataclass
class Machine:
    """What a program runs on: modules, system calls by name, threads."""

    socket: Any
    select: Any
    time: Any
    sys: Any
    thread: Callable[..., Any]  # thread(fn, *args) starts a daemon thread
    fork: Callable[..., int]  # fork(fn, *args): a child runs fn(its machine, *args); its id
    tool: Callable[[str], str]  # what a program prints, as tool("ss -tan")
    simulated: bool

    @staticmethod
    def outcome(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """A call's result, or the name of its errno."""
        try:
            return call(*args, **kwargs)
        except OSError as exc:
            return errno.errorcode.get(exc.errno or 0, repr(exc))


class Differs(NamedTuple):
    """A difference on purpose, and the reason."""

    linux: Any
    here: Any
    why: str


def both(program: Program, *args: Any, differs: Mapping[str, Differs] | None = None) -> Any:
    """Run `program(machine, *args)` on both; returns what it gave on the simulated host.

    This machine's time goes on while another process has the CPU, so a program that sees a
    difference, or fails, runs there again: what is really different stays so.
    """
    attempt = 1
    while True:
        try:
            linux = on_linux(program, *args)
            here = on_host(program, *args)
            _compare(linux, here, differs or {})
            return here
        except Exception:
            if attempt == ATTEMPTS:
                raise
            attempt += 1


def _compare(linux: Any, here: Any, differs: Mapping[str, Differs]) -> None:
    for key, (real, ours, why) in differs.items():
        assert why, key
        assert (linux.pop(key), here[key]) == (real, ours), key
        assert real != ours, f"{key}: the two agree"
    compared = {k: v for k, v in here.items() if k not in differs} if differs else here
    assert compared == linux, f"this machine's kernel: {linux!r}"


# -- the simulated host ------------------------------------------------------------------------


def machine_of(process: Process, host: Host) -> Machine:
    def child(fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        task = process.kernel.cpu.current
        assert task is not None
        fn(machine_of(task.process, host), *args)

    return Machine(
        socket=SocketModule(process),
        select=SelectModule(process),
        time=TimeModule(process),
        sys=process.sys,
        thread=lambda fn, *args: process.thread(fn, *args, daemon=True),
        fork=lambda fn, *args: process.sys.fork(child, fn, args),
        tool=host.tool,
        simulated=True,
    )


def on_host(program: Program, *args: Any, seconds: float = 1000) -> Any:
    """The program's result on a host of its own, of which nothing may be left over."""
    engine = VirtualEngine()
    host = Host(engine, "h")
    process = Process(host.kernel, host.system, getattr(program, "__name__", "program"))
    process.start(lambda: program(machine_of(process, host), *args))
    engine.run(until=int(seconds * SECOND), stop=lambda: not host.system.processes)
    assert not process.tracebacks, process.tracebacks[0]
    assert not host.system.processes, f"still alive: {host.system.processes}"
    engine.run(until=engine.now + 300 * SECOND)  # past TIME_WAIT
    assert left_over(host) == {}
    return process.result


# -- this machine ------------------------------------------------------------------------------


def on_linux(program: Program, *args: Any) -> Any:
    """The program's result in a child process in namespaces of its own; skips where that fails."""
    reader, writer = os.pipe()
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            _child(writer, folder, program, args)
        os.close(writer)
        try:
            kind, value = _answer(reader)
        finally:
            os.close(reader)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    if kind == "no namespace":
        pytest.skip(f"unshare: {value}")
    if kind == "exception":
        pytest.fail(f"on this machine's kernel:\n{value}")
    return value


def _answer(reader: int) -> tuple[str, Any]:
    chunks = []
    end = time.monotonic() + PATIENCE
    while select.select([reader], [], [], max(end - time.monotonic(), 0))[0]:
        chunk = os.read(reader, 1 << 16)
        if not chunk:
            break
        chunks.append(chunk)
    else:
        return "exception", f"no answer within {PATIENCE} s"
    if not chunks:
        return "exception", "the process died without an answer"
    kind, value = pickle.loads(b"".join(chunks))
    return kind, value


def _child(writer: int, folder: str, program: Program, args: tuple[Any, ...]) -> None:
    """Never returns; reports `(kind, value)` as a pickle through `writer`."""
    answer: tuple[str, Any]
    try:
        _isolate()
    except OSError as exc:
        answer = "no namespace", str(exc)
    else:
        os.chdir(folder)
        try:
            answer = "result", program(_this_machine(), *args)
        except BaseException:
            answer = "exception", traceback.format_exc()
    try:
        data = pickle.dumps(answer)
    except Exception:
        data = pickle.dumps(("exception", traceback.format_exc()))
    os.set_blocking(writer, True)
    while data:
        data = data[os.write(writer, data) :]
    os._exit(0)


def _isolate() -> None:
    """New user and network namespaces, root in them, `lo` up."""
    uid, gid = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    for path, text in (
        ("setgroups", "deny"),
        ("uid_map", f"0 {uid} 1"),
        ("gid_map", f"0 {gid} 1"),
    ):
        with open(f"/proc/self/{path}", "w") as file:
            file.write(text)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def _this_machine() -> Machine:
    def thread(fn: Callable[..., Any], *args: Any) -> threading.Thread:
        started = threading.Thread(target=fn, args=args, daemon=True)
        started.start()
        return started

    calls = RealSys()

    def fork(fn: Callable[..., Any], *args: Any) -> int:
        return calls.fork(fn, machine, *args)

    def tool(command: str) -> str:
        return subprocess.run(
            shlex.split(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ).stdout

    machine = Machine(socket, select, time, calls, thread, fork, tool, simulated=False)
    return machine
