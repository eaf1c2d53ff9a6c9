"""Host memory, the DMA mapping API as an IOMMU, and the page pool."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystack.core.dma import Direction, DmaFault, DmaMapper
from pystack.core.memory import PAGE_SIZE, HostMemory
from pystack.dev.page_pool import PagePool


@pytest.fixture
def dma() -> DmaMapper:
    return DmaMapper(HostMemory(1 << 20), "nic")


def test_access_outside_the_mapping_faults_and_names_it(dma: DmaMapper) -> None:
    addr = dma.memory.alloc_pages(1)
    dma.map_single(addr + 16, 100, Direction.FROM_DEVICE, "rx buffer 7")
    dma.check(addr + 16, 100, Direction.FROM_DEVICE)
    for start, length in ((addr + 15, 1), (addr + 16, 101), (addr + 116, 1), (-1, 4)):
        with pytest.raises(DmaFault):
            dma.check(start, length, Direction.FROM_DEVICE)
    assert "rx buffer 7" in dma.faults[1]
    assert "refused at" in dma.faults[1]


def test_access_in_the_wrong_direction_faults(dma: DmaMapper) -> None:
    addr = dma.memory.alloc_pages(1)
    dma.map_single(addr, 64, Direction.TO_DEVICE, "tx frame")
    dma.check(addr, 64, Direction.TO_DEVICE)
    with pytest.raises(DmaFault, match=r"write.*tx frame"):
        dma.check(addr, 1, Direction.FROM_DEVICE)


def test_buffer_owned_by_the_cpu_faults_until_given_back(dma: DmaMapper) -> None:
    addr = dma.memory.alloc_pages(1)
    dma.map_single(addr, 64, Direction.FROM_DEVICE, "rx")
    dma.sync_for_cpu(addr)
    with pytest.raises(DmaFault, match="owned by the CPU"):
        dma.check(addr, 8, Direction.FROM_DEVICE)
    dma.sync_for_device(addr)
    dma.check(addr, 8, Direction.FROM_DEVICE)


def test_overlapping_map_and_unknown_unmap_are_refused(dma: DmaMapper) -> None:
    addr = dma.memory.alloc_pages(1)
    dma.map_single(addr, 64, Direction.TO_DEVICE, "first")
    with pytest.raises(ValueError, match="first"):
        dma.map_single(addr + 63, 2, Direction.TO_DEVICE, "second")
    dma.unmap_single(addr)
    with pytest.raises(KeyError):
        dma.unmap_single(addr)


def test_pages_are_aligned_and_reused_and_run_out(dma: DmaMapper) -> None:
    memory = dma.memory
    block = memory.alloc_pages(3)
    assert block % (4 * PAGE_SIZE) == 0
    memory.free_pages(block)
    assert memory.alloc_pages(3) == block
    with pytest.raises(MemoryError):
        for _ in range(1000):
            memory.alloc_pages(1)


def largest(memory: HostMemory) -> int:
    """Pages of the largest block that could be had."""
    for pages in range(memory.size // PAGE_SIZE, 0, -1):
        try:
            memory.free_pages(memory.alloc_pages(pages))
        except MemoryError:
            continue
        return pages
    return 0


@given(
    st.integers(2, 70),
    st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=60),
)
def test_blocks_never_overlap_and_are_one_again_when_all_are_free(
    size: int, steps: list[tuple[bool, int]]
) -> None:
    memory = HostMemory(size * PAGE_SIZE)
    before = largest(memory)
    held: dict[int, int] = {}
    for free, number in steps:
        if free and held:
            addr = list(held)[number % len(held)]
            memory.free_pages(addr)
            del held[addr]
            continue
        try:
            addr = memory.alloc_pages(number + 1)
        except MemoryError:
            continue
        end = addr + (number + 1) * PAGE_SIZE
        assert addr > 0 and addr % (PAGE_SIZE << number.bit_length()) == 0 and end <= memory.size
        for other, pages in held.items():
            assert end <= other or other + pages * PAGE_SIZE <= addr
        held[addr] = number + 1
        assert memory.pages_in_use == sum(held.values())
    for addr in held:
        memory.free_pages(addr)
    assert (memory.pages_in_use, largest(memory)) == (0, before)
    assert len([memory.alloc_pages(1) for _ in range(size - 1)]) == size - 1


def test_page_pool_recycles_wakes_a_starved_user_and_ends_clean(dma: DmaMapper) -> None:
    woken: list[int] = []
    pool = PagePool(dma, 2048, 4, "rx", on_put=lambda: woken.append(1))
    buffers = [pool.alloc() for _ in range(4)]
    assert pool.alloc() is None
    for addr in buffers[:3]:
        assert addr is not None
        dma.sync_for_cpu(addr)
        pool.put(addr)
    assert woken == [1]
    pool.destroy()
    assert pool.in_use == 1
    assert buffers[3] is not None
    pool.put(buffers[3], cpu_owned=False)
    assert (dma.memory.pages_in_use, dma.mappings, int(dma.rights.max())) == (0, {}, 0)
