"""The DMA mapping API, which is also the IOMMU (`Documentation/core-api/dma-api.rst`).

A device may touch only bytes that are mapped for it, in the mapped direction.  `sync_*` moves
ownership: between `sync_for_cpu` and `sync_for_device` the device may not touch the buffer.
Bus address and memory address are equal; the check is what is modelled.  Rights are one byte a
byte of memory, so that a simulator in C can check the same array.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from pystack.core.memory import PAGE_SIZE, HostMemory


class Direction(enum.IntFlag):
    """Seen from the device: what it may do."""

    TO_DEVICE = 1  # the device reads
    FROM_DEVICE = 2  # the device writes
    BIDIRECTIONAL = 3


class Mapping(NamedTuple):
    addr: int
    length: int
    direction: Direction
    name: str

    def __str__(self) -> str:
        end = self.addr + self.length
        return f"{self.name} [{self.addr:#x}, {end:#x}) {self.direction.name}"


class DmaFault(Exception):
    """The device touched a byte it must not; the text names the access and the mapping."""


@lru_cache(4096)
def _pattern(length: int, rights: int) -> bytes:
    return bytes((rights,)) * length


class DmaMapper:
    """The mappings of one device.  `on_fault` hears of every refused access."""

    def __init__(self, memory: HostMemory, device: str) -> None:
        self.memory = memory
        self.device = device
        self.rights = np.zeros(memory.size, dtype=np.uint8)
        self._rights = self.rights.data  # the same bytes: a short range is set and read faster so
        self.mappings: dict[int, Mapping] = {}
        self.faults: list[str] = []
        self.on_fault: Callable[[str], None] | None = None

    def map_single(self, addr: int, length: int, direction: Direction, name: str) -> int:
        """Allow the device `direction` on the range; returns the bus address."""
        if length <= 0 or addr < 0 or addr + length > self.memory.size:
            raise ValueError(f"map of [{addr:#x}, +{length}) outside host memory")
        none = _pattern(length, 0)
        if addr in self.mappings or bytes(self._rights[addr : addr + length]) != none:
            raise ValueError(f"map of [{addr:#x}, +{length}) overlaps {self._near(addr, length)}")
        self.mappings[addr] = Mapping(addr, length, direction, name)
        self._rights[addr : addr + length] = _pattern(length, direction)
        return addr

    def unmap_single(self, addr: int) -> None:
        """End the mapping that starts at `addr`; KeyError if there is none."""
        length = self.mappings.pop(addr).length
        self._rights[addr : addr + length] = _pattern(length, 0)

    def sync_for_cpu(self, addr: int) -> None:
        length = self.mappings[addr].length
        self._rights[addr : addr + length] = _pattern(length, 0)

    def sync_for_device(self, addr: int) -> None:
        _, length, direction, _ = self.mappings[addr]
        self._rights[addr : addr + length] = _pattern(length, direction)

    def alloc_coherent(self, size: int, name: str) -> int:
        """Zeroed memory both sides may use at any time, aligned to its size; `free_coherent`."""
        addr = self.memory.alloc_pages(-(-size // PAGE_SIZE))
        self.memory.array[addr : addr + size] = 0
        return self.map_single(addr, size, Direction.BIDIRECTIONAL, name)

    def free_coherent(self, addr: int) -> None:
        self.unmap_single(addr)
        self.memory.free_pages(addr)

    def check(self, addr: int, length: int, access: Direction) -> None:
        """The IOMMU's test of one device access; DmaFault, counted in `faults`, if refused."""
        end = addr + length
        if addr >= 0 and end <= self.memory.size:
            rights = bytes(self._rights[addr:end])
            if rights.count(access) + rights.count(Direction.BIDIRECTIONAL) == length:
                return
            refused = self.rights[addr:end] & access == 0
            first = addr + int(refused.argmax())
        else:
            first = addr
        verb = "write" if access is Direction.FROM_DEVICE else "read"
        text = (
            f"{self.device}: DMA {verb} of [{addr:#x}, {end:#x}) refused at {first:#x}: "
            f"{self._near(first, 1)}"
        )
        self.faults.append(text)
        if self.on_fault is not None:
            self.on_fault(text)
        raise DmaFault(text)

    def _near(self, addr: int, length: int) -> str:
        for mapping in self.mappings.values():
            if mapping.addr < addr + length and addr < mapping.addr + mapping.length:
                owned = self.rights[max(addr, mapping.addr)] == 0
                return f"{mapping}{', owned by the CPU' if owned else ''}"
        below = [m for m in self.mappings.values() if m.addr + m.length <= addr]
        if not below:
            return "no mapping there"
        last = max(below, key=lambda m: m.addr)
        return f"no mapping there; {addr - last.addr - last.length} bytes behind {last}"
