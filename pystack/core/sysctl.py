"""sysctl: Linux's names with Linux's defaults; an unknown name is an error."""

from __future__ import annotations

from collections.abc import Iterator

DEFAULTS: dict[str, int | tuple[int, ...]] = {
    "net.core.netdev_budget": 300,
    "net.core.netdev_budget_usecs": 2000,
    "net.core.netdev_max_backlog": 1000,
    "net.core.somaxconn": 4096,
    "net.core.rmem_max": 212992,
    "net.core.wmem_max": 212992,
    "net.ipv4.ip_default_ttl": 64,
    "net.ipv4.ip_local_port_range": (32768, 60999),
    "net.ipv4.tcp_rmem": (4096, 131072, 6291456),
    "net.ipv4.tcp_wmem": (4096, 16384, 4194304),
    "net.ipv4.tcp_window_scaling": 1,
    "net.ipv4.tcp_timestamps": 1,
    "net.ipv4.tcp_sack": 1,
    "net.ipv4.tcp_syn_retries": 6,
    "net.ipv4.tcp_synack_retries": 5,
    "net.ipv4.tcp_retries1": 3,
    "net.ipv4.tcp_retries2": 15,
    "net.ipv4.tcp_orphan_retries": 0,
    "net.ipv4.tcp_fin_timeout": 60,
    "net.ipv4.tcp_keepalive_time": 7200,
    "net.ipv4.tcp_keepalive_intvl": 75,
    "net.ipv4.tcp_keepalive_probes": 9,
    "net.ipv4.tcp_max_syn_backlog": 512,
    "net.ipv4.tcp_abort_on_overflow": 0,
    "net.ipv4.tcp_adv_win_scale": 1,
    "net.ipv4.neigh.default.unres_qlen": 101,
    "net.ipv4.neigh.default.base_reachable_time_ms": 30000,
    "net.ipv4.neigh.default.retrans_time_ms": 1000,
    "net.ipv4.neigh.default.mcast_solicit": 3,
    "net.ipv4.neigh.default.ucast_solicit": 3,
    "net.ipv4.neigh.default.delay_first_probe_time": 5,
    "net.ipv4.neigh.default.gc_thresh3": 1024,
}


class Sysctl(dict[str, int]):
    """A host's settings.  An int is looked up at a dict's speed; what Linux has as a vector of
    ints is had from `vector`."""

    def __init__(self) -> None:
        super().__init__({k: v for k, v in DEFAULTS.items() if isinstance(v, int)})
        self._vectors = {k: v for k, v in DEFAULTS.items() if isinstance(v, tuple)}

    def __missing__(self, name: str) -> int:
        if name in self._vectors:
            raise TypeError(f"sysctl {name} is a vector; use vector()")
        raise KeyError(f"unknown sysctl {name}")

    def vector(self, name: str) -> tuple[int, ...]:
        if name in self._vectors:
            return self._vectors[name]
        raise TypeError(f"sysctl {name} is a single value: {self[name]}")

    def __setitem__(self, name: str, value: int | tuple[int, ...]) -> None:
        old = self._vectors[name] if name in self._vectors else self[name]
        if isinstance(old, tuple):
            if not isinstance(value, tuple) or len(old) != len(value):
                raise ValueError(f"sysctl {name}: {value!r} does not have the shape of {old!r}")
            self._vectors[name] = value
        elif isinstance(value, tuple):
            raise ValueError(f"sysctl {name}: {value!r} does not have the shape of {old!r}")
        else:
            super().__setitem__(name, value)

    def __iter__(self) -> Iterator[str]:
        yield from super().__iter__()
        yield from self._vectors
