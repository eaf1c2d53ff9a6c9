"""AF_PACKET over the RTL NIC: frames read where the NIC wrote them, and sent from shared memory."""

from __future__ import annotations

import select
import socket as so
import struct
from contextlib import suppress
from typing import Any

import cocotb
import numpy as np
import pytest
from conftest import SEED, SIMS

from pystack.transport.packet import constants as c
from pystack.transport.packet.options import PACKET_RX_PAGES
from pystack.uapi.process import Process
from tb import accounts
from tb.world import CLIENT_MAC, SERVER_MAC, World
from wire2app.simulator import bench_design, simulate

EXPERIMENTAL = 0x88B5  # ethertype for local experiments (IEEE 802)
FRAMES, SLOTS, SLOT = 40, 8, 2048
SECOND = 1_000_000_000
REQUEST = struct.pack("=4I", 4096, SLOTS // 2, SLOT, SLOTS)


def payload(n: int) -> bytes:
    return bytes([n]) * (46 + n * 30)


def header(dst: bytes, src: bytes) -> bytes:
    return dst + src + EXPERIMENTAL.to_bytes(2, "big")


def bound(socket: Any, device: str) -> Any:
    sock = socket.socket(so.AF_PACKET, so.SOCK_RAW, so.htons(EXPERIMENTAL))
    sock.bind((device, EXPERIMENTAL))
    return sock


def reader(socket: Any, process: Process, ready: list[int]) -> tuple[list[bytes], bool, int]:
    """(frames, all of them in the NIC's memory, bytes copied), from a ring of pages."""
    sock, calls = bound(socket, "eth0"), process.sys
    sock.setsockopt(c.SOL_PACKET, c.PACKET_VERSION, c.TPACKET_V2)
    sock.setsockopt(c.SOL_PACKET, PACKET_RX_PAGES, 1)
    sock.setsockopt(c.SOL_PACKET, c.PACKET_RX_RING, REQUEST)
    memory = calls.mmap(sock.fileno(), SLOTS * SLOT)
    array = process.kernel.memory.array
    ready.append(1)
    frames: list[bytes] = []
    shared, slot = True, 0
    while len(frames) < FRAMES:
        calls.poll([(sock.fileno(), select.POLLIN)], -1)
        while struct.unpack_from("=I", memory, slot * SLOT)[0] & c.TP_STATUS_USER:
            page = calls.packet_page(sock.fileno(), slot)
            assert page is not None
            shared &= np.shares_memory(np.frombuffer(page, np.uint8), array)
            frames.append(bytes(page))
            calls.packet_release(sock.fileno(), slot)
            slot = (slot + 1) % SLOTS
    copied = process.files.file(sock.fileno()).sock.rx_ring.copied  # type: ignore[union-attr]
    return frames, shared, copied


def sender(socket: Any, process: Process) -> int:
    """From a ring, as many as fit at a time; returns the bytes sent."""
    sock, calls = bound(socket, "eth0"), process.sys
    sock.setsockopt(c.SOL_PACKET, c.PACKET_VERSION, c.TPACKET_V2)
    sock.setsockopt(c.SOL_PACKET, c.PACKET_TX_RING, REQUEST)
    memory = calls.mmap(sock.fileno(), SLOTS * SLOT)
    sent = slot = 0
    for n in range(FRAMES):
        frame = header(CLIENT_MAC, SERVER_MAC) + payload(n)
        at = slot * SLOT
        while struct.unpack_from("=I", memory, at)[0] != c.TP_STATUS_AVAILABLE:
            calls.clock_nanosleep(10_000)
        memory[at + 32 : at + 32 + len(frame)] = frame
        struct.pack_into("=II", memory, at, c.TP_STATUS_SEND_REQUEST, len(frame))
        sent += sock.send(b"")
        slot = (slot + 1) % SLOTS
    return sent


def started(host: Any, name: str, fn: Any, *args: Any) -> Process:
    """A process whose function is given its socket module and itself."""
    process: Process = host.process(name, lambda socket: fn(socket, process, *args))
    return process


@cocotb.test()
async def rings_over_the_nic(dut: Any) -> None:
    world = World(dut)
    await world.up()
    ready: list[int] = []
    reading = started(world.server, "reader", reader, ready)
    await world.run_for(100_000)
    assert ready

    def talk(socket: Any) -> list[bytes]:
        sock = bound(socket, world.softnic.dev.name)
        for n in range(FRAMES):
            sock.send(header(SERVER_MAC, CLIENT_MAC) + payload(n))
            if n % 4 == 3:
                select_pause(sock)
        return [sock.recv(SLOT) for _ in range(FRAMES)]

    def select_pause(sock: Any) -> None:
        """Let the reader give slots back: its ring is small."""
        sock.settimeout(0.0001)
        with suppress(TimeoutError):
            sock.recv(SLOT, so.MSG_PEEK)
        sock.settimeout(None)

    talking = world.client.process("talk", talk)
    await world.run(reading, limit=SECOND)
    assert not reading.tracebacks, reading.tracebacks
    expected = [header(SERVER_MAC, CLIENT_MAC) + payload(n) for n in range(FRAMES)]
    assert reading.result == (expected, True, 0)
    sending = started(world.server, "sender", sender)
    await world.run(sending, talking, limit=SECOND)
    assert not sending.tracebacks + talking.tracebacks
    answers = [header(CLIENT_MAC, SERVER_MAC) + payload(n) for n in range(FRAMES)]
    assert talking.result == answers
    assert sending.result == sum(map(len, answers))
    assert world.server.packet.alive == world.client.packet.alive == 0
    await world.down()
    bad = [line for line in accounts.balance(world) if not line.ok]
    assert not bad, bad


@pytest.mark.parametrize("sim", SIMS)
def test_packet_rings_over_rtl(sim: str) -> None:
    simulate(bench_design(), "test_packet_rtl", sim=sim, seed=SEED).check()
