// The memory side of one direction: the state of its rings, the prefetch of descriptors and the
// writer of completions, with the wires between them.

`default_nettype none

module ring_side
    import nic_regs_pkg::*;
#(
    parameter int Queues = 1,
    parameter int DataW = 128,
    parameter int AddrW = 64,
    parameter int Prefetch = 16,  // descriptors held a queue
    parameter int Batch = 8,      // descriptors asked for at once, if there are so many
    parameter bit CplHasData = 1'b1,  // completions wait for a response to their data
    parameter int QueueW = Queues > 1 ? $clog2(Queues) : 1,
    parameter int CplTagW = QueueW + 3
) (
    input  wire logic                     clk,
    input  wire logic                     rst,

    // registers
    input  wire logic [Queues-1:0]        enable,
    input  wire logic [Queues-1:0]        run_on,
    input  wire logic [Queues-1:0][3:0]   log2_entries,
    input  wire logic [Queues-1:0]        doorbell,
    input  wire logic [Queues-1:0][15:0]  doorbell_producer,
    input  wire logic [Queues-1:0][63:0]  desc_base,
    input  wire logic [Queues-1:0][63:0]  cpl_base,
    output      logic [Queues-1:0]        doorbell_refused,
    output      logic [Queues-1:0]        active,
    output      logic [Queues-1:0][3:0]   error,
    output      logic [Queues-1:0][15:0]  producer,
    output      logic [Queues-1:0][15:0]  fetched,
    output      logic [Queues-1:0][15:0]  completed,

    // descriptors: read job and its data
    output      logic                     desc_job_valid,
    input  wire logic                     desc_job_ready,
    output      logic [AddrW-1:0]         desc_job_addr,
    output      logic [15:0]              desc_job_len,
    output      logic [QueueW-1:0]        desc_job_tag,
    input  wire logic [DataW-1:0]         s_axis_tdata,
    input  wire logic [DataW/8-1:0]       s_axis_tkeep,
    input  wire logic                     s_axis_tvalid,
    output      logic                     s_axis_tready,
    input  wire logic                     s_axis_tlast,
    input  wire logic [QueueW-1:0]        s_axis_ttag,
    input  wire logic [1:0]               s_axis_tresp,

    // completions: write job and its data
    output      logic                     cpl_job_valid,
    input  wire logic                     cpl_job_ready,
    output      logic [AddrW-1:0]         cpl_job_addr,
    output      logic [15:0]              cpl_job_len,
    output      logic [CplTagW-1:0]       cpl_job_tag,
    output      logic [DataW-1:0]         m_axis_tdata,
    output      logic                     m_axis_tvalid,
    input  wire logic                     m_axis_tready,
    input  wire logic                     cpl_done_valid,
    input  wire logic [CplTagW-1:0]       cpl_done_tag,
    input  wire logic [1:0]               cpl_done_resp,

    // engine: descriptors
    output      logic [Queues-1:0]        running,
    output      logic [Queues-1:0]        posted,
    output      logic [Queues-1:0]        posted_more,
    output      logic [Queues-1:0]        ready,
    output      logic [Queues-1:0][15:0]  consumed,
    input  wire logic [Queues-1:0]        pop,
    input  wire logic [QueueW-1:0]        head_queue,
    output      logic [127:0]             head_desc,
    output      logic [1:0]               head_resp,
    output      logic [Queues-1:0]        fetch_push,
    output      logic                     fetch_last,     // TX: what is pushed ends its frame
    input  wire logic [Queues-1:0]        desc_failed,
    input  wire logic                     desc_decerr,

    // engine: completions
    input  wire logic                     cpl_push,
    output      logic                     cpl_full,
    input  wire logic [QueueW-1:0]        cpl_queue,
    input  wire logic [127:0]             cpl_entry,
    input  wire logic                     cpl_first,
    input  wire logic                     cpl_last,
    input  wire logic                     cpl_has_data,
    input  wire logic                     data_done,
    input  wire logic [1:0]               data_resp,

    // interrupts
    output      logic [Queues-1:0]        start,
    output      logic [Queues-1:0]        failed,

    // one clock a frame, by what became of it
    output      logic [Queues-1:0]        ev_frame,
    output      logic [Queues-1:0]        ev_length,
    output      logic [Queues-1:0]        ev_bus_error,

    output      logic                     busy
);

    localparam int CountW = $clog2(Prefetch) + 1;

    logic [Queues-1:0] fetch_wanted, fetch_begin, fetch_end, retire, told, broken;
    logic [Queues-1:0][CountW-1:0] fetch_count;
    logic [Queues-1:0][15:0] fetch_entry, mask;
    logic [1:0] retire_resp;
    logic [3:0] told_error;
    logic rings_busy, fetch_busy, cpl_busy;

    ring_state #(.Queues(Queues), .Prefetch(Prefetch), .Batch(Batch)) u_rings (
        .clk, .rst,
        .enable, .run_on, .log2_entries, .doorbell, .doorbell_producer, .doorbell_refused,
        .active, .error, .producer, .fetched, .completed,
        .fetch_wanted, .fetch_count, .fetch_entry, .fetch_begin, .fetch_push, .fetch_end,
        .running, .posted, .posted_more, .consumed, .mask, .pop, .desc_failed, .desc_decerr,
        .retire, .retire_resp, .told, .told_error, .broken,
        .start, .failed, .busy(rings_busy)
    );

    desc_fetch #(.Queues(Queues), .DataW(DataW), .AddrW(AddrW), .Prefetch(Prefetch)) u_fetch (
        .clk, .rst,
        .desc_base, .running, .fetched,
        .fetch_wanted, .fetch_count, .fetch_entry, .fetch_begin, .fetch_push, .fetch_end,
        .push_last(fetch_last),
        .job_valid(desc_job_valid), .job_ready(desc_job_ready), .job_addr(desc_job_addr),
        .job_len(desc_job_len), .job_tag(desc_job_tag),
        .s_axis_tdata, .s_axis_tkeep, .s_axis_tvalid, .s_axis_tready, .s_axis_tlast, .s_axis_ttag,
        .s_axis_tresp,
        .ready, .pop, .head_queue, .head_desc, .head_resp, .busy(fetch_busy)
    );

    cpl_writer #(
        .Queues(Queues), .DataW(DataW), .AddrW(AddrW), .HasData(CplHasData)
    ) u_cpl (
        .clk, .rst,
        .cpl_base, .log2_entries, .mask, .broken, .retire, .retire_resp, .told, .told_error,
        .push(cpl_push), .push_full(cpl_full), .push_queue(cpl_queue), .push_entry(cpl_entry),
        .push_first(cpl_first), .push_last(cpl_last), .push_has_data(cpl_has_data),
        .data_done, .data_resp,
        .job_valid(cpl_job_valid), .job_ready(cpl_job_ready), .job_addr(cpl_job_addr),
        .job_len(cpl_job_len), .job_tag(cpl_job_tag),
        .m_axis_tdata, .m_axis_tvalid, .m_axis_tready,
        .done_valid(cpl_done_valid), .done_tag(cpl_done_tag), .done_resp(cpl_done_resp),
        .ev_frame, .ev_length, .ev_bus_error, .busy(cpl_busy)
    );

    assign busy = rings_busy || fetch_busy || cpl_busy;

endmodule

`default_nettype wire
