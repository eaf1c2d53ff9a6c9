"""Socket addresses: as Python programs write them, and as the kernel does (`Address`)."""

from __future__ import annotations

import errno
import os
import socket as so
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pystack.transport.sock import Address, os_error

UNIX_PATH_MAX = 108
NO_NAMES: Mapping[int, str] = {}


class Hosts:
    """Name resolution of a host: literals, "localhost", and a table (`/etc/hosts`)."""

    def __init__(self, table: Mapping[str, str] | None = None) -> None:
        names = {name: (address,) for name, address in (table or {}).items()}
        self._table = {"localhost": ("127.0.0.1", "::1"), **names}

    def lookup(self, family: int, host: str) -> list[tuple[int, bytes]]:
        """Families and addresses of `host`, of one family unless 0; `gaierror` if there are none.

        "localhost" is asked for without a family by programs that want one address: IPv4's.
        """
        found = []
        for text in self._table.get(host, (host,)):
            for kind in (so.AF_INET, so.AF_INET6):
                if family in (0, kind):
                    with suppress(OSError):
                        found.append((int(kind), so.inet_pton(kind, text)))
        if not found:
            raise so.gaierror(so.EAI_NONAME, "Name or service not known")
        return found[:1] if host == "localhost" else found

    def resolve(self, family: int, host: str) -> bytes:
        """The address of `host`; `gaierror` EAI_NONAME if it has none of this family."""
        if host == "":
            return bytes(16 if family == so.AF_INET6 else 4)
        if host == "<broadcast>" and family == so.AF_INET:
            return b"\xff\xff\xff\xff"
        return self.lookup(family, host)[0][1]


def to_kernel(family: int, address: object, hosts: Hosts, call: str) -> Address:
    """Check and convert with CPython's errors; `call` is named in them."""
    if family == so.AF_UNIX:
        return _unix_to_kernel(address)
    name = so.AddressFamily(family).name
    if not isinstance(address, tuple):
        kind = type(address).__name__
        raise TypeError(f"{call}(): {name} address must be tuple, not {kind}")
    most = 4 if family == so.AF_INET6 else 2
    if not 2 <= len(address) <= most:
        raise TypeError(f"{name} address must be a pair (host, port)")
    host, port = address[:2]
    if isinstance(host, (bytes, bytearray)):
        host = bytes(host).decode("ascii")
    if not isinstance(host, str):
        raise TypeError(f"str, bytes or bytearray expected, not {type(host).__name__}")
    if not isinstance(port, int):
        raise TypeError(f"'{type(port).__name__}' object cannot be interpreted as an integer")
    if not 0 <= port <= 0xFFFF:
        raise OverflowError(f"{call}(): port must be 0-65535.")
    ip = hosts.resolve(family, host)
    if family != so.AF_INET6:
        return ip, port
    flowinfo, scope_id = (*address[2:], 0, 0)[:2]
    if not 0 <= flowinfo <= 0xFFFFF:
        raise OverflowError(f"{call}(): flowinfo must be 0-1048575.")
    return ip, port, flowinfo, scope_id


def _unix_to_kernel(address: object) -> bytes:
    if isinstance(address, str):
        path = os.fsencode(address)
    elif isinstance(address, (bytes, bytearray, memoryview)):
        path = bytes(address)
    else:
        kind = type(address).__name__
        raise TypeError(f"a bytes-like object is required, not '{kind}'")
    if len(path) > UNIX_PATH_MAX or (len(path) == UNIX_PATH_MAX and path[0]):
        raise OSError("AF_UNIX path too long")
    return path


def packet_to_kernel(address: object, interfaces: Mapping[str, int], call: str) -> Address:
    """`(ifname, protocol[, pkttype[, hatype[, addr]]])`; ENODEV for an interface there is not."""
    if not isinstance(address, tuple):
        kind = type(address).__name__
        raise TypeError(f"{call}(): AF_PACKET address must be tuple, not {kind}")
    if not 2 <= len(address) <= 5:
        raise TypeError(f"{call}(): AF_PACKET address must be a tuple of two to five elements")
    rest: tuple[Any, ...] = (0, 0, b"")
    name, protocol, pkttype, hatype, mac = (*address, *rest[len(address) - 2 :])
    if not 0 <= protocol <= 0xFFFF:
        raise OverflowError(f"{call}(): proto argument must be 0-65535")
    if len(mac) > 8:
        raise ValueError("Hardware address must be 8 bytes or less")
    if name and name not in interfaces:
        raise os_error(errno.ENODEV)
    return interfaces.get(name, 0), protocol, pkttype, hatype, bytes(mac)


def from_kernel(family: int, address: Address, names: Mapping[int, str] = NO_NAMES) -> Any:
    """What a Python program is given: strings for IPs, paths and interfaces (`names`)."""
    if family == so.AF_INET6:
        ip, port, flowinfo, scope_id = address
        return so.inet_ntop(family, ip), port, flowinfo, scope_id
    if family == so.AF_PACKET:
        ifindex, protocol, pkttype, kind, mac = address
        return names.get(ifindex, ""), protocol, pkttype, kind, mac
    if family == so.AF_UNIX:
        return address if address[:1] == b"\0" else os.fsdecode(address)
    ip, port = address
    return so.inet_ntop(so.AF_INET, ip), port
