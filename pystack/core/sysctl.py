"""sysctl: Linux's names with Linux's defaults; an unknown name is an error."""

from __future__ import annotations

from collections.abc import Iterator

DEFAULTS: dict[str, int | str | tuple[int, ...]] = {
    "net.core.netdev_budget": 300,
    "net.core.netdev_budget_usecs": 2000,
    "net.core.netdev_max_backlog": 1000,
    "net.core.rps_sock_flow_entries": 0,
    "net.core.somaxconn": 4096,
    "net.core.rmem_default": 212992,
    "net.core.wmem_default": 212992,
    "net.core.rmem_max": 212992,
    "net.core.wmem_max": 212992,
    "net.ipv4.ip_default_ttl": 64,
    "net.ipv4.ip_forward_use_pmtu": 0,
    "net.ipv4.ipfrag_high_thresh": 4194304,
    "net.ipv4.ipfrag_max_dist": 64,
    "net.ipv4.ipfrag_time": 30,
    "net.ipv4.route.min_pmtu": 552,
    "net.ipv4.route.mtu_expires": 600,
    "net.ipv4.conf.all.forwarding": 0,
    "net.ipv4.conf.all.rp_filter": 0,
    "net.ipv4.conf.all.accept_local": 0,
    "net.ipv4.conf.all.route_localnet": 0,
    "net.ipv4.conf.default.forwarding": 0,
    "net.ipv4.conf.default.rp_filter": 0,
    "net.ipv4.conf.default.accept_local": 0,
    "net.ipv4.conf.default.route_localnet": 0,
    "net.ipv4.ip_local_port_range": (32768, 60999),
    "net.ipv4.ip_nonlocal_bind": 0,
    "net.ipv4.ip_unprivileged_port_start": 1024,
    "net.ipv4.ping_group_range": (1, 0),
    "net.ipv4.tcp_rmem": (4096, 131072, 6291456),
    "net.ipv4.tcp_wmem": (4096, 16384, 4194304),
    "net.ipv4.tcp_window_scaling": 1,
    "net.ipv4.tcp_timestamps": 1,
    "net.ipv4.tcp_sack": 1,
    "net.ipv4.tcp_syn_retries": 6,
    "net.ipv4.tcp_syn_linear_timeouts": 4,
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
    "net.ipv4.tcp_rfc1337": 0,
    "net.ipv4.tcp_moderate_rcvbuf": 1,
    "net.ipv4.tcp_adv_win_scale": 1,
    "net.ipv4.tcp_dsack": 1,
    "net.ipv4.tcp_frto": 2,
    "net.ipv4.tcp_early_retrans": 3,
    "net.ipv4.tcp_recovery": 1,
    "net.ipv4.tcp_reordering": 3,
    "net.ipv4.tcp_max_reordering": 300,
    "net.ipv4.tcp_tso_rtt_log": 9,
    "net.ipv4.tcp_notsent_lowat": 0xFFFFFFFF,
    "net.ipv4.tcp_available_congestion_control": "reno cubic",
    "net.ipv4.tcp_allowed_congestion_control": "reno cubic",
    "net.ipv4.tcp_congestion_control": "cubic",
    "net.ipv4.tcp_slow_start_after_idle": 1,
    "net.ipv4.tcp_pacing_ss_ratio": 200,
    "net.ipv4.tcp_pacing_ca_ratio": 120,
    "net.ipv4.tcp_tso_win_divisor": 3,
    "net.ipv4.tcp_min_tso_segs": 2,
    "net.ipv4.tcp_ecn": 2,
    "net.ipv4.tcp_ecn_fallback": 1,
    "net.ipv4.tcp_syncookies": 1,
    "tcp_cubic.hystart": 1,
    "tcp_cubic.hystart_detect": 3,
    "net.ipv4.neigh.default.unres_qlen": 101,
    "net.ipv4.neigh.default.base_reachable_time_ms": 30000,
    "net.ipv4.neigh.default.retrans_time_ms": 1000,
    "net.ipv4.neigh.default.mcast_solicit": 3,
    "net.ipv4.neigh.default.ucast_solicit": 3,
    "net.ipv4.neigh.default.delay_first_probe_time": 5,
    "net.ipv4.neigh.default.gc_thresh3": 1024,
    "net.netfilter.nf_conntrack_max": 262144,
    "net.netfilter.nf_conntrack_acct": 0,
    "net.netfilter.nf_conntrack_checksum": 1,
    "net.netfilter.nf_conntrack_generic_timeout": 600,
    "net.netfilter.nf_conntrack_icmp_timeout": 30,
    "net.netfilter.nf_conntrack_icmpv6_timeout": 30,
    "net.netfilter.nf_conntrack_udp_timeout": 30,
    "net.netfilter.nf_conntrack_udp_timeout_stream": 120,
    "net.netfilter.nf_conntrack_tcp_be_liberal": 0,
    "net.netfilter.nf_conntrack_tcp_ignore_invalid_rst": 0,
    "net.netfilter.nf_conntrack_tcp_loose": 1,
    "net.netfilter.nf_conntrack_tcp_max_retrans": 3,
    "net.netfilter.nf_conntrack_tcp_timeout_syn_sent": 120,
    "net.netfilter.nf_conntrack_tcp_timeout_syn_recv": 60,
    "net.netfilter.nf_conntrack_tcp_timeout_established": 432000,
    "net.netfilter.nf_conntrack_tcp_timeout_fin_wait": 120,
    "net.netfilter.nf_conntrack_tcp_timeout_close_wait": 60,
    "net.netfilter.nf_conntrack_tcp_timeout_last_ack": 30,
    "net.netfilter.nf_conntrack_tcp_timeout_time_wait": 120,
    "net.netfilter.nf_conntrack_tcp_timeout_close": 10,
    "net.netfilter.nf_conntrack_tcp_timeout_max_retrans": 300,
    "net.netfilter.nf_conntrack_tcp_timeout_unacknowledged": 300,
    "net.ipv6.bindv6only": 0,
    "net.ipv6.max_hbh_opts_number": 8,
    "net.ipv6.max_dst_opts_number": 8,
    "net.ipv6.ip6frag_high_thresh": 4194304,
    "net.ipv6.ip6frag_time": 60,
    "net.ipv6.mld_qrv": 2,
    "net.ipv6.icmp.ratelimit": 1000,
    "net.ipv6.route.mtu_expires": 600,
    "net.ipv6.conf.all.forwarding": 0,
    "net.ipv6.conf.default.accept_dad": 1,
    "net.ipv6.conf.default.accept_ra": 1,
    "net.ipv6.conf.default.autoconf": 1,
    "net.ipv6.conf.default.dad_transmits": 1,
    "net.ipv6.conf.default.hop_limit": 64,
    "net.ipv6.conf.default.router_solicitations": -1,
    "net.ipv6.conf.default.router_solicitation_delay": 1,
    "net.ipv6.conf.default.router_solicitation_interval": 4,
    "net.ipv6.neigh.default.unres_qlen": 101,
    "net.ipv6.neigh.default.base_reachable_time_ms": 30000,
    "net.ipv6.neigh.default.retrans_time_ms": 1000,
    "net.ipv6.neigh.default.mcast_solicit": 3,
    "net.ipv6.neigh.default.ucast_solicit": 3,
    "net.ipv6.neigh.default.delay_first_probe_time": 5,
    "net.ipv6.neigh.default.gc_thresh3": 1024,
}


class Sysctl(dict[str, int]):
    """A host's settings.  An int is looked up at a dict's speed; what Linux has as a vector of
    ints is had from `vector`, a name from `text`."""

    def __init__(self) -> None:
        super().__init__({k: v for k, v in DEFAULTS.items() if isinstance(v, int)})
        self._vectors = {k: v for k, v in DEFAULTS.items() if isinstance(v, tuple)}
        self._texts = {k: v for k, v in DEFAULTS.items() if isinstance(v, str)}

    def add_device(self, prefix: str, dev: str) -> None:
        """A new device gets its own copy of the settings under `prefix`.default."""
        start = f"{prefix}.default."
        for name in [name for name in self.keys() if name.startswith(start)]:
            super().__setitem__(f"{prefix}.{dev}.{name.removeprefix(start)}", self[name])

    def __missing__(self, name: str) -> int:
        if name in self._vectors:
            raise TypeError(f"sysctl {name} is a vector; use vector()")
        if name in self._texts:
            raise TypeError(f"sysctl {name} is a text; use text()")
        raise KeyError(f"unknown sysctl {name}")

    def vector(self, name: str) -> tuple[int, ...]:
        if name in self._vectors:
            return self._vectors[name]
        raise TypeError(f"sysctl {name} is a single value: {self[name]}")

    def text(self, name: str) -> str:
        if name in self._texts:
            return self._texts[name]
        raise TypeError(f"sysctl {name} is a number: {self[name]}")

    def __setitem__(self, name: str, value: int | tuple[int, ...] | str) -> None:
        if name in self._texts:
            self._set_text(name, value)
        elif name in self._vectors and isinstance(value, tuple):
            if len(value) != len(self._vectors[name]):
                raise self._misfit(name, value)
            self._vectors[name] = value
        elif name in self and isinstance(value, int):
            super().__setitem__(name, value)
        elif name in DEFAULTS:
            raise self._misfit(name, value)
        else:
            raise KeyError(f"unknown sysctl {name}")

    def _set_text(self, name: str, value: object) -> None:
        """Names of congestion controls: of those there are."""
        available = self._texts["net.ipv4.tcp_available_congestion_control"].split()
        if not isinstance(value, str) or not set(value.split()) <= set(available):
            raise ValueError(f"sysctl {name}: {value!r} is not among {' '.join(available)}")
        self._texts[name] = value

    def _misfit(self, name: str, value: object) -> ValueError:
        return ValueError(f"sysctl {name}: {value!r} does not have the shape of {DEFAULTS[name]!r}")

    def __iter__(self) -> Iterator[str]:
        yield from super().__iter__()
        yield from self._vectors
        yield from self._texts
