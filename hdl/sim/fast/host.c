/* Host memory behind its IOMMU and error rules, as tb/host_port.py has it.
 *
 * Called with whole bursts; what is refused Python words, from the same rights.
 */

#include <string.h>

#include "fast.h"

#define MAX_RULES 64

uint32_t bus_width;

static struct {
    uint8_t *memory;
    const uint8_t *rights; /* NULL: no IOMMU */
    uint64_t size;
    rule_t rules[MAX_RULES];
    int rule_count;
    uint64_t chance;
} host;

void host_open(uint8_t *memory, const uint8_t *rights, uint64_t size, uint64_t seed)
{
    host.memory = memory;
    host.rights = rights;
    host.size = size;
    host.rule_count = 0;
    host.chance = seed;
}

/* Returns -1 if there are more than fit. */
int host_rules(const rule_t *rules, int count)
{
    if (count > MAX_RULES)
        return -1;
    memcpy(host.rules, rules, count * sizeof *rules);
    host.rule_count = count;
    return 0;
}

void set_bus_width(uint32_t bytes)
{
    if (bytes < 4 || bytes > MAX_WIDTH || bytes & (bytes - 1))
        die("the data bus has 32, 64, 128, 256 or 512 bits");
    bus_width = bytes;
}

static uint32_t rule_for(uint32_t kind, uint64_t addr, uint64_t length)
{
    for (int i = 0; i < host.rule_count; i++) {
        rule_t *rule = &host.rules[i];
        if (rule->kind != kind || rule->times == 0 || addr > rule->last
            || rule->start > addr + (length - 1) || length < rule->min_length)
            continue;
        if (rule->skip > 0) {
            rule->skip--;
            event(EV_RULE, i, 0, 0, 0, 0);
        } else if (chance(&host.chance) < rule->probability) {
            rule->times -= rule->times != UINT64_MAX;
            event(EV_RULE, i, 1, 0, 0, 0);
            return rule->resp;
        }
    }
    return RESP_OKAY;
}

static int allowed(uint64_t addr, uint64_t length, uint8_t access)
{
    uint8_t all = access;
    if (host.rights != NULL)
        for (uint64_t i = 0; i < length; i++)
            all &= host.rights[addr + i];
    return all == access;
}

static uint32_t refuse(uint64_t addr, uint64_t length, uint8_t access, uint32_t resp)
{
    event(EV_FAULT, access, addr, length, 0, 0);
    return resp;
}

static int inside(uint64_t addr, uint64_t length)
{
    return addr <= host.size && length <= host.size - addr;
}

/* Check, or carry out, what `mask` strobes of data[first:last]. */
static uint32_t write_runs(uint64_t addr, const uint8_t *data, const uint8_t *mask, uint64_t first,
                           uint64_t last, int commit)
{
    for (uint64_t at = first; at < last;) {
        uint64_t end = at;
        while (end < last && mask[end])
            end++;
        if (commit) {
            memcpy(host.memory + addr + at, data + at, end - at);
            shared.write_bytes += end - at;
        } else if (!allowed(addr + at, end - at, DMA_FROM_DEVICE)) {
            return refuse(addr + at, end - at, DMA_FROM_DEVICE, RESP_SLVERR);
        }
        for (at = end; at < last && !mask[at]; at++)
            ;
    }
    return RESP_OKAY;
}

/* One burst of `length` bytes; `mask` has a byte for each, not 0 where it is strobed. */
uint32_t host_write(uint64_t addr, const uint8_t *data, const uint8_t *mask, uint64_t length)
{
    uint64_t first = 0, last = length;
    while (first < length && !mask[first])
        first++;
    int strobed = first < length;
    if (strobed)
        while (!mask[last - 1])
            last--;
    else
        first = 0; /* the whole burst counts for the rules */
    uint32_t resp = rule_for(1, addr + first, last - first);
    if (resp != RESP_OKAY)
        return resp;
    if (!inside(addr, length))
        return refuse(addr, length, DMA_FROM_DEVICE, RESP_DECERR);
    if (strobed) {
        resp = write_runs(addr, data, mask, first, last, 0);
        if (resp != RESP_OKAY)
            return resp;
        write_runs(addr, data, mask, first, last, 1);
    }
    shared.writes++;
    return RESP_OKAY;
}

/* Where the first beat is that touches no byte the device may read; `length` if there is none. */
static uint64_t untouched(uint64_t addr, uint64_t length, uint32_t beat)
{
    for (uint64_t at = 0; at < length; at += beat) {
        int touched = 0;
        for (uint32_t i = 0; i < beat; i++)
            touched |= host.rights[addr + at + i] & DMA_TO_DEVICE;
        if (!touched)
            return at;
    }
    return length;
}

/* One burst as whole beats; unmapped bytes of a beat that touches mapped ones are POISON. */
uint32_t host_read(uint64_t start, uint64_t end, uint32_t beat, uint8_t *data)
{
    uint64_t addr = start - start % beat, length = end - addr;
    memset(data, 0, length);
    uint32_t resp = rule_for(0, start, end - start);
    if (resp != RESP_OKAY)
        return resp;
    if (!inside(addr, length))
        return refuse(addr, length, DMA_TO_DEVICE, RESP_DECERR);
    shared.reads++;
    shared.read_bytes += length;
    if (allowed(addr, length, DMA_TO_DEVICE)) {
        memcpy(data, host.memory + addr, length);
        return RESP_OKAY;
    }
    uint64_t bad = untouched(addr, length, beat);
    if (bad < length)
        return refuse(addr + bad, beat, DMA_TO_DEVICE, RESP_SLVERR);
    for (uint64_t at = 0; at < length; at++)
        data[at] = host.rights[addr + at] & DMA_TO_DEVICE ? host.memory[addr + at] : POISON;
    return RESP_OKAY;
}
