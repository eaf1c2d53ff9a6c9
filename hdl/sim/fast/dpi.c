/* Verilator's way in: the functions `fast_top.sv` imports through DPI-C.
 *
 * IEEE 1800, annex H: an int is an int, a wide vector an array of 32-bit words.
 */

#include <string.h>

#include "fast.h"

#pragma GCC visibility push(default)

void fast_width(int bytes) { set_bus_width(bytes); }
int fast_step(int flags, uint64_t time_ps) { return timed_step(flags, time_ps); }

void fast_aw(uint64_t time_ps, int id, uint64_t addr, int len, int size, int type)
{
    saw_aw(time_ps, id, addr, len, size, type);
}

void fast_ar(uint64_t time_ps, int id, uint64_t addr, int len, int size, int type)
{
    saw_ar(time_ps, id, addr, len, size, type);
}

void fast_w(const uint32_t *data, uint64_t strobes, int last)
{
    saw_w((const uint8_t *)data, strobes, last);
}

void fast_axil(int rdata, int rresp, int bresp, int read) { saw_axil(rdata, read ? rresp : bresp); }

void fast_column(uint64_t time_ps, uint64_t data, int control)
{
    saw_column(time_ps, data, control);
}

void fast_irq(int levels) { saw_irq(levels); }
void fast_violation(int bits) { saw_violation(bits); }

void drive_wire(uint64_t *data, int *control)
{
    *data = pins.rxd;
    *control = pins.rxc;
}

void drive_ready(int *awready, int *wready, int *arready)
{
    *awready = pins.awready;
    *wready = pins.wready;
    *arready = pins.arready;
}

void drive_b(int *id, int *resp, int *valid)
{
    *id = pins.bid;
    *resp = pins.bresp;
    *valid = pins.bvalid;
}

void drive_r(int *id, uint32_t *data, int *resp, int *last, int *valid)
{
    *id = pins.rid;
    memcpy(data, pins.rdata, bus_width);
    *resp = pins.rresp;
    *last = pins.rlast;
    *valid = pins.rvalid;
}

void drive_axil(int *addr, int *data, int *awvalid, int *wvalid, int *arvalid, int *bready,
                int *rready)
{
    *addr = pins.addr;
    *data = pins.wdata;
    *awvalid = pins.awvalid;
    *wvalid = pins.wvalid;
    *arvalid = pins.arvalid;
    *bready = pins.bready;
    *rready = pins.rready;
}

#pragma GCC visibility pop
