"""From the doorbell to the wire, with memory that answers at once."""

from __future__ import annotations

from typing import Any

import cocotb
import pytest
from cocotb.triggers import FallingEdge
from conftest import SEED, SIMS
from nic_common import Nic, Ring

from pystack.dev.drivers import w2a_regs as regs
from wire2app.simulator import Design, nic_sources, simulate

START = 0xFB
FRAME_AT = 0x8000
LIMIT = 40


def starts(data: int, control: int) -> bool:
    return any(control >> lane & 1 and data >> 8 * lane & 0xFF == START for lane in (0, 4))


@cocotb.test()
async def a_short_frame_is_on_the_wire_40_clocks_after_its_doorbell(dut: Any) -> None:
    """Counted from the clock in which the doorbell's data are at the port."""
    nic = Nic(dut)
    await nic.start()
    await nic.write(regs.CTRL, regs.CTRL_TX_ENABLE)
    ring = Ring(nic, 0, regs.Q_TX, 0x1000, 3)
    await ring.enable()
    nic.memory[FRAME_AT : FRAME_AT + 60] = bytes(range(60))
    for _ in range(3):
        ring.post(FRAME_AT, 60)
        doorbell = cocotb.start_soon(ring.ring())
        rung = None
        for clock in range(200):
            await FallingEdge(dut.clk)
            if rung is None and int(dut.s_axil_wvalid.value):
                rung = clock
            if starts(int(dut.xgmii_txd.value), int(dut.xgmii_txc.value)):
                break
        assert rung is not None and clock - rung <= LIMIT, f"{clock - (rung or 0)} clocks"
        dut._log.info("doorbell to wire: %d clocks", clock - rung)
        await doorbell
        await nic.clocks(50)
    assert [frame.payload for frame in nic.transmitted()] == [bytes(range(60))] * 3


@pytest.mark.parametrize("width", [64, 128, 512])
def test_nic_tx_latency(width: int) -> None:
    design = Design("nic_top", nic_sources(), {"AxiDataW": width})
    simulate(design, __name__, sim=SIMS[0], seed=SEED).check()
