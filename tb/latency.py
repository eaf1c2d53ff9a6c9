"""Where the time goes between wire and application, packet by packet.

Reads tracepoints of the host behind the NIC, frames from the wire and accesses from the bus, and
joins them: a frame by its bytes, a buffer by its address.  Writes nothing back.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pystack.core.trace import Probe, Record
from pystack.host import Host

RX_HOPS = (
    "wire: first byte",
    "wire: last byte",
    "DMA: frame in host memory",
    "DMA: completion in host memory",
    "CPU: interrupt",
    "driver: NAPI poll makes an skb",
    "netif_receive_skb",
    "ip_rcv",
    "tcp_rcv",
    "socket receive queue",
    "recv() returns",
)
TX_HOPS = (
    "send() enters the kernel",
    "tcp_transmit",
    "device queue: start_xmit",
    "driver: descriptor posted",
    "DMA: descriptor fetched",
    "DMA: frame read",
    "wire: first byte",
    "wire: last byte",
)
RECEIVE_CALLS = frozenset({"recv", "recvfrom", "recvmsg", "read"})
SEND_CALLS = frozenset({"send", "sendto", "sendmsg", "write"})


@dataclass
class Journey:
    """One packet: hop name -> time in ns."""

    length: int
    at: dict[str, int] = field(default_factory=dict)

    def complete(self, hops: tuple[str, ...]) -> bool:
        """Every hop seen, in order."""
        times = [self.at[hop] for hop in hops if hop in self.at]
        return len(times) == len(hops) and times == sorted(times)


class LatencyProbe:
    """Attach before traffic starts; `typical_rx`/`typical_tx` afterwards."""

    def __init__(self, host: Host) -> None:
        self._rx: dict[int, Journey] = {}
        self._tx: dict[int, Journey] = {}
        self._tx_waiting: list[tuple[Journey, bytes]] = []
        self._wire_rx: dict[bytes, tuple[int, int]] = {}
        self._dma_write: dict[int, int] = {}
        self._tx_by_descriptor: dict[int, Journey] = {}
        self._tx_by_addr: dict[int, Journey] = {}
        self._queued: list[Journey] = []
        self._memory = host.kernel.memory
        self._irq_at = 0
        self._send_at = 0
        for name, probe in (
            ("irq_handler_entry", self._irq),
            ("nic_rx", self._nic_rx),
            ("netif_receive_skb", self._hop_rx("netif_receive_skb")),
            ("ip_rcv", self._hop_rx("ip_rcv")),
            ("tcp_rcv", self._hop_rx("tcp_rcv")),
            ("sock_queue", self._sock_queue),
            ("sys_enter", self._sys_enter),
            ("sys_exit", self._sys_exit),
            ("tcp_transmit", self._tcp_transmit),
            ("net_dev_start_xmit", self._start_xmit),
            ("nic_tx", self._nic_tx),
        ):
            host.kernel.trace.attach(name, probe)

    # -- from the wire and the bus ---------------------------------------------------------

    def wire(self, direction: str, frame: bytes, start: int, end: int) -> None:
        """A frame seen at the far end: "tx" went to the NIC, "rx" came from it."""
        if direction == "tx":
            self._wire_rx[frame.ljust(60, b"\0")] = (start, end)
            return
        for position, (journey, sent) in enumerate(self._tx_waiting):
            if frame.startswith(sent):
                journey.at["wire: first byte"] = start
                journey.at["wire: last byte"] = end
                del self._tx_waiting[: position + 1]
                return

    def dma(self, kind: str, addr: int, length: int, start: int, end: int, ok: bool) -> None:
        """A bus access of the NIC: "read" or "write"; `end` is when it was answered."""
        if kind == "write":
            self._dma_write[addr] = end
            return
        for entry in range(addr, addr + length, 16):
            fetched = self._tx_by_descriptor.pop(entry, None)
            if fetched is not None:
                fetched.at["DMA: descriptor fetched"] = end
        for base in range(addr - addr % 2048, addr + length, 2048):
            journey = self._tx_by_addr.get(base)
            if journey is not None:
                journey.at["DMA: frame read"] = end

    # -- receive ---------------------------------------------------------------------------

    def _irq(self, record: Record) -> None:
        self._irq_at = record.time

    def _nic_rx(self, record: Record) -> None:
        addr, length = record["addr"], record["length"]
        wire = self._wire_rx.pop(self._memory.read(addr, length), None)
        if wire is None:
            return
        journey = self._rx[record["packet_id"]] = Journey(length)
        bursts = [at for a, at in self._dma_write.items() if addr <= a < addr + length]
        journey.at = {
            "wire: first byte": wire[0],
            "wire: last byte": wire[1],
            "CPU: interrupt": self._irq_at,
            "driver: NAPI poll makes an skb": record.time,
        }
        if bursts:
            journey.at["DMA: frame in host memory"] = max(bursts)
        completion = self._dma_write.get(record["completion"])
        if completion is not None:
            journey.at["DMA: completion in host memory"] = completion

    def _hop_rx(self, hop: str) -> Probe:
        def probe(record: Record) -> None:
            journey = self._rx.get(record["packet_id"])
            if journey is not None:
                journey.at[hop] = record.time

        return probe

    def _sock_queue(self, record: Record) -> None:
        journey = self._rx.get(record["packet_id"])
        if journey is not None:
            journey.at["socket receive queue"] = record.time
            self._queued.append(journey)

    def _sys_exit(self, record: Record) -> None:
        if record["name"] in RECEIVE_CALLS:
            for journey in self._queued:
                journey.at["recv() returns"] = record.time
            self._queued.clear()

    # -- transmit --------------------------------------------------------------------------

    def _sys_enter(self, record: Record) -> None:
        if record["name"] in SEND_CALLS:
            self._send_at = record.time

    def _tcp_transmit(self, record: Record) -> None:
        journey = self._tx[record["packet_id"]] = Journey(record["length"])
        journey.at = {"send() enters the kernel": self._send_at, "tcp_transmit": record.time}

    def _start_xmit(self, record: Record) -> None:
        journey = self._tx.get(record["packet_id"])
        if journey is not None:
            journey.at["device queue: start_xmit"] = record.time

    def _nic_tx(self, record: Record) -> None:
        journey = self._tx.get(record["packet_id"])
        if journey is None:
            return
        addr, length = record["addr"], record["length"]
        journey.length = length
        journey.at["driver: descriptor posted"] = record.time
        self._tx_by_addr[addr] = journey
        self._tx_waiting.append((journey, self._memory.read(addr, length)))
        self._tx_by_descriptor[record["descriptor"]] = journey

    # -- results ---------------------------------------------------------------------------

    def typical_rx(self) -> Journey | None:
        """The full-length packet with the median time from wire to socket queue."""
        return _median(list(self._rx.values()), RX_HOPS)

    def typical_tx(self) -> Journey | None:
        return _median(list(self._tx.values()), TX_HOPS)


def _median(journeys: list[Journey], hops: tuple[str, ...]) -> Journey | None:
    """Among complete journeys of the longest packets."""
    complete = [j for j in journeys if j.complete(hops)]
    if not complete:
        return None
    longest = max(j.length for j in complete)
    full = sorted(
        (j for j in complete if j.length == longest), key=lambda j: j.at[hops[-1]] - j.at[hops[0]]
    )
    return full[len(full) // 2]
