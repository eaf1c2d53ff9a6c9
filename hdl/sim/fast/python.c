/* What Python calls (tb/fast/library.py): open the models, change their settings, queue work.
 *
 * Functions that queue work return whether the clock was running; if not, Python lets it run.
 */

#include <string.h>

#include "fast.h"

#pragma GCC visibility push(default)

/* Forget everything.  `seeds` are four words that are not 0; the arrays stay Python's. */
shared_t *bus_open(uint8_t *memory, const uint8_t *rights, uint64_t size, const uint64_t *seeds,
                   const uint64_t *stalls, int reorder, int idle_skip)
{
    fcs_init();
    memset(&shared, 0, offsetof(shared_t, events));
    memcpy(settings.stall, stalls, sizeof settings.stall);
    settings.reorder = reorder;
    settings.idle_skip = idle_skip;
    write_open(seeds[0]);
    read_open(seeds[1]);
    axil_open(seeds[2]);
    host_open(memory, rights, size, seeds[3]);
    source_open();
    sink_reset();
    clock_open();
    return &shared;
}

void bus_latency(int write, const uint32_t *values, uint32_t count)
{
    set_latency(write ? &settings.write_latency : &settings.read_latency, values, count);
}

void bus_gap(int ifg) { source_gap(ifg); }

/* Replace the error rules; returns -1 if there are more than fit. */
int bus_rules(const rule_t *rules, int count) { return host_rules(rules, count); }

int bus_request(void) { return request(); }

int bus_reset(int level)
{
    if (level) {
        sink_reset();
        source_reset();
        write_reset();
        read_reset();
        axil_reset();
    }
    clock_hold(level);
    return request();
}

int bus_read(uint32_t offset)
{
    axil_read(offset);
    return request();
}

int bus_write(uint32_t offset, uint32_t value, int wanted)
{
    axil_write(offset, value, wanted);
    return request();
}

int bus_send(const uint8_t *frame, uint32_t length, int wanted)
{
    source_frame(frame, length, wanted, &SOUND);
    return request();
}

int bus_send_defect(const uint8_t *frame, uint32_t length, int wanted, const defect_t *defect)
{
    source_frame(frame, length, wanted, defect);
    return request();
}

/* Raw columns: 8 bytes of data and one of control each. */
int bus_send_columns(const uint8_t *columns, uint32_t count, int wanted)
{
    source_columns(columns, count, wanted);
    return request();
}

#pragma GCC visibility pop
