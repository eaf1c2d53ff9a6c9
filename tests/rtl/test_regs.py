"""The register map: generated files match the RDL, and the AXI4-Lite port behaves as it says."""

from __future__ import annotations

from typing import Any

import cocotb
import pytest
from axi_memory_common import DECERR, OKAY, Manners
from conftest import SEED, SIMS
from nic_common import Nic, Ring

from pystack.dev.drivers import w2a_regs as regs
from wire2app import regs as generator
from wire2app.simulator import Design, nic_sources, simulate

QUEUES = 3
LAST = regs.queue_block(QUEUES - 1)


def test_generated_files_match_the_rdl() -> None:
    assert generator.drift() == [], "run `wire2app regs`"


def test_generator_notices_drift(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(generator, "PY_MODULE", tmp_path / "w2a_regs.py")
    assert generator.drift() == [tmp_path / "w2a_regs.py"]
    generator.write()
    assert generator.drift() == []


def test_ring_entries_have_16_bytes() -> None:
    entries = (regs.RX_DESC, regs.TX_DESC, regs.RX_CPL, regs.TX_CPL)
    assert [entry.size for entry in entries] == [16] * 4


# ---------------------------------------------------------------- in the simulator


async def started(dut: Any) -> Nic:
    nic = Nic(dut, Manners(seed=SEED))
    await nic.start()
    return nic


@cocotb.test()
async def identity_features_and_reset_values(dut: Any) -> None:
    nic = await started(dut)
    assert await nic.read(regs.ID) == regs.ID_MAGIC_RESET
    names = ("TX_CHECKSUM", "TX_SEGMENT", "TX_VLAN", "TX_TIMESTAMP", "RX_OFFLOAD", "RX_FILTERS")
    features = sum(getattr(regs, f"FEATURES_{name}") for name in (*names, "PAUSE", "CLOCK"))
    features += QUEUES << regs.FEATURES_QUEUES_SHIFT | 16 << regs.FEATURES_AXI_BYTES_SHIFT
    assert await nic.read(regs.FEATURES) == features
    assert await nic.read(regs.CTRL) == 0
    assert await nic.read(regs.STATUS) & ~regs.STATUS_LINK_UP == regs.STATUS_IDLE
    assert await nic.read(regs.MAX_FRAME) == regs.MAX_FRAME_BYTES_RESET
    assert await nic.read(LAST + regs.Q_IRQ_MASK) == regs.Q_IRQ_MASK_MASK
    assert await nic.read(LAST + regs.Q_IRQ_STATUS) == regs.Q_IRQ_STATUS_ARMED
    for counter in regs.COUNTERS:
        assert await nic.counter(counter.name) == 0


def writable() -> dict[int, int]:
    """Registers with fields that keep what is written, and which bits these are."""
    registers = {
        regs.CTRL: 0xF,
        regs.MAC_LO: 0xFFFFFFFF,
        regs.MAC_HI: regs.MAC_HI_VALUE,
        regs.RX_STEERING: regs.RX_STEERING_DEFAULT_QUEUE,
        regs.RSS_CTRL: 0x3F,
        regs.RX_OFFLOAD: 0x3,
        regs.PAUSE: 0xFFFF0003,
        regs.EVENT_MASK: 0x3,
    }
    whole = (regs.MULTICAST_HASH_LO, regs.MULTICAST_HASH_HI, regs.PAUSE_THRESHOLD)
    registers |= dict.fromkeys((*whole, regs.CLOCK_INCREMENT, regs.CLOCK_ADJUST), 0xFFFFFFFF)
    for base, count, mask in (
        (regs.RSS_KEY, regs.RSS_KEY_COUNT, 0xFFFFFFFF),
        (regs.RSS_TABLE, regs.RSS_TABLE_COUNT, 0x0F0F0F0F),
        (regs.MAC_FILTER_LO, regs.MAC_FILTER_LO_COUNT, 0xFFFFFFFF),
        (regs.MAC_FILTER_HI, regs.MAC_FILTER_HI_COUNT, 0x8000FFFF),
    ):
        registers |= {base + 4 * number: mask for number in range(count)}
    for queue in range(QUEUES):
        block = regs.queue_block(queue)
        registers[block + regs.Q_IRQ_MODERATION] = 0xFFFFFFFF
        registers[block + regs.Q_IRQ_ARM] = 0xFFFFFFFF
        registers[block + regs.Q_IRQ_MASK] = regs.Q_IRQ_MASK_MASK | regs.Q_IRQ_MASK_AUTO_MASK
        for ring in (regs.Q_RX, regs.Q_TX):
            registers[block + ring + regs.RING_SIZE] = regs.RING_SIZE_LOG2_ENTRIES
            for offset in (regs.RING_DESC_BASE_LO, regs.RING_DESC_BASE_HI):
                registers[block + ring + offset] = 0xFFFFFFFF
            for offset in (regs.RING_CPL_BASE_LO, regs.RING_CPL_BASE_HI):
                registers[block + ring + offset] = 0xFFFFFFFF
    return registers


@cocotb.test()
async def writable_fields_keep_what_is_written_and_no_more(dut: Any) -> None:
    nic = await started(dut)
    registers = writable()
    values = {addr: (0x9E3779B1 * (addr + 1)) & 0xFFFFFFFF for addr in registers}
    values[regs.CTRL] &= ~regs.CTRL_SOFT_RESET
    for addr, value in values.items():
        await nic.write(addr, value)
    for addr, mask in registers.items():
        assert await nic.read(addr) == values[addr] & mask, hex(addr)
    for addr in (regs.ID, regs.FEATURES, regs.COUNTERS[0].offset, LAST + regs.Q_IRQ_STATUS):
        before = await nic.read(addr)
        await nic.write(addr, ~before & 0xFFFFFFFF)
        assert await nic.read(addr) == before, hex(addr)


@cocotb.test()
async def byte_strobes_and_channel_order_are_honoured(dut: Any) -> None:
    nic = await started(dut)
    await nic.write(regs.MAC_LO, 0x44332211)
    for lead, strobes, expected in (
        (0, 0b0010, 0x4433AA11),
        (3, 0b1000, 0xAA33AA11),
        (-3, 0b0101, 0xAAAAAAAA),
        (1, 0b0000, 0xAAAAAAAA),
    ):
        assert await nic.axil.write(regs.MAC_LO, 0xAAAAAAAA, strobes, lead) == OKAY
        assert await nic.read(regs.MAC_LO) == expected
    await nic.write(regs.RSS_TABLE, 0x01020304)
    assert await nic.axil.write(regs.RSS_TABLE, 0x0A0B0C0D, 0b0100) == OKAY
    assert await nic.read(regs.RSS_TABLE) == 0x010B0304
    await nic.write(regs.MAX_FRAME, 0xFFFF)
    assert await nic.read(regs.MAX_FRAME) == 9018, "limited to the MaxFrame parameter"
    await nic.write(regs.MAX_FRAME, 0xABCD0400)
    assert await nic.axil.write(regs.MAX_FRAME, 0xEEEEEE05, 0b0001) == OKAY
    assert await nic.read(regs.MAX_FRAME) == 0x405


@cocotb.test()
async def access_to_no_register_gets_decerr_and_is_counted(dut: Any) -> None:
    nic = await started(dut)
    holes = [
        0x054,
        0x0FC,
        regs.RSS_KEY + 4 * regs.RSS_KEY_COUNT,
        0x27C,
        0x100 + 8 * len(regs.COUNTERS),
        0xFFC,
        regs.queue_block(0) + regs.Q_RX + 0x24,
        regs.queue_block(0) + 0x90,
        regs.queue_block(QUEUES),
        0xFFFC,
    ]
    for addr in holes:
        assert await nic.axil.read(addr) == (0, DECERR), hex(addr)
        assert await nic.axil.write(addr, 0xFFFFFFFF) == DECERR, hex(addr)
    assert await nic.counter("doorbell_errors") == 2 * len(holes)


@cocotb.test()
async def doorbells_are_checked(dut: Any) -> None:
    nic = await started(dut)
    ring = Ring(nic, 1, regs.Q_RX, 0x1000, 3)
    doorbell, status = ring.regs + regs.RING_DOORBELL, ring.regs + regs.RING_STATUS
    await nic.write(doorbell, 1)  # not enabled: ignored
    assert await nic.read(doorbell) == 0
    assert await nic.counter("doorbell_errors") == 1
    await ring.enable()
    assert await nic.read(status) == regs.RING_STATUS_ACTIVE
    await nic.write(doorbell, 8)  # the whole ring
    assert await nic.read(doorbell) == 8
    await nic.write(doorbell, 7)  # back
    await nic.idle()
    bad = regs.QueueError.BAD_DOORBELL << regs.RING_STATUS_ERROR_SHIFT
    assert await nic.read(status) == bad
    assert await nic.counter("doorbell_errors") == 2
    assert await nic.read(regs.queue_block(1) + regs.Q_IRQ_STATUS) == regs.Q_IRQ_STATUS_FIRED
    await nic.write(ring.regs + regs.RING_CTRL, 0)
    assert await nic.read(status) == bad
    await ring.enable()
    assert await nic.read(status) == regs.RING_STATUS_ACTIVE
    await nic.write(doorbell, 9)  # beyond
    await nic.idle()
    assert await nic.read(status) == bad
    assert await nic.counter("doorbell_errors") == 3


@cocotb.test()
async def low_word_latches_the_high_word_of_its_counter(dut: Any) -> None:
    nic = await started(dut)
    offset = next(c.offset for c in regs.COUNTERS if c.name == "doorbell_errors")
    for _ in range(3):
        await nic.axil.read(0xFFFC)
    assert [await nic.read(offset), await nic.read(offset + 4)] == [3, 0]


@cocotb.test()
async def soft_reset_clears_registers_and_ends_by_itself(dut: Any) -> None:
    nic = await started(dut)
    table = range(regs.RSS_TABLE, regs.RSS_TABLE + 4 * regs.RSS_TABLE_COUNT)  # keeps its entries
    before = {addr: await nic.read(addr) for addr in writable() if addr not in table}
    masks = {regs.queue_block(queue) + regs.Q_IRQ_MASK for queue in range(QUEUES)}
    due = {regs.PAUSE, regs.PAUSE_THRESHOLD, regs.EVENT_MASK, regs.CLOCK_INCREMENT, *masks}
    assert {addr for addr, value in before.items() if value} == due
    for addr, mask in writable().items():
        await nic.write(addr, mask & (~regs.CTRL_SOFT_RESET if addr == regs.CTRL else mask))
    ring = Ring(nic, 2, regs.Q_TX, 0x1000, 3)
    await ring.enable()
    await nic.axil.read(0xFFFC)
    await nic.write(regs.CTRL, regs.CTRL_SOFT_RESET | regs.CTRL_PROMISCUOUS)
    for _ in range(100):
        if not await nic.read(regs.CTRL) & regs.CTRL_SOFT_RESET:
            break
    assert await nic.read(regs.CTRL) == 0
    assert {addr: await nic.read(addr) for addr in before} == before
    assert await nic.read(ring.regs + regs.RING_STATUS) == 0
    assert await nic.counter("doorbell_errors") == 0


@pytest.mark.parametrize("sim", SIMS)
def test_registers(sim: str) -> None:
    design = Design("nic_top", nic_sources(), {"Queues": QUEUES})
    simulate(design, __name__, sim=sim, seed=SEED).check()
