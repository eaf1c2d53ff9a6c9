/* What the models tell Python: events in the order they happened, and the bytes they refer to.
 *
 * Python reads all there is whenever `attention` changes and after it resets the NIC; a clock that
 * runs while nobody reads fills the memory, which ends the simulation with a word about it.
 */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fast.h"

shared_t shared;
int wake;

void die(const char *what)
{
    fprintf(stderr, "BUS=fast: %s\n", what);
    abort();
}

void *grown(void *old, size_t count, size_t size)
{
    void *room = realloc(old, count * size);
    if (room == NULL)
        die("out of memory");
    return room;
}

void event(uint32_t kind, uint32_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e)
{
    if (shared.event_count >= MAX_EVENTS)
        die("Python does not read its events");
    shared.events[shared.event_count++] = (event_t){kind, a, b, c, d, e};
    if (kind != EV_DMA || shared.event_count > MAX_EVENTS / 2)
        wake = 1; /* nobody acts on a DMA record: it can wait for the next event */
}

uint32_t heap_put(const void *bytes, size_t count)
{
    uint32_t at = shared.heap_used;
    if (count > HEAP_BYTES - at)
        die("Python does not read its frames");
    memcpy(shared.heap + at, bytes, count);
    shared.heap_used += (uint32_t)count;
    return at;
}

void report(uint32_t kind, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (length >= (int)sizeof text)
        length = sizeof text - 1;
    event(EV_REPORT, kind, heap_put(text, length), length, 0, 0);
}
