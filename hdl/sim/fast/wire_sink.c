/* The wire from the NIC: XGMII columns become frames, and are held to the rules of clause 46.
 *
 * Good frames go to Python without their FCS; what breaks a rule is reported.
 */

#include <stdio.h>
#include <string.h>

#include "fast.h"

#define LONGEST (HEAP_BYTES / 2) /* lanes of a frame that are kept */

static struct {
    uint8_t *stream; /* of the frame that is coming in, from the column of its start on */
    size_t length, capacity;
    int in_frame, seen, lane, deficit;
    uint64_t start;
    int64_t end; /* place of the last terminate character; -1: none yet */
} sink;

int sink_busy(void) { return sink.in_frame; }

void sink_reset(void)
{
    sink.in_frame = sink.seen = sink.deficit = 0;
    sink.end = -1;
}

static void append(uint64_t data)
{
    if (sink.length + 8 > sink.capacity && sink.length <= LONGEST) {
        sink.capacity = 2 * sink.capacity + 4096;
        sink.stream = grown(sink.stream, sink.capacity, 1);
    }
    if (sink.length <= LONGEST)
        memcpy(sink.stream + sink.length, &data, 8);
    sink.length += 8;
}

/* The first `count` lanes, at most 8. */
static const char *lanes_hex(const void *lanes, size_t count)
{
    static char text[17];
    text[0] = '\0';
    for (size_t i = 0; i < count; i++)
        snprintf(text + 2 * i, 3, "%02x", ((const uint8_t *)lanes)[i]);
    return text;
}

static void check_gap(int64_t place)
{
    if (sink.end < 0)
        return;
    int gap = place - sink.end > 4096 ? 4096 : (int)(place - sink.end);
    sink.deficit += IFG - gap;
    if (sink.deficit < 0)
        sink.deficit = 0;
    if (sink.deficit > MAX_DEFICIT) {
        report(REPORT_XGMII, "inter-frame gap of %d bytes, deficit %d above %d", gap, sink.deficit,
               MAX_DEFICIT);
        sink.deficit = 0;
    }
}

static void begin(uint64_t slot, int lane, uint64_t data)
{
    check_gap(8 * (int64_t)slot + lane);
    sink.in_frame = 1;
    sink.length = 0;
    sink.lane = lane;
    sink.start = slot;
    append(data);
}

/* `stream` has preamble, frame and FCS, at least 4 bytes. */
static void take_frame(const uint8_t *stream, size_t length, uint64_t slot)
{
    size_t frame = length < 12 ? 0 : length - 12;
    const uint8_t *check = stream + length - 4;
    if (length < 8 || memcmp(stream, SOUND.preamble, 8) != 0)
        report(REPORT_XGMII, "preamble is %s", lanes_hex(stream, length < 8 ? length : 8));
    if (frame < MIN_FRAME)
        report(REPORT_XGMII, "frame of %zu bytes without FCS is a runt", frame);
    uint32_t computed = frame > 0 ? fcs(stream + 8, frame) : 0;
    if (memcmp(&computed, check, 4) != 0) {
        report(REPORT_FCS, "frame of %zu bytes with FCS %s", frame, lanes_hex(check, 4));
        return;
    }
    shared.frames_received++;
    uint32_t at = heap_put(frame > 0 ? stream + 8 : stream, frame);
    event(EV_FRAME, (uint32_t)frame, at, sink.start, slot, 0);
}

/* A column between frames that is not all idle: a frame starts, or a fault is told. */
static void outside(uint64_t slot, uint64_t data, uint8_t control)
{
    if ((data & 255) == XGMII_SEQUENCE || (data >> 32 & 255) == XGMII_SEQUENCE)
        shared.ordered_sets++;
    else if ((data & 255) == XGMII_START && control == 0x01)
        begin(slot, 0, data);
    else if ((data >> 32 & 255) == XGMII_START && control == 0x1F
             && (data & 0xFFFFFFFF) == (IDLE_DATA & 0xFFFFFFFF))
        begin(slot, 4, data);
    else
        report(REPORT_XGMII, "column %s/%02x outside a frame", lanes_hex(&data, 8), control);
}

static void last_column(uint64_t slot, uint64_t data, uint8_t control)
{
    int size = __builtin_ctz(control); /* data lanes before the first control */
    uint64_t rest = size == 7 ? 0 : IDLE_DATA << (8 * size + 8);
    uint64_t tail = rest | (uint64_t)XGMII_TERMINATE << 8 * size;
    uint64_t mask = UINT64_MAX << 8 * size;
    size_t column = sink.length / 8, length = sink.length + size - sink.lane;
    sink.in_frame = 0;
    if ((data >> 8 * size & 255) == XGMII_ERROR) {
        report(REPORT_XGMII, "error character, in column %zu of a frame", column);
    } else if (control != (uint8_t)(0xFF << size) || (data & mask) != tail) {
        report(REPORT_XGMII, "column %s/%02x does not end a frame, in column %zu of a frame",
               lanes_hex(&data, 8), control, column);
    } else {
        sink.end = 8 * (int64_t)slot + size;
        append(data);
        if (length <= LONGEST)
            take_frame(sink.stream + sink.lane, length, slot);
        else
            report(REPORT_XGMII, "frame of %zu bytes is more than BUS=fast takes", length - 12);
    }
}

void sink_column(uint64_t slot, uint64_t data, uint8_t control)
{
    sink.seen = 1;
    if (!sink.in_frame)
        outside(slot, data, control);
    else if (control == 0)
        append(data);
    else
        last_column(slot, data, control);
}

/* Inside a frame a column that was not told is all idle. */
void sink_step(uint64_t slot)
{
    if (sink.in_frame && !sink.seen)
        sink_column(slot, IDLE_DATA, 0xFF);
    sink.seen = 0;
}
