"""`sysctl`: the settings of a namespace (procps)."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from pystack.tools.tool import Net, Options, ToolError

_NAMES = {"all": "a", "values": "n", "write": "w", "pattern=": "r", "ignore": "e", "quiet": "q"}


def sysctl(net: Net, args: Sequence[str]) -> str:
    """`-a`, `-n`, `-w`, names as `net.ipv4.tcp_sack` or with slashes, `NAME=VALUE`."""
    options = Options("sysctl", args, "anweqAXr:", _NAMES)
    words = list(options.args)
    if "a" in options:
        words = sorted(net.kernel.sysctl)
    if not words:
        raise ToolError("sysctl: no variables specified", 1)
    text = ""
    for word in words:
        name, equals, value = word.partition("=")
        name = name.strip().replace("/", ".")
        if equals or "w" in options:
            if not equals:
                raise ToolError(f'sysctl: "{word}" must be of the form name=value', 1, text)
            _write(net, name, value.strip(), text)
        for key in _matching(net, name):
            shown = _read(net, key, text)
            text += f"{shown}\n" if "n" in options else f"{key} = {shown}\n"
    return "" if "q" in options else text


def _matching(net: Net, name: str) -> list[str]:
    if not any(letter in name for letter in "*?["):
        return [name]
    return sorted(key for key in net.kernel.sysctl if fnmatchcase(key, name))


def _read(net: Net, name: str, before: str) -> str:
    try:
        return net.kernel.sysctl.read(name)
    except OSError as exc:
        path = "/proc/sys/" + name.replace(".", "/")
        raise ToolError(f"sysctl: cannot stat {path}: {exc.strerror}", 1, before) from None


def _write(net: Net, name: str, value: str, before: str) -> None:
    _read(net, name, before)
    try:
        net.kernel.sysctl.write(name, value)
    except OSError as exc:
        raise ToolError(f'sysctl: setting key "{name}": {exc.strerror}', 1, before) from None
