"""What `bench_top` and Python agree on: `flags`, `violations`, and the clock's grid."""

from __future__ import annotations

import enum

PERIOD_PS = 6400
PHASE_PS = 500


class Flag(enum.IntFlag):
    """Bits of `bench_top.flags`: transfers that take place at the coming rising edge, changes."""

    AW = 1 << 0
    W = 1 << 1
    B = 1 << 2
    AR = 1 << 3
    R = 1 << 4
    AXIL_AW = 1 << 5
    AXIL_W = 1 << 6
    AXIL_B = 1 << 7
    AXIL_AR = 1 << 8
    AXIL_R = 1 << 9
    TX_COLUMN = 1 << 10  # the NIC's XGMII output is not idle
    IRQ = 1 << 11  # an interrupt line changed
    VIOLATION = 1 << 12
    IDLE_CHANGED = 1 << 13
    IDLE = 1 << 14  # level: the NIC is idle


CHANNELS = ("m_axi AW", "m_axi W", "m_axi B", "m_axi AR", "m_axi R", "s_axil B", "s_axil R")
"""Whose rule a bit of `bench_top.violations` is about."""


def edge_ns(slot: int) -> int:
    """When the rising edge of grid slot `slot` is, in ns rounded down."""
    return (slot * PERIOD_PS + PHASE_PS + PERIOD_PS // 2) // 1000
