"""`ip route` (`ip/iproute.c`)."""

from __future__ import annotations

import ipaddress
import socket as so
from collections.abc import Iterable

from pystack.net.fib import FibEntry, RouteType, os_error
from pystack.net.route6 import ROUTE_METRIC
from pystack.tools.ip_words import (
    IpOptions,
    address,
    command,
    explained,
    find_device,
    number,
    pairs,
    prefix,
)
from pystack.tools.tool import Net, ToolError, in_task

_KINDS = {kind.name.lower(): kind for kind in RouteType}
_METRICS = ("mtu", "advmss", "initcwnd", "initrwnd", "rto_min", "quickack", "window")
_ADDRCONF_METRIC = 256


def route(net: Net, options: IpOptions, words: list[str]) -> str:
    """`show [table T] [dev DEV]`, `get IP`, `add|replace|del [KIND] PREFIX via GW dev DEV ...`."""
    names = ("show", "list", "lst", "add", "replace", "change", "del", "delete", "get")
    action = command(words, names, "route")
    six = options.family == 6
    if action == "show":
        return _show(net, words, six)
    if action == "get":
        return _get(net, words)
    _change(net, action, words, six)
    return ""


# -- showing -------------------------------------------------------------------------------


def _show(net: Net, words: list[str], six: bool) -> str:
    given = pairs(words, ("table", "dev", "type", "via"))
    table = given.get("table", "main")
    if table not in ("main", "local", "default", "all", "254", "255"):
        raise ToolError(f'Error: argument "{table}" is wrong: table id value is invalid', 255)
    entries: list[FibEntry] = []
    if six and table in ("main", "254", "all"):
        entries = list(net.ipv6.routing.fib)
    elif not six:
        entries += net.ipv4.main if table in ("main", "254", "all") else ()
        entries += net.ipv4.local if table in ("local", "255", "all") else ()
    chosen = [entry for entry in entries if given.get("dev", entry.dev.name) == entry.dev.name]
    lines = (_line(entry, six, "dev" in given) for entry in _ordered(chosen))
    return "".join(lines)


def _ordered(entries: Iterable[FibEntry]) -> list[FibEntry]:
    """By address; the default route first in IPv4, last in IPv6."""
    return sorted(
        entries,
        key=lambda e: (
            e.network.version == 6 and not e.network.prefixlen,
            int(e.network.network_address),
            e.network.prefixlen,
            e.metric,
        ),
    )


def _line(entry: FibEntry, six: bool, device_known: bool) -> str:
    network = entry.network
    kind = "" if entry.kind is RouteType.UNICAST else f"{entry.kind.name.lower()} "
    text = f"{kind}{_destination(network)} "
    if entry.gateway:
        text += f"via {_ip(entry.gateway)} "
    real = entry.kind in (RouteType.UNICAST, RouteType.LOCAL, RouteType.BROADCAST)
    if (real and not device_known) or (six and not real):
        text += f"dev {entry.dev.name} "
    if entry.kernel or (six and entry.metric == _ADDRCONF_METRIC):
        text += "proto kernel "
    if not six and entry.kernel:
        text += f"scope {'host' if entry.kind is RouteType.LOCAL else 'link'} "
    elif not six and real and not entry.gateway:
        text += "scope link "
    if entry.saddr:
        text += f"src {_ip(entry.saddr)} "
    if entry.metric:
        text += f"metric {entry.metric} "
    text += "".join(f"{name} {value} " for name, value in entry.metrics.items())
    return (text + "pref medium" if six else text) + "\n"


def _destination(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> str:
    if not network.prefixlen:
        return "default"
    full = network.prefixlen == network.max_prefixlen
    return str(network.network_address) if full else str(network)


def _ip(packed: bytes) -> str:
    return so.inet_ntop(so.AF_INET if len(packed) == 4 else so.AF_INET6, packed)


def _get(net: Net, words: list[str]) -> str:
    if not words:
        raise ToolError("need at least a destination address", 2)
    daddr = address(words[0])
    given = pairs(words[1:], ("from", "oif", "dev", "mark"))
    dev = given.get("oif", given.get("dev"))
    oif = find_device(net, dev).ifindex if dev else 0
    source = address(given["from"]) if "from" in given else b""
    inet = net.inets[len(daddr)]
    way = inet.route(daddr, source, oif=oif, mark=int(given.get("mark", "0"), 0))
    if way.error:
        raise os_error(way.error)
    kind = "" if way.kind is RouteType.UNICAST else f"{way.kind.name.lower()} "
    text = f"{kind}{_ip(daddr)} "
    if way.gateway:
        text += f"via {_ip(way.gateway)} "
    text += f"dev {way.dev.name} "
    if way.saddr:
        text += f"src {_ip(way.saddr)} "
    text += "uid 0 " if len(daddr) == 4 else "metric 1024 pref medium"
    if len(daddr) == 16:
        return text + "\n"
    cache = "cache <local> " if way.kind is RouteType.LOCAL else "cache "
    path = way.path
    if path is not None and path.valid:
        cache += f"expires {(path.expires - net.kernel.now) // 10**9}sec mtu {path.mtu} "
    return f"{text}\n    {cache}\n"


# -- changing ------------------------------------------------------------------------------


def _change(net: Net, action: str, words: list[str], six: bool) -> None:
    kind = RouteType.UNICAST
    if words and words[0] in _KINDS:
        kind = _KINDS[words.pop(0)]
    if not words:
        raise ToolError('Command line is not complete. Try option "help"', 255)
    to = words.pop(0)
    given = pairs(words, ("via", "dev", "src", "metric", "proto", "scope", *_METRICS), ("onlink",))
    six = six or ":" in to or ":" in given.get("via", "")
    if to != "default":
        to = str(prefix(to).network)
    via = given.get("via", "")
    if via:
        address(via)
    dev = find_device(net, given["dev"]) if "dev" in given else None
    metric = number(given["metric"], "metric") if "metric" in given else None
    if action in ("del", "delete"):
        if six:
            in_task(net, net.ipv6.del_route, to, via)
        else:
            in_task(net, net.ipv4.del_route, to, via, metric, dev)
        return
    if six:
        metric = ROUTE_METRIC if metric is None else metric
        in_task(net, net.ipv6.add_route, to, via, metric, dev=dev, kind=kind)
        return
    how = {
        "dev": dev,
        "src": given.get("src", ""),
        "onlink": "onlink" in given,
        "kind": kind,
        "metrics": {name: number(given[name], name) for name in _METRICS if name in given},
    }
    change = net.ipv4.add_route if action == "add" else net.ipv4.replace_route
    with explained(ENETUNREACH="Nexthop has invalid gateway", EINVAL="Invalid prefsrc address"):
        in_task(net, change, to, via, metric or 0, **how)
