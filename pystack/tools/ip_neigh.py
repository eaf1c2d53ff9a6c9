"""`ip neighbour` (`ip/ipneigh.c`)."""

from __future__ import annotations

import socket as so
from collections.abc import Iterator

from pystack.link.neighbour import Neighbour, NeighbourTable, NudState
from pystack.tools.ip_words import (
    IpOptions,
    address,
    command,
    find_device,
    link_address,
    pairs,
)
from pystack.tools.tool import Net, ToolError, in_task


def neighbour(net: Net, options: IpOptions, words: list[str]) -> str:
    """`show [dev DEV]`, `add|replace IP lladdr MAC dev DEV`, `del IP dev DEV`, `flush dev DEV`."""
    names = ("show", "list", "lst", "add", "replace", "change", "del", "delete", "flush")
    action = command(words, names, "neigh")
    if action == "show":
        given = pairs(words, ("dev",))
        return "".join(
            _line(neigh, options.statistics, net.kernel.now, "dev" in given)
            for table in _tables(net, options)
            for neigh in table.table.values()
            if given.get("dev", neigh.dev.name) == neigh.dev.name
        )
    if action == "flush":
        dev = find_device(net, pairs(words, ("dev",)).get("dev", ""))
        for table in _tables(net, options):
            in_task(net, table.flush, dev)
        return ""
    if not words:
        raise ToolError('Command line is not complete. Try option "help"', 255)
    ip, given = address(words[0]), pairs(words[1:], ("dev", "lladdr", "nud"))
    if "dev" not in given:
        raise ToolError("Device and destination are required arguments.", 255)
    dev = find_device(net, given["dev"])
    table = net.arp if len(ip) == 4 else net.ipv6.ndisc
    if action in ("del", "delete"):
        if not in_task(net, table.delete, dev, ip):
            raise ToolError("RTNETLINK answers: No such file or directory", 2)
        return ""
    if action == "add" and (dev.name, ip) in table.table:
        raise ToolError("RTNETLINK answers: File exists", 2)
    mac = link_address(given.get("lladdr", ""))
    in_task(net, table.set_permanent, dev, ip, mac)
    return ""


def _tables(net: Net, options: IpOptions) -> Iterator[NeighbourTable]:
    if options.family != 6:
        yield net.arp
    if options.family != 4:
        yield net.ipv6.ndisc


def _line(neigh: Neighbour, statistics: int, now: int, device_known: bool) -> str:
    family = so.AF_INET if len(neigh.ip) == 4 else so.AF_INET6
    text = f"{so.inet_ntop(family, neigh.ip)} "
    if not device_known:
        text += f"dev {neigh.dev.name} "
    if neigh.mac:
        text += f"lladdr {neigh.mac.hex(':')} "
    if neigh.is_router:
        text += "router "
    if statistics:
        used, confirmed = ((now - then) // 10**9 for then in (neigh.used, neigh.confirmed))
        text += f" used {used}/{confirmed}/{used}probes {neigh.probes} "
    waits = neigh.state is NudState.INCOMPLETE and not neigh.timer.pending
    return f"{text}{NudState.FAILED.value if waits else neigh.state.value} \n"
