"""Socket addresses: Python's `(host, port)` tuples and the kernel's `(ip bytes, port)`."""

from __future__ import annotations

import socket as so
from collections.abc import Mapping

from pystack.transport.sock import Address


class Hosts:
    """Name resolution of a host: literals, "localhost", and a table (`/etc/hosts`)."""

    def __init__(self, table: Mapping[str, str] | None = None) -> None:
        self._table = {"localhost": "127.0.0.1", **(table or {})}

    def resolve(self, family: int, host: str) -> bytes:
        """The address of `host`; `gaierror` EAI_NONAME if it has none of this family."""
        if host == "":
            return bytes(16 if family == so.AF_INET6 else 4)
        if host == "<broadcast>" and family == so.AF_INET:
            return b"\xff\xff\xff\xff"
        try:
            return so.inet_pton(family, self._table.get(host, host))
        except OSError:
            raise so.gaierror(so.EAI_NONAME, "Name or service not known") from None


def to_kernel(family: int, address: object, hosts: Hosts, call: str) -> Address:
    """Check and convert with CPython's errors; `call` is named in them."""
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
    return hosts.resolve(family, host), port


def from_kernel(family: int, address: Address) -> tuple[str, int] | tuple[str, int, int, int]:
    ip, port = address
    if family == so.AF_INET6:
        return so.inet_ntop(family, ip), port, 0, 0
    return so.inet_ntop(so.AF_INET, ip), port
