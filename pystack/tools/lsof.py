"""`lsof`: open files by process, `-i` those of the internet (lsof 4.95)."""

from __future__ import annotations

import os
import re
import socket as so
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from pystack.tools import diag, ss_unix
from pystack.tools.diag import Entry, Files
from pystack.tools.names import ip_text, port_of, service
from pystack.tools.tool import Net, Options, ToolError
from pystack.transport.tcp.state import TcpState
from pystack.uapi.diskfile import DiskFile
from pystack.uapi.epoll import Epoll
from pystack.uapi.eventfd import EventFd
from pystack.uapi.files import Console, File
from pystack.uapi.pipe import PipeEnd
from pystack.uapi.process import Process
from pystack.uapi.sockfile import SocketFile
from pystack.uapi.timerfd import TimerFd

_COMMAND = 9  # longest name of a program
_KINDS: tuple[tuple[type[File], str, str, str], ...] = (
    (Console, "CHR", "5,1", "/dev/console"),
    (PipeEnd, "FIFO", "0,14", "pipe"),
    (Epoll, "a_inode", "0,15", "[eventpoll]"),
    (EventFd, "a_inode", "0,15", "[eventfd]"),
    (TimerFd, "a_inode", "0,15", "[timerfd]"),
    (DiskFile, "REG", "254,0", "disk file"),
)
_MODES = {os.O_RDONLY: "r", os.O_WRONLY: "w", os.O_RDWR: "u"}
_STATES = {TcpState.FIN_WAIT1: "FIN_WAIT1", TcpState.FIN_WAIT2: "FIN_WAIT2"}
_UNIX = {"u_str": "STREAM", "u_dgr": "DGRAM", "u_seq": "SEQPACKET"}
_SPEC = re.compile(r"([46])?(tcp|udp)?(?:@([^:]*|\[[^]]*\]))?(?::(\S+))?", re.I)


def lsof(net: Net, args: Sequence[str]) -> str:
    """`-i[46][tcp|udp][@host][:port]`, `-p PID`, `-c NAME`, `-U`, `-a`, `-n`, `-P`, `-t`.

    As the real one, several conditions are alternatives unless `-a` is given.
    """
    options = Options("lsof", _optional_argument(args), "nPati:p:c:Uw", {})
    entries = _entries(net)
    wanted = _conditions(options)
    both = all if "a" in options else any
    rows = []
    for process in sorted(net.system.processes.values(), key=lambda process: process.pid):
        for fd, file in process.files:
            entry = entries.get(id(file.sk)) if isinstance(file, SocketFile) else None
            tests = [condition.fits(process, entry) for condition in wanted]
            if not tests or both(tests):
                rows.append(_row(process, fd, file, entry, options))
    if not rows:
        raise ToolError("", 1)
    if "t" in options:
        return "".join(f"{pid}\n" for pid in dict.fromkeys(row[1] for row in rows))
    return _render(rows)


def _optional_argument(args: Sequence[str]) -> list[str]:
    """`-i` may stand alone: what follows is its argument unless it is an option."""
    words: list[str] = []
    for at, word in enumerate(args):
        words.append(word)
        follows = args[at + 1] if at + 1 < len(args) else "-"
        bare = re.fullmatch(r"-[naPtwU]*i", word) is not None
        if bare and (follows.startswith("-") or not _SPEC.fullmatch(follows)):
            words.append("")
    return words


@dataclass
class Condition:
    """What one option asks for; None: it does not care."""

    pids: frozenset[int] | None = None
    command: str | None = None
    unix: bool = False
    internet: re.Match[str] | None = None

    def fits(self, process: Process, entry: Entry | None) -> bool:
        if self.pids is not None:
            return process.pid in self.pids
        if self.command is not None:
            return process.name.startswith(self.command)
        if self.unix:
            return entry is not None and entry.family == so.AF_UNIX
        assert self.internet is not None
        return entry is not None and _fits_internet(entry, self.internet)


def _conditions(options: Options) -> list[Condition]:
    found = []
    for value in options.values("p"):
        try:
            pids = frozenset(int(word) for word in value.split(","))
        except ValueError:
            raise ToolError(f"lsof: illegal process ID: {value}") from None
        found.append(Condition(pids=pids))
    found += [Condition(command=value) for value in options.values("c")]
    if "U" in options:
        found.append(Condition(unix=True))
    for value in options.values("i"):
        match = _SPEC.fullmatch(value)
        if match is None or (match[4] and _ports(match[4]) is None):
            raise ToolError(f"lsof: unacceptable Internet address: -i {value}")
        found.append(Condition(internet=match))
    return found


def _ports(text: str) -> list[tuple[int, int]] | None:
    """`80`, `80,443`, `8000-8010`, `http`; None for what is none."""
    found = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        low, high = port_of(first), port_of(last or first)
        if low is None or high is None:
            low = high = port_of(part)
        if low is None or high is None:
            return None
        found.append((low, high))
    return found


def _fits_internet(entry: Entry, spec: re.Match[str]) -> bool:
    version, protocol, host, ports = spec.groups()
    if entry.netid not in ("tcp", "udp"):
        return False
    if version and entry.family != (so.AF_INET if version == "4" else so.AF_INET6):
        return False
    if protocol and entry.netid != protocol.lower():
        return False
    if host:
        try:
            address = ip_address(host.strip("[]")).packed
        except ValueError:
            raise ToolError(f"lsof: unknown host name ({host})") from None
        if address not in (entry.laddr, entry.raddr):
            return False
    if not ports:
        return True
    ranges = _ports(ports) or []
    return any(low <= port <= high for low, high in ranges for port in (entry.lport, entry.rport))


def _entries(net: Net) -> dict[int, Entry]:
    """Of each socket, by the identity of it."""
    files = Files(net)
    sources = (diag.tcp, diag.udp, diag.raw, ss_unix.unix, ss_unix.packet)
    return {id(entry.sk): entry for source in sources for entry in source(net, files)}


def _row(
    process: Process, fd: int, file: File, entry: Entry | None, options: Options
) -> tuple[str, ...]:
    user = "root" if process.uid == 0 else str(process.uid)
    mode = _MODES[file.flags & os.O_ACCMODE]
    start = process.name[:_COMMAND], str(process.pid), user, f"{fd:>4}{mode} "
    if isinstance(file, SocketFile):
        return *start, *_socket(file, entry, options)
    kind, device, name = next(
        ((kind, device, name) for cls, kind, device, name in _KINDS if isinstance(file, cls)),
        ("unknown", "", type(file).__name__),
    )
    return *start, kind, device, "0t0", str(file.ino), name


def _socket(file: SocketFile, entry: Entry | None, options: Options) -> tuple[str, ...]:
    """TYPE, DEVICE, SIZE/OFF, NODE, NAME; a socket in no table is only that."""
    ino = str(file.ino)
    if entry is None:
        name = {so.IPPROTO_TCP: "TCP", so.IPPROTO_UDP: "UDP"}.get(file.sk.protocol, "?")
        return "sock", "0,8", "0t0", ino, f"protocol: {name}"
    if entry.family == so.AF_UNIX:
        state = " (LISTEN)" if entry.state is TcpState.LISTEN else " (CONNECTED)"
        state = "" if entry.state is TcpState.CLOSE else state
        path = f"{ss_unix.name_text(entry.laddr)} " if entry.laddr else ""
        return "unix", "0,8", "0t0", ino, f"{path}type={_UNIX[entry.netid]}{state}"
    if entry.family == so.AF_PACKET:
        return "pack", ino, "0t0", "ALL", f"type={'SOCK_' + entry.netid[2:].upper()}"
    kind = "IPv4" if entry.family == so.AF_INET else "IPv6"
    name = _end(entry.laddr, entry.lport, entry, options)
    if entry.rport:
        name += f"->{_end(entry.raddr, entry.rport, entry, options)}"
    if entry.netid == "tcp":
        name += f" ({_STATES.get(entry.state, entry.state.name)})"
    return kind, ino, "0t0", entry.netid.upper(), name


def _end(address: bytes, port: int, entry: Entry, options: Options) -> str:
    host = ip_text(address) if any(address) else "*"
    if ":" in host:
        host = f"[{host}]"
    return f"{host}:{port if 'P' in options else service(port, entry.netid)}"


def _render(rows: Sequence[tuple[str, ...]]) -> str:
    """COMMAND and NAME to the left, the others to the right; FD and TYPE are five wide."""
    header = ("COMMAND", "PID", "USER", "  FD  ", "TYPE", "DEVICE", "SIZE/OFF", "NODE", "NAME")
    table = [header, *rows]
    least = {3: 6, 4: 4}
    widths = [max(least.get(at, 0), *(len(row[at]) for row in table)) for at in range(8)]
    text = ""
    for row in table:
        cells = [row[0].ljust(widths[0])]
        cells += [row[at].rjust(widths[at]) for at in range(1, 8)]
        text += " ".join([*cells, row[8]]).rstrip() + "\n"
    return text
