"""What one seed stands for: the wire, both hosts' settings, and what the two ends do.

Left out on purpose, since Linux itself would lose the connection: so few retries that a wire of
20 % loss gives up (`PATIENCE`), and `tcp_syncookies` = 2, where a lost first segment makes the
next one a wrong cookie, which is answered with RST.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Literal

from pystack.dev.wire import Impairment
from wire2app.netsim.net import QDISCS, SECOND, HostSettings

__all__ = ["ENDS", "Scenario", "Side", "draw"]

End = Literal["shutdown", "close", "reset", "unread"]
"""How a side ends: SHUT_WR and read to the end; close once all is written and read; the same with
SO_LINGER 0, so that a RST goes out; close with the peer's data unread, which also resets."""
ENDS: tuple[End, ...] = ("shutdown", "close", "reset", "unread")

PATIENCE = {
    "net.ipv4.tcp_syn_retries": 50,
    "net.ipv4.tcp_synack_retries": 50,
    "net.ipv4.tcp_retries2": 100,
    "net.ipv4.tcp_orphan_retries": 100,
}
_CHOICES: dict[str, tuple[Any, ...]] = {
    "net.ipv4.tcp_sack": (1, 1, 0),
    "net.ipv4.tcp_dsack": (1, 1, 0),
    "net.ipv4.tcp_timestamps": (1, 1, 0),
    "net.ipv4.tcp_window_scaling": (1, 1, 0),
    "net.ipv4.tcp_congestion_control": ("cubic", "reno"),
    "net.ipv4.tcp_ecn": (0, 1, 2),
    "net.ipv4.tcp_recovery": (1, 1, 0),
    "net.ipv4.tcp_early_retrans": (3, 3, 0),
    "net.ipv4.tcp_frto": (2, 2, 0),
    "net.ipv4.tcp_slow_start_after_idle": (1, 0),
    "net.ipv4.tcp_reordering": (3, 3, 10),
    "net.ipv4.tcp_adv_win_scale": (1, 1, 2, -2),
    "net.ipv4.tcp_notsent_lowat": (0xFFFFFFFF, 0xFFFFFFFF, 4096),
    "net.ipv4.tcp_rmem": ((4096, 131072, 6291456), (4096, 8192, 65536)),
    "net.ipv4.tcp_wmem": ((4096, 16384, 4194304), (4096, 4096, 16384)),
}
_AMOUNTS = ((0, 0), (1, 100), (100, 10_000), (100, 10_000), (10_000, 60_000))
_LARGE = (100_000, 400_000)
_SIZES = ((1460,), (65536,), (1, 100, 5000), (536, 20_000), (3000, 70_000))


@dataclass(frozen=True)
class Side:
    """`amount` bytes are sent.  `read_first`: nothing is, before the peer's bytes are there.

    `limit`: bytes read at most, by one that ends with some unread.  Buffers in bytes, 0: not set.
    """

    amount: int
    end: End
    read_first: bool
    limit: int | None
    style: Literal["threads", "poll"]
    writes: tuple[int, ...]
    reads: tuple[int, ...]
    pauses: tuple[int, ...]  # ns; one is drawn before each call
    sndbuf: int
    rcvbuf: int
    nodelay: bool


@dataclass(frozen=True)
class Scenario:
    seed: int
    impairment: Impairment
    rate: int  # bit/s
    delay: int  # ns, one way
    hosts: tuple[HostSettings, HostSettings]  # of the server, of the client
    sides: tuple[Side, Side]


def draw(seed: int) -> Scenario:
    rng = random.Random(f"netsim/{seed}")
    impairment = Impairment(
        loss=rng.choice((0, 0.01, 0.05, 0.1, 0.2, rng.random() * 0.2)),
        duplicate=rng.choice((0, 0, 0.02, 0.1)),
        reorder=rng.choice((0, 0, 0.05, 0.2)),
        corrupt=rng.choice((0, 0, 0.01, 0.05)),
        hold=rng.choice((20_000, 200_000, 2_000_000, 50_000_000)),
    )
    rate = rng.choice((10**6, 10**7, 10**8, 10**9, 10**10))
    delay = rng.choice((500, 100_000, 5_000_000, 20_000_000, 100_000_000))
    hosts = _host(rng), _host(rng)
    return Scenario(seed, impairment, rate, delay, hosts, _sides(rng))


def _host(rng: random.Random) -> HostSettings:
    sysctl = PATIENCE | {name: rng.choice(values) for name, values in _CHOICES.items()}
    return HostSettings(
        sysctl,
        cpus=rng.choice((1, 1, 2)),
        gro=rng.random() < 0.7,
        qdisc=rng.choice(list(QDISCS)),
        mtu=rng.choice((576, 1500, 1500, 9000)),
    )


def _sides(rng: random.Random) -> tuple[Side, Side]:
    """At most one side waits for the other's bytes, and at most one ends by force."""
    amounts = [_amount(rng), _amount(rng)]
    ends: list[End] = [rng.choice(ENDS[:2]), rng.choice(ENDS[:2])]
    first = rng.choice((None, 0, 1))
    limits: list[int | None] = [None, None]
    if rng.random() < 0.15:
        forced = rng.randrange(2)
        ends[forced] = end = rng.choice(ENDS[2:])
        ends[1 - forced] = "shutdown"
        # One who has read something knows that the handshake is over at both ends.
        amounts[1 - forced] = peer = max(amounts[1 - forced], 2)
        limits[forced] = rng.randint(1, peer - 1) if end == "unread" else None
    both = [
        _side(rng, amounts[n], amounts[1 - n], ends[n], n == first, limits[n]) for n in range(2)
    ]
    return both[0], both[1]


def _amount(rng: random.Random) -> int:
    return rng.randint(*(_LARGE if rng.random() < 0.03 else rng.choice(_AMOUNTS)))


def _side(
    rng: random.Random,
    amount: int,
    awaited: int,
    end: End,
    read_first: bool,
    limit: int | None,
) -> Side:
    return Side(
        amount,
        end,
        read_first,
        limit,
        style=rng.choice(("threads", "poll")),
        writes=_sizes(rng, amount),
        reads=_sizes(rng, awaited),
        pauses=rng.choice(((0,), (0,), (0,) * 20 + (SECOND // 100,), (0,) * 50 + (20 * SECOND,))),
        sndbuf=rng.choice((0, 0, 0, 4096, 30_000)),
        rcvbuf=rng.choice((0, 0, 0, 2304, 30_000)),
        nodelay=rng.random() < 0.3,
    )


def _sizes(rng: random.Random, amount: int) -> tuple[int, ...]:
    """Single bytes only where there are few of them: a run is to be cheap."""
    sizes = (1,) if amount <= 100 and rng.random() < 0.3 else rng.choice(_SIZES)
    return tuple(size for size in sizes if size * 200 >= amount) or (65536,)
