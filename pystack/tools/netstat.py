"""`netstat`: sockets, statistics, routes and devices (net-tools 2.10)."""

from __future__ import annotations

import socket as so
from collections.abc import Iterable, Sequence

from pystack.tools import diag, ss_unix
from pystack.tools.devices import IFF_LOOPBACK, IFF_MULTICAST, IFF_PROMISC, counters, flags
from pystack.tools.diag import Entry, Files
from pystack.tools.names import ip_text, protocol_name, service
from pystack.tools.netstat_s import statistics
from pystack.tools.route_table import netstat_routes
from pystack.tools.tool import Net, Options
from pystack.transport.tcp.state import TcpState

_NAMES = {
    **{"all": "a", "listening": "l", "numeric": "n", "program": "p", "programs": "p", "tcp": "t"},
    **{"udp": "u", "raw": "w", "unix": "x", "statistics": "s", "route": "r", "interfaces": "i"},
    **{"inet": "4", "inet6": "6", "wide": "W", "extend": "e"},
}
_STATES = {TcpState.FIN_WAIT1: "FIN_WAIT1", TcpState.FIN_WAIT2: "FIN_WAIT2"}
_ADDRESS_WIDTH = 23
_TITLES = {"a": "(servers and established)", "l": "(only servers)", "": "(w/o servers)"}
_UNIX_TYPES = {"u_str": "STREAM", "u_dgr": "DGRAM", "u_seq": "SEQPACKET"}
_UNIX_STATES = {TcpState.LISTEN: "LISTENING", TcpState.ESTABLISHED: "CONNECTED"}


def netstat(net: Net, args: Sequence[str]) -> str:
    options = Options("netstat", args, "alnptuwxsri46We", _NAMES)
    if "s" in options:
        return statistics(net, options)
    if "r" in options:
        return netstat_routes(net)
    if "i" in options:
        return _interfaces(net)
    which = "a" if "a" in options else "l" if "l" in options else ""
    files = Files(net)
    text = ""
    if options.any("tuw") or "x" not in options:
        text += _internet(net, options, which, files)
    if "x" in options or not options.any("tuw46"):
        text += _unix(net, options, which, files)
    return text


# -- sockets of the internet ---------------------------------------------------------------


def _internet(net: Net, options: Options, which: str, files: Files) -> str:
    columns = "Proto Recv-Q Send-Q Local Address           Foreign Address         State      "
    if "p" in options:
        columns += " PID/Program name    "
    lines = [f"Active Internet connections {_TITLES[which]}", columns]
    everything = not options.any("tuw")
    for letter, source in (("t", diag.tcp), ("u", diag.udp), ("w", diag.raw)):
        if letter in options or everything:
            for family in (so.AF_INET, so.AF_INET6):
                lines += _rows(source(net, files), family, options, which, files)
    return "".join(line.rstrip() + "\n" for line in lines)


def _rows(
    entries: Iterable[Entry], family: int, options: Options, which: str, files: Files
) -> list[str]:
    unwanted = {so.AF_INET: "6", so.AF_INET6: "4"}[so.AddressFamily(family)]
    if unwanted in options and not options.any({"4", "6"} - {unwanted}):
        return []
    return [
        _row(entry, options, files)
        for entry in entries
        if entry.family == family and _wanted(entry, which)
    ]


def _wanted(entry: Entry, which: str) -> bool:
    serves = entry.state is TcpState.LISTEN or (
        entry.netid != "tcp" and entry.state is TcpState.CLOSE
    )
    return which == "a" or serves == (which == "l")


def _row(entry: Entry, options: Options, files: Files) -> str:
    protocol = entry.netid + ("6" if entry.family == so.AF_INET6 else "")
    state = _STATES.get(entry.state, entry.state.name)
    if entry.netid == "udp" and entry.state is TcpState.CLOSE:
        state = ""
    if entry.netid == "raw":
        state = str(int(entry.state))
    sendq = 0 if entry.state is TcpState.LISTEN else entry.sendq
    wide = "W" in options
    local = _address(entry.laddr, entry.lport, entry.netid, "n" in options, wide)
    peer = _address(entry.raddr, entry.rport, entry.netid, "n" in options, wide)
    line = f"{protocol:<5} {entry.recvq:6} {sendq:6} {local} {peer} {state:<11}"
    return f"{line} {_program(files, entry):<20}" if "p" in options else line


def _address(address: bytes, port: int, protocol: str, numeric: bool, wide: bool) -> str:
    """Both in 23 columns, the address cut short if need be."""
    if not port:
        end = "*"
    elif numeric:
        end = str(port)
    else:
        end = protocol_name(port) if protocol == "raw" else service(port, protocol)
    host = ip_text(address)
    if not wide:
        host = host[: _ADDRESS_WIDTH - len(end) - 1]
    return f"{host}:{end}".ljust(_ADDRESS_WIDTH)


def _program(files: Files, entry: Entry) -> str:
    owners = files.owners(entry.sk)
    return f"{owners[0].process.pid}/{owners[0].process.name}" if owners else "-"


# -- AF_UNIX -------------------------------------------------------------------------------


def _unix(net: Net, options: Options, which: str, files: Files) -> str:
    columns = "Proto RefCnt Flags       Type       State         I-Node   "
    columns += "PID/Program name     Path" if "p" in options else "Path"
    lines = [f"Active UNIX domain sockets {_TITLES[which]}", columns]
    for entry in ss_unix.unix(net, files):
        listening = entry.state is TcpState.LISTEN
        if (which == "l" and not listening) or (
            not which and entry.state is not TcpState.ESTABLISHED
        ):
            continue
        references = 3 if entry.state is TcpState.ESTABLISHED else 2
        line = (
            f"{'unix':<5} {references:<6} {'[ ACC ]' if listening else '[ ]':<11} "
            f"{_UNIX_TYPES[entry.netid]:<10} {_UNIX_STATES.get(entry.state, ''):<13} "
            f"{entry.ino:<8} "
        )
        if "p" in options:
            line += f"{_program(files, entry):<20} "
        lines.append(line + (ss_unix.name_text(entry.laddr) if entry.laddr else ""))
    return "".join(line.rstrip() + "\n" for line in lines)


# -- devices -------------------------------------------------------------------------------


def _interfaces(net: Net) -> str:
    lines = [
        "Kernel Interface table",
        "Iface             MTU    RX-OK RX-ERR RX-DRP RX-OVR    TX-OK TX-ERR TX-DRP TX-OVR Flg",
    ]
    for dev in sorted(net.core.devices.values(), key=lambda dev: dev.name):
        if not dev.up:
            continue
        c, value = counters(net, dev), flags(dev)
        letters = "L" if value & IFF_LOOPBACK else "B"
        letters += "M" if value & IFF_MULTICAST else ""
        letters += "P" if value & IFF_PROMISC else ""
        dropped = c.rx_dropped + c.rx_missed
        lines.append(
            f"{dev.name:<15} {dev.mtu:5} {c.rx_packets:8} {c.rx_errors:6} {dropped:6} "
            f"{c.rx_fifo:<6} {c.tx_packets:8} {c.tx_errors:6} {c.tx_dropped:6} {c.tx_fifo:6} "
            f"{letters}RU"
        )
    return "".join(line + "\n" for line in lines)
