// Completions of transmit: knows the descriptors that were taken, and gives each to the writer when
// it is known what became of its frame, one in three clocks.  The last one of a frame of which a start
// is to be stamped waits until that is on the wire; while the transmitter is off it does not, once
// there is room for the frame, and has no stamp.

`default_nettype none

module tx_complete
    import nic_regs_pkg::*;
#(
    parameter int QueueW = 1,
    parameter int Depth = 64,       // descriptors
    parameter int Frames = 16,      // whose end is known
    parameter int CountW = 13       // counts the frames on their way
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
    output      logic              result_full,   // the next frame has to wait
    input  wire logic [3:0]        result_status,
    input  wire logic [5:0]        result_fragments,
    input  wire logic              result_part,   // its end is not in it: not counted
    input  wire logic              result_stamp,  // its start, on its way to the wire, is stamped

    // stamps
    input  wire logic              sending,       // the transmitter is on
    input  wire logic              stamp_push,    // a frame to be stamped starts
    input  wire logic              stamp_told,    // of the next frame to be stamped all is known:
    input  wire logic              stamp_lost,    // with it: it was thrown away on its way
    input  wire logic [30:0]       stamp,

    // completions
    output      logic              cpl_push,
    input  wire logic              cpl_full,
    output      logic [QueueW-1:0] cpl_queue,
    output      logic [127:0]      cpl_entry,
    output      logic              cpl_last,    // the frame is counted with it

    output      logic              busy
);

    logic              desc_valid, desc_busy, unused_freed, result_valid, result_pop, part, stamped;
    logic [QueueW-1:0] queue_id;
    logic [15:0]       index, len;
    cpl_status_e       status;
    logic [5:0]        fragments;
    logic              load;  // the next completion is made

    ram_fifo #(.Width(QueueW + 32), .Depth(Depth)) u_descs (
        .clk,
        .rst,
        .push(desc_push),
        .push_data({desc_queue, desc_index, desc_len}),
        .full(desc_full),
        .freed(unused_freed),
        .head({queue_id, index, len}),
        .valid(desc_valid),
        .ready(load),
        .busy(desc_busy)
    );

    // ---- results, a clock later

    localparam int UsedW = $clog2(Frames) + 1;

    logic              told_q, unused_results_full;
    logic [11:0]       told_result_q;
    logic [UsedW-1:0]  used_q;  // results that are here

    always_ff @(posedge clk) begin
        told_q <= result_push && !rst;
        if (result_push)
            told_result_q <= {result_status, result_fragments, result_part, result_stamp};
        if (told_q && !result_pop) used_q <= used_q + 1'b1;
        if (result_pop && !told_q) used_q <= used_q - 1'b1;
        result_full <= used_q >= UsedW'(Frames - 4);  // late, and two are under way
        if (rst) used_q <= '0;
    end

    small_fifo #(.Width(4 + 6 + 2), .Depth(Frames)) u_results (
        .clk,
        .rst,
        .push(told_q),
        .push_data(told_result_q),
        .full(unused_results_full),
        .pop(result_pop),
        .head({status, fragments, part, stamped}),
        .valid(result_valid)
    );

    // ---- the frame, and its next completion on the way to the writer

    logic              open_q;        // the registers below are a frame's
    cpl_status_e       status_q;
    logic [5:0]        left_q;        // descriptors
    logic              last_q;        // one is left,
    logic              waits_q;       // and waits for a stamp
    logic              part_q;        // of a frame
    logic              stamp_wanted_q, go_q, cpl_valid_q;
    tx_cpl_t           entry;
    logic              due_valid, due_lost, stamp_valid, give_up;
    logic              gives_up_q;    // with go_q: it leaves without its stamp
    logic [30:0]       stamp_head;

    assign result_pop = result_valid && !open_q;
    assign load       = go_q;

    always_comb begin
        entry                 = '0;
        entry.index           = index;
        entry.len             = len;
        entry.status          = status_q;
        entry.timestamp_valid = waits_q && !gives_up_q;
        entry.timestamp       = waits_q && !gives_up_q ? stamp_head : '0;
    end

    always_ff @(posedge clk) begin
        go_q <= !rst && open_q && desc_valid && !go_q && !cpl_valid_q
            && (!waits_q || (due_valid && (due_lost || stamp_valid || give_up)));
        if (result_pop) begin
            open_q         <= 1'b1;
            status_q       <= status;
            left_q         <= fragments;
            last_q         <= fragments == 6'd1;
            waits_q        <= fragments == 6'd1 && stamped;
            stamp_wanted_q <= stamped;
            part_q         <= part;
        end
        if (cpl_push) cpl_valid_q <= 1'b0;
        if (load) begin
            open_q      <= !last_q;
            left_q      <= left_q - 1'b1;
            last_q      <= left_q == 6'd2;
            waits_q     <= left_q == 6'd2 && stamp_wanted_q;
            cpl_valid_q <= 1'b1;
            cpl_queue   <= queue_id;
            cpl_last    <= last_q && !part_q;
            cpl_entry   <= entry;
        end
        if (rst) begin
            open_q      <= 1'b0;
            cpl_valid_q <= 1'b0;
        end
    end

    assign cpl_push = cpl_valid_q && !cpl_full;

    // ---- stamps, and the frames they are due for, thrown away or not.  One that nobody waits for
    // any more is stray when it comes.  A stamp is judged three clocks after it came: what was given
    // up before that is counted by then, and nothing is in between.

    logic [2:0]        come_q;      // the stamp came a clock ago, two, three
    logic              owed_q;      // more were given up than have come
    logic              unused_full, unused_due_full;
    logic [30:0]       stamp_q;
    logic [CountW-1:0] given_up_q, gone_q;

    assign give_up = !sending && come_q == '0;

    small_fifo #(.Width(1), .Depth(2 * Frames)) u_due (
        .clk,
        .rst,
        .push(stamp_told),
        .push_data(stamp_lost),
        .full(unused_due_full),
        .pop(go_q && waits_q),
        .head(due_lost),
        .valid(due_valid)
    );

    small_fifo #(.Width(31), .Depth(2 * Frames)) u_stamps (
        .clk,
        .rst,
        .push(come_q[2] && !owed_q),
        .push_data(stamp_q),
        .full(unused_full),
        .pop(go_q && waits_q && !gives_up_q),
        .head(stamp_head),
        .valid(stamp_valid)
    );

    always_ff @(posedge clk) begin
        come_q     <= rst ? '0 : {come_q[1:0], stamp_push};
        gives_up_q <= waits_q && (due_lost || !stamp_valid);
        owed_q     <= given_up_q != gone_q;
        if (stamp_push) stamp_q <= stamp;
        if (go_q && waits_q && gives_up_q && !due_lost) given_up_q <= given_up_q + 1'b1;
        if (come_q[2] && owed_q) gone_q <= gone_q + 1'b1;
        if (rst) begin
            given_up_q <= '0;
            gone_q     <= '0;
        end
    end

    assign busy = desc_busy || told_q || result_valid || open_q || cpl_valid_q || come_q != '0;

endmodule

`default_nettype wire
