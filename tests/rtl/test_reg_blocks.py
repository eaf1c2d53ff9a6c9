"""queue_regs and event_regs: what is behind each offset, what it drives, and events that come at
any time."""

from __future__ import annotations

import os
import random
from typing import Any

import cocotb
import pytest
from cocotb.triggers import FallingEdge, ReadOnly
from conftest import SEED, SIMS
from wire_side_common import start_clock_and_reset

from pystack.dev.drivers import w2a_regs as regs
from wire2app.simulator import Design, nic_sources, simulate

TOP = os.environ.get("BLOCK_TOP", "")
QUEUES, ALL = 3, 0xFFFFFFFF


def of_module(top: str) -> Any:
    return cocotb.test(skip=top != TOP)


class Block:
    """A block on the register bus; `addr` is what its address ports are called."""

    def __init__(self, dut: Any, addr: str) -> None:
        self.dut, self.addr = dut, addr

    async def start(self, **inputs: int) -> None:
        strobes = dict.fromkeys(("write_ahead", "write", "read_ahead"), 0)
        strobes |= dict.fromkeys((f"write_{self.addr}", f"read_{self.addr}"), 0)
        if self.addr == "offset":
            strobes |= {"write_here": 1, "read_here": 1}
        await start_clock_and_reset(self.dut, write_data=0, write_mask=0, **strobes, **inputs)

    def get(self, name: str) -> int:
        return int(getattr(self.dut, name).value)

    async def clock(self, **inputs: int) -> None:
        await FallingEdge(self.dut.clk)
        strobes = dict.fromkeys(("write_ahead", "write", "read_ahead", "rst"), 0)
        for name, value in (strobes | inputs).items():
            getattr(self.dut, name).value = value
        await ReadOnly()

    async def ahead(self, addr: int, value: int) -> None:
        """The clock before the strobe of a write."""
        values = {f"write_{self.addr}": addr, "write_data": value, "write_mask": ALL}
        await self.clock(write_ahead=1, **values)

    async def write(self, addr: int, value: int, **inputs: int) -> None:
        await self.ahead(addr, value)
        await self.clock(write=1, **inputs)

    async def read(self, addr: int) -> int:
        await self.clock(**{f"read_{self.addr}": addr})
        await self.clock(read_ahead=1)
        await self.clock()
        return self.get("read_data")

    async def known(self, addr: int) -> tuple[int, int]:
        """What a write and a read of no effect say of an address."""
        await self.clock(**{f"write_{self.addr}": addr, f"read_{self.addr}": addr})
        await self.clock(write_ahead=1, read_ahead=1)
        await self.clock()
        return self.get("write_known"), self.get("read_known")


# ---------------------------------------------------------------- queue_regs


@of_module("queue_regs")
async def each_offset_is_a_register_a_counter_or_nothing(dut: Any) -> None:
    block = Block(dut, "offset")
    names = ("active", "error", "producer", "fetched", "completed", "irq_armed", "irq_fired")
    await block.start(**dict.fromkeys((*names, "irq_raised", "events"), 0))
    ring = {*range(0, regs.RING_PROGRESS + 4, 4)}
    counters = {counter.offset for counter in regs.QUEUE_COUNTERS}
    counters |= {offset + 4 for offset in counters}
    known = {regs.Q_RX + offset for offset in ring} | {regs.Q_TX + offset for offset in ring}
    known |= {regs.Q_IRQ_MASK, regs.Q_IRQ_ARM, regs.Q_IRQ_MODERATION, regs.Q_IRQ_STATUS}
    for offset in range(0, 256, 4):
        due = int(offset in known | counters)
        assert await block.known(offset) == (due, due), hex(offset)
        assert block.get("read_is_counter") == int(offset in counters), hex(offset)


@of_module("queue_regs")
async def registers_drive_what_they_say(dut: Any) -> None:
    block, rng = Block(dut, "offset"), random.Random(SEED)
    words = {name: rng.getrandbits(32) for name in ("producer", "fetched", "completed")}
    await block.start(
        active=2, error=0x51, irq_armed=1, irq_fired=0, irq_raised=0, events=0, **words
    )
    base = {}
    for side, at in enumerate((regs.Q_RX, regs.Q_TX)):
        for name in ("DESC", "CPL"):
            for half in ("LO", "HI"):
                value = rng.getrandbits(32)
                await block.write(at + getattr(regs, f"RING_{name}_BASE_{half}"), value)
                base[name, side, half] = value
        low = {name: words[name] >> 16 * side & 0xFFFF for name in words}
        assert await block.read(at + regs.RING_DOORBELL) == low["producer"]
        assert await block.read(at + regs.RING_PROGRESS) in (
            low["fetched"] | low["completed"] << 16, low["completed"] | low["fetched"] << 16,
        )  # fmt: skip
        status = (side == 1) * regs.RING_STATUS_ACTIVE
        status |= (0x51 >> 4 * side & 15) << regs.RING_STATUS_ERROR_SHIFT
        assert await block.read(at + regs.RING_STATUS) == status
        await block.write(at + regs.RING_SIZE, 5 + side)
        await block.ahead(at + regs.RING_DOORBELL, 0xBEE0 + side)
        assert block.get("doorbell") == 1 << side, "a clock ahead of other writes"
        assert block.get("doorbell_producer") >> 16 * side & 0xFFFF == 0xBEE0 + side
        await block.write(at + regs.RING_CTRL, regs.RING_CTRL_ENABLE)
        assert not block.get("doorbell")
        await block.clock()
        assert (block.get("enable"), block.get("run_on")) == ((1, 3)[side], side)
        await block.write(at + regs.RING_CTRL, regs.RING_CTRL_ENABLE | regs.RING_CTRL_RUN_ON)
        await block.clock()
        assert (block.get("enable"), block.get("run_on")) == ((1, 3)[side], (1, 3)[side])
    assert block.get("log2_entries") == 0x65
    for name in ("DESC", "CPL"):
        due = [base[name, side, half] for side in (1, 0) for half in ("HI", "LO")]
        value = block.get(f"{name.lower()}_base")
        assert [value >> shift & ALL for shift in (96, 64, 32, 0)] == due
    await block.write(regs.Q_IRQ_MODERATION, 0x12345678)
    await block.write(regs.Q_IRQ_ARM, 0xAAAA5555)
    assert (block.get("irq_arm"), block.get("irq_rx_consumer")) == (1, 0x5555)
    assert block.get("irq_tx_consumer") == 0xAAAA
    assert (block.get("irq_cycles"), block.get("irq_count")) == (0x5678, 0x1234)
    await block.clock()
    assert not block.get("irq_arm")
    assert await block.read(regs.Q_IRQ_STATUS) == regs.Q_IRQ_STATUS_ARMED


@of_module("queue_regs")
async def the_mask_sets_itself_when_told_to_and_the_re_arm_takes_it_away(dut: Any) -> None:
    block = Block(dut, "offset")
    names = ("active", "error", "producer", "fetched", "completed", "irq_armed", "irq_fired")
    await block.start(**dict.fromkeys((*names, "irq_raised", "events"), 0))
    for auto in (0, regs.Q_IRQ_MASK_AUTO_MASK):
        await block.write(regs.Q_IRQ_MASK, auto)
        await block.clock(irq_raised=1)
        assert block.get("irq_mask") == 0
        await block.clock(irq_raised=0)
        assert block.get("irq_mask") == int(auto > 0)
        await block.write(regs.Q_IRQ_ARM, 0)
        await block.clock()
        assert block.get("irq_mask") == 0
        await block.write(regs.Q_IRQ_MASK, auto | regs.Q_IRQ_MASK_MASK)
        await block.write(regs.Q_IRQ_ARM, 0)
        await block.clock()
        assert block.get("irq_mask") == int(auto == 0)


@of_module("queue_regs")
async def each_event_counts_in_its_counter(dut: Any) -> None:
    block, rng = Block(dut, "offset"), random.Random(SEED)
    names = ("active", "error", "producer", "fetched", "completed", "irq_armed", "irq_fired")
    await block.start(**dict.fromkeys((*names, "irq_raised", "events"), 0))
    count = len(regs.QUEUE_COUNTERS)
    due = [0] * count
    for _ in range(200):
        events = rng.getrandbits(count) & rng.getrandbits(count)
        await block.clock(events=events)
        due = [so_far + (events >> n & 1) for n, so_far in enumerate(due)]
    for _ in range(4):
        await block.clock(events=0)
    assert [await block.read(counter.offset) for counter in regs.QUEUE_COUNTERS] == due
    assert not block.get("counter_high")


# ---------------------------------------------------------------- event_regs


async def event_block(dut: Any, **inputs: int) -> Block:
    block = Block(dut, "addr")
    await block.start(**{"link_up": 0, "rx_failed": 0, "tx_failed": 0} | inputs)
    return block


@of_module("event_regs")
async def events_stay_until_cleared_and_the_mask_only_holds_the_line(dut: Any) -> None:
    block = await event_block(dut)
    assert await block.read(regs.EVENT_MASK) == 3 and await block.read(regs.EVENT_STATUS) == 0
    assert not block.get("irq") and not block.get("busy")
    for bit, change in ((1, {"link_up": 1}), (2, {"rx_failed": 2}), (2, {"tx_failed": 4}),
                        (1, {"link_up": 0})):  # fmt: skip
        await block.write(regs.EVENT_MASK, bit ^ 3)
        await block.clock(**change)
        assert block.get("busy") and not block.get("irq")
        await block.clock()
        assert block.get("irq") and not block.get("busy")
        assert await block.read(regs.EVENT_STATUS) == bit
        await block.write(regs.EVENT_MASK, 3)
        await block.clock()
        assert not block.get("irq")
        await block.write(regs.EVENT_STATUS, bit ^ 3)
        assert await block.read(regs.EVENT_STATUS) == bit, "the other bit was cleared"
        await block.write(regs.EVENT_MASK, 0)
        await block.write(regs.EVENT_STATUS, bit)
        assert await block.read(regs.EVENT_STATUS) == 0 and not block.get("irq")
    assert await block.read(regs.EVENT_RINGS) == 0x00040002
    await block.clock(rx_failed=0, tx_failed=0)
    await block.clock()
    assert await block.read(regs.EVENT_STATUS) == 0, "an error that went away is none"


@of_module("event_regs")
async def an_event_in_the_clock_of_its_clearing_is_not_lost(dut: Any) -> None:
    block = await event_block(dut)
    await block.write(regs.EVENT_STATUS, 3, rx_failed=1, link_up=1)
    assert await block.read(regs.EVENT_STATUS) == 3


@of_module("event_regs")
async def other_addresses_are_none_of_its(dut: Any) -> None:
    block = await event_block(dut)
    for addr in range(0, 0x100, 4):
        own = int(addr in (regs.EVENT_STATUS, regs.EVENT_MASK, regs.EVENT_RINGS))
        assert await block.known(addr) == (own, own)
        if not own:
            await block.write(addr, 0)
            assert await block.read(addr) == 0
    assert await block.read(regs.EVENT_MASK) == 3


@of_module("event_regs")
async def what_a_reset_finds_is_told_again(dut: Any) -> None:
    """A ring that has failed is; the link is as it was."""
    block = await event_block(dut, rx_failed=1, link_up=1)
    await block.write(regs.EVENT_MASK, 0)
    await block.write(regs.EVENT_STATUS, 3)
    assert await block.read(regs.EVENT_STATUS) == 0
    await block.clock(rst=1)
    await block.clock()
    assert await block.read(regs.EVENT_MASK) == 3
    assert await block.read(regs.EVENT_STATUS) == regs.EVENT_STATUS_RING_ERROR


@pytest.mark.parametrize("top", ["queue_regs", "event_regs"])
def test_reg_blocks(top: str) -> None:
    parameters = {"Queues": QUEUES} if top == "event_regs" else {}
    design = Design(top, nic_sources(), parameters)
    simulate(design, __name__, sim=SIMS[-1], seed=SEED, env={"BLOCK_TOP": top}).check()
