/* What both directions of the AXI slave share: address beats, and which burst is answered next.
 *
 * Answers of one ID keep their order; those of different IDs do too unless `reorder` is set.
 */

#include "fast.h"

uint64_t burst_first(const burst_t *b) { return b->addr - b->addr % b->size; }
uint64_t burst_end(const burst_t *b) { return burst_first(b) + (uint64_t)b->beats * b->size; }

/* The rules of IHI 0022, A3.4. */
static void check_burst(const burst_t *b, const char *name)
{
    unsigned long long addr = b->addr, end = burst_end(b);
    if (b->type != 1)
        report(REPORT_AXI, "%s at %#llx: burst type %u is not INCR", name, addr, b->type);
    else if (b->size > bus_width)
        report(REPORT_AXI, "%s at %#llx: beats of %u bytes on a bus of %u", name, addr, b->size,
               bus_width);
    else if (burst_first(b) >> 12 != (end - 1) >> 12)
        report(REPORT_AXI, "%s at %#llx: burst [%#llx, %#llx) crosses a 4 KiB boundary", name, addr,
               addr, end);
}

/* `len` and `size` are coded as on the bus. */
burst_t take_address(uint64_t slot, uint32_t id, uint64_t addr, uint32_t len, uint32_t size,
                     uint32_t type, const char *name)
{
    burst_t b = {id, len + 1, 1u << size, type, addr, slot, 0};
    check_burst(&b, name);
    if (b.size > MAX_WIDTH)
        b.size = MAX_WIDTH; /* reported; what it moves no longer matters */
    return b;
}

/* Which of `count` bursts is answered next: the first that is due, or, with reorder, a random one
 * of those that are the first of their ID; -1 if none is. */
int next_due(const burst_t *const *pending, int count, uint64_t slot, uint64_t *state)
{
    if (!settings.reorder)
        return count > 0 && pending[0]->due <= slot ? 0 : -1;
    int chosen = -1, due = 0;
    for (int i = 0; i < count; i++) {
        int first = pending[i]->due <= slot;
        for (int j = 0; first && j < i; j++)
            first = pending[j]->id != pending[i]->id;
        if (first && (uint64_t)chance(state) * ++due >> 32 == 0)
            chosen = i;
    }
    return chosen;
}

void dma_event(const burst_t *b, int write, int ok, uint64_t slot)
{
    if (shared.dma_events)
        event(EV_DMA, write | ok << 1, b->addr, burst_end(b) - b->addr, b->slot, slot);
}
