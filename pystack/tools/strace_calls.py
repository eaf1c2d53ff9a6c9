"""The arguments of each system call as strace prints them."""

from __future__ import annotations

import fcntl
import os
import socket as so
import termios
from collections.abc import Callable, Iterator
from typing import Any

from pystack.tools import strace_format as fmt
from pystack.tools.strace_format import POINTER, Arguments, Call

PRINTED = {"select": "pselect6"}  # what glibc calls
_FORMATS: dict[str, Arguments] = {}


def arguments(call: Call) -> Iterator[str]:
    """One after the other; `Pending` at what the kernel has yet to write."""
    return _FORMATS.get(call.name, _plain)(call)


def _plain(call: Call) -> Iterator[str]:
    """Numbers as they are, anything else as its type."""
    for value in call.args.values():
        yield str(int(value)) if isinstance(value, int) else POINTER


def _shows(*names: str) -> Callable[[Arguments], Arguments]:
    def register(function: Arguments) -> Arguments:
        _FORMATS.update(dict.fromkeys(names, function))
        return function

    return register


def _open_flags(value: int) -> str:
    access = ("O_RDONLY", "O_WRONLY", "O_RDWR")[value & 3]
    more = fmt.flags(fmt.OPEN, value & ~3)
    return access if more == "0" else f"{access}|{more}"


@_shows("socket")
def _socket(call: Call) -> Iterator[str]:
    yield fmt.one_of(fmt.FAMILIES, call["domain"], "AF_???")
    kind = fmt.one_of(fmt.TYPES, call["type"] & 0xF)
    more = fmt.flags(
        {so.SOCK_CLOEXEC: "SOCK_CLOEXEC", so.SOCK_NONBLOCK: "SOCK_NONBLOCK"}, call["type"] & ~0xF
    )
    yield kind if more == "0" else f"{kind}|{more}"
    inet = call["domain"] in (so.AF_INET, so.AF_INET6)
    yield fmt.one_of(fmt.PROTOCOLS, call["protocol"]) if inet else str(call["protocol"])


@_shows("bind", "connect")
def _to_address(call: Call) -> Iterator[str]:
    yield str(call["fd"])
    yield fmt.sockaddr(call["address"])
    yield str(fmt.address_length(call["address"]))


@_shows("listen")
def _listen(call: Call) -> Iterator[str]:
    yield str(call["fd"])
    yield str(call["backlog"])


@_shows("accept4")
def _accept4(call: Call) -> Iterator[str]:
    yield str(call["fd"])
    yield call.out(lambda result: fmt.sockaddr(result[1]))
    yield call.out(lambda result: f"[{fmt.address_length(result[1])}]", "[16]")
    yield fmt.flags(
        {so.SOCK_CLOEXEC: "SOCK_CLOEXEC", so.SOCK_NONBLOCK: "SOCK_NONBLOCK"}, call["flags"]
    )


@_shows("getsockname", "getpeername")
def _get_address(call: Call) -> Iterator[str]:
    yield str(call["fd"])
    yield call.out(fmt.sockaddr)
    yield call.out(lambda result: f"[{fmt.address_length(result)}]", "[16]")


@_shows("sendto")
def _sendto(call: Call) -> Iterator[str]:
    yield str(call["fd"])
    yield fmt.string(call["data"])
    yield str(len(call["data"]))
    yield fmt.flags(fmt.MSG, call["flags"])
    address = call.args.get("address")
    yield "NULL" if address is None else fmt.sockaddr(address)
    yield "0" if address is None else str(fmt.address_length(address))


@_shows("recvfrom")
def _recvfrom(call: Call) -> Iterator[str]:
    yield str(call["fd"])
    yield call.out(lambda message: fmt.string(message.data))
    yield str(call["n"])
    yield fmt.flags(fmt.MSG, call["flags"])
    address = None if call.failed else call.result.address
    yield "NULL" if address is None else fmt.sockaddr(address)
    yield "NULL" if address is None else f"[128 => {fmt.address_length(address)}]"


def _msghdr(address: Any, data: list[bytes], lengths: list[int], control: Any) -> str:
    name = "NULL" if address is None else fmt.sockaddr(address)
    namelen = 0 if address is None else fmt.address_length(address)
    iov = ", ".join(
        f"{{iov_base={fmt.string(piece)}, iov_len={length}}}"
        for piece, length in zip(data, lengths, strict=True)
    )
    cmsgs = ", ".join(
        f"{{cmsg_len={16 + len(bytes(value))}, cmsg_level={fmt.one_of(fmt.LEVELS, level)}, "
        f"cmsg_type={kind:#x}}}"
        for level, kind, value in control
    )
    more = f", msg_control=[{cmsgs}], msg_controllen={24 * len(control)}" if control else ""
    more = more or ", msg_controllen=0"
    return (
        f"{{msg_name={name}, msg_namelen={namelen}, msg_iov=[{iov}], "
        f"msg_iovlen={len(data)}{more}, msg_flags=0}}"
    )


@_shows("sendmsg")
def _sendmsg(call: Call) -> Iterator[str]:
    yield str(call["fd"])
    data = [bytes(piece) for piece in call["buffers"]]
    control = call.args.get("control") or ()
    yield _msghdr(call.args.get("address"), data, [len(piece) for piece in data], control)
    yield fmt.flags(fmt.MSG, call["flags"])


@_shows("recvmsg")
def _recvmsg(call: Call) -> Iterator[str]:
    yield str(call["fd"])
    yield call.out(lambda m: _msghdr(m.address, [m.data], [call["n"]], m.control))
    yield fmt.flags(fmt.MSG, call["flags"])


@_shows("shutdown")
def _shutdown(call: Call) -> Iterator[str]:
    yield str(call["fd"])
    yield fmt.one_of(fmt.HOW, call["how"], "SHUT_???")


@_shows("setsockopt", "getsockopt")
def _sockopt(call: Call) -> Iterator[str]:
    yield str(call["fd"])
    yield fmt.one_of(fmt.LEVELS, call["level"], "SOL_???")
    yield fmt.one_of(fmt.OPTIONS.get(call["level"], {}), call["name"])
    if call.name == "setsockopt":
        yield fmt.option_value(call["value"])
        yield "4" if isinstance(call["value"], int) else str(len(call["value"]))
        return
    yield call.out(fmt.option_value)
    yield call.out(lambda result: "[4]" if isinstance(result, int) else f"[{len(result)}]", "[4]")


@_shows("read")
def _read(call: Call) -> Iterator[str]:
    yield str(call["fd"])
    yield call.out(fmt.string)
    yield str(call["count"])


@_shows("write")
def _write(call: Call) -> Iterator[str]:
    yield str(call["fd"])
    yield fmt.string(call["data"])
    yield str(len(call["data"]))


@_shows("openat")
def _openat(call: Call) -> Iterator[str]:
    yield "AT_FDCWD"
    yield fmt.string(call["path"], 4096)
    yield _open_flags(call["flags"])
    if call["flags"] & os.O_CREAT:
        yield f"{call['mode']:#o}".replace("0o", "0")


@_shows("fstat")
def _fstat(call: Call) -> Iterator[str]:
    yield str(call["fd"])
    yield call.out(lambda status: f"{{st_mode={status.st_mode:#o}, ...}}".replace("0o", "0"))


@_shows("lseek")
def _lseek(call: Call) -> Iterator[str]:
    yield str(call["fd"])
    yield str(call["offset"])
    yield fmt.one_of({0: "SEEK_SET", 1: "SEEK_CUR", 2: "SEEK_END"}, call["whence"])


@_shows("dup3")
def _dup3(call: Call) -> Iterator[str]:
    yield str(call["oldfd"])
    yield str(call["newfd"])
    yield fmt.flags(fmt.OPEN, call["flags"])


@_shows("fcntl")
def _fcntl(call: Call) -> Iterator[str]:
    yield str(call["fd"])
    command, argument = call["cmd"], call["arg"]
    yield fmt.one_of(fmt.FCNTL, command)
    if command == fcntl.F_SETFL:
        yield _open_flags(argument)
    elif command == fcntl.F_SETFD:
        yield "FD_CLOEXEC" if argument & fcntl.FD_CLOEXEC else "0"
    elif command not in (fcntl.F_GETFL, fcntl.F_GETFD):
        yield str(argument)


@_shows("ioctl")
def _ioctl(call: Call) -> Iterator[str]:
    yield str(call["fd"])
    yield fmt.one_of(fmt.IOCTL, call["request"], "???")
    if call["request"] == termios.FIONBIO:
        yield f"[{call['arg']}]"
    elif call["request"] in (termios.FIONREAD, termios.TIOCOUTQ):
        yield call.out(lambda result: f"[{result}]")


@_shows("pipe2")
def _pipe2(call: Call) -> Iterator[str]:
    yield call.out(lambda fds: f"[{fds[0]}, {fds[1]}]")
    yield fmt.flags(fmt.OPEN, call["flags"])


@_shows("poll")
def _poll(call: Call) -> Iterator[str]:
    shown = (f"{{fd={fd}, events={fmt.flags(fmt.POLL, mask)}}}" for fd, mask in call["fds"])
    yield f"[{', '.join(shown)}]"
    yield str(len(call["fds"]))
    yield str(call["timeout_ms"])


@_shows("select")
def _select(call: Call) -> Iterator[str]:
    sets = [call["readfds"], call["writefds"], call["exceptfds"]]
    yield str(max((fd + 1 for fds in sets for fd in fds), default=0))
    yield from map(fmt.fd_list, sets)
    timeout = call.args.get("timeout_us")
    yield "NULL" if timeout is None else fmt.timespec(timeout * 1000)
    yield "NULL"


@_shows("epoll_create1")
def _epoll_create1(call: Call) -> Iterator[str]:
    yield "EPOLL_CLOEXEC" if call["flags"] else "0"


@_shows("epoll_ctl")
def _epoll_ctl(call: Call) -> Iterator[str]:
    yield str(call["epfd"])
    yield fmt.one_of(fmt.CTL, call["op"], "EPOLL_CTL_???")
    yield str(call["fd"])
    yield fmt.epoll_event(call["event"]) if call["op"] != 2 and call["event"] else POINTER


@_shows("epoll_wait")
def _epoll_wait(call: Call) -> Iterator[str]:
    yield str(call["epfd"])
    yield call.out(lambda events: f"[{', '.join(map(fmt.epoll_event, events))}]")
    yield str(call["maxevents"])
    yield str(call["timeout_ms"])


@_shows("clock_nanosleep")
def _clock_nanosleep(call: Call) -> Iterator[str]:
    yield "CLOCK_MONOTONIC"
    yield "0"
    yield fmt.timespec(call["ns"])
    yield call.out(lambda result: "NULL", "NULL")


@_shows("kill")
def _kill(call: Call) -> Iterator[str]:
    yield str(call["pid"])
    yield fmt.signal_name(call["signum"])


@_shows("rt_sigaction")
def _rt_sigaction(call: Call) -> Iterator[str]:
    yield fmt.signal_name(call["signum"])
    yield "NULL" if not call["action"] else "{sa_handler=" + POINTER + "}"
    yield "NULL"
    yield "8"
