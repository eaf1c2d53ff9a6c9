// Where the DMA's data land: rows of a bus beat, read 64 bits a clock.  The jobs are only given
// when there is room, so it takes every beat.  Each job starts in lane 0; a word says how many of
// its bytes are the job's, whether the frame ends with it, and the worst response up to there in
// its row.

`default_nettype none

module tx_landing #(
    parameter int Bytes = 8192,
    parameter int DataW = 128
) (
    input  wire logic               clk,
    input  wire logic               rst,

    input  wire logic [DataW-1:0]   s_axis_tdata,
    input  wire logic [DataW/8-1:0] s_axis_tkeep,
    input  wire logic               s_axis_tvalid,
    input  wire logic               s_axis_tlast,  // of the job
    input  wire logic [1:0]         s_axis_tresp,
    input  wire logic               s_axis_tuser,  // the frame ends with this job

    output      logic [63:0]        word,
    output      logic [3:0]         word_bytes,    // 1 to 8
    output      logic               word_last,     // of the frame
    output      logic [1:0]         word_resp,
    output      logic               word_valid,
    input  wire logic               word_ready,

    output      logic               row_freed,
    output      logic               busy
);

    localparam int RowBytes = DataW / 8;
    localparam int Rows = Bytes / RowBytes;
    localparam int Lanes = DataW / 64;
    localparam int LaneW = Lanes > 1 ? $clog2(Lanes) : 1;
    localparam int CountW = $clog2(RowBytes);

`ifndef SYNTHESIS
    initial begin
        if (Bytes < 2 * RowBytes || (Bytes & (Bytes - 1)) != 0) begin
            $display("tx_landing: Bytes=%0d is not a power of two from two rows", Bytes);
            $fatal;
        end
    end
`endif

    // ---- rows

    logic [CountW-1:0] last_byte, row_last_byte;  // index of the last byte in the row
    logic              unused_full, row_valid, row_ready, row_ends;
    logic [DataW-1:0]  row_data;
    logic [1:0]        row_resp;

    // tkeep is contiguous: the last byte is the one whose successor is not there.
    always_comb begin
        last_byte = '1;
        if (s_axis_tlast)
            for (int i = RowBytes - 1; i > 0; i--) if (!s_axis_tkeep[i]) last_byte = CountW'(i - 1);
    end

    ram_fifo #(.Width(DataW + 3 + CountW), .Depth(Rows)) u_rows (
        .clk,
        .rst,
        .push(s_axis_tvalid),
        .push_data({s_axis_tresp, s_axis_tlast && s_axis_tuser, last_byte, s_axis_tdata}),
        .full(unused_full),
        .freed(row_freed),
        .head({row_resp, row_ends, row_last_byte, row_data}),
        .valid(row_valid),
        .ready(row_ready),
        .busy
    );

`ifndef SYNTHESIS
    always_ff @(posedge clk) begin
        if (s_axis_tvalid)
            assert (rst || s_axis_tkeep[0]) else $fatal(1, "tx_landing: a beat without bytes");
    end
`endif

    // ---- 64 bits of the row a clock

    logic [LaneW-1:0] lane_q, last_lane;
    logic             at_end;

    assign last_lane  = LaneW'(row_last_byte >> 3);
    assign at_end     = Lanes == 1 || lane_q == last_lane;
    assign word       = row_data[64*lane_q+:64];
    assign word_bytes = at_end ? {1'b0, row_last_byte[2:0]} + 4'd1 : 4'd8;
    assign word_last  = row_ends && at_end;
    assign word_resp  = row_resp;
    assign word_valid = row_valid;
    assign row_ready  = word_ready && at_end;

    always_ff @(posedge clk) begin
        if (row_valid && word_ready) lane_q <= at_end ? '0 : lane_q + 1'b1;
        if (rst) lane_q <= '0;
    end

endmodule

`default_nettype wire
