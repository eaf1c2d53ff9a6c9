// The rings of one direction, one queue_ring a queue.  It only spreads vectors over them.

`default_nettype none

module ring_state
    import nic_regs_pkg::*;
#(
    parameter int Queues = 1,
    parameter int Prefetch = 16,
    parameter int Batch = 8,
    parameter int CountW = $clog2(Prefetch) + 1
) (
    input  wire logic                          clk,
    input  wire logic                          rst,

    // registers
    input  wire logic [Queues-1:0]             enable,
    input  wire logic [Queues-1:0]             run_on,
    input  wire logic [Queues-1:0][3:0]        log2_entries,
    input  wire logic [Queues-1:0]             doorbell,
    input  wire logic [Queues-1:0][15:0]       doorbell_producer,
    output      logic [Queues-1:0]             doorbell_refused,
    output      logic [Queues-1:0]             active,
    output      logic [Queues-1:0][3:0]        error,
    output      logic [Queues-1:0][15:0]       producer,
    output      logic [Queues-1:0][15:0]       fetched,
    output      logic [Queues-1:0][15:0]       completed,

    // descriptor fetch
    output      logic [Queues-1:0]             fetch_wanted,
    output      logic [Queues-1:0][CountW-1:0] fetch_count,
    output      logic [Queues-1:0][15:0]       fetch_entry,
    input  wire logic [Queues-1:0]             fetch_begin,
    input  wire logic [Queues-1:0]             fetch_push,
    input  wire logic [Queues-1:0]             fetch_end,

    // engine and completions
    output      logic [Queues-1:0]             running,
    output      logic [Queues-1:0]             posted,
    output      logic [Queues-1:0]             posted_more,
    output      logic [Queues-1:0][15:0]       consumed,
    output      logic [Queues-1:0][15:0]       mask,
    input  wire logic [Queues-1:0]             pop,
    input  wire logic [Queues-1:0]             desc_failed,
    input  wire logic                          desc_decerr,
    input  wire logic [Queues-1:0]             retire,
    input  wire logic [1:0]                    retire_resp,
    input  wire logic [Queues-1:0]             told,
    input  wire logic [3:0]                    told_error,
    output      logic [Queues-1:0]             broken,

    // interrupts
    output      logic [Queues-1:0]             start,
    output      logic [Queues-1:0]             failed,

    output      logic                          busy
);

    logic [Queues-1:0] ring_busy;

    for (genvar q = 0; q < Queues; q++) begin : g_ring
        queue_ring #(.Prefetch(Prefetch), .Batch(Batch)) u_ring (
            .clk,
            .rst,
            .enable(enable[q]),
            .run_on(run_on[q]),
            .log2_entries(log2_entries[q]),
            .doorbell(doorbell[q]),
            .doorbell_producer(doorbell_producer[q]),
            .doorbell_refused(doorbell_refused[q]),
            .active(active[q]),
            .error(error[q]),
            .producer(producer[q]),
            .fetched(fetched[q]),
            .completed(completed[q]),
            .fetch_wanted(fetch_wanted[q]),
            .fetch_count(fetch_count[q]),
            .fetch_entry(fetch_entry[q]),
            .fetch_begin(fetch_begin[q]),
            .fetch_push(fetch_push[q]),
            .fetch_end(fetch_end[q]),
            .running(running[q]),
            .posted(posted[q]),
            .posted_more(posted_more[q]),
            .consumed(consumed[q]),
            .mask(mask[q]),
            .pop(pop[q]),
            .desc_failed(desc_failed[q]),
            .desc_decerr,
            .retire(retire[q]),
            .retire_resp,
            .told(told[q]),
            .told_error,
            .broken(broken[q]),
            .start(start[q]),
            .failed(failed[q]),
            .busy(ring_busy[q])
        );
    end

    assign busy = |ring_busy;

endmodule

`default_nettype wire
