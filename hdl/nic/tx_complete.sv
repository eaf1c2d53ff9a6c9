// Completions of transmit: knows the descriptors that were taken, and gives each to the writer when
// it is known what became of its frame.  The last one of a frame that is to be stamped waits until
// the frame starts on the wire; while the transmitter is off it does not, and has no stamp.

`default_nettype none

module tx_complete
    import nic_regs_pkg::*;
#(
    parameter int QueueW = 1,
    parameter int Depth = 64,       // descriptors
    parameter int Frames = 16,      // whose end is known
    parameter int StrayW = 13
) (
    input  wire logic              clk,
    input  wire logic              rst,

    // descriptors, in the order in which they were taken
    input  wire logic              desc_push,
    output      logic              desc_full,
    input  wire logic [QueueW-1:0] desc_queue,
    input  wire logic [15:0]       desc_index,
    input  wire logic [15:0]       desc_len,

    // frames
    input  wire logic              result_push,
    output      logic              result_full,
    input  wire logic [3:0]        result_status,
    input  wire logic [5:0]        result_fragments,
    input  wire logic              result_stamp,

    // stamps
    input  wire logic              sending,     // the transmitter is on
    input  wire logic              stamp_push,  // a frame to be stamped starts
    input  wire logic [30:0]       stamp,

    // completions
    output      logic              cpl_push,
    input  wire logic              cpl_full,
    output      logic [QueueW-1:0] cpl_queue,
    output      logic [127:0]      cpl_entry,
    output      logic              cpl_last,    // of its frame

    output      logic              busy
);

    logic        desc_valid, result_valid;
    logic [15:0] index, len;
    cpl_status_e status;
    logic [5:0]  fragments, gone_q;
    logic        stamped;

    small_fifo #(.Width(QueueW + 32), .Depth(Depth)) u_descs (
        .clk,
        .rst,
        .push(desc_push),
        .push_data({desc_queue, desc_index, desc_len}),
        .full(desc_full),
        .pop(cpl_push),
        .head({cpl_queue, index, len}),
        .valid(desc_valid)
    );

    small_fifo #(.Width(4 + 6 + 1), .Depth(Frames)) u_results (
        .clk,
        .rst,
        .push(result_push),
        .push_data({result_status, result_fragments, result_stamp}),
        .full(result_full),
        .pop(cpl_push && cpl_last),
        .head({status, fragments, stamped}),
        .valid(result_valid)
    );

    // ---- stamps.  One that nobody waited for is stray when it comes.

    logic              waits, stamp_valid, gives_up, stray, late, unused_full;
    logic [30:0]       stamp_head;
    logic [StrayW-1:0] stray_q;

    assign waits    = stamped && status == CPL_STATUS_OK && cpl_last;
    assign stray    = stamp_push && stray_q != '0;
    assign gives_up = cpl_push && waits && !stamp_valid;
    assign late     = gives_up && stamp_push && !stray;  // it comes in the clock that gives it up

    small_fifo #(.Width(31), .Depth(2 * Frames)) u_stamps (
        .clk,
        .rst,
        .push(stamp_push && !stray && !late),
        .push_data(stamp),
        .full(unused_full),
        .pop(cpl_push && waits && stamp_valid),
        .head(stamp_head),
        .valid(stamp_valid)
    );

    // ---- entry

    tx_cpl_t entry;

    always_comb begin
        entry                 = '0;
        entry.index           = index;
        entry.len             = len;
        entry.status          = status;
        entry.timestamp_valid = waits && stamp_valid;
        entry.timestamp       = waits && stamp_valid ? stamp_head : '0;
    end

    assign cpl_last  = gone_q == fragments - 6'd1;
    assign cpl_push  = result_valid && desc_valid && !cpl_full
        && (!waits || stamp_valid || !sending);
    assign cpl_entry = entry;

    logic awake;

    assign awake = cpl_push || stamp_push || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            if (cpl_push) gone_q <= cpl_last ? '0 : gone_q + 1'b1;
            stray_q <= stray_q + StrayW'(gives_up) - StrayW'(stray || late);
            if (rst) begin
                gone_q  <= '0;
                stray_q <= '0;
            end
        end
    end

    assign busy = desc_valid || result_valid;

endmodule

`default_nettype wire
