"""What a run of a script is configured with: defaults, then the script's `--name=value` lines.

The defaults are packetdrill's own, and those of the runner of the public scripts.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field, replace
from socket import AF_INET, AF_INET6
from typing import Any

from packetdrill.errors import ScriptSyntaxError, Unsupported
from pystack.transport.inetaddr import to_user
from pystack.transport.sock import Address

MS = 1_000_000
DEFINES_V4 = {
    "TFO_COOKIE": "3021b9d889017eeb",
    "CODE": "host_unreachable",
    "CMSG_LEVEL_IP": "SOL_IP",
    "CMSG_TYPE_RECVERR": "IP_RECVERR",
    "MSS": "1460",
}
DEFINES_V6 = {
    "TFO_COOKIE": "c1d1e9742a47a9bc",
    "CODE": "address_unreachable",
    "CMSG_LEVEL_IP": "SOL_IPV6",
    "CMSG_TYPE_RECVERR": "IPV6_RECVERR",
    "MSS": "1460",
}


@dataclass(frozen=True)
class Config:
    """`tolerance` in ns.  `mss`: size inbound data is cut to and merged again by GRO; 0: not.

    `version` is that of the packets; `mapped`: they are IPv4, and the sockets AF_INET6.
    """

    version: int = 4
    mapped: bool = False
    local: str = "192.168.0.1"
    remote: str = "192.0.2.1"
    prefix: int = 16
    mtu: int = 1500
    mss: int = 0
    bind_port: int = 8080
    connect_port: int = 8080
    tolerance: int = 4 * MS
    tolerance_percent: float = 12.5
    ts_tick_usecs: int = 0
    ts_ecr_scaled: bool = False
    strict_segments: bool = False
    verbose: bool = False
    non_fatal: frozenset[str] = frozenset()
    defines: dict[str, str] = field(default_factory=lambda: dict(DEFINES_V4))

    @property
    def local_ip(self) -> bytes:
        return ipaddress.ip_address(self.local).packed

    @property
    def remote_ip(self) -> bytes:
        return ipaddress.ip_address(self.remote).packed

    @property
    def ipv6_sockets(self) -> bool:
        return self.mapped or self.version == 6

    def socket_address(self, ip: bytes, port: int) -> Address:
        """As a system call takes it."""
        return to_user(AF_INET6 if self.ipv6_sockets else AF_INET, ip, port)

    @property
    def gateway(self) -> str:
        """Another address of the local network: the script's wire answers for it."""
        network = ipaddress.ip_interface(f"{self.local}/{self.prefix}").network
        last = network[-2]
        return str(last if str(last) != self.local else network[-3])


def default_config(ipv6: bool) -> Config:
    if not ipv6:
        return Config()
    return Config(
        version=6,
        local="fd3d:a0b:17d6::1",
        remote="fd3d:fa7b:d17d::1",
        prefix=48,
        mtu=1520,
        defines=dict(DEFINES_V6),
    )


_INTEGERS = {  # attribute, factor, range
    "bind_port": ("bind_port", 1, range(1 << 16)),
    "connect_port": ("connect_port", 1, range(1 << 16)),
    "mtu": ("mtu", 1, range(68, 1 << 16)),
    "mss": ("mss", 1, range(1 << 16)),
    "tolerance_usecs": ("tolerance", 1000, range(1 << 31)),
    "tcp_ts_tick_usecs": ("ts_tick_usecs", 1, range(1_000_001)),
}
_SWITCHES = {
    "tcp_ts_ecr_scaled": "ts_ecr_scaled",
    "strict_segments": "strict_segments",
    "verbose": "verbose",
}
_IGNORED = {"speed", "gateway_ip", "debug", "code_command", "code_format", "init_scripts"}
_TEXTS = {"local_ip": "local", "remote_ip": "remote"}


def configure(config: Config, options: tuple[tuple[str, str | None], ...]) -> Config:
    """`config` with a script's options; ScriptSyntaxError for a bad one."""
    for name, value in options:
        if name == "ip_version" and value is not None:
            config = _ip_version(config, value)
    for name, value in options:
        if name != "ip_version":
            config = replace(config, **_option(config, name, value))
    return config


def _ip_version(config: Config, value: str) -> Config:
    if value not in ("ipv4", "ipv4-mapped-ipv6", "ipv6"):
        raise ScriptSyntaxError(f"bad --ip_version: {value}", 1, "option")
    wanted = 6 if value == "ipv6" else 4
    if config.version != wanted:
        config = default_config(wanted == 6)
    return replace(config, mapped=value == "ipv4-mapped-ipv6")


def _option(config: Config, name: str, value: str | None) -> dict[str, Any]:
    if name in _SWITCHES and value is None:
        return {_SWITCHES[name]: True}
    if name in _IGNORED:
        return {}
    if value is None:
        raise ScriptSyntaxError(f"option --{name}: unknown, or lacks a value", 1, "option")
    try:
        if name in _INTEGERS:
            attribute, factor, allowed = _INTEGERS[name]
            if (number := int(value, 0)) not in allowed:
                raise ValueError(f"{value} is out of range")
            return {attribute: number * factor}
        if name in _TEXTS:
            address = ipaddress.ip_address(value.partition("/")[0])
            if address.version != config.version:
                raise Unsupported(f"--{name}={value} over IPv{config.version}", 1, f"--{name}")
            return {_TEXTS[name]: str(address)}
        if name == "netmask_ip" and config.version == 6:
            return {}
        if name == "netmask_ip":
            return {"prefix": ipaddress.ip_network(f"0.0.0.0/{value}").prefixlen}
        if name == "tolerance_percent":
            return {"tolerance_percent": float(value)}
    except ValueError as exc:
        raise ScriptSyntaxError(f"bad --{name}: {exc}", 1, "option") from None
    if name == "non_fatal":
        kinds = frozenset(value.replace(",", " ").split())
        if not kinds <= {"packet", "syscall"}:
            raise ScriptSyntaxError(f"bad --non_fatal: {value}", 1, "option")
        return {"non_fatal": kinds}
    if name == "define":
        symbol, _, meaning = value.partition("=")
        return {"defines": {**config.defines, symbol: meaning}}
    raise Unsupported(f"option --{name}", 1, f"option --{name}")
