// Transmit buffer, store and forward: takes frames 64 bits a word and offers each once it is whole,
// so that the wire never waits inside a frame.  A frame whose last word says discard is rolled
// back.  A frame that wants a checksum is offered when that has come and stands in its place; the
// frames behind wait for it.  While nothing can leave, `flush` has it swallow the frames that it
// has no room for.  It does not pad, and a frame larger than the buffer cannot pass.

`default_nettype none

module tx_buffer #(
    parameter int Bytes = 32768
) (
    input  wire logic        clk,
    input  wire logic        rst,
    input  wire logic        flush,

    input  wire logic [63:0] s_data,
    input  wire logic [3:0]  s_bytes,      // 8, or with s_last 1 to 8
    input  wire logic        s_last,
    input  wire logic        s_discard,    // with s_last: forget this frame
    input  wire logic        s_stamp,      // its start shall be stamped
    input  wire logic        s_checksum,   // it wants a checksum
    input  wire logic [7:0]  s_csum_at,    // at this place, in 2 bytes from the frame's first
    input  wire logic        s_valid,
    output      logic        s_ready,

    // checksums, in the order of the frames that are not discarded and wait for one
    output      logic        csum_wanted,  // with the frame's last word: a result shall come
    input  wire logic        csum_done,
    input  wire logic [15:0] csum,

    output      logic [63:0] m_axis_tdata,
    output      logic [7:0]  m_axis_tkeep,
    output      logic        m_axis_tvalid,
    input  wire logic        m_axis_tready,
    output      logic        m_axis_tlast,
    output      logic        m_axis_tuser,  // stamp this frame

    output      logic        busy
);

    localparam int Rows = Bytes / 8;
    localparam int RowW = $clog2(Rows);

`ifndef SYNTHESIS
    initial begin
        if (Bytes < 128 || (Bytes & (Bytes - 1)) != 0) begin
            $display("tx_buffer: Bytes=%0d is not a power of two from 128", Bytes);
            $fatal;
        end
    end
`endif

    // ---- frames in

    logic [RowW:0] row_q, start_q, commit_q, head;
    logic          full_q, swallow, swallow_q, write, ends, kept, waits, row_valid, awake;

    // A clock late, so two rows early.
    always_ff @(posedge clk) full_q <= !rst && row_q - head >= (RowW + 1)'(Rows - 2);

    assign swallow = swallow_q || (flush && full_q);
    assign s_ready = (!full_q || swallow) && !csum_done;
    assign write   = s_valid && s_ready && !swallow;
    assign ends    = write && s_last;
    assign kept    = ends && !s_discard;

    // ---- ends of frames that wait for a checksum, or for those before them

    logic          pending, pending_full, pending_checksum;
    logic [RowW:0] pending_end;
    logic [RowW-1:0] pending_row;
    logic [1:0]    pending_lane;
    logic [7:0]    at_row;

    assign waits       = s_checksum || pending;
    assign csum_wanted = kept && waits;
    assign at_row      = 8'(s_csum_at >> 2);

    small_fifo #(.Width(1 + RowW + 1 + RowW + 2), .Depth(8)) u_pending (
        .clk,
        .rst,
        .push(kept && waits),
        .push_data({s_checksum, row_q + 1'b1, start_q[RowW-1:0] + RowW'(at_row), s_csum_at[1:0]}),
        .full(pending_full),
        .pop(csum_done),
        .head({pending_checksum, pending_end, pending_row, pending_lane}),
        .valid(pending)
    );

    assign awake = s_valid || csum_done || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            if (write) row_q <= row_q + 1'b1;
            if (ends) begin
                if (s_discard) row_q <= start_q;
                else start_q <= row_q + 1'b1;
            end
            if (s_valid && s_ready && swallow) begin
                row_q     <= start_q;
                swallow_q <= !s_last;
            end
            if (csum_done) commit_q <= pending_end;
            else if (kept && !waits) commit_q <= row_q + 1'b1;
            if (rst) begin
                row_q    <= '0;
                start_q  <= '0;
                commit_q  <= '0;
                swallow_q <= 1'b0;
            end
`ifndef SYNTHESIS
            assert (rst || s_ready || csum_done || start_q != head || row_valid)
            else $fatal(1, "tx_buffer: a frame is larger than the buffer");
            assert (rst || !pending_full) else $fatal(1, "tx_buffer: too many checksums wait");
`endif
        end
    end

    // ---- rows: the data in four lanes, and beside them whether the frame ends there and with how
    // many bytes

    logic            row_read, row_shift, row_last, row_stamp, row_busy;
    logic [RowW-1:0] row_addr;
    logic [2:0]      row_last_byte;  // index of the last byte in the row

    ram_read_port #(.Depth(Rows)) u_row_port (
        .clk,
        .rst,
        .tail(commit_q),
        .head,
        .ram_read(row_read),
        .ram_addr(row_addr),
        .ram_shift(row_shift),
        .valid(row_valid),
        .ready(m_axis_tready),
        .busy(row_busy)
    );

    for (genvar i = 0; i < 4; i++) begin : g_lane
        logic patch;

        assign patch = csum_done && pending_checksum && pending_lane == 2'(i);

        frame_ram #(.Width(16), .Depth(Rows)) u_data (
            .clk,
            .write(write || patch),
            .write_addr(patch ? pending_row : row_q[RowW-1:0]),
            .write_data(patch ? csum : s_data[16*i+:16]),
            .read(row_read),
            .read_addr(row_addr),
            .shift(row_shift),
            .read_data(m_axis_tdata[16*i+:16])
        );
    end

    frame_ram #(.Width(5), .Depth(Rows)) u_ends (
        .clk,
        .write,
        .write_addr(row_q[RowW-1:0]),
        .write_data({s_stamp, s_last, 3'(s_bytes - 4'd1)}),
        .read(row_read),
        .read_addr(row_addr),
        .shift(row_shift),
        .read_data({row_stamp, row_last, row_last_byte})
    );

    assign m_axis_tvalid = row_valid;
    assign m_axis_tlast  = row_last;
    assign m_axis_tuser  = row_stamp;
    assign m_axis_tkeep  = row_last ? ~(8'hfe << row_last_byte) : 8'hff;

    assign busy = row_q != head || row_busy || pending;

endmodule

`default_nettype wire
