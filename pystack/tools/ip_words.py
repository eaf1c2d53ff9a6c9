"""How the words of an `ip` command are read, for all its objects."""

from __future__ import annotations

import errno
import ipaddress
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pystack.dev.netdev import NetDevice
from pystack.tools.tool import Net, ToolError

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


@dataclass(frozen=True)
class IpOptions:
    """`family` is 4, 6 or 0 for both."""

    statistics: int = 0
    brief: bool = False
    family: int = 0


def command(words: list[str], names: Sequence[str], what: str) -> str:
    """The command, which the first word may cut short; `show` without one.  It is taken."""
    if not words:
        return "show"
    for name in names:
        if name.startswith(words[0]):
            words.pop(0)
            return "show" if name in ("list", "lst") else name
    raise ToolError(f'Command "{words[0]}" is unknown, try "ip {what} help".', 255)


def device(net: Net, name: str) -> NetDevice:
    dev = net.core.devices.get(name)
    if dev is None:
        raise ToolError(f'Device "{name}" does not exist.')
    return dev


def find_device(net: Net, name: str) -> NetDevice:
    """As the commands that change something say it."""
    dev = net.core.devices.get(name)
    if dev is None:
        raise ToolError(f'Cannot find device "{name}"')
    return dev


def pairs(words: Sequence[str], names: Sequence[str], flags: Sequence[str] = ()) -> dict[str, str]:
    """`dev eth0 metric 5 onlink` as a dict; a word that is none of these is an error."""
    found: dict[str, str] = {}
    at = 0
    while at < len(words):
        word = words[at]
        if word in flags:
            found[word] = ""
            at += 1
        elif word in names:
            if at + 1 == len(words):
                raise ToolError('Command line is not complete. Try option "help"', 255)
            found[word] = words[at + 1]
            at += 2
        else:
            raise ToolError(f'Error: either "to" is duplicate, or "{word}" is a garbage.', 255)
    return found


@contextmanager
def explained(**sentences: str) -> Iterator[None]:
    """An errno, by its name, in the words the kernel has for it here (`extack`)."""
    try:
        yield
    except OSError as exc:
        name = errno.errorcode.get(exc.errno or 0, "")
        if name not in sentences:
            raise
        raise ToolError(f"Error: {sentences[name]}.", 2) from None


def number(text: str, what: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise ToolError(f'Error: argument "{text}" is wrong: Invalid "{what}" value', 255) from None


def prefix(text: str) -> Interface:
    try:
        return ipaddress.ip_interface(text)
    except ValueError:
        raise ToolError(f'Error: any valid prefix is expected rather than "{text}".') from None


def address(text: str) -> bytes:
    try:
        return ipaddress.ip_address(text).packed
    except ValueError:
        raise ToolError(f'Error: any valid prefix is expected rather than "{text}".') from None


def link_address(text: str) -> bytes:
    """02:00:00:00:00:01"""
    try:
        mac = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        mac = b""
    if len(mac) != 6:
        raise ToolError(f'"{text}" is invalid lladdr.', 255)
    return mac
