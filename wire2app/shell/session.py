"""The commands of the shell, without any terminal: a line in, text out.

Besides the tools there are those that move virtual time, choose the host, start programs and
watch: what they show comes through `show` while time goes on.
"""

from __future__ import annotations

import itertools
import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path

from pystack.core.engine import VirtualEngine
from pystack.host import Host
from pystack.tools import proc
from pystack.tools.registry import tools
from pystack.tools.strace import Options, Strace, TraceError
from pystack.tools.tcpdump.command import Live, parse
from pystack.tools.tool import ToolError
from pystack.uapi.files import Console
from pystack.uapi.process import Process
from tb.programs import Lines
from wire2app.shell import scenario
from wire2app.shell.words import arguments_of, piped_through, split_pipe

_UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1, "min": 60 * 10**9, "": 10**9}
_WARM_UP = 3 * 10**9  # ns the scenario has run when the shell opens
STEPS = 1000  # most events one `step` runs
_HELP = """\
go [TIME]            let virtual time go on: 5s, 200ms, 2min; a second if none is given
step [N]             run the next N events, one if none is given
host [NAME]          which hosts there are; go on at NAME
run FILE.py [ARG...] start a Python program on this host; `go` to let it run
tcpdump [OPTION...]  show packets while time goes on, until `tcpdump stop`; -r FILE, -c N at once
strace -p PID        show system calls while time goes on, until `strace stop`
drops                what this host has lost, by reason
help, exit
"""


class Session:
    """`show(line)` gets what programs and captures print while time goes on."""

    def __init__(self, seed: int, show: Callable[[str], None]) -> None:
        self._show = show
        self.engine = VirtualEngine()
        self.hosts = scenario.build(self.engine, seed)
        self.current = "server"
        self._captures: list[Live] = []
        self._straces: list[Strace] = []
        self.engine.run(until=self.engine.now + _WARM_UP)
        self._builtins: dict[str, Callable[[list[str]], str]] = {
            **{"go": self._go, "step": self._step, "host": self._host, "run": self._run},
            **{"drops": self._drops, "strace": self._strace, "tcpdump": self._tcpdump},
            "help": self._help,
        }

    @property
    def host(self) -> Host:
        return self.hosts[self.current]

    @property
    def prompt(self) -> str:
        return f"{self.current} {self.engine.now / 1e9:.6f}# "

    @property
    def commands(self) -> list[str]:
        return sorted({*tools, *self._builtins, "exit"})

    def execute(self, line: str) -> str:
        """What the command prints; ToolError if it fails.  `ss -tan | grep ESTAB` works, too."""
        line, _, filters = split_pipe(line)
        text = self._execute(line)
        return piped_through(filters, text) if filters else text

    def _execute(self, line: str) -> str:
        try:
            words = shlex.split(line, comments=True)
        except ValueError as exc:
            raise ToolError(f"bash: {exc}", 2) from None
        if not words:
            return ""
        builtin = self._builtins.get(words[0])
        if builtin is not None:
            return builtin(words[1:])
        return self.host.tool(shlex.join(words))

    def close(self) -> None:
        for host in self.hosts.values():
            host.kernel.power_off()

    # -- time ------------------------------------------------------------------------------

    def _go(self, words: list[str]) -> str:
        span = duration(words[0] if words else "1s")
        self.engine.run(until=self.engine.now + span)
        return ""

    def _step(self, words: list[str]) -> str:
        count = words[0] if words else "1"
        if not count.isdigit() or not 0 < int(count) <= STEPS:
            raise ToolError(f"step: how many events? 1 to {STEPS}, not {count!r}", 2)
        ran = itertools.count()
        self.engine.run(stop=lambda: next(ran) >= int(count))
        return f"{self.engine.now / 1e9:.9f}\n"

    # -- hosts and programs ----------------------------------------------------------------

    def _host(self, words: list[str]) -> str:
        if not words:
            return "".join(
                f"{'*' if name == self.current else ' '} {name:8} {scenario.ADDRESSES[name]}\n"
                for name in self.hosts
            )
        if words[0] not in self.hosts:
            raise ToolError(f"host: there is no {words[0]!r}, but {', '.join(self.hosts)}")
        self.current = words[0]
        return ""

    def _run(self, words: list[str]) -> str:
        if not words:
            raise ToolError("run: name a program: run FILE.py [ARG...]", 2)
        path = Path(words[0])
        try:
            compile(path.read_bytes(), str(path), "exec")
        except OSError as exc:
            raise ToolError(f"run: {path}: {exc.strerror}") from None
        except (SyntaxError, ValueError) as exc:
            raise ToolError(f"run: {path} is not Python: {exc}") from None
        process = self.host.run_python(str(path.resolve()), words[1:], dict(os.environ))
        self._watch(process)
        return f"[{process.pid}] {path.name}\n"

    def _watch(self, process: Process) -> None:
        """Show what it writes and that it has ended."""
        consoles = []
        for fd in (1, 2):
            console = process.files.file(fd)
            assert isinstance(console, Console)
            lines = Lines(lambda text: self._show(f"{process.name} | {text}"))
            console.watch = lines.write
            consoles.append(lines)
        trace = process.kernel.trace

        def ended(record: object) -> None:
            pid, name, status = record.values  # type: ignore[attr-defined]
            if pid == process.pid:
                trace.points["sched_process_exit"].detach(ended)
                for lines in consoles:
                    lines.finish()
                self._show(f"[{pid}] {name} has ended with status {status}")

        trace.attach("sched_process_exit", ended)

    # -- watching --------------------------------------------------------------------------

    def _tcpdump(self, words: list[str]) -> str:
        if words == ["stop"]:
            count = sum(len(capture.lines) for capture in self._captures)
            for capture in self._captures:
                capture.stop()
            self._captures.clear()
            return f"{count} packets captured\n"
        command = parse(words)
        if command.read or command.count:
            return self.host.tool(shlex.join(["tcpdump", *words]))
        capture = Live(self.host, command, self._show)
        capture.start()
        self._captures.append(capture)
        return f"listening on {capture.device}; `go` to see packets, `tcpdump stop` to end\n"

    def _strace(self, words: list[str]) -> str:
        if words == ["stop"]:
            for strace in self._straces:
                strace.detach()
            self._straces.clear()
            return ""
        if len(words) not in (2, 4) or words[0] != "-p" or (words[2:] and words[2] != "-e"):
            raise ToolError("strace: strace -p PID [-e EXPRESSION], or strace stop", 2)
        process = self.host.system.processes.get(int(words[1]) if words[1].isdigit() else -1)
        if process is None:
            raise ToolError(f"strace: attach: ptrace(PTRACE_SEIZE, {words[1]}): No such process")
        expression = words[3] if words[2:] else "trace=all"
        try:
            options = Options(follow=True, expression=expression, times=2)
            self._straces.append(Strace(process, self._show, options))
        except TraceError as exc:
            raise ToolError(str(exc), 2) from None
        return f"strace: Process {process.pid} attached; `go` to see calls, `strace stop` to end\n"

    def _drops(self, words: list[str]) -> str:
        drops = self.host.kernel.drops
        lost = sorted((reason.value, count) for reason, count in drops.items() if count)
        return "".join(f"{reason:<32} {count:>10}\n" for reason, count in lost)

    def _help(self, words: list[str]) -> str:
        return f"{_HELP}\ntools: {' '.join(sorted(tools))}\n"

    # -- completion ------------------------------------------------------------------------

    def complete(self, words: list[str]) -> list[str]:
        """What the last of `words` may become; the others stand before it."""
        if len(words) < 2:
            return self.commands
        pids = [str(pid) for pid in self.host.system.processes]
        return {
            "host": list(self.hosts),
            "go": ["100ms", "1s", "10s", "1min"],
            "cat": proc.paths(self.host),
            "sysctl": ["-a", "-w", *self.host.kernel.sysctl],
            "lsof": ["-nP", "-i", "-p", *pids],
            "strace": ["-p", "-e", "stop", *pids],
            "kill": pids,
            "run": _programs(words[-1]),
        }.get(words[0]) or arguments_of(words[0], self.host.core.devices)


def _programs(start: str) -> list[str]:
    """Python files and folders that begin so."""
    folder = Path(start).parent if not start.endswith("/") else Path(start)
    try:
        found = sorted(folder.iterdir())
    except OSError:
        return []
    return [
        f"{path}/" if path.is_dir() else str(path)
        for path in found
        if path.is_dir() or path.suffix == ".py"
    ]


def duration(text: str) -> int:
    """`5s`, `200ms`, `1.5` (seconds) in ns; ToolError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([a-z]*)", text)
    if match is None or match[2] not in _UNITS:
        raise ToolError(f"go: how long? as 5s, 200ms, 2min, not {text!r}", 2)
    return round(float(match[1]) * _UNITS[match[2]])
