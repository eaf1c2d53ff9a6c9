/* Icarus's way in: the functions `fast_top.sv` calls, as system tasks (IEEE 1800, clause 36).
 *
 * Unknown bits count as 0; where they carry data they are reported.
 */

#include <string.h>
#include <vpi_user.h>

#include "fast.h"

#define MAX_ARGS 8
#define MAX_WORDS (MAX_WIDTH / 4)

typedef struct {
    vpiHandle call, arg[MAX_ARGS];
} call_t;

/* The first `words` 32-bit words of a vector, and their unknown bits, unless that is NULL. */
static void get_words(vpiHandle arg, int words, uint32_t *known, uint32_t *unknown)
{
    s_vpi_value value = {.format = vpiVectorVal};
    vpi_get_value(arg, &value);
    for (int i = 0; i < words; i++) {
        uint32_t bad = value.value.vector[i].bval;
        known[i] = value.value.vector[i].aval & ~bad;
        if (unknown != NULL)
            unknown[i] = bad;
    }
}

/* A vector of up to 64 bits. */
static uint64_t get_bits(vpiHandle arg, uint64_t *unknown)
{
    uint32_t known[2] = {0, 0}, bad[2] = {0, 0};
    get_words(arg, vpi_get(vpiSize, arg) > 32 ? 2 : 1, known, bad);
    if (unknown != NULL)
        *unknown = bad[0] | (uint64_t)bad[1] << 32;
    return known[0] | (uint64_t)known[1] << 32;
}

static void put_words(vpiHandle arg, const void *data, int words)
{
    s_vpi_vecval out[MAX_WORDS];
    uint32_t in[MAX_WORDS];
    s_vpi_value value = {.format = vpiVectorVal, .value.vector = out};
    memcpy(in, data, 4 * (size_t)words);
    for (int i = 0; i < words; i++)
        out[i] = (s_vpi_vecval){(PLI_INT32)in[i], 0};
    vpi_put_value(arg, &value, NULL, vpiNoDelay);
}

static void put_int(vpiHandle arg, uint32_t data)
{
    s_vpi_value value = {.format = vpiIntVal, .value.integer = (PLI_INT32)data};
    vpi_put_value(arg, &value, NULL, vpiNoDelay);
}

static void put_ints(const call_t *call, int first, int count, const uint32_t *values)
{
    for (int i = 0; i < count; i++)
        put_int(call->arg[first + i], values[i]);
}

/* The arguments of the call at hand, looked up once a place in the source. */
static const call_t *this_call(void)
{
    vpiHandle here = vpi_handle(vpiSysTfCall, NULL);
    call_t *call = vpi_get_userdata(here);
    if (call == NULL) {
        call = grown(NULL, 1, sizeof *call);
        vpiHandle args = vpi_iterate(vpiArgument, here);
        call->call = here;
        for (int i = 0; args != NULL && i < MAX_ARGS; i++)
            if ((call->arg[i] = vpi_scan(args)) == NULL)
                break;
        vpi_put_userdata(here, call);
    }
    return call;
}

#define ARG(i) get_bits(call->arg[i], NULL)

static PLI_INT32 fast_width(PLI_BYTE8 *unused)
{
    (void)unused;
    set_bus_width(get_bits(this_call()->arg[0], NULL));
    return 0;
}

static PLI_INT32 fast_step(PLI_BYTE8 *unused)
{
    (void)unused;
    const call_t *call = this_call();
    put_int(call->call, timed_step((int)ARG(0), ARG(1)));
    return 0;
}

static PLI_INT32 fast_aw(PLI_BYTE8 *unused)
{
    (void)unused;
    const call_t *call = this_call();
    saw_aw(ARG(0), ARG(1), ARG(2), ARG(3), ARG(4), ARG(5));
    return 0;
}

static PLI_INT32 fast_ar(PLI_BYTE8 *unused)
{
    (void)unused;
    const call_t *call = this_call();
    saw_ar(ARG(0), ARG(1), ARG(2), ARG(3), ARG(4), ARG(5));
    return 0;
}

static PLI_INT32 fast_w(PLI_BYTE8 *unused)
{
    (void)unused;
    const call_t *call = this_call();
    uint32_t data[MAX_WORDS], unknown[MAX_WORDS];
    uint64_t bad, strobes = get_bits(call->arg[1], &bad);
    get_words(call->arg[0], bus_width / 4, data, unknown);
    if (held())
        return 0;
    if (bad)
        report(REPORT_AXI, "write: unknown strobe bits");
    for (uint32_t i = 0; i < bus_width; i++)
        if (strobes >> i & 1 && unknown[i / 4] >> 8 * (i % 4) & 255) {
            report(REPORT_AXI, "write of unknown bits in byte %u of a beat", i);
            break;
        }
    saw_w((const uint8_t *)data, strobes, (int)ARG(2));
    return 0;
}

static PLI_INT32 fast_axil(PLI_BYTE8 *unused)
{
    (void)unused;
    const call_t *call = this_call();
    int read = ARG(3) != 0;
    uint64_t unknown, rdata = get_bits(call->arg[0], &unknown);
    if (read && unknown && !held())
        report(REPORT_AXIL, "unknown bits in RDATA");
    saw_axil(rdata, read ? ARG(1) : ARG(2));
    return 0;
}

static PLI_INT32 fast_column(PLI_BYTE8 *unused)
{
    (void)unused;
    const call_t *call = this_call();
    uint64_t bad, bad_control;
    uint64_t lanes = get_bits(call->arg[1], &bad), control = get_bits(call->arg[2], &bad_control);
    if (bad && !held())
        report(REPORT_XGMII, "unknown bits on xgmii_txd: %016llx", (unsigned long long)bad);
    if (bad_control && !held())
        report(REPORT_XGMII, "unknown bits on xgmii_txc: %02llx", (unsigned long long)bad_control);
    saw_column(ARG(0), lanes, control);
    return 0;
}

static PLI_INT32 fast_irq(PLI_BYTE8 *unused)
{
    (void)unused;
    const call_t *call = this_call();
    saw_irq(ARG(0));
    return 0;
}

static PLI_INT32 fast_violation(PLI_BYTE8 *unused)
{
    (void)unused;
    const call_t *call = this_call();
    saw_violation(ARG(0));
    return 0;
}

static PLI_INT32 drive_wire(PLI_BYTE8 *unused)
{
    (void)unused;
    const call_t *call = this_call();
    put_words(call->arg[0], &pins.rxd, 2);
    put_int(call->arg[1], pins.rxc);
    return 0;
}

static PLI_INT32 drive_ready(PLI_BYTE8 *unused)
{
    (void)unused;
    put_ints(this_call(), 0, 3, (uint32_t[]){pins.awready, pins.wready, pins.arready});
    return 0;
}

static PLI_INT32 drive_b(PLI_BYTE8 *unused)
{
    (void)unused;
    put_ints(this_call(), 0, 3, (uint32_t[]){pins.bid, pins.bresp, pins.bvalid});
    return 0;
}

static PLI_INT32 drive_r(PLI_BYTE8 *unused)
{
    (void)unused;
    const call_t *call = this_call();
    put_int(call->arg[0], pins.rid);
    put_words(call->arg[1], pins.rdata, bus_width / 4);
    put_ints(call, 2, 3, (uint32_t[]){pins.rresp, pins.rlast, pins.rvalid});
    return 0;
}

static PLI_INT32 drive_axil(PLI_BYTE8 *unused)
{
    (void)unused;
    put_ints(this_call(), 0, 7,
             (uint32_t[]){pins.addr, pins.wdata, pins.awvalid, pins.wvalid, pins.arvalid,
                          pins.bready, pins.rready});
    return 0;
}

static void define(const char *name, PLI_INT32 (*calltf)(PLI_BYTE8 *), PLI_INT32 type)
{
    s_vpi_systf_data task = {.type = type, .sysfunctype = vpiIntFunc, .tfname = (PLI_BYTE8 *)name,
                             .calltf = calltf};
    vpi_register_systf(&task);
}

static void define_all(void)
{
    define("$fast_width", fast_width, vpiSysTask);
    define("$fast_step", fast_step, vpiSysFunc);
    define("$fast_aw", fast_aw, vpiSysTask);
    define("$fast_ar", fast_ar, vpiSysTask);
    define("$fast_w", fast_w, vpiSysTask);
    define("$fast_axil", fast_axil, vpiSysTask);
    define("$fast_column", fast_column, vpiSysTask);
    define("$fast_irq", fast_irq, vpiSysTask);
    define("$fast_violation", fast_violation, vpiSysTask);
    define("$drive_wire", drive_wire, vpiSysTask);
    define("$drive_ready", drive_ready, vpiSysTask);
    define("$drive_b", drive_b, vpiSysTask);
    define("$drive_r", drive_r, vpiSysTask);
    define("$drive_axil", drive_axil, vpiSysTask);
}

__attribute__((visibility("default"))) void (*vlog_startup_routines[])(void) = {define_all, NULL};
