"""Two hosts in virtual time on a bad wire, and the account of what is left of them."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pystack.core.drop import Drop
from pystack.core.engine import VirtualEngine
from pystack.dev.qdisc import Fq, Pfifo, PfifoFast, Qdisc
from pystack.dev.wire import Impaired, Impairment, Link, Port
from pystack.host import Host, finished
from pystack.transport.tcp.state import TcpState
from pystack.uapi.process import Process

__all__ = ["SECOND", "HostSettings", "Net", "Stuck"]

SECOND = 1_000_000_000
LONG = 12 * 3600 * SECOND  # with all retries far more than any run needs
EVENTS = 20_000_000  # a run that takes more turns without getting on
QDISCS: dict[str, type[Qdisc]] = {kind.kind: kind for kind in (Pfifo, PfifoFast, Fq)}
_LOST_BY_DEVICE = (Drop.DEV_RING_FULL, Drop.DEV_DOWN)


class Stuck(Exception):
    """Processes have not ended, or something was left behind; the text has the state."""


@dataclass(frozen=True)
class HostSettings:
    sysctl: Mapping[str, Any] = field(default_factory=dict)
    cpus: int = 1
    gro: bool = True
    qdisc: str = "pfifo_fast"
    mtu: int = 1500


@dataclass
class Net:
    """`hosts` 10.0.0.1 and 10.0.0.2 as in `settings`, joined by a wire with `impairment` both ways.

    `rate` in bit/s, `delay` in ns one way.
    """

    seed: int
    impairment: Impairment
    settings: tuple[HostSettings, HostSettings] = (HostSettings(), HostSettings())
    rate: int = 10_000_000_000
    delay: int = 500

    def __post_init__(self) -> None:
        self.engine = VirtualEngine()
        link = Link(self.engine, rate=self.rate, delay=self.delay)
        self.wire = Impaired(link.a, self.engine, Impairment(), self.seed)
        self.hosts = [self._host(number, port) for number, port in ((1, self.wire), (2, link.b))]
        self.engine.run(until=SECOND)
        # The subject is TCP: ARP, which has no checksum, asks once while the wire is good.  Who was
        # asked probes a while later (`delay_first_probe_time`).
        self.run(self.hosts[1].process("hello", _say_hello, "10.0.0.1"))
        self.engine.run(until=10 * SECOND)
        self.wire.setting = self.impairment
        self._before = [self._counters(host) for host in self.hosts]

    def _host(self, number: int, port: Port) -> Host:
        settings = self.settings[number - 1]
        host = Host(self.engine, f"h{number}", seed=self.seed, cpus=settings.cpus)
        host.kernel.sysctl["net.ipv4.neigh.default.base_reachable_time_ms"] = 10**9
        for name, value in settings.sysctl.items():
            host.kernel.sysctl[name] = value
        dev = host.add_softnic("eth0", bytes([2, 0, 0, 0, 0, number]), port)
        dev.mtu = settings.mtu
        dev.set_qdisc(QDISCS[settings.qdisc])
        dev.features["gro"] = settings.gro
        host.start(host.up, dev, f"10.0.0.{number}/24")
        return host

    # -- running ---------------------------------------------------------------------------

    def run(self, *processes: Process, limit: int = LONG) -> None:
        """Until all have ended.  AssertionError with what one of them raised, Stuck after `limit`
        ns or a senseless number of events."""
        self._until(lambda: not any(p.alive for p in processes), limit)
        for process in processes:
            assert not process.tracebacks, process.tracebacks[0]
        hanging = [process for process in processes if process.alive]
        if hanging:
            raise Stuck(f"{hanging} did not end\n{self.state()}")

    def finish(self, limit: int = LONG) -> None:
        """After TIME_WAIT nothing may be left of all that was; Stuck names what is."""
        self._until(lambda: not any(host.tcp.alive() for host in self.hosts), limit)
        self.engine.run(until=self.engine.now + SECOND)
        self._off()
        self.engine.run(until=self.engine.now + SECOND)
        left = {host.name: self._left(host) for host in self.hosts}
        if any(left.values()) or self.engine.next_time() is not None:
            raise Stuck(f"left: {left}, next event {self.engine.next_time()}\n{self.state()}")

    def _until(self, condition: Callable[[], bool], limit: int) -> None:
        budget = EVENTS

        def stop() -> bool:
            nonlocal budget
            budget -= 1
            return budget <= 0 or condition()

        self.engine.run(until=self.engine.now + limit, stop=stop)

    def _off(self) -> None:
        """Devices down: neighbours, with their timers, go too."""
        tasks = [
            host.start(host.down, dev)
            for host in self.hosts
            for dev in host.core.devices.values()
            if not dev.loopback
        ]
        self._until(finished(*tasks), SECOND)

    def power_off(self) -> None:
        """So that the memory of many runs can be freed."""
        for host in self.hosts:
            host.kernel.power_off()

    # -- accounts --------------------------------------------------------------------------

    def _left(self, host: Host) -> dict[str, int]:
        """What should be gone and is not, by name."""
        kernel, tables = host.kernel, host.tcp.tables
        counts = {
            "sockets": host.tcp.alive(),
            "established": kernel.mib["TcpCurrEstab"],
            "ports": len(tables.bound) + len(tables.connections) + len(tables.listeners),
            "skbs": kernel.skbs_alive,
            "timers": sum(base.active for base in kernel.timer_bases),
            "pages": kernel.memory.pages_in_use,
            "processes": len(host.system.processes),
            "files": host.system.open_files.count,
        }
        return {name: count for name, count in counts.items() if count}

    def balance(self) -> dict[str, tuple[int, int]]:
        """(in, out) of each stage a frame passes since the wire went bad, which must be equal.

        What TCP sent went through IP, and is on the wire or was dropped by the qdisc; what went
        into the wire, and what it repeated, arrived, or was lost there or by a full ring; what
        arrived reached TCP, alone or merged, or was dropped on the way by a reason.
        """
        since = [self._counters(h) - b for h, b in zip(self.hosts, self._before, strict=True)]
        total = sum(since, Counter[Any]())
        wire = self.wire
        # Linux counts a SYN-ACK that is sent again as new, too (`tcp_make_synack`).
        synacks = sum(c["TcpExtTCPSynRetrans"] for c in since if not c["TcpActiveOpens"])
        dropped = Counter[str]()  # by layer
        for reason, number in total.items():
            if isinstance(reason, Drop):
                dropped[reason.layer] += number
        below_tcp = sum(dropped[layer] for layer in ("eth", "arp", "ip", "icmp"))
        return {
            "tcp": (
                total["TcpOutSegs"] + total["TcpRetransSegs"] - synacks,
                total["IpOutRequests"],
            ),
            "ip": (total["IpOutRequests"], total["tx"] + dropped["qdisc"]),
            "wire": (
                total["tx"] + wire.duplicated,
                total["rx"] + wire.lost + sum(total[reason] for reason in _LOST_BY_DEVICE),
            ),
            "receive": (total["rx"], total["TcpInSegs"] + total["merged"] + below_tcp),
        }

    def _counters(self, host: Host) -> Counter[Any]:
        counters: Counter[Any] = Counter(host.kernel.mib)
        counters.update(host.kernel.drops)
        for dev in host.core.devices.values():
            if not dev.loopback:
                counters["tx"] += dev.stats.tx_packets
                counters["rx"] += dev.stats.rx_packets
                counters["merged"] += dev.ops.napi.gro.merged  # type: ignore[attr-defined]
        return counters

    def state(self) -> str:
        """What `ss -tnoi` would show, and the processes: for whoever looks for the reason."""
        lines = [f"at {self.engine.now / SECOND:.6f} s"]
        for host in self.hosts:
            lines += [f"{host.name} {process}" for process in host.system.processes.values()]
            for sk in host.tcp.sockets:
                lines.append(f"{host.name} {_describe(sk)}")
            others = [x for x in host.tcp.tables.connections.values() if x not in host.tcp.sockets]
            lines += [f"{host.name} {other!r}" for other in others]
        return "\n".join(lines)


def _describe(sk: Any) -> str:
    pending = None if sk.xmit_pending is None else sk.xmit_pending.value
    return (
        f"{TcpState(sk.state).name} {sk.lport}-{sk.rport} dead={sk.dead} err={sk.sk_err}"
        f" shutdown={sk.sk_shutdown} una={(sk.snd_una - sk.iss) & 0xFFFFFFFF}"
        f" nxt={(sk.snd_nxt - sk.iss) & 0xFFFFFFFF} write={(sk.write_seq - sk.iss) & 0xFFFFFFFF}"
        f" wnd={sk.snd_wnd} rcv_wnd={sk.rcv_wnd} in={len(sk.receive_queue)} ofo={len(sk.ofo)}"
        f" rtx={len(sk.rtx.segments)} unsent={len(sk.unsent.chunks)} cwnd={sk.cw.cwnd}"
        f" ca={sk.cw.state.name} timer={pending}@{sk.xmit_timer.expires}"
        f" armed={sk.xmit_timer.pending}/{sk.delack_timer.pending}/{sk.sk_timer.pending}"
        f" retransmits={sk.retransmits} probes={sk.probes_out} locked={sk.lock.owned}"
    )


def _say_hello(socket: Any, peer: str) -> None:
    with socket.socket() as sk:
        assert sk.connect_ex((peer, 9)) == errno.ECONNREFUSED
