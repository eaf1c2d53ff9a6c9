"""The tools by name.  `NetNamespace.tool` and the shell call `run`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pystack.net.netfilter.xt import XtablesError
from pystack.tools.ethtool import ethtool
from pystack.tools.ip import ip
from pystack.tools.lsof import lsof
from pystack.tools.netstat import netstat
from pystack.tools.nstat import nstat
from pystack.tools.ping import ping
from pystack.tools.proc import cat
from pystack.tools.ps import kill, ps
from pystack.tools.route_table import route
from pystack.tools.ss import ss
from pystack.tools.sysctl import sysctl
from pystack.tools.tc import tc
from pystack.tools.tcpdump.command import tcpdump
from pystack.tools.tool import Net, Options, Tool, ToolError, in_task

WRONG = 2  # iptables' exit status for a wrong parameter
NOT_FOUND = 127  # the exit status of a shell that knows no such program


def _iptables(version: int) -> Tool:
    def tool(net: Net, args: Sequence[str]) -> str:
        return net.netfilter.iptables(shlex.join(args), version)

    return tool


def _iptables_save(version: int) -> Tool:
    def tool(net: Net, args: Sequence[str]) -> str:
        options = Options("iptables-save", args, "c", {"counters": "c"})
        return net.netfilter.save(version, counters="c" in options)

    return tool


def _conntrack(net: Net, args: Sequence[str]) -> str:
    return net.netfilter.conntrack_tool(shlex.join(args))


tools: dict[str, Tool] = {
    "cat": cat,
    "conntrack": _conntrack,
    "ip": ip,
    "ip6tables": _iptables(6),
    "ip6tables-save": _iptables_save(6),
    "iptables": _iptables(4),
    "iptables-save": _iptables_save(4),
    "kill": kill,
    "lsof": lsof,
    "netstat": netstat,
    "ethtool": lambda net, args: in_task(net, ethtool, net, args),
    "nstat": nstat,
    "ping": ping,
    "ps": ps,
    "route": route,
    "ss": ss,
    "sysctl": sysctl,
    "tc": tc,
    "tcpdump": tcpdump,
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
    try:
        return tool(net, words[1:])
    except XtablesError as exc:
        raise ToolError(str(exc), WRONG) from None
