"""Pipes, event and timer descriptors, duplicates: as this machine's kernel has them."""

from __future__ import annotations

import fcntl
import os
import select as sel
import struct
import termios
import time
from collections.abc import Callable
from typing import Any

import pytest
from both import Machine, both

PAGE = 4096
ULLONG_MAX = (1 << 64) - 1
MS = 1_000_000


def u64(value: int) -> bytes:
    return struct.pack("=Q", value)


def fill(m: Machine, fd: int, piece: bytes) -> int:
    """How many writes of `piece` a non-blocking descriptor takes, and the errno after them."""
    count = 0
    while m.outcome(m.sys.write, fd, piece) == len(piece):
        count += 1
    return count


def pipe_ends(m: Machine) -> dict[str, object]:
    r, w = m.sys.pipe2(0)
    seen: dict[str, object] = {
        "modes": (m.sys.fcntl(r, fcntl.F_GETFL) & os.O_ACCMODE, m.sys.fcntl(w, fcntl.F_GETFL) & 3),
        "read the write end": m.outcome(m.sys.read, w, 1),
        "write the read end": m.outcome(m.sys.write, r, b"x"),
        "seek": m.outcome(m.sys.lseek, r, 0, 0),
        "nothing": m.sys.write(w, b""),
        "wrong flags": m.outcome(m.sys.pipe2, 1),
        "written": m.sys.write(w, b"hello"),
        "FIONREAD": (m.sys.ioctl(r, termios.FIONREAD), m.sys.ioctl(w, termios.FIONREAD)),
        "size": m.sys.fcntl(r, fcntl.F_GETPIPE_SZ),
        "part": m.sys.read(r, 2),
        "poll": m.sys.poll([(r, sel.POLLIN), (w, sel.POLLOUT)], 0),
        "is a socket": m.outcome(m.sys.listen, r, 1),
    }
    m.sys.close(w)
    seen["rest"] = m.sys.read(r, 100)
    seen["end"] = m.sys.read(r, 100)
    seen["hang-up"] = m.sys.poll([(r, sel.POLLIN)], 0)
    return seen


def pipe_capacity(m: Machine) -> list[object]:
    seen: list[object] = []
    for size in (1, 100, 3000, PAGE, PAGE + 1, 5000, 10000):
        r, w = m.sys.pipe2(os.O_NONBLOCK)
        seen.append((size, fill(m, w, bytes(size)), m.sys.ioctl(r, termios.FIONREAD)))
        seen.append(m.sys.poll([(w, sel.POLLOUT)], 0))
        m.sys.read(r, 1)
        seen.append((m.sys.poll([(w, sel.POLLOUT)], 0), m.outcome(m.sys.write, w, b"abc")))
        m.sys.read(r, PAGE)
        seen.append((m.sys.poll([(w, sel.POLLOUT)], 0), m.outcome(m.sys.write, w, bytes(PAGE))))
        m.sys.close(r)
        m.sys.close(w)
    return seen


def pipe_packets(m: Machine) -> list[object]:
    r, w = m.sys.pipe2(os.O_DIRECT | os.O_NONBLOCK)
    m.sys.write(w, b"first")
    m.sys.write(w, b"second")
    m.sys.write(w, bytes(PAGE + 10))
    seen = [m.sys.read(r, 2), m.sys.read(r, 100), len(m.sys.read(r, 10000))]
    return [*seen, len(m.sys.read(r, 10000)), m.outcome(m.sys.read, r, 1)]


def pipe_resized(m: Machine) -> list[object]:
    r, w = m.sys.pipe2(os.O_NONBLOCK)
    seen: list[object] = [m.sys.fcntl(w, fcntl.F_SETPIPE_SZ, 5000)]
    seen.append(fill(m, w, bytes(PAGE)))
    seen.append(m.outcome(m.sys.fcntl, r, fcntl.F_SETPIPE_SZ, PAGE))
    seen.append(m.outcome(m.sys.fcntl, r, fcntl.F_SETPIPE_SZ, -1))
    seen.append(m.outcome(m.sys.fcntl, r, fcntl.F_SETPIPE_SZ, 0))
    return [*seen, m.sys.fcntl(r, fcntl.F_GETPIPE_SZ)]


def pipe_without_reader(m: Machine) -> list[object]:
    from pystack.uapi.signals import SIG_IGN, Action

    m.sys.rt_sigaction(13, Action(SIG_IGN))
    r, w = m.sys.pipe2(0)
    m.sys.close(r)
    return [m.outcome(m.sys.write, w, b"x"), m.sys.poll([(w, sel.POLLOUT)], 0)]


def pipe_blocks(m: Machine) -> list[object]:
    r, w = m.sys.pipe2(0)
    got: list[bytes] = []

    def reader() -> None:
        while data := m.sys.read(r, 30000):
            got.append(data)

    m.thread(reader)
    sent = m.sys.write(w, bytes(200_000))
    m.sys.close(w)
    m.time.sleep(0.05)
    return [sent, sum(map(len, got))]


def event_counter(m: Machine) -> dict[str, object]:
    fd = m.sys.eventfd2(3, os.EFD_NONBLOCK)
    seen: dict[str, object] = {
        "first": m.sys.read(fd, 8),
        "empty": m.outcome(m.sys.read, fd, 8),
        "short read": m.outcome(m.sys.read, fd, 7),
        "short write": m.outcome(m.sys.write, fd, b"1234567"),
        "long write": m.outcome(m.sys.write, fd, u64(1) + b"x"),
        "long read": m.outcome(m.sys.write, fd, u64(7)) and m.sys.read(fd, 100),
        "too big": m.outcome(m.sys.write, fd, u64(ULLONG_MAX)),
        "to the brim": m.outcome(m.sys.write, fd, u64(ULLONG_MAX - 1)),
        "one more": m.outcome(m.sys.write, fd, u64(1)),
        "poll": m.sys.poll([(fd, sel.POLLIN | sel.POLLOUT)], 0),
        "all": m.sys.read(fd, 8),
        "poll again": m.sys.poll([(fd, sel.POLLIN | sel.POLLOUT)], 0),
        "seek": m.outcome(m.sys.lseek, fd, 0, 0),
        "flags": m.outcome(m.sys.eventfd2, 0, 2),
    }
    semaphore = m.sys.eventfd2(2, os.EFD_NONBLOCK | os.EFD_SEMAPHORE)
    seen["semaphore"] = [m.outcome(m.sys.read, semaphore, 8) for _ in range(3)]
    return seen


def event_wakes(m: Machine) -> list[object]:
    fd = m.sys.eventfd2(0, 0)
    m.sys.write(fd, u64(ULLONG_MAX - 1))

    def later() -> None:
        m.time.sleep(0.05)
        m.sys.read(fd, 8)

    m.thread(later)
    seen: list[object] = [m.sys.write(fd, u64(5))]  # waits for room
    return [*seen, m.sys.read(fd, 8)]


def timer(m: Machine) -> dict[str, object]:
    fd = m.sys.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK)
    seen: dict[str, object] = {
        "clock": m.outcome(m.sys.timerfd_create, 99, 0),
        "disarmed": (m.sys.timerfd_gettime(fd), m.outcome(m.sys.read, fd, 8)),
        "set": m.sys.timerfd_settime(fd, 0, 30 * MS, 20 * MS),
        "soon": m.sys.poll([(fd, sel.POLLIN)], 0),
        "short": m.outcome(m.sys.read, fd, 4),
        "write": m.outcome(m.sys.write, fd, u64(1)),
    }
    m.time.sleep(0.081)
    ticks = int.from_bytes(m.sys.read(fd, 8), "little")
    seen["overruns"] = ticks == 3 if m.simulated else ticks >= 3  # a busy machine sleeps longer
    seen["after"] = m.outcome(m.sys.read, fd, 8)
    left, interval = m.sys.timerfd_settime(fd, 0, 0, 0)
    seen["left"] = (0 < left <= 20 * MS, interval)
    seen["off"] = m.sys.timerfd_gettime(fd)
    seen["flags"] = m.outcome(m.sys.timerfd_settime, fd, 8, 1)
    seen["no timer"] = m.outcome(m.sys.timerfd_gettime, 0)
    seen["no file"] = m.outcome(m.sys.timerfd_gettime, 99)
    return seen


def timer_absolute(m: Machine) -> list[object]:
    seen: list[object] = []
    for clock in (time.CLOCK_MONOTONIC, time.CLOCK_REALTIME):
        fd = m.sys.timerfd_create(clock, 0)
        now = m.sys.clock_gettime(clock)
        m.sys.timerfd_settime(fd, 1, now + 20 * MS)
        ticks = m.sys.read(fd, 8)
        waited = m.sys.clock_gettime(clock) - now
        m.sys.timerfd_settime(fd, 1, now - 5)  # the past
        seen += [ticks, 20 * MS <= waited < 5000 * MS, m.sys.read(fd, 8)]
    return seen


def duplicates(m: Machine) -> dict[str, object]:
    r, w = m.sys.pipe2(os.O_CLOEXEC)
    seen: dict[str, object] = {
        "cloexec": m.sys.fcntl(r, fcntl.F_GETFD),
        "dup": (d := m.sys.dup(r)) > w and m.sys.fcntl(d, fcntl.F_GETFD),
        "lowest from": m.sys.fcntl(r, fcntl.F_DUPFD, 50),
        "from beyond": m.outcome(m.sys.fcntl, r, fcntl.F_DUPFD, 1 << 20),
        "dup2 same": m.sys.dup2(r, r) == r,
        "dup2 closed": m.outcome(m.sys.dup2, 99, 5),
        "dup2 out of range": m.outcome(m.sys.dup2, r, 1 << 20),
        "dup3 same": m.outcome(m.sys.dup3, r, r, 0),
        "dup3 flags": m.outcome(m.sys.dup3, r, 60, 1),
        "dup3": m.sys.dup3(r, 60, os.O_CLOEXEC),
        "flags are shared": m.sys.fcntl(60, fcntl.F_SETFL, os.O_NONBLOCK),
    }
    seen["shared"] = bool(m.sys.fcntl(r, fcntl.F_GETFL) & os.O_NONBLOCK)
    m.sys.dup2(w, r)  # closes what r was
    m.sys.close(d)
    m.sys.close(50)
    m.sys.write(w, b"x")
    seen["one reader is left"] = m.sys.read(60, 9)
    m.outcome(m.sys.close_range, 50, 70)
    seen["closed"] = m.outcome(m.sys.fcntl, 60, fcntl.F_GETFD)
    seen["range"] = m.outcome(m.sys.close_range, 5, 4)
    return seen


PROGRAMS: list[Callable[[Machine], Any]] = [
    *(pipe_ends, pipe_capacity, pipe_packets, pipe_resized, pipe_without_reader, pipe_blocks),
    *(event_counter, event_wakes, timer, timer_absolute, duplicates),
]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_descriptors_behave_as_on_this_machine(program: Callable[[Machine], Any]) -> None:
    both(program)
