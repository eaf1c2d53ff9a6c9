"""mac_rx: the state of the link after fault sequences, and what `busy` covers."""

from __future__ import annotations

from typing import Any

import cocotb
import pytest
from conftest import SEED, SIMS
from mac_rx_common import Receiver, reset
from wire_side_common import (
    CODED_ERROR,
    IDLE_WORD,
    LOCAL_FAULT,
    PREAMBLE,
    REMOTE_FAULT,
    SEQUENCE,
    XgmiiLine,
)

from wire2app.simulator import Design, nic_sources, simulate


async def link_after(dut: Any, columns: list[bytes]) -> int:
    """link_up after these ordered sets, from a clean state."""
    receiver, line = Receiver(dut), XgmiiLine()
    for column in columns:
        line.ordered_set(column)
    await receiver.run(line, tail=3)
    state = int(dut.link_up.value)
    await receiver.run(XgmiiLine(), tail=70)
    assert dut.link_up.value == 1 and dut.busy.value == 0
    return state


@cocotb.test()
async def four_faults_of_a_kind_take_the_link_down(dut: Any) -> None:
    await reset(dut)
    assert dut.link_up.value == 1
    for fault, other in ((LOCAL_FAULT, REMOTE_FAULT), (REMOTE_FAULT, LOCAL_FAULT)):
        assert await link_after(dut, [fault] * 3) == 1
        assert await link_after(dut, [fault] * 4) == 0
        assert await link_after(dut, [fault] * 50) == 0
        assert await link_after(dut, [fault] * 3 + [other] + [fault] * 3) == 1
        assert await link_after(dut, [fault, other] * 10) == 1
        assert await link_after(dut, [other, fault, fault, fault]) == 1
        assert await link_after(dut, [other, other, fault, fault, fault, fault]) == 0
        assert await link_after(dut, [other] + [fault] * 5 + [other]) == 1
    assert await link_after(dut, [bytes([SEQUENCE, 0, 0, 3])] * 20) == 1


@cocotb.test()
async def the_link_is_up_128_columns_after_the_last_fault(dut: Any) -> None:
    await reset(dut)
    receiver, line = Receiver(dut), XgmiiLine()
    for _ in range(8):
        line.ordered_set(LOCAL_FAULT)
        line.idle(4 * 120)  # fewer than 128 columns: still one row of faults
    line.idle(-len(line.data) % 8)
    await receiver.run(line, tail=0)
    assert dut.link_up.value == 0
    await receiver.run(XgmiiLine(), tail=2)
    assert dut.link_up.value == 0
    await receiver.run(XgmiiLine(), tail=6)
    assert dut.link_up.value == 1


@cocotb.test()
async def busy_covers_the_frame_and_nothing_else(dut: Any) -> None:
    await reset(dut)
    receiver = Receiver(dut)
    for lane in (0, 4):
        for length in (0, 1, 60, 61, 62, 63, 64, 65, 66, 67):
            line = XgmiiLine()
            line.frame(bytes(length), lane)
            assert dut.busy.value == 0
            for word in line.words():
                await receiver.send([word])
                assert dut.busy.value == 1 or word == IDLE_WORD
            seen = len(receiver.frames)
            while dut.busy.value == 1:
                await receiver.send([IDLE_WORD])
            assert len(receiver.frames) <= seen + 1
            done = len(receiver.frames)
            await receiver.send([IDLE_WORD] * 10)
            assert len(receiver.frames) == done, "a frame came out after busy fell"
    assert len(receiver.frames) == 20
    line = XgmiiLine()
    line.align(4)
    line.symbols(PREAMBLE[:4], [1, 0, 0, 0])
    await receiver.send(line.words())
    while dut.busy.value == 1:
        await receiver.send([IDLE_WORD])
    assert [verdict for _, verdict in receiver.frames[20:]] == [CODED_ERROR]


@pytest.mark.parametrize("sim", SIMS)
def test_mac_rx_link(sim: str) -> None:
    simulate(Design("mac_rx", nic_sources()), __name__, sim=sim, seed=SEED).check()
