/* The wire towards the NIC: frames become XGMII columns at line rate, with a real sender's gaps.
 *
 * A frame is encoded when its first column is due; the last one is out when the next step finds
 * none left, which is when its sender is told.
 */

#include <string.h>

#include "fast.h"

#define COLUMN_BYTES 9 /* of a raw column: 8 lanes and their control bits */

/* In the queue before its bytes. */
typedef struct {
    uint32_t length; /* bytes of the frame, or of the columns if raw */
    uint8_t raw, wanted;
    defect_t defect;
} transmission_t;

typedef struct {
    uint64_t data;
    uint8_t control;
} column_t;

const defect_t SOUND = {0, -1, -1, 1, 1, {XGMII_START, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0xD5}};

static struct {
    uint8_t *queue; /* transmissions, each followed by its bytes, from `head` to `tail` */
    size_t head, tail, capacity;
    transmission_t current;
    int active, busy, idle_columns; /* idle_columns: still to go before the frame's own */
    column_t *columns;
    size_t at, count, columns_capacity;
    int ifg, deficit;
    int64_t end; /* place of the last terminate character, in lanes since time 0 */
} source;

int source_busy(void) { return source.busy; }
void source_gap(int ifg) { source.ifg = ifg; }

void source_reset(void)
{
    source.head = source.tail = 0;
    source.active = source.busy = source.idle_columns = 0;
    source.at = source.count = 0;
    pins.rxd = IDLE_DATA;
    pins.rxc = 0xFF;
}

void source_open(void)
{
    source_reset();
    source.ifg = IFG;
    source.deficit = 0;
    source.end = -(1LL << 62);
}

static void queue_room(size_t need)
{
    if (source.tail + need <= source.capacity)
        return;
    source.tail -= source.head;
    if (source.tail > 0)
        memmove(source.queue, source.queue + source.head, source.tail);
    source.head = 0;
    if (source.tail + need > source.capacity / 2) {
        source.capacity = 2 * (source.capacity + need);
        source.queue = grown(source.queue, source.capacity, 1);
    }
}

static void put(transmission_t t, const uint8_t *bytes)
{
    if (source.head == source.tail)
        source.head = source.tail = 0;
    queue_room(sizeof t + t.length);
    memcpy(source.queue + source.tail, &t, sizeof t);
    memcpy(source.queue + source.tail + sizeof t, bytes, t.length);
    source.tail += sizeof t + t.length;
    source.busy = 1;
}

void source_frame(const uint8_t *frame, uint32_t length, int wanted, const defect_t *defect)
{
    put((transmission_t){length, 0, wanted != 0, *defect}, frame);
}

void source_columns(const uint8_t *columns, uint32_t count, int wanted)
{
    put((transmission_t){COLUMN_BYTES * count, 1, wanted != 0, SOUND}, columns);
}

/* Where the next frame may start: a gap of `ifg` on average, by the deficit idle count of
 * IEEE 802.3 46.3.1.4; `now` is the first free place, in lane 0. */
static int64_t next_start(int64_t now)
{
    int64_t ideal = source.end + source.ifg;
    if (ideal <= now) {
        source.deficit = 0;
        return now;
    }
    int64_t start = ideal - ideal % 4;
    int shortened = (int)(ideal - start);
    if (source.deficit + shortened <= MAX_DEFICIT) {
        source.deficit += shortened;
    } else {
        source.deficit -= 4 - shortened;
        start += 4;
    }
    return start > now ? start : now;
}

static void columns_room(size_t count)
{
    if (count > source.columns_capacity) {
        source.columns_capacity = 2 * count;
        source.columns = grown(source.columns, source.columns_capacity, sizeof *source.columns);
    }
    source.at = 0;
    source.count = count;
}

/* What is on the lanes from the column of the start on, in `stream`, where `lead` lanes come before
 * the frame; returns the bytes of frame and FCS. */
static size_t lay_out(uint8_t *stream, size_t lead, const transmission_t *t, const uint8_t *frame)
{
    const defect_t *defect = &t->defect;
    size_t body = t->length;
    memcpy(stream + lead - 8, defect->preamble, 8);
    memcpy(stream + lead, frame, body);
    if (defect->pad && body < MIN_FRAME) {
        memset(stream + lead + body, 0, MIN_FRAME - body);
        body = MIN_FRAME;
    }
    uint32_t check = fcs(stream + lead, body) ^ defect->fcs_xor;
    memcpy(stream + lead + body, &check, 4);
    body += 4;
    if (defect->cut_to >= 0 && (size_t)defect->cut_to < body) {
        memset(stream + lead + defect->cut_to, XGMII_IDLE, body - defect->cut_to);
        body = defect->cut_to;
    }
    if (defect->error_at >= 0)
        stream[lead + defect->error_at] = XGMII_ERROR;
    if (defect->terminate)
        stream[lead + body] = XGMII_TERMINATE;
    return body;
}

/* The columns of a frame that starts in `lane`; returns the place of its terminate character. */
static int64_t encode(const transmission_t *t, const uint8_t *frame, int lane)
{
    static uint8_t *stream;
    static size_t capacity;
    size_t lead = lane + 8;
    size_t most = lead + (t->length < MIN_FRAME ? MIN_FRAME : t->length) + 4 + 8;
    if (most > capacity) {
        capacity = 2 * most;
        stream = grown(stream, capacity, 1);
    }
    memset(stream, XGMII_IDLE, most);
    size_t end = lead + lay_out(stream, lead, t, frame);
    columns_room(end / 8 + 1);
    for (size_t i = 0; i < source.count; i++) {
        memcpy(&source.columns[i].data, stream + 8 * i, 8);
        source.columns[i].control = 8 * i + 8 > end ? (uint8_t)(0xFF << (end - 8 * i)) : 0;
    }
    source.columns[0].control |= (1 << (lane + 1)) - 1;
    if (t->defect.error_at >= 0) {
        size_t at = lead + t->defect.error_at;
        source.columns[at / 8].control |= 1 << at % 8;
    }
    return (int64_t)end;
}

static void begin(uint64_t slot)
{
    transmission_t *t = &source.current;
    memcpy(t, source.queue + source.head, sizeof *t);
    const uint8_t *bytes = source.queue + source.head + sizeof *t;
    source.head += sizeof *t + t->length;
    source.active = 1;
    if (t->raw) {
        columns_room(t->length / COLUMN_BYTES);
        for (size_t i = 0; i < source.count; i++) {
            memcpy(&source.columns[i].data, bytes + COLUMN_BYTES * i, 8);
            source.columns[i].control = bytes[COLUMN_BYTES * i + 8];
        }
        return;
    }
    int64_t start = next_start(8 * (int64_t)slot);
    source.idle_columns = (int)(start / 8 - (int64_t)slot);
    source.end = start - start % 8 + encode(t, bytes, (int)(start % 8));
}

int source_step(uint64_t slot)
{
    if (source.idle_columns == 0 && source.at == source.count) {
        if (source.active) {
            source.active = 0;
            shared.frames_sent += !source.current.raw;
            if (source.current.wanted)
                event(EV_SENT, 0, 0, 0, 0, 0);
        }
        if (source.head != source.tail)
            begin(slot);
    }
    column_t column = {IDLE_DATA, 0xFF};
    if (source.idle_columns > 0)
        source.idle_columns--;
    else if (source.at < source.count)
        column = source.columns[source.at++];
    int changed = column.data != pins.rxd || column.control != pins.rxc;
    pins.rxd = column.data;
    pins.rxc = column.control;
    source.busy = source.active || source.head != source.tail;
    return changed ? D_WIRE : 0;
}
