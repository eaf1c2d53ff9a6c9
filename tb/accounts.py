"""The books of a run: traffic by hop, losses by reason, and whether they balance."""

from __future__ import annotations

from collections import Counter

from pystack.core.drop import Drop
from pystack.core.trace import Record
from tb.latency import RECEIVE_CALLS, SEND_CALLS
from tb.summary import Balance, Hop, Napi
from tb.world import World


def _counters(*reasons: Drop) -> tuple[str, ...]:
    """The NIC's counters of these reasons, by their names in hdl/nic.rdl."""
    return tuple(reason.value.removeprefix("nic.") for reason in reasons)


MAC_RX_DROPS = _counters(
    Drop.NIC_RX_BAD_FCS,
    Drop.NIC_RX_RUNT,
    Drop.NIC_RX_OVERSIZE,
    Drop.NIC_RX_CODED_ERROR,
    Drop.NIC_RX_OVERFLOW,
    Drop.NIC_RX_FILTERED,
)
QUEUE_RX_DROPS = _counters(
    Drop.NIC_RX_NO_DESCRIPTOR,
    Drop.NIC_RX_DISABLED,
    Drop.NIC_RX_BUS_ERROR,
    Drop.NIC_RX_TRUNCATED,
)
QUEUE_TX_DROPS = _counters(Drop.NIC_TX_BUS_ERROR, Drop.NIC_TX_BAD_LENGTH)
TX_UNDERRUN = _counters(Drop.NIC_TX_UNDERRUN)
NOT_SENT = (Drop.DEV_DOWN, Drop.DEV_RING_FULL)


class TrafficProbe:
    """What passes TCP and the system calls of the server, by tracepoint; attach before traffic."""

    def __init__(self, world: World) -> None:
        self.count: Counter[str] = Counter()
        trace = world.server.kernel.trace
        trace.attach("tcp_rcv", lambda r: self._add("tcp_in", r["length"]))
        trace.attach("tcp_transmit", lambda r: self._add("tcp_out", r["length"]))
        trace.attach("sys_exit", self._call)

    def _add(self, what: str, nbytes: int) -> None:
        self.count[what] += 1
        self.count[f"{what}_bytes"] += nbytes

    def _call(self, record: Record) -> None:
        name, result = record["name"], record["result"]
        data = result[0] if isinstance(result, tuple) else result  # recvfrom: with the address
        nbytes = len(data) if isinstance(data, bytes) else data
        if isinstance(nbytes, int) and nbytes > 0:
            if name in RECEIVE_CALLS:
                self._add("socket_in", nbytes)
            elif name in SEND_CALLS:
                self._add("socket_out", nbytes)


def hops(world: World, traffic: TrafficProbe) -> list[Hop]:
    """In packet order, wire first."""
    stats, bus, dev = world.hw_stats, world.bench.host.served, world.nic.dev.stats
    mib, count = world.server.kernel.mib, traffic.count
    client = world.softnic.dev.stats
    return [
        Hop("wire, client's end", client.tx_packets, client.tx_bytes, client.rx_packets,
            client.rx_bytes),
        Hop("MAC", stats["rx_frames"], stats["rx_bytes"], stats["tx_frames"], stats["tx_bytes"]),
        Hop("AXI bursts of the DMA", bus.writes, bus.write_bytes, bus.reads, bus.read_bytes),
        Hop("eth0 (driver)", dev.rx_packets, dev.rx_bytes, dev.tx_packets, dev.tx_bytes),
        Hop("IPv4", mib["IpInReceives"], mib["IpExtInOctets"], mib["IpOutRequests"],
            mib["IpExtOutOctets"]),
        Hop("TCP (payload)", count["tcp_in"], count["tcp_in_bytes"], count["tcp_out"],
            count["tcp_out_bytes"]),
        Hop("socket calls", count["socket_in"], count["socket_in_bytes"], count["socket_out"],
            count["socket_out_bytes"]),
    ]  # fmt: skip


def napi(world: World) -> list[Napi]:
    return [
        Napi(pair.napi.name, pair.interrupts, pair.napi.polls, pair.napi.packets)
        for pair in world.nic.queues
    ]


def balance(world: World) -> list[Balance]:
    """Each stretch of the path: what entered it came out or was dropped by name."""
    stats, impaired = world.hw_stats, world.impaired
    lost = 0 if impaired is None else impaired.lost
    repeated = 0 if impaired is None else impaired.duplicated
    client, server = world.softnic.dev.stats, world.nic.dev.stats
    client_drops = sum(world.client.kernel.drops[reason] for reason in NOT_SENT)
    ring_rx = _queues(world, "rx_frames")
    lines = [
        (
            "wire, both ways",
            client.tx_packets + stats["tx_frames"] + repeated,
            stats["rx_frames"] + client.rx_packets,
            lost + _sum(stats, MAC_RX_DROPS) + client_drops,
        ),
        (
            "receive buffer to ring",
            stats["rx_frames"],
            ring_rx,
            sum(_queues(world, name) for name in QUEUE_RX_DROPS),
        ),
        ("ring to kernel", ring_rx, server.rx_packets, world.nic.lost["rx_reset"]),
        (
            "kernel to MAC",
            server.tx_packets,
            stats["tx_frames"],
            sum(_queues(world, name) for name in QUEUE_TX_DROPS)
            + world.nic.lost["tx_segments"]
            + world.nic.lost["tx_reset"]
            + _sum(stats, TX_UNDERRUN),
        ),
    ]
    return [
        Balance(what, sent, delivered, dropped, sent == delivered + dropped)
        for what, sent, delivered, dropped in lines
    ]


def drops(world: World) -> dict[str, int]:
    """ "side/reason" to count; zero counts left out."""
    found = Counter(
        {f"server/{d.value}": n for d, n in world.server.kernel.drops.items()}
        | {f"client/{d.value}": n for d, n in world.client.kernel.drops.items()}
    )
    for name in MAC_RX_DROPS:
        found[f"server/nic.{name}"] += world.hw_stats[name]
    for name in (*QUEUE_RX_DROPS, *QUEUE_TX_DROPS):
        found[f"server/nic.{name}"] += _queues(world, name)
    if world.impaired is not None:
        found[f"wire/{Drop.WIRE_LOSS.value}"] += world.impaired.lost
    return {name: count for name, count in sorted(found.items()) if count}


def _sum(stats: dict[str, int], names: tuple[str, ...]) -> int:
    return sum(stats[name] for name in names)


def _queues(world: World, name: str) -> int:
    return sum(world.hw_stats[f"queue{pair.index}_{name}"] for pair in world.nic.queues)
