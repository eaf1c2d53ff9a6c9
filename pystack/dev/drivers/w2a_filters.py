"""Which destinations the NIC lets in: exact filters while they suffice, then coarser ones."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

from pystack.dev.drivers import w2a_regs as regs

if TYPE_CHECKING:
    from pystack.dev.drivers.w2a_nic import W2aNic


class Filters:
    def __init__(self, nic: W2aNic) -> None:
        self._nic = nic

    def mode(self) -> int:
        """Program the filters for what the device's lists ask; returns what `ctrl` has to be."""
        dev = self._nic.dev
        mode = regs.CTRL_RX_ENABLE | regs.CTRL_TX_ENABLE
        groups, others = sorted(dev.mc_list), sorted(dev.unicast)
        if not self._nic.device_features & regs.FEATURES_RX_FILTERS:
            mode |= regs.CTRL_ALL_MULTICAST if groups else 0
            mode |= regs.CTRL_PROMISCUOUS if others or dev.promiscuity else 0
            return mode
        exact, hashed = others + groups, 0
        if len(exact) > regs.MAC_FILTER_LO_COUNT:
            exact = others
            for group in groups:
                hashed |= 1 << hash_bit(group)
        if len(others) > regs.MAC_FILTER_LO_COUNT or dev.promiscuity:
            mode |= regs.CTRL_PROMISCUOUS
        self._program(exact[: regs.MAC_FILTER_LO_COUNT], hashed)
        return mode

    def _program(self, exact: list[bytes], hashed: int) -> None:
        write = self._nic.write32
        for number in range(regs.MAC_FILTER_LO_COUNT):
            low = high = 0
            if number < len(exact):
                low = int.from_bytes(exact[number][:4], "little")
                high = int.from_bytes(exact[number][4:], "little") | regs.MAC_FILTER_HI_VALID
            write(regs.MAC_FILTER_LO + 4 * number, low)
            write(regs.MAC_FILTER_HI + 4 * number, high)
        write(regs.MULTICAST_HASH_LO, hashed & 0xFFFFFFFF)
        write(regs.MULTICAST_HASH_HI, hashed >> 32)


def hash_bit(group: bytes) -> int:
    """The upper six bits of `ether_crc`, whose bits stand in the order of the wire."""
    register = crc32(group) ^ 0xFFFFFFFF
    return sum((register >> bit & 1) << 5 - bit for bit in range(6))
