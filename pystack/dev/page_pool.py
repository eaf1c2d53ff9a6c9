"""Receive buffers that stay mapped and are recycled (`net/core/page_pool.c`).

A buffer belongs to the device from `alloc` until the driver's `sync_for_cpu`, to the stack until
its skb is freed, and then to the pool again.
"""

from __future__ import annotations

from collections.abc import Callable

from pystack.core.dma import Direction, DmaMapper
from pystack.core.memory import PAGE_SIZE


class PagePool:
    """At most `limit` buffers of `size` bytes (a divisor of 4096), made page by page.

    `on_put` is called when a buffer comes back after `alloc` had to answer None.
    """

    def __init__(
        self,
        dma: DmaMapper,
        size: int,
        limit: int,
        name: str,
        on_put: Callable[[], None] | None = None,
    ) -> None:
        if PAGE_SIZE % size:
            raise ValueError(f"buffer size {size} does not divide a page")
        self.dma = dma
        self.size = size
        self.limit = limit
        self.name = name
        self.made = 0
        self.recycled = 0
        self.alloc_failed = 0  # there was no page
        self.starved = False
        self._on_put = on_put
        self._free: list[int] = []
        self._pages: dict[int, int] = {}  # page address -> buffers of it that are mapped
        self._dead = False

    @property
    def in_use(self) -> int:
        """Buffers with the device or the stack."""
        return self.made - len(self._free)

    def alloc(self) -> int | None:
        """Bus address of a buffer the device may write; None when the pool is at its limit."""
        if not self._free and not self._grow():
            self.starved = True
            return None
        return self._free.pop()

    def put(self, addr: int, cpu_owned: bool = True) -> None:
        """Take a buffer back from the stack, or from the device (`cpu_owned=False`)."""
        if self._dead:
            self._release(addr)
            return
        if cpu_owned:
            self.dma.sync_for_device(addr)
        self.recycled += 1
        self._free.append(addr)
        if self.starved and self._on_put is not None:
            self.starved = False
            self._on_put()

    def destroy(self) -> None:
        """Unmap and free what is here now, and the rest as it comes back."""
        self._dead = True
        free, self._free = self._free, []
        for addr in free:
            self._release(addr)

    def _grow(self) -> bool:
        per_page = PAGE_SIZE // self.size
        if self.made + per_page > self.limit:
            return False
        try:
            page = self.dma.memory.alloc_pages(1)
        except MemoryError:
            self.alloc_failed += 1
            return False
        self._pages[page] = per_page
        for addr in range(page + PAGE_SIZE - self.size, page - 1, -self.size):
            name = f"{self.name} buffer {self.made}"
            self._free.append(self.dma.map_single(addr, self.size, Direction.FROM_DEVICE, name))
            self.made += 1
        return True

    def _release(self, addr: int) -> None:
        self.dma.unmap_single(addr)
        self.made -= 1
        page = addr - addr % PAGE_SIZE
        self._pages[page] -= 1
        if not self._pages[page]:
            del self._pages[page]
            self.dma.memory.free_pages(page)
