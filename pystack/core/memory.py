"""Host memory: one byte array that CPU and NIC share, and the page allocator on it (a buddy system,
as `mm/page_alloc.c`)."""

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
        pages = self.size // PAGE_SIZE
        # Of each order (2^order pages, aligned to its size): the first pages of the free blocks.
        self._free: list[dict[int, None]] = [{} for _ in range(pages.bit_length())]
        self._give_back(1, pages)
        self._blocks: dict[int, int] = {}  # address -> pages, for blocks in use

    @property
    def pages_in_use(self) -> int:
        return sum(self._blocks.values())

    def alloc_pages(self, pages: int = 1) -> int:
        """Address of `pages` contiguous pages, aligned to their power of two.  MemoryError."""
        for order in range((pages - 1).bit_length(), len(self._free)):
            if self._free[order]:
                page, _ = self._free[order].popitem()
                self._give_back(page + pages, page + (1 << order))
                self._blocks[page * PAGE_SIZE] = pages
                return page * PAGE_SIZE
        raise MemoryError(f"host memory exhausted: {self.size} bytes")

    def free_pages(self, addr: int) -> None:
        """Give a block back; KeyError if it was not allocated."""
        pages = self._blocks.pop(addr)
        self._give_back(addr // PAGE_SIZE, addr // PAGE_SIZE + pages)

    def _give_back(self, first: int, end: int) -> None:
        """Free the pages before `end`, in blocks each joined with its buddy while that is free
        (`__free_one_page`)."""
        while first < end:
            order = min((first & -first).bit_length(), (end - first).bit_length()) - 1
            page = first
            first += 1 << order
            while (buddy := page ^ 1 << order) in self._free[order]:
                del self._free[order][buddy]
                page = min(page, buddy)
                order += 1
            self._free[order][page] = None

    def read(self, addr: int, length: int) -> bytes:
        return bytes(self.view[addr : addr + length])

    def write(self, addr: int, data: bytes | memoryview) -> None:
        self.view[addr : addr + len(data)] = data
