"""The tools by name.  `NetNamespace.tool` and the shell call `run`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import partial

from pystack.net.netfilter.xt import XtablesError
from pystack.tools.nstat import nstat
from pystack.tools.ss import ss
from pystack.tools.tool import Net, Tool, ToolError

WRONG = 2  # iptables' exit status for a wrong parameter
NOT_FOUND = 127  # the exit status of a shell that knows no such program


def _iptables(net: Net, args: Sequence[str], version: int = 4) -> str:
    try:
        return net.netfilter.iptables(shlex.join(args), version)
    except XtablesError as exc:
        raise ToolError(str(exc), WRONG) from None


def _conntrack(net: Net, args: Sequence[str]) -> str:
    try:
        return net.netfilter.conntrack_tool(shlex.join(args))
    except XtablesError as exc:
        raise ToolError(str(exc), WRONG) from None


tools: dict[str, Tool] = {
    "conntrack": _conntrack,
    "ip6tables": partial(_iptables, version=6),
    "iptables": _iptables,
    "nstat": nstat,
    "ss": ss,
}


def run(net: Net, command: str) -> str:
    """What the command prints, e.g. `ss -tan`; ToolError as the program, or bash, fails."""
    try:
        words = shlex.split(command)
    except ValueError as exc:
        raise ToolError(f"bash: {exc}", 2) from None
    if not words:
        return ""
    tool = tools.get(words[0])
    if tool is None:
        raise ToolError(f"bash: {words[0]}: command not found", NOT_FOUND)
    return tool(net, words[1:])
