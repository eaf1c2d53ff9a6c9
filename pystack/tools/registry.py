"""The tools by name.  `NetNamespace.tool` and the shell call `run`."""

from __future__ import annotations

import shlex

from pystack.tools.nstat import nstat
from pystack.tools.ss import ss
from pystack.tools.tool import Net, Tool, ToolError

NOT_FOUND = 127  # the exit status of a shell that knows no such program

tools: dict[str, Tool] = {
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
