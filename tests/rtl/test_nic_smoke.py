"""nic_top end to end: wire to memory, completion and interrupt; doorbell to wire; back to idle."""

from __future__ import annotations

import random
from typing import Any

import cocotb
import pytest
from axi_memory_common import Manners
from cocotb.triggers import FallingEdge
from conftest import SEED, SIMS
from nic_common import Completion, Nic, Ring

from pystack.dev.drivers import w2a_regs as regs
from wire2app.simulator import Design, nic_sources, simulate

RX_RING, TX_RING, BUFFERS, FRAMES = 0x1000, 0x3000, 0x10000, 0x80000
LOG2 = 5
LENGTHS = (60, 61, 64, 127, 128, 333, 1000, 1513, 1514)


class Up:
    """A NIC with queue 0 running both ways; RX buffers of 2 KiB at odd addresses."""

    def __init__(self, dut: Any, manners: Manners | None = None) -> None:
        self.nic = Nic(dut, manners)
        self.rx = Ring(self.nic, 0, regs.Q_RX, RX_RING, LOG2)
        self.tx = Ring(self.nic, 0, regs.Q_TX, TX_RING, LOG2)
        self.queue = regs.queue_block(0)
        self.buffers: list[int] = []

    async def start(self) -> None:
        nic = self.nic
        await nic.start()
        assert await nic.read(regs.ID) == regs.ID_MAGIC_RESET
        await self.rx.enable()
        await self.tx.enable()
        await nic.write(self.queue + regs.Q_IRQ_MASK, 0)
        ctrl = regs.CTRL_RX_ENABLE | regs.CTRL_TX_ENABLE | regs.CTRL_PROMISCUOUS
        await nic.write(regs.CTRL, ctrl)

    async def post_buffers(self, count: int) -> None:
        for i in range(count):
            self.buffers.append(BUFFERS + 2048 * i + i)
            self.rx.post(self.buffers[-1], 2000)
        await self.rx.ring()

    async def irq(self, limit: int = 5000) -> None:
        for _ in range(limit):
            if int(self.nic.dut.irq.value) & 1:
                return
            await FallingEdge(self.nic.dut.clk)
        raise AssertionError("no interrupt")


def some_frames(count: int, rng: random.Random) -> list[bytes]:
    return [rng.randbytes(LENGTHS[i % len(LENGTHS)]) for i in range(count)]


@cocotb.test()
async def frames_from_the_wire_reach_memory_and_interrupt(dut: Any) -> None:
    up = Up(dut)
    await up.start()
    await up.post_buffers(31)
    frames = some_frames(20, random.Random(SEED))
    up.nic.receive(frames)
    await up.irq()
    found = await up.rx.completions(20)
    assert found == [Completion(i, len(f), regs.CplStatus.OK, 0) for i, f in enumerate(frames)]
    memory = up.nic.memory
    assert [bytes(memory[b : b + len(f)]) for b, f in zip(up.buffers, frames, strict=False)] == (
        frames
    )
    await up.nic.write(up.queue + regs.Q_IRQ_ARM, up.rx.consumer)
    await up.nic.idle()
    assert not int(dut.irq.value)
    assert await up.nic.counter("rx_frames") == 20
    assert await up.nic.counter("rx_bytes") == sum(map(len, frames))
    assert await up.nic.counter("rx_frames", 0) == 20
    up.nic.check()


@cocotb.test()
async def doorbell_sends_frames_and_completes_them(dut: Any) -> None:
    up = Up(dut)
    await up.start()
    frames = some_frames(20, random.Random(SEED))
    for i, frame in enumerate(frames):
        addr = FRAMES + 2048 * i + 3 * i
        up.nic.memory[addr : addr + len(frame)] = frame
        up.tx.post(addr, len(frame))
    await up.tx.ring()
    await up.irq()
    found = await up.tx.completions(20)
    assert found == [Completion(i, len(f), regs.CplStatus.OK, 0) for i, f in enumerate(frames)]
    await up.nic.write(up.queue + regs.Q_IRQ_ARM, up.tx.consumer << 16)
    await up.nic.idle(20000)
    assert [f.payload for f in up.nic.transmitted()] == frames
    assert await up.nic.counter("tx_frames") == 20
    assert await up.nic.counter("tx_frames", 0) == 20
    up.nic.check()


@cocotb.test()
async def both_ways_with_stalls_over_many_laps(dut: Any) -> None:
    up = Up(dut, Manners(stall=0.2, latency=7, seed=SEED))
    await up.start()
    rng = random.Random(SEED)
    frames = some_frames(120, rng)
    await up.post_buffers(32)
    received: list[bytes] = []
    posted = 0
    done = 0
    up.nic.receive(frames)
    for _ in range(60000):
        while (completion := up.rx.poll()) is not None:
            addr = up.buffers[completion.index % 32]
            received.append(bytes(up.nic.memory[addr : addr + completion.length]))
            up.rx.post(addr, 2000)
            await up.rx.ring()
        while up.tx.poll() is not None:
            done += 1
        if posted < len(frames) and posted - done < 32:
            addr = FRAMES + 2048 * (posted % 32) + posted % 7
            up.nic.memory[addr : addr + len(frames[posted])] = frames[posted]
            up.tx.post(addr, len(frames[posted]))
            await up.tx.ring()
            posted += 1
        if len(received) == done == len(frames):
            break
        await FallingEdge(dut.clk)
    assert received == frames
    await up.nic.write(up.queue + regs.Q_IRQ_ARM, up.tx.consumer << 16 | up.rx.consumer)
    await up.nic.idle(20000)
    assert [f.payload for f in up.nic.transmitted()] == frames
    up.nic.check()


@pytest.mark.parametrize("data_w", [64, 128, 512])
@pytest.mark.parametrize("sim", SIMS)
def test_nic_smoke(sim: str, data_w: int) -> None:
    design = Design("nic_top", nic_sources(), {"AxiDataW": data_w})
    simulate(design, __name__, sim=sim, seed=SEED).check()
