"""Buffers and the path: receive-buffer autotuning, and what a window allows (bandwidth x delay)."""

from __future__ import annotations

import socket as real
from typing import Any, NamedTuple

import pytest
from tcp_netsim import both

from packetdrill import tcpinfo
from pystack.dev.wire import Impairment
from wire2app.netsim.net import SECOND, Net

MS = 1_000_000
DELAY = 50 * MS  # one way: 100 ms there and back
RATE = 100_000_000  # bit/s of the wire
SIZE = 6_000_000


class Outcome(NamedTuple):
    """`mbit`: of the second half of the transfer, in Mbit/s."""

    mbit: float
    rcvbuf: int
    receiver: dict[str, int]
    sender: dict[str, int]


def download(rcvbuf: int = 0, chunk: int = 65536, **sysctl: Any) -> Outcome:
    """One bulk transfer over 100 Mbit/s and 100 ms; `rcvbuf`: SO_RCVBUF of the receiver."""
    net = Net(
        1,
        Impairment(),
        both(sysctl={f"net.ipv4.{k}": v for k, v in sysctl.items()}),
        rate=RATE,
        delay=DELAY,
    )
    seen: dict[str, Any] = {}

    def receive(socket: Any) -> None:
        with socket.socket() as listener:
            if rcvbuf:
                listener.setsockopt(real.SOL_SOCKET, real.SO_RCVBUF, rcvbuf)
            listener.bind(("0.0.0.0", 80))
            listener.listen(1)
            conn, _ = listener.accept()
        total = 0
        with conn:
            while data := conn.recv(chunk):
                total += len(data)
                if total >= SIZE // 2 and "half" not in seen:
                    seen["half"] = net.engine.now, total
            took = net.engine.now - seen["half"][0]
            seen["mbit"] = (total - seen["half"][1]) * 8000 / took
            seen["rcvbuf"] = conn.getsockopt(real.SOL_SOCKET, real.SO_RCVBUF)
            seen["receiver"] = tcpinfo.parse(conn.getsockopt(6, real.TCP_INFO, 256))

    def send(socket: Any) -> None:
        with socket.socket() as sk:
            sk.connect(("10.0.0.1", 80))
            sk.sendall(bytes(SIZE))
            sk.shutdown(real.SHUT_WR)
            assert sk.recv(1) == b""  # all of it has arrived
            seen["sender"] = tcpinfo.parse(sk.getsockopt(6, real.TCP_INFO, 256))

    processes = net.hosts[0].process("r", receive), net.hosts[1].process("s", send)
    net.run(*processes, limit=600 * SECOND)
    return Outcome(seen["mbit"], seen["rcvbuf"], seen["receiver"], seen["sender"])


def test_window_of_128_kb_and_100_ms_is_ten_megabit_a_second() -> None:
    """The bandwidth-delay product: 131,072 bytes a round trip, however fast the wire is."""
    limited = download(rcvbuf=131_072)
    assert limited.rcvbuf == 262_144
    assert limited.receiver["tcpi_rcv_wnd"] == 131_072
    assert limited.mbit == pytest.approx(131_072 * 8 / 0.1 / 1e6, rel=0.03)


@pytest.mark.parametrize("stamps", [0, 1])
def test_receive_buffer_grows_to_what_the_path_holds(stamps: int) -> None:
    tuned = download(tcp_timestamps=stamps)
    assert tuned.rcvbuf > 1_000_000
    assert tuned.mbit > 60
    assert 95_000 <= tuned.receiver["tcpi_rcv_rtt"] <= 140_000
    assert tuned.receiver["tcpi_rcv_space"] > 300_000


def test_delivery_rate_is_what_the_path_delivers() -> None:
    """Of a sender that the wire limits, and of one that the peer's window does."""
    tuned = download()
    assert tuned.sender["tcpi_delivery_rate"] * 8 / 1e6 == pytest.approx(tuned.mbit, rel=0.15)
    limited = download(rcvbuf=131_072).sender["tcpi_delivery_rate"]
    assert limited * 8 / 1e6 == pytest.approx(10.5, rel=0.1)


def test_receive_buffer_keeps_to_its_limit_and_to_what_was_said() -> None:
    assert download(tcp_rmem=(4096, 131_072, 500_000)).rcvbuf == 500_000
    off = download(tcp_moderate_rcvbuf=0)
    assert off.rcvbuf == 131_072
    assert off.mbit < 6
