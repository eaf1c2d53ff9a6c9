"""strace: the lines of the real one, from a simulated process."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from both import on_linux
from programs_run import PROGRAMS

from pystack.core.costs import Costs
from pystack.core.engine import VirtualEngine
from pystack.host import Host
from pystack.tools.strace import Options, Strace, TraceError, calls_of
from pystack.tools.strace_format import sockaddr, string
from pystack.uapi.process import Process

CALLS = str(PROGRAMS / "calls.py")
COMPARED = "trace=%network,poll,pselect6,epoll_ctl,epoll_wait"


def trace(program: Any, options: Options, status: int = 0) -> list[str]:
    lines: list[str] = []
    engine = VirtualEngine()
    host = Host(engine, "h", costs=Costs.zero())
    process = host.run_python(program)
    Strace(process, lines.append, options)
    engine.run(until=10**12, stop=lambda: not process.alive)
    assert process.exit_status == status, process.stderr.decode()
    return lines


def trace_calls(fn: Any, options: Options) -> list[str]:
    """Of a function of the process; it gets the process."""
    lines: list[str] = []
    engine = VirtualEngine()
    host = Host(engine, "h", costs=Costs.zero())
    process = Process(host.kernel, host.system, "p")
    Strace(process, lines.append, options)
    process.start(fn, process)
    engine.run(until=10**12, stop=lambda: not process.alive)
    return lines


def plain(line: str) -> str:
    """Without what differs from run to run, and the two things only the real one knows."""
    line = re.sub(r"^\d+ +", "", line)  # -o FILE with -f: the pid
    line = re.sub(r"0x[0-9a-f]{6,}", "0x...", line)
    line = re.sub(r"htons\((?!800[01]\))\d+\)", "htons(PORT)", line)
    line = line.replace("[128 => 16]", "[16]")  # how large a buffer CPython gives
    line = re.sub(r", left \{.*?\}", "", line)  # select's time left
    return re.sub(r" += ", " = ", line)


def test_strace_prints_what_the_real_one_prints_of_the_same_program() -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")

    def real(machine: Any) -> list[str]:
        command = ["strace", "-f", "-o", "trace.txt", "-e", COMPARED, sys.executable, CALLS]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        with open("trace.txt") as file:
            return file.read().splitlines()

    ours = [plain(line) for line in trace(CALLS, Options(expression=COMPARED))]
    assert len(ours) == 30
    assert ours == [plain(line) for line in on_linux(real)]


SIGNALS = """
import os, signal, socket
signal.signal(signal.SIGUSR1, lambda *args: None)
os.kill(os.getpid(), signal.SIGUSR1)
a, b = socket.socketpair()
b.close()
try:
    a.send(b"x")
except BrokenPipeError:
    pass
os.kill(os.getpid(), signal.SIGTERM)
"""


def test_signals_are_shown_as_the_real_one_shows_them(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    path = tmp_path / "signals.py"
    path.write_text(SIGNALS)

    def shown(lines: list[str]) -> list[str]:
        """Signals, the calls that send them, and the end."""
        kept = [line for line in map(plain, lines) if re.match(r"---|\+\+\+|kill|sendto", line)]
        return [re.sub(r"(si_pid=|kill\()\d+", r"\1PID", line) for line in kept]

    def real(machine: Any) -> list[str]:
        command = ["strace", "-o", "trace.txt", "-e", "kill,sendto", sys.executable, str(path)]
        subprocess.run(command, capture_output=True)
        with open("trace.txt") as file:
            return file.read().splitlines()

    ours = shown(trace(str(path), Options(expression="kill,sendto"), status=-signal.SIGTERM))
    assert ours == shown(on_linux(real))
    assert ours[1] == "--- SIGUSR1 {si_signo=SIGUSR1, si_code=SI_USER, si_pid=PID, si_uid=0} ---"
    assert ours[-1] == "+++ killed by SIGTERM +++"


def test_every_call_of_a_program_is_shown_and_the_end() -> None:
    lines = trace(CALLS, Options())
    assert lines[-2:] == [f"{'exit_group(0)':40}= ?", "+++ exited with 0 +++"]
    assert f"{'epoll_create1(EPOLL_CLOEXEC)':40}= 3" in lines
    assert f"{'ioctl(3, FIONBIO, [1])':40}= 0" in lines


def test_calls_of_threads_are_told_apart_and_cut_where_another_comes_between() -> None:
    def program(process: Process) -> None:
        sys_ = process.sys
        reader, writer = sys_.pipe2(0)
        process.thread(sys_.read, reader, 10)
        sys_.clock_nanosleep(1_000_000)
        sys_.write(writer, b"x")
        sys_.clock_nanosleep(2_500)

    lines = trace_calls(program, Options(follow=True, expression="read,write,clock_nanosleep"))
    sleep = "clock_nanosleep(CLOCK_MONOTONIC, 0, {tv_sec=0, tv_nsec="
    assert lines == [
        f"[pid     1] {sleep}1000000}},  <unfinished ...>",
        "[pid     2] read(3,  <unfinished ...>",
        f"{'[pid     1] <... clock_nanosleep resumed>NULL)':40} = 0",
        f"{'[pid     1] write(4, ' + chr(34) + 'x' + chr(34) + ', 1)':40}= 1",
        f"[pid     1] {sleep}2500}},  <unfinished ...>",
        f"{'[pid     2] <... read resumed>' + chr(34) + 'x' + chr(34) + ', 10)':40}= 1",
        f"{'<... clock_nanosleep resumed>NULL)':40}= 0",
        "+++ exited with 0 +++",
    ]


def test_without_f_only_the_main_thread_is_shown() -> None:
    def program(process: Process) -> None:
        process.thread(process.sys.getuid)
        process.sys.getpid()

    lines = trace_calls(program, Options(expression="getuid,getpid"))
    assert lines == [f"{'getpid()':40}= 1", "+++ exited with 0 +++"]


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        (Options(times=1), ["22:13:20 ", "22:13:22 "]),
        (Options(times=2), ["22:13:20.000000 ", "22:13:22.000123 "]),
        (Options(times=3), ["1700000000.000000 ", "1700000002.000123 "]),
        (Options(relative=True), ["     0.000000 ", "     2.000123 "]),
    ],
)
def test_time_stamps_are_those_asked_for(options: Options, lines: list[str]) -> None:
    def program(process: Process) -> None:
        process.sys.clock_nanosleep(2_000_123_000)

    shown = trace_calls(program, options)
    assert [line[: len(stamp)] for line, stamp in zip(shown, lines, strict=True)] == lines


def test_time_spent_in_a_call_stands_behind_it() -> None:
    def program(process: Process) -> None:
        process.sys.clock_nanosleep(1_500_000_000)

    assert trace_calls(program, Options(durations=True))[0].endswith("= 0 <1.500000>")


def test_a_call_that_ends_with_its_process_has_no_result() -> None:
    def program(process: Process) -> None:
        reader, writer = process.sys.pipe2(0)
        process.sys.close(reader)
        process.sys.write(writer, b"x")

    lines = trace_calls(program, Options())
    assert lines[-3] == f"{'write(4, ' + chr(34) + 'x' + chr(34) + ', 1)':40}= ?"
    assert lines[-2].startswith("--- SIGPIPE {si_signo=SIGPIPE, si_code=SI_USER, ")
    assert lines[-1] == "+++ killed by SIGPIPE +++"


def test_expression_names_calls_classes_and_their_complement() -> None:
    assert [calls_of("trace=network")(call) for call in ("connect", "read")] == [True, False]
    assert [calls_of("%net,read")(call) for call in ("connect", "read", "poll")] == [True] * 2 + [
        False
    ]
    assert [calls_of("!pselect6")(call) for call in ("connect", "select")] == [True, False]
    with pytest.raises(TraceError, match="no system call or class 'conect'"):
        calls_of("trace=conect")


def test_strings_are_escaped_as_in_c_and_cut() -> None:
    assert string(b'a"\\\n\x01') == r'"a\"\\\n\1"'
    assert string(b"\x017\x018") == r'"\0017\18"'
    assert string(b"y" * 33) == f'"{"y" * 32}"...'


def test_addresses_are_decoded_by_family() -> None:
    assert sockaddr(b"\0name") == '{sa_family=AF_UNIX, sun_path=@"name"}'
    assert sockaddr((bytes(15) + b"\1", 80, 0, 0)) == (
        "{sa_family=AF_INET6, sin6_port=htons(80), sin6_flowinfo=htonl(0), "
        'inet_pton(AF_INET6, "::1", &sin6_addr), sin6_scope_id=0}'
    )
