"""What a flood costs where it is dropped: by XDP in the driver, or at a socket that is full."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pystack.core.checksum import checksum
from pystack.core.drop import Drop
from pystack.core.headers.ethernet import ETH_P_IP, EthernetHeader
from pystack.core.headers.ipv4 import IP_HLEN, IPPROTO_UDP, Ipv4Header, pseudo_header_sum
from pystack.dev.xdp_maps import FloodGuard
from pystack.uapi.process import Process
from wire2app.bench.context import Context
from wire2app.bench.figures import TreeDict, alternate, rate, ratio
from wire2app.bench.hosts import Alone, start
from wire2app.bench.peer import HOST_IP, HOST_MAC, PEER_IP, PEER_MAC

FRAMES = 20_000
BURST = 64  # frames that arrive together: a poll's weight
PORT = 9
TEXT = bytes(18)  # the shortest frame


def run(context: Context) -> TreeDict:
    frames = FRAMES // (4 if context.quick else 1)
    flood = Flood()
    measures: list[Callable[[], float]] = [
        lambda: flood.drop_in_driver(frames),
        lambda: flood.drop_at_socket(frames),
    ]
    for measure in measures:
        measure()
    driver, socket = alternate(measures, context.rounds + 2)
    return {
        "driver_drops_per_s": driver,
        "socket_drops_per_s": socket,
        "driver_cost_share": ratio(socket.values, driver.values),
    }


class Flood:
    """A host whose UDP socket nobody reads, at which one source sends for ever."""

    def __init__(self) -> None:
        self.alone = Alone()
        start(self.alone.host, self._main)
        self.alone.run()
        self.frames = [_frame()] * BURST
        while not self._drops(Drop.UDP_RCVBUF_FULL):
            self._arrive(BURST)

    def _main(self, process: Process, socket: Any) -> None:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as never,
        ):
            sink.bind(("", PORT))
            never.recv(1)

    def drop_at_socket(self, frames: int) -> float:
        """Frames a wall second; RuntimeError if one is not dropped."""
        return self._measure(frames, Drop.UDP_RCVBUF_FULL)

    def drop_in_driver(self, frames: int) -> float:
        """The same by the stock XDP program, which has had enough of the source."""
        dev = self.alone.dev
        dev.set_xdp(FloodGuard(lambda: self.alone.engine.now, rate=1, burst=1))
        self._arrive(BURST)
        result = self._measure(frames, Drop.XDP_DROP)
        dev.set_xdp(None)
        return result

    def _measure(self, frames: int, reason: Drop) -> float:
        before = self._drops(reason)
        result = rate(lambda: self._arrive(frames))
        if self._drops(reason) - before < frames * 0.99:  # a frame a second is within the rate
            raise RuntimeError(f"of {frames} frames {self._drops(reason) - before} were dropped")
        return result

    def _arrive(self, frames: int) -> int:
        for _ in range(0, frames, BURST):
            self.alone.peer.deliver(self.frames)
            self.alone.run()
        return -(-frames // BURST) * BURST

    def _drops(self, reason: Drop) -> int:
        return self.alone.host.kernel.drops[reason]


def _frame() -> bytes:
    length = 8 + len(TEXT)
    pseudo = pseudo_header_sum(PEER_IP, HOST_IP, IPPROTO_UDP, length)
    header = b"\x80\x00\x00\x09" + length.to_bytes(2, "big")
    udp = header + checksum(header + b"\0\0" + TEXT, pseudo).to_bytes(2, "big") + TEXT
    ip = Ipv4Header(IP_HLEN + length, IPPROTO_UDP, PEER_IP, HOST_IP).pack()
    return EthernetHeader(HOST_MAC, PEER_MAC, ETH_P_IP).pack() + ip + udp
