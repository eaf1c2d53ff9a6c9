"""Expressions of system calls to values: symbols of Linux, flags, structures.

A value is an int, bytes, `WILD` for `...`, a list, or a dict for `{name=value}`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import termios
from collections.abc import Mapping
from functools import cache
from typing import Any

from packetdrill import script as ast
from packetdrill.errors import ScriptFailure

Value = Any

_PREFIXES = {
    socket: ("AF_", "PF_", "SOCK_", "SOL_", "SO_", "IPPROTO_", "IP_", "IPV6_", "MSG_", "TCP_"),
    os: ("O_",),
    fcntl: ("F_", "FD_"),
    select: ("POLL", "EPOLL"),
    errno: ("E",),
}
# What Python's modules lack (include/uapi/asm-generic/socket.h, linux/tcp.h and others).
_MORE = {
    "NULL": 0,
    "SHUT_RD": 0,
    "SHUT_WR": 1,
    "SHUT_RDWR": 2,
    "SOL_IP": 0,
    "SOL_TCP": 6,
    "SOL_UDP": 17,
    "SOL_IPV6": 41,
    "SIOCINQ": termios.FIONREAD,
    "FIONREAD": termios.FIONREAD,
    "FIONBIO": termios.FIONBIO,
    "SIOCOUTQ": termios.TIOCOUTQ,
    "SIOCATMARK": 0x8905,
    "SIOCOUTQNSD": 0x894B,
    "EPOLL_CTL_ADD": 1,
    "EPOLL_CTL_DEL": 2,
    "EPOLL_CTL_MOD": 3,
    "ENOTSUPP": 524,
    "SO_TIMESTAMP": 29,
    "SO_TIMESTAMPING": 37,
    "SO_RXQ_OVFL": 40,
    "SO_MAX_PACING_RATE": 47,
    "SO_MEMINFO": 55,
    "SO_ZEROCOPY": 60,
    "SO_TXTIME": 61,
    "SCM_TIMESTAMPING": 37,
    "SCM_TSTAMP_SND": 0,
    "SCM_TSTAMP_SCHED": 1,
    "SCM_TSTAMP_ACK": 2,
    "TCP_MD5SIG": 14,
    "TCP_COOKIE_TRANSACTIONS": 15,
    "TCP_THIN_LINEAR_TIMEOUTS": 16,
    "TCP_THIN_DUPACK": 17,
    "TCP_REPAIR": 19,
    "TCP_TIMESTAMP": 24,
    "TCP_CC_INFO": 26,
    "TCP_SAVE_SYN": 27,
    "TCP_SAVED_SYN": 28,
    "TCP_FASTOPEN_CONNECT": 30,
    "TCP_ULP": 31,
    "TCP_MD5SIG_EXT": 32,
    "TCP_FASTOPEN_KEY": 33,
    "TCP_FASTOPEN_NO_COOKIE": 34,
    "TCP_ZEROCOPY_RECEIVE": 35,
    "TCP_INQ": 36,
    "TCP_CM_INQ": 36,
    "TCP_TX_DELAY": 37,
    "MSG_ZEROCOPY": 0x4000000,
    "MSG_FASTOPEN": 0x20000000,
    "MSG_EOR": 0x80,
    "IP_TOS": 1,
    "IP_TTL": 2,
    "IP_MTU_DISCOVER": 10,
    "IP_RECVERR": 11,
    "IP_MTU": 14,
    "IP_FREEBIND": 15,
    "IP_PMTUDISC_DONT": 0,
    "IP_PMTUDISC_WANT": 1,
    "IP_PMTUDISC_DO": 2,
    "IP_PMTUDISC_PROBE": 3,
    "IPV6_RECVERR": 25,
    "SO_EE_ORIGIN_TIMESTAMPING": 4,
    "SO_EE_ORIGIN_ZEROCOPY": 5,
    "SO_EE_CODE_ZEROCOPY_COPIED": 1,
    "EPOLLNVAL": 32,
    "SOF_TIMESTAMPING_TX_HARDWARE": 1 << 0,
    "SOF_TIMESTAMPING_TX_SOFTWARE": 1 << 1,
    "SOF_TIMESTAMPING_RX_HARDWARE": 1 << 2,
    "SOF_TIMESTAMPING_RX_SOFTWARE": 1 << 3,
    "SOF_TIMESTAMPING_SOFTWARE": 1 << 4,
    "SOF_TIMESTAMPING_OPT_ID": 1 << 7,
    "SOF_TIMESTAMPING_TX_SCHED": 1 << 8,
    "SOF_TIMESTAMPING_TX_ACK": 1 << 9,
    "SOF_TIMESTAMPING_OPT_CMSG": 1 << 10,
    "SOF_TIMESTAMPING_OPT_TSONLY": 1 << 11,
}


@cache
def symbols() -> dict[str, int]:
    """Every constant by name."""
    found = {}
    for module, prefixes in _PREFIXES.items():
        for name in dir(module):
            value = getattr(module, name)
            if name.startswith(prefixes) and isinstance(value, int):
                found[name] = int(value)
    return {**found, **_MORE}


def symbol_of(value: int, prefix: str) -> str:
    """A name for a value, for messages: "EAGAIN"."""
    for name, number in symbols().items():
        if number == value and name.startswith(prefix):
            return name
    return str(value)


class Evaluator:
    """`defines`: symbols of the script."""

    def __init__(self, defines: Mapping[str, str]) -> None:
        self._defines = defines

    def value(self, expr: ast.Expr) -> Value:
        match expr:
            case int() | bytes() | ast.Wild():
                return expr
            case ast.Name(name):
                return self._name(name)
            case ast.Either(terms):
                result = 0
                for term in terms:
                    result |= self.integer(term)
                return result
            case ast.Array(items):
                return [self.value(item) for item in items]
            case ast.Struct(fields, values):
                if values:
                    return [self.value(item) for item in values]
                return {name: self.value(item) for name, item in fields.items()}
            case ast.Call(name, args):
                return self._call(name, args)

    def integer(self, expr: ast.Expr) -> int:
        value = self.value(expr)
        if not isinstance(value, int):
            raise ScriptFailure(f"expected an integer, not {value!r}", kind="argument")
        return value

    def integer_of(self, name: str) -> int:
        """The number of a symbol."""
        return self.integer(ast.Name(name))

    def _name(self, name: str) -> Value:
        text = self._defines.get(name)
        if text is None:
            number = symbols().get(name)
            if number is None:
                raise ScriptFailure(f"unknown symbol: {name!r}", kind="symbol")
            return number
        if text.startswith('"'):
            return text[1:-1].encode()
        try:
            return int(text, 0)
        except ValueError:
            if text == name:
                raise ScriptFailure(f"unknown symbol: {name!r}", kind="symbol") from None
            return self._name(text)

    def _call(self, name: str, args: tuple[ast.Expr, ...]) -> Value:
        values = [self.value(arg) for arg in args]
        if name == "htons" and len(values) == 1:
            return values[0]
        if name in ("inet_addr", "inet6_addr") and len(values) == 1:
            family = socket.AF_INET if name == "inet_addr" else socket.AF_INET6
            try:
                return socket.inet_pton(family, values[0].decode())
            except (OSError, AttributeError):
                raise ScriptFailure(f"bad address {values[0]!r}", kind="argument") from None
        raise ScriptFailure(f"unknown function {name}()", kind="argument")
