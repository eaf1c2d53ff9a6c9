/* The models behind BUS=fast, what they share: host memory on AXI, register accesses on AXI-Lite,
 * the wire on XGMII.  `fast_top.sv` calls in (dpi.c, vpi.c) with what the pins show at `sample` and
 * gets back what to drive; Python (tb/fast) queues work, and reads what happened from `events`.
 *
 * The models do, cycle for cycle, what those of tb/pins do: a run without random stalls shows the
 * same frames at the same picosecond on either bus.  Host memory and the IOMMU's rights are
 * Python's own arrays.  One set of models a process; nothing here waits or allocates per cycle.
 */

#ifndef FAST_H
#define FAST_H

#include <stddef.h>
#include <stdint.h>

/* -------------------------------------------------------------- what others share with C */

/* bench_top.flags (tb/pins/flags.py) */
enum {
    F_AW = 1 << 0, F_W = 1 << 1, F_B = 1 << 2, F_AR = 1 << 3, F_R = 1 << 4,
    F_AXIL_AW = 1 << 5, F_AXIL_W = 1 << 6, F_AXIL_B = 1 << 7, F_AXIL_AR = 1 << 8,
    F_AXIL_R = 1 << 9, F_TX_COLUMN = 1 << 10, F_IRQ = 1 << 11, F_VIOLATION = 1 << 12,
    F_IDLE_CHANGED = 1 << 13, F_IDLE = 1 << 14
};
#define F_HAPPENS (F_IDLE - 1)

/* What `step` returns (fast_top.sv) */
enum {
    D_WIRE = 1 << 0, D_READY = 1 << 1, D_B = 1 << 2, D_R = 1 << 3, D_AXIL = 1 << 4,
    D_STOP = 1 << 5, D_WAKE = 1 << 6
};

/* Kinds of events (tb/fast/library.py) */
enum {
    EV_IRQ, EV_READ, EV_WRITE, EV_FRAME, EV_SENT, EV_DMA, EV_FAULT, EV_RULE, EV_REPORT, EV_VIOLATION
};
enum { REPORT_AXI, REPORT_AXIL, REPORT_XGMII, REPORT_FCS };
enum { RESP_OKAY = 0, RESP_SLVERR = 2, RESP_DECERR = 3 };       /* tb/settings.py */
enum { DMA_TO_DEVICE = 1, DMA_FROM_DEVICE = 2 };                /* pystack/core/dma.py */
enum { STALL_AW, STALL_W, STALL_B, STALL_AR, STALL_R, STALL_AXIL, STALLS }; /* tb/settings.py */

/* tb/pins/xgmii_code.py */
enum { XGMII_IDLE = 0x07, XGMII_START = 0xFB, XGMII_TERMINATE = 0xFD, XGMII_ERROR = 0xFE,
       XGMII_SEQUENCE = 0x9C };
#define IDLE_DATA 0x0707070707070707ULL
#define MIN_FRAME 60
#define IFG 12
#define MAX_DEFICIT 3

#define PERIOD_PS 6400
#define PHASE_PS 500
#define GUARD_CYCLES 8
#define POISON 0xA5
#define MAX_EVENTS 4096
#define HEAP_BYTES (1 << 20) /* frames and texts that Python has not read yet */

#define MAX_WIDTH 64 /* bytes of a beat */
#define MAX_BEATS 256
#define MAX_BURST (MAX_BEATS * MAX_WIDTH)

typedef struct {
    uint32_t kind, a;
    uint64_t b, c, d, e;
} event_t;

/* Python reads all of it and writes the first five. */
typedef struct {
    uint32_t event_count, heap_used, dma_events;
    uint32_t profile; /* measure transactor_ns */
    uint64_t running, ticks, stops, transactor_ns;
    uint64_t frames_sent, frames_received, ordered_sets;
    uint64_t reads, writes, read_bytes, write_bytes;
    event_t events[MAX_EVENTS];
    uint8_t heap[HEAP_BYTES];
} shared_t;

/* tb/host_port.py, ErrorRule; `last` is the last byte it is for, `times` and `skip` what is left of
 * them, `probability` is scaled to 2^32. */
typedef struct {
    uint64_t start, last, times, skip, probability, min_length;
    uint32_t kind, resp;
} rule_t;

/* What to do wrong with a frame: tb/pins/xgmii_code.py, Defect.  -1: not that.  `error_at` is less
 * than what of frame and FCS is sent. */
typedef struct {
    uint32_t fcs_xor;
    int32_t error_at, cut_to;
    uint8_t pad, terminate, preamble[8];
} defect_t;

/* -------------------------------------------------------------- events.c */

extern shared_t shared;
extern int wake; /* Python is to look at the events after this step */

void die(const char *what) __attribute__((noreturn));
void *grown(void *old, size_t count, size_t size); /* realloc, or die */
void event(uint32_t kind, uint32_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e);
uint32_t heap_put(const void *bytes, size_t count); /* where in the heap an event finds them */
void report(uint32_t kind, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* -------------------------------------------------------------- settings.c */

typedef struct {
    uint32_t *values, count;
} latency_t;

typedef struct {
    uint64_t stall[STALLS]; /* probabilities are scaled to 2^32 */
    latency_t read_latency, write_latency;
    int reorder, idle_skip;
} settings_t;

extern settings_t settings;

void set_latency(latency_t *latency, const uint32_t *values, uint32_t count);
uint32_t chance(uint64_t *state); /* `state` is not 0 */
uint32_t draw(const latency_t *latency, uint64_t *state);
int paused(uint64_t probability, uint64_t *state);

/* -------------------------------------------------------------- host.c */

extern uint32_t bus_width; /* bytes of a beat of the data bus */

void host_open(uint8_t *memory, const uint8_t *rights, uint64_t size, uint64_t seed);
int host_rules(const rule_t *rules, int count);
void set_bus_width(uint32_t bytes);
uint32_t host_write(uint64_t addr, const uint8_t *data, const uint8_t *mask, uint64_t length);
uint32_t host_read(uint64_t start, uint64_t end, uint32_t beat, uint8_t *data);

/* -------------------------------------------------------------- axi.c */

typedef struct {
    uint32_t id, beats, size, type; /* size: bytes a beat */
    uint64_t addr, slot, due;
} burst_t;

#define WINDOW 64 /* bursts among which the next answer is chosen */

uint64_t burst_first(const burst_t *b);
uint64_t burst_end(const burst_t *b);
burst_t take_address(uint64_t slot, uint32_t id, uint64_t addr, uint32_t len, uint32_t size,
                     uint32_t type, const char *name);
int next_due(const burst_t *const *pending, int count, uint64_t slot, uint64_t *state);
void dma_event(const burst_t *b, int write, int ok, uint64_t slot);

/* -------------------------------------------------------------- the models
 *
 * `open` forgets everything, `reset` what is under way; `step` is one cycle, and is needed while
 * the model is busy or a flag is its own.  `idle`: nothing is under way. */

void write_open(uint64_t seed);
void write_reset(void);
void write_beat(const uint8_t *data, uint64_t strobes, int last);
void write_address(burst_t burst);
int write_step(int flags, uint64_t slot);
int write_busy(void);
int write_idle(void);

void read_open(uint64_t seed);
void read_reset(void);
void read_address(burst_t burst);
int read_step(int flags, uint64_t slot);
int read_busy(void);
int read_idle(void);

void axil_open(uint64_t seed);
void axil_reset(void);
void axil_read(uint32_t offset);
void axil_write(uint32_t offset, uint32_t value, uint32_t wanted);
int axil_step(int flags, uint32_t rdata, uint32_t resp);
int axil_busy(void);
int axil_idle(void);

extern const defect_t SOUND;

void source_open(void);
void source_reset(void);
void source_gap(int ifg);
void source_frame(const uint8_t *frame, uint32_t length, int wanted, const defect_t *defect);
void source_columns(const uint8_t *columns, uint32_t count, int wanted);
int source_step(uint64_t slot);
int source_busy(void);

void sink_reset(void);
void sink_column(uint64_t slot, uint64_t data, uint8_t control);
void sink_step(uint64_t slot);
int sink_busy(void);

void fcs_init(void);
uint32_t fcs(const uint8_t *data, size_t length);

/* -------------------------------------------------------------- clock.c */

/* What the models drive. */
typedef struct {
    uint64_t rxd;
    uint32_t rxc;
    uint32_t awready, wready, arready;
    uint32_t bid, bresp, bvalid;
    uint32_t rid, rresp, rlast, rvalid;
    uint8_t rdata[MAX_WIDTH];
    uint32_t addr, wdata, awvalid, wvalid, arvalid, bready, rready; /* AXI-Lite */
} pins_t;

extern pins_t pins;

void clock_open(void);
void clock_hold(int level);
int request(void);
int timed_step(int flags, uint64_t time_ps);
int held(void);
void saw_aw(uint64_t time_ps, uint32_t id, uint64_t addr, uint32_t len, uint32_t size,
            uint32_t type);
void saw_ar(uint64_t time_ps, uint32_t id, uint64_t addr, uint32_t len, uint32_t size,
            uint32_t type);
void saw_w(const uint8_t *data, uint64_t strobes, int last);
void saw_axil(uint32_t rdata, uint32_t resp);
void saw_column(uint64_t time_ps, uint64_t data, uint8_t control);
void saw_irq(uint32_t levels);
void saw_violation(uint32_t bits);

#endif
