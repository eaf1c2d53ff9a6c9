"""How strace prints system calls: names for constants, strings, structures.

`arguments(call)` yields one argument after the other; what the kernel writes through a pointer
raises `Pending` as long as the call has not returned.  Formats are those of strace 6.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select as sel
import signal
import socket as so
import struct
import termios
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from pystack.transport.sock import Message
from pystack.uapi.signals import SigInfo
from pystack.uapi.table import SYSCALLS, UNRETURNED

STRING = 32  # bytes of a string that are shown, strace's -s
POINTER = "0x7fffffffe000"  # buffers of simulated programs have no address
RUNNING = object()


class Pending(Exception):
    """The next argument is known when the call returns."""


class Call:
    """One system call: its arguments by name, and its result, `RUNNING` until it has one."""

    def __init__(self, name: str, args: Sequence[Any]) -> None:
        self.name = name
        self.args = dict(zip(SYSCALLS.get(name, ()), args, strict=False))
        self.result: Any = RUNNING

    def __getitem__(self, name: str) -> Any:
        return self.args.get(name, 0)

    @property
    def failed(self) -> bool:
        return type(self.result) is int and self.result < 0

    def out(self, render: Callable[[Any], str], failed: str = POINTER) -> str:
        """What the call wrote."""
        if self.result is RUNNING:
            raise Pending
        return failed if self.failed or self.result == UNRETURNED else render(self.result)


def _names(module: Any, *prefixes: str) -> dict[int, str]:
    """The constants of a module by value, the first of each."""
    found: dict[int, str] = {}
    for name in dir(module):
        value = getattr(module, name)
        if name.startswith(prefixes) and isinstance(value, int) and "J1939" not in name:
            found.setdefault(int(value), name)
    return found


FAMILIES = _names(so, "AF_") | {1: "AF_UNIX", 17: "AF_PACKET"}
TYPES = {1: "SOCK_STREAM", 2: "SOCK_DGRAM", 3: "SOCK_RAW", 5: "SOCK_SEQPACKET"}
PROTOCOLS = _names(so, "IPPROTO_") | {0: "IPPROTO_IP"}
MSG = _names(so, "MSG_") | {0x4000: "MSG_NOSIGNAL", 0x40: "MSG_DONTWAIT"}
LEVELS = {1: "SOL_SOCKET", 0: "SOL_IP", 6: "SOL_TCP", 17: "SOL_UDP", 41: "SOL_IPV6"}
LEVELS |= {255: "SOL_RAW", 263: "SOL_PACKET"}
OPTIONS = {
    1: _names(so, "SO_"),
    0: _names(so, "IP_") | {10: "IP_MTU_DISCOVER", 11: "IP_RECVERR", 8: "IP_PKTINFO"},
    6: _names(so, "TCP_"),
    41: _names(so, "IPV6_"),
}
EPOLL = {v: n for v, n in _names(sel, "EPOLL").items() if n != "EPOLL_CLOEXEC"}
POLL = _names(sel, "POLL")
OPEN = {v: n for v, n in _names(os, "O_").items() if v and n not in ("O_NDELAY", "O_FSYNC")}
FCNTL = _names(fcntl, "F_DUPFD", "F_GETF", "F_SETF")
IOCTL = {termios.FIONBIO: "FIONBIO", termios.FIONREAD: "FIONREAD", termios.TIOCOUTQ: "TIOCOUTQ"}
IOCTL |= {0x5450: "FIONCLEX", 0x5451: "FIOCLEX", termios.TCGETS: "TCGETS"}
HOW = {0: "SHUT_RD", 1: "SHUT_WR", 2: "SHUT_RDWR"}
CTL = {1: "EPOLL_CTL_ADD", 2: "EPOLL_CTL_DEL", 3: "EPOLL_CTL_MOD"}


def one_of(names: dict[int, str], value: int, unknown: str = "") -> str:
    return names.get(value, f"{value:#x} /* {unknown} */" if unknown else str(value))


def flags(names: dict[int, str], value: int) -> str:
    """`A|B`; bits without a name as a number, 0 for none."""
    found, left = [], value
    for bit, name in sorted(names.items()):
        if bit > 0 and bit & (bit - 1) == 0 and left & bit:
            found.append(name)
            left &= ~bit
    if left:
        found.append(f"{left:#x}")
    return "|".join(found) or "0"


def string(data: Any, limit: int = STRING) -> str:
    """Quoted and escaped as in C, octal where there is no letter; cut at `limit` bytes."""
    raw = data.encode() if isinstance(data, str) else bytes(data[:limit])
    shown = raw[:limit]
    letters = {9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}
    text = ""
    for index, byte in enumerate(shown):
        if 32 <= byte < 127 and byte not in letters:
            text += chr(byte)
        elif byte in letters:
            text += letters[byte]
        else:
            digit_follows = index + 1 < len(shown) and 48 <= shown[index + 1] < 56
            text += f"\\{byte:03o}" if digit_follows else f"\\{byte:o}"
    return f'"{text}"' + ("..." if len(data) > limit else "")


def sockaddr(address: Any) -> str:
    """A kernel address: see `transport.sock.Address`."""
    if isinstance(address, bytes):
        if not address:
            return "{sa_family=AF_UNIX}"
        shown = "@" * (address[0] == 0) + string(address.lstrip(b"\0"), 108)
        return f"{{sa_family=AF_UNIX, sun_path={shown}}}"
    if len(address) == 4:
        ip, port, flowinfo, scope = address
        return (
            f"{{sa_family=AF_INET6, sin6_port=htons({port}), sin6_flowinfo=htonl({flowinfo}), "
            f'inet_pton(AF_INET6, "{so.inet_ntop(so.AF_INET6, ip)}", &sin6_addr), '
            f"sin6_scope_id={scope}}}"
        )
    if len(address) == 2:
        ip, port = address
        inet = so.inet_ntop(so.AF_INET, ip)
        return f'{{sa_family=AF_INET, sin_port=htons({port}), sin_addr=inet_addr("{inet}")}}'
    index, protocol = address[:2]
    return (
        f"{{sa_family=AF_PACKET, sll_protocol=htons({protocol:#x}), "
        f'sll_ifindex=if_nametoindex("{index}")}}'
    )


def address_length(address: Any) -> int:
    if isinstance(address, bytes):
        return 2 + len(address) + (1 if address and address[0] else 0)
    return {2: 16, 4: 28}.get(len(address), 20)


def timespec(ns: int) -> str:
    return f"{{tv_sec={ns // 10**9}, tv_nsec={ns % 10**9}}}"


def option_value(value: Any) -> str:
    if isinstance(value, int):
        return f"[{value}]"
    data = bytes(value)
    if len(data) == 4:
        return f"[{struct.unpack('=i', data)[0]}]"
    return string(data)


def epoll_event(event: tuple[int, Any]) -> str:
    events, data = event
    number = data if isinstance(data, int) else 0
    data_text = f"{{u32={number & 0xFFFFFFFF}, u64={number}}}"
    return f"{{events={flags(EPOLL, events)}, data={data_text}}}"


def fd_list(fds: Iterable[int]) -> str:
    found = " ".join(map(str, sorted(fds)))
    return f"[{found}]" if found else "NULL"


def returned(call: Call) -> str:
    """What stands behind the equals sign."""
    result = call.result
    if result is RUNNING or result == UNRETURNED:
        return "?"
    if call.failed:
        name = errno.errorcode.get(-result, str(-result))
        return f"-1 {name} ({os.strerror(-result)})"
    after = _AFTER.get(call.name)
    if after is not None:
        return after(call)
    if isinstance(result, Message):
        return str(max(len(result.data), result.length if call["flags"] & so.MSG_TRUNC else 0))
    if isinstance(result, bytes):
        return str(len(result))
    if isinstance(result, (list, tuple)):
        return str(result[0]) if call.name in ("accept4", "wait4") else str(len(result))
    return str(result) if isinstance(result, int) else "0"


def _poll_result(call: Call) -> str:
    fds = [(fd, events) for (fd, _), events in zip(call["fds"], call.result, strict=True) if events]
    if not fds:
        return "0 (Timeout)"
    shown = ", ".join(f"{{fd={fd}, revents={flags(POLL, events)}}}" for fd, events in fds)
    return f"{len(fds)} ([{shown}])"


def _select_result(call: Call) -> str:
    count = sum(map(len, call.result))
    if not count:
        return "0 (Timeout)"
    kinds = zip(("in", "out", "exc"), call.result, strict=True)
    return f"{count} ({', '.join(f'{kind} {fd_list(fds)}' for kind, fds in kinds if fds)})"


def _fcntl_result(call: Call) -> str:
    if call["cmd"] == fcntl.F_GETFL:
        access = ("O_RDONLY", "O_WRONLY", "O_RDWR")[call.result & 3]
        more = flags(OPEN, call.result & ~3)
        return f"{call.result:#x} (flags {access}{'' if more == '0' else '|' + more})"
    if call["cmd"] == fcntl.F_GETFD:
        return f"{call.result:#x} (flags FD_CLOEXEC)" if call.result else "0"
    return str(call.result)


_AFTER: dict[str, Callable[[Call], str]] = {
    "poll": _poll_result,
    "select": _select_result,
    "fcntl": _fcntl_result,
    "pipe2": lambda call: "0",
    "fstat": lambda call: "0",
    "prlimit64": lambda call: "0",
    "getrusage": lambda call: "0",
    "timerfd_gettime": lambda call: "0",
    "timerfd_settime": lambda call: "0",
    "rt_sigaction": lambda call: "0",
    "rt_sigprocmask": lambda call: "0",
    "clock_gettime": lambda call: "0",
    "getsockname": lambda call: "0",
    "getpeername": lambda call: "0",
    "getsockopt": lambda call: "0",
    "ioctl": lambda call: "0",
}


def siginfo(signum: int, info: SigInfo) -> str:
    """What strace shows of a `siginfo_t`."""
    fields = [f"si_signo={signal_name(signum)}", f"si_code={info.code}"]
    if info.pid:
        fields += [f"si_pid={info.pid}", f"si_uid={info.uid}"]
    if info.status is not None:
        status = info.status if info.code == "CLD_EXITED" else signal_name(info.status)
        fields += [f"si_status={status}", "si_utime=0", "si_stime=0"]
    return "{" + ", ".join(fields) + "}"


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRT_{number - 32}" if number >= 32 else str(number)


Arguments = Callable[[Call], Iterator[str]]
