"""How the model reaches host memory: a whole piece at a time, answered with an AXI response."""

from __future__ import annotations

from typing import Protocol

from pystack.core.dma import Direction, DmaFault, DmaMapper

OKAY, SLVERR, DECERR = 0, 2, 3


class HostBus(Protocol):
    """Addresses are bus addresses; an answer that is not OKAY moved nothing."""

    def read(self, addr: int, length: int) -> tuple[bytes, int]: ...

    def write(self, addr: int, data: bytes) -> int: ...


class MappedMemory:
    """Host memory behind the IOMMU, which answers SLVERR, and DECERR where there is no memory."""

    def __init__(self, dma: DmaMapper) -> None:
        self._dma = dma

    def read(self, addr: int, length: int) -> tuple[bytes, int]:
        resp = self._check(addr, length, Direction.TO_DEVICE)
        return (b"" if resp else bytes(self._dma.memory.view[addr : addr + length])), resp

    def write(self, addr: int, data: bytes) -> int:
        resp = self._check(addr, len(data), Direction.FROM_DEVICE)
        if not resp:
            self._dma.memory.view[addr : addr + len(data)] = data
        return resp

    def _check(self, addr: int, length: int, access: Direction) -> int:
        try:
            self._dma.check(addr, length, access)
        except DmaFault:
            return DECERR if addr + length > self._dma.memory.size else SLVERR
        return OKAY
