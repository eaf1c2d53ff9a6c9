"""`ps` and `kill`: the processes of a machine (procps)."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from pystack.tools.tool import Net, ToolError, in_task
from pystack.uapi.process import Process

_FORMS = {"": False, "-e": False, "-A": False, "-f": True, "-ef": True, "-eF": True, "ax": False}


def ps(net: Net, args: Sequence[str]) -> str:
    """`ps`, `ps -e`, `ps -ef`: all processes; there is no terminal."""
    word = " ".join(args)
    if word not in _FORMS:
        raise ToolError("error: unsupported option (known: -e, -f, -ef)", 1)
    full = _FORMS[word]
    lines = [
        "UID          PID    PPID  C STIME TTY          TIME CMD"
        if full
        else "    PID TTY          TIME CMD"
    ]
    for pid, process in sorted(net.system.processes.items()):
        seconds = _cpu_ns(process) // 10**9
        time = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        if full:
            user = "root" if process.uid == 0 else str(process.uid)
            parent = 0 if process.parent is None else process.parent.pid
            lines.append(f"{user:<8} {pid:>7} {parent:>7}  0 00:00 ?        {time} {process.name}")
        else:
            lines.append(f"{pid:>7} ?        {time} {process.name}")
    return "".join(line + "\n" for line in lines)


def _cpu_ns(process: Process) -> int:
    return sum(task.sum_exec_runtime for task in process.threads)


def kill(net: Net, args: Sequence[str]) -> str:
    """`kill [-SIGNAL] PID...`"""
    words, signum = list(args), signal.SIGTERM
    if words and words[0].startswith("-"):
        signum = _signal(words.pop(0)[1:])
    if not words:
        raise ToolError("kill: usage: kill [-SIGNAL] pid ...", 2)
    for word in words:
        process = net.system.processes.get(int(word)) if word.isdigit() else None
        if process is None:
            what = "No such process" if word.isdigit() else "arguments must be process or job IDs"
            raise ToolError(f"bash: kill: ({word}) - {what}", 1)
        in_task(net, process.kill, signum)
    return ""


def _signal(name: str) -> signal.Signals:
    try:
        if name.isdigit():
            return signal.Signals(int(name))
        return signal.Signals["SIG" + name.upper().removeprefix("SIG")]
    except (KeyError, ValueError):
        raise ToolError(f"bash: kill: {name}: invalid signal specification", 1) from None
