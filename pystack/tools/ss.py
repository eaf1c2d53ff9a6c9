"""`ss`: the sockets of a namespace (`misc/ss.c` of iproute2 6.1)."""

from __future__ import annotations

import socket as so
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from pystack.tools import diag, ss_filter, ss_unix
from pystack.tools.diag import Entry, Files
from pystack.tools.names import ip_text, protocol_name, service
from pystack.tools.ss_info import details, memory, tcp_stats, timer
from pystack.tools.ss_summary import summary
from pystack.tools.tool import Net, Options, ToolError
from pystack.transport.tcp.sock import TcpSock
from pystack.transport.tcp.state import TcpState

_NAMES = {
    **{"all": "a", "listening": "l", "numeric": "n", "options": "o", "extended": "e"},
    **{"memory": "m", "processes": "p", "info": "i", "summary": "s", "ipv4": "4", "ipv6": "6"},
    **{"packet": "0", "tcp": "t", "udp": "u", "raw": "w", "unix": "x", "no-header": "H"},
    **{"oneline": "O", "no-queues": "Q", "resolve": "r", "family=": "f", "query=": "A"},
    **{"socket=": "A", "help": "h"},
}
_USAGE = (
    "Usage: ss [ -tuwx0ahlnoempisHOQ46 ] [ -A QUERY ] [ -f FAMILY ] [ state STATE ] [ FILTER ]\n"
)
_STATES = {
    TcpState.ESTABLISHED: "ESTAB",
    TcpState.FIN_WAIT1: "FIN-WAIT-1",
    TcpState.FIN_WAIT2: "FIN-WAIT-2",
    TcpState.CLOSE: "UNCONN",
}
_UNIX = ("u_str", "u_dgr", "u_seq")
_TABLES = {
    **{"tcp": ("tcp",), "udp": ("udp",), "raw": ("raw",), "inet": ("tcp", "udp", "raw")},
    **{"unix": _UNIX, "unix_stream": ("u_str",), "unix_dgram": ("u_dgr",)},
    **{"unix_seqpacket": ("u_seq",), "packet": ("p_raw", "p_dgr"), "packet_raw": ("p_raw",)},
    **{"packet_dgram": ("p_dgr",)},
}
_ORDER = ("p_raw", "p_dgr", *_UNIX, "raw", "udp", "tcp")
_TABLES["all"] = _ORDER
_FAMILIES = {
    **{"inet": (so.AF_INET,), "inet6": (so.AF_INET6,)},
    **{"link": (so.AF_PACKET,), "unix": (so.AF_UNIX,)},
}
_INET = ("tcp", "udp", "raw")


@dataclass
class Query:
    """What is asked for."""

    tables: tuple[str, ...]
    families: tuple[int, ...]
    states: frozenset[TcpState]
    test: ss_filter.Test

    def wants(self, entry: Entry) -> bool:
        if entry.netid not in self.tables or entry.family not in self.families:
            return False
        return entry.state in self.states and self.test(entry)


def _default_states(netid: str) -> frozenset[TcpState]:
    if netid in ("udp", "raw"):
        return frozenset({TcpState.ESTABLISHED})
    if netid in ("u_dgr", "p_raw", "p_dgr"):
        return frozenset({TcpState.CLOSE})
    return ss_filter.SS_CONN


def ss(net: Net, args: Sequence[str]) -> str:
    """The table; see `ss --help` for what is understood."""
    options = Options("ss", args, "tuwx0alnoempisHOQ46rhf:A:", _NAMES)
    if "h" in options:
        return _USAGE
    text = summary(net) if "s" in options else ""
    if text and not options.args and not options.any("tuwx0Aaf"):
        return text
    query = _query(net, options)
    files = Files(net)
    rows = [
        _cells(net, entry, options, files)
        for netid in _ORDER
        for entry in _entries(net, netid, files)
        if query.wants(entry)
    ]
    return text + _render(rows, query, options)


def _query(net: Net, options: Options) -> Query:
    tables = _tables(options)
    families: tuple[int, ...] = tuple(
        family for letter, family in (("4", so.AF_INET), ("6", so.AF_INET6)) if letter in options
    )
    for name in options.values("f"):
        if name not in _FAMILIES:
            raise ToolError(f'ss: "{name}" is invalid family', 255)
        families += _FAMILIES[name]
    usual: frozenset[TcpState] = frozenset().union(*map(_default_states, tables))
    if not tables:
        tables, usual = _ORDER, ss_filter.SS_CONN
        if families:
            tables = tuple(n for n in _ORDER if set(_families_of(n)) & set(families))
    if not families:
        families = tuple({family for netid in tables for family in _families_of(netid)})
    states, words = _states(options)
    test = ss_filter.expression(words, lambda name: _ifindex(net, name))
    return Query(tables, families, usual if states is None else states, test)


def _tables(options: Options) -> tuple[str, ...]:
    letters = {"t": "tcp", "u": "udp", "w": "raw", "x": "unix", "0": "packet"}
    chosen = [name for letter, name in letters.items() if letter in options]
    for query in options.values("A"):
        for name in query.split(","):
            if name not in _TABLES:
                raise ToolError(f'ss: "{name}" is illegal socket table id', 255)
            chosen.append(name)
    return tuple(netid for netid in _ORDER if any(netid in _TABLES[name] for name in chosen))


def _families_of(netid: str) -> tuple[int, ...]:
    if netid in _INET:
        return so.AF_INET, so.AF_INET6
    return (so.AF_PACKET,) if netid.startswith("p_") else (so.AF_UNIX,)


def _states(options: Options) -> tuple[frozenset[TcpState] | None, list[str]]:
    """The states asked for, and the words of the filter that follow."""
    chosen: frozenset[TcpState] | None = None
    if "l" in options:
        chosen = frozenset({TcpState.LISTEN, TcpState.CLOSE})
    if "a" in options:
        chosen = ss_filter.ALL
    words, named = list(options.args), False
    while len(words) > 1 and words[0] in ("state", "exclude", "excl"):
        states = ss_filter.states(words[1])
        if words[0] == "state":
            chosen = states | (chosen if named and chosen is not None else frozenset())
        else:
            chosen = (chosen if named and chosen is not None else ss_filter.ALL) - states
        words, named = words[2:], True
    return chosen, words


def _ifindex(net: Net, name: str) -> int:
    dev = net.core.devices.get(name)
    return 0 if dev is None else dev.ifindex


# -- rows ----------------------------------------------------------------------------------


def _entries(net: Net, netid: str, files: Files) -> Iterable[Entry]:
    """IPv4's before IPv6's, as two questions to the kernel give them."""
    sources: dict[str, Callable[[Net, Files], Iterator[Entry]]] = {
        **{"tcp": diag.tcp, "udp": diag.udp, "raw": diag.raw},
    }
    if netid in sources:
        return sorted(sources[netid](net, files), key=lambda entry: entry.family)
    source = ss_unix.packet if netid.startswith("p_") else ss_unix.unix
    return (entry for entry in source(net, files) if entry.netid == netid)


def _cells(net: Net, entry: Entry, options: Options, files: Files) -> list[str]:
    state = _STATES.get(entry.state, entry.state.name.replace("_", "-"))
    if entry.netid in _INET:
        local = _address(net, entry, options, ours=True)
        peer = _address(net, entry, options, ours=False)
    else:
        local, peer = ss_unix.addresses(net, entry, files)
    extra = _users(files, entry) if "p" in options else ""
    if entry.netid in _INET:
        extra += _inet_extra(net, entry, options)
    else:
        extra += ss_unix.extra(entry, "e" in options) + memory(entry.sk) * ("m" in options)
    queues = f"{entry.recvq:<6}", f"{entry.sendq:<6}"
    return [entry.netid, state, *queues, *local, *peer, extra]


def _address(net: Net, entry: Entry, options: Options, ours: bool) -> tuple[str, str]:
    address, port = (entry.laddr, entry.lport) if ours else (entry.raddr, entry.rport)
    if len(address) == 16:
        text = "*" if not any(address) and not entry.v6only else f"[{ip_text(address)}]"
    else:
        text = ip_text(address)
    if ours and entry.ifindex:
        text += f"%{_ifname(net, entry.ifindex)}"
    return text + ":", _port(port, entry.netid, "n" in options)


def _port(port: int, netid: str, numeric: bool) -> str:
    if not port:
        return "*"
    if numeric:
        return str(port)
    return protocol_name(port) if netid == "raw" else service(port, netid)


def _ifname(net: Net, index: int) -> str:
    names = [dev.name for dev in net.core.devices.values() if dev.ifindex == index]
    return names[0] if names else f"if{index}"


def _users(files: Files, entry: Entry) -> str:
    owners = files.owners(entry.sk)
    if not owners:
        return ""
    users = ",".join(f'("{p.name}",pid={p.pid},fd={fd})' for p, fd in owners)
    return f" users:({users})"


def _inet_extra(net: Net, entry: Entry, options: Options) -> str:
    text = timer(entry) if options.any("oe") else ""
    if "e" in options:
        text += details(entry)
    if "m" in options or ("i" in options and entry.netid != "udp"):
        text += " " if "O" in options else "\n\t"
        if "m" in options:
            text += memory(entry.sk)
        if "i" in options and isinstance(entry.sk, TcpSock):
            text += tcp_stats(entry.sk, options.any("oe"), "n" in options)
    return text


# -- the table -----------------------------------------------------------------------------

_HEADER = ("Netid", "State", "Recv-Q", "Send-Q", "Local Address:", "Port", "Peer Address:", "Port")
_RIGHT = {4, 6}


def _render(rows: list[list[str]], query: Query, options: Options) -> str:
    """Columns as wide as their contents, a blank before all but ports (`render_calc_width`)."""
    hidden = set()
    if len(query.tables) == 1:
        hidden.add(0)
    if len(query.states) == 1:
        hidden.add(1)
    if "Q" in options:
        hidden |= {2, 3}
    table = rows if "H" in options else [[*_HEADER, "Process"], *rows]
    shown = [at for at in range(len(_HEADER)) if at not in hidden]
    widths = {at: max((len(row[at]) for row in table), default=0) for at in shown}
    lines = []
    for row in table:
        line = ""
        for at in shown:
            cell = row[at].rjust(widths[at]) if at in _RIGHT else row[at].ljust(widths[at])
            line += cell if not line or at in (5, 7) else f" {cell}"
        extra = row[-1] if row[-1] != "Process" else " Process"
        lines.append("\n".join(part.rstrip() for part in (line + extra).split("\n")))
    return "".join(line + "\n" for line in lines)
