"""Host memory: one byte array that CPU and NIC share, and the page allocator on it."""

from __future__ import annotations

from mmap import mmap

import numpy as np
import numpy.typing as npt

PAGE_SIZE = 4096


class HostMemory:
    """`size` bytes (a multiple of 4 KiB), addressed from 0; page 0 is never given out.

    `array` is a uint8 numpy array and `view` a memoryview of the same bytes.  With `array` given
    the memory is somebody else's (shared with a simulator), and must be zeroed.
    """

    def __init__(self, size: int = 16 << 20, array: npt.NDArray[np.uint8] | None = None) -> None:
        # Pages of the operating system's, which are zero until touched: memory that Python gives
        # out a second time would have to be zeroed whole, for every host that is built.
        self.array = np.frombuffer(mmap(-1, size), np.uint8) if array is None else array
        if len(self.array) % PAGE_SIZE:
            raise ValueError(f"memory size {len(self.array)} is not a multiple of {PAGE_SIZE}")
        self.size = len(self.array)
        self.view: memoryview = self.array.data
        self.base: int = self.array.__array_interface__["data"][0]  # in our own address space
        self._next = PAGE_SIZE
        self._free: dict[int, list[int]] = {}  # pages in a block -> addresses
        self._blocks: dict[int, int] = {}  # address -> pages, for blocks in use

    @property
    def pages_in_use(self) -> int:
        return sum(self._blocks.values())

    def alloc_pages(self, pages: int = 1) -> int:
        """Address of `pages` contiguous pages, aligned to their power of two.  MemoryError."""
        free = self._free.get(pages)
        if free:
            addr = free.pop()
        else:
            align = PAGE_SIZE << (pages - 1).bit_length()
            addr = -(-self._next // align) * align
            if addr + pages * PAGE_SIZE > self.size:
                raise MemoryError(f"host memory exhausted: {self.size} bytes")
            self._next = addr + pages * PAGE_SIZE
        self._blocks[addr] = pages
        return addr

    def free_pages(self, addr: int) -> None:
        """Give a block back; KeyError if it was not allocated."""
        self._free.setdefault(self._blocks.pop(addr), []).append(addr)

    def read(self, addr: int, length: int) -> bytes:
        return bytes(self.view[addr : addr + length])

    def write(self, addr: int, data: bytes | memoryview) -> None:
        self.view[addr : addr + len(data)] = data
