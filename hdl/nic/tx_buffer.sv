// Transmit buffer, store and forward: takes frames 64 bits a word and offers each once it is whole,
// so that the wire never waits inside a frame.  A frame whose last word says discard is rolled
// back.  A frame that wants a checksum is offered when that has come and stands in its place; the
// frames behind wait for it.  While nothing can leave, `flush` has it swallow the frames that it
// has no room for.  It does not pad, and a frame larger than the buffer cannot pass.
//
// When nothing else is to be read, the first words of the frame that comes in are (`ahead`), so that
// they are at the output when its last word has come.

`default_nettype none

module tx_buffer #(
    parameter int Bytes = 32768,
    parameter bit Checksum = 1  // 0: no frame wants one
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
    input  wire logic        csum_soon,    // `done` comes with the next clock
    input  wire logic        csum_done,
    input  wire logic [15:0] csum,

    output      logic        stamp_told,   // a frame to be stamped is whole,
    output      logic        stamp_lost,   // and was swallowed

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
    localparam int PendingW = 1 + (RowW + 1) + RowW + 2;

`ifndef SYNTHESIS
    initial begin
        if (Bytes < 128 || (Bytes & (Bytes - 1)) != 0) begin
            $display("tx_buffer: Bytes=%0d is not a power of two from 128", Bytes);
            $fatal;
        end
    end
`endif

    // ---- frames in

    logic [RowW:0] row_q, start_q, tail_q, next_q;
    logic          started_q;       // the first word of a frame has come, not its last
    logic          full, full_q, sink_q, swallow, swallow_q, write, kept, waits, drop, awake;
    logic          some_q;          // a row can be read
    logic          loaded_q, there_q, ahead_q, enters, moves, moved_q;
    logic          still_q;         // nothing was read or to be read, a clock ago

    assign full = row_q - next_q >= (RowW + 1)'(Rows - 4);

    // Known a clock late, so with some rows to spare.  A checksum takes the clock of a word.
    always_ff @(posedge clk) begin
        full_q  <= !rst && full;
        sink_q  <= flush && full;
        s_ready <= !rst && !csum_soon && (!full || flush || swallow_q);
    end

    assign swallow = swallow_q || sink_q;
    assign write   = s_valid && s_ready && !swallow;
    assign kept    = write && s_last && !s_discard;
    assign drop    = s_valid && s_ready && (swallow || (s_last && s_discard));

    assign stamp_told = s_valid && s_ready && s_last && s_stamp && !s_discard;
    assign stamp_lost = swallow;

    // ---- ends of frames that wait for a checksum, or for those before them

    logic          queued, pending, pending_full, pending_checksum;
    logic [RowW:0] pending_end;
    logic [RowW-1:0] pending_row;
    logic [1:0]    pending_lane;
    logic [7:0]    at_row;
    logic          wait_q;
    logic [PendingW-1:0] wait_data_q;

    assign queued      = Checksum && (pending || wait_q);
    assign waits       = queued || (Checksum && s_checksum);
    assign csum_wanted = kept && waits;
    assign at_row      = 8'(s_csum_at >> 2);

    always_ff @(posedge clk) begin
        wait_q      <= csum_wanted && !rst;
        wait_data_q <= {s_checksum, row_q + 1'b1, start_q[RowW-1:0] + RowW'(at_row),
                        s_csum_at[1:0]};
    end

    small_fifo #(.Width(PendingW), .Depth(8)) u_pending (
        .clk,
        .rst,
        .push(wait_q),
        .push_data(wait_data_q),
        .full(pending_full),
        .pop(csum_done),
        .head({pending_checksum, pending_end, pending_row, pending_lane}),
        .valid(pending)
    );

    assign moves = csum_done || (kept && !waits) || enters || (write && ahead_q);
    assign awake = s_valid || csum_done || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            if (write) row_q <= row_q + 1'b1;
            if (kept) start_q <= row_q + 1'b1;
            if (drop) row_q <= start_q;
            if (s_valid && s_ready) begin
                started_q <= !s_last;
                swallow_q <= swallow && !s_last;
            end
            if (csum_done) tail_q <= pending_end;
            else if (moves) tail_q <= row_q + 1'b1;
            if (drop && ahead_q) tail_q <= start_q;
            if (rst) begin
                row_q    <= '0;
                start_q  <= '0;
                tail_q    <= '0;
                started_q <= 1'b0;
                swallow_q <= 1'b0;
            end
`ifndef SYNTHESIS
            assert (rst || !full_q || flush || swallow || row_q == start_q
                || !(ahead_q || (next_q == start_q && !some_q && !loaded_q && !there_q)))
            else $fatal(1, "tx_buffer: a frame is larger than the buffer");
            assert (rst || !(csum_done && s_ready)) else $fatal(1, "tx_buffer: no clock to patch");
            assert (rst || !pending_full) else $fatal(1, "tx_buffer: too many checksums wait");
`endif
        end
    end

    // ---- rows out: address (some) -> RAM's register (loaded) -> output (there)
    //
    // Up to `tail_q`: the end of the last frame that may go, or ahead of it the row that is written
    // next, but the output is not offered then.  Such rows are taken back with their frame.

    logic            more, claim, row_read, row_shift, row_last, row_stamp;
    logic            hold_q;         // the output is not offered
    logic            none_q;         // next_q == tail_q
    logic [RowW-1:0] head_q;
    logic [RowW:0]   after_q;        // next_q + 1
    logic [2:0]      row_last_byte;  // index of the last byte in the row

    assign m_axis_tvalid = there_q && !hold_q;

    assign row_shift = loaded_q && (!there_q || (m_axis_tready && !hold_q));
    assign row_read  = some_q && (!loaded_q || row_shift);
    assign more      = !none_q || (write && ahead_q);
    assign claim     = more && (!some_q || row_read);
    assign enters    = write && !s_last && !waits && still_q;

    always_ff @(posedge clk) begin
        moved_q <= !rst && (kept || csum_done);  // `tail_q` moves, of which `some_q` knows not yet
        still_q <= !(kept || csum_done || moved_q || some_q || loaded_q || there_q || enters
            || ahead_q || rst);
        ahead_q <= (ahead_q || enters) && !kept;
        // A frame of two rows waits a clock for the second.
        hold_q  <= (ahead_q || enters) && !(kept && there_q && loaded_q);
        some_q  <= more || (some_q && !row_read);
        if (claim) begin
            head_q  <= next_q[RowW-1:0];
            next_q  <= after_q;
            after_q <= after_q + 1'b1;
        end
        if (moves) none_q <= none_q && claim;
        else if (claim) none_q <= after_q == tail_q;
        if (row_read) loaded_q <= 1'b1;
        else if (row_shift) loaded_q <= 1'b0;
        if (row_shift) there_q <= 1'b1;
        else if (m_axis_tready && !hold_q) there_q <= 1'b0;
        if (rst || (drop && ahead_q)) begin
            ahead_q  <= 1'b0;
            hold_q   <= 1'b0;
            some_q   <= 1'b0;
            loaded_q <= 1'b0;
            there_q  <= 1'b0;
            none_q   <= 1'b1;
            next_q   <= rst ? '0 : start_q;
            after_q  <= rst ? (RowW + 1)'(1) : start_q + 1'b1;
        end
    end

    for (genvar i = 0; i < 4; i++) begin : g_lane
        logic patch;

        assign patch = csum_done && pending_checksum && pending_lane == 2'(i);

        frame_ram #(.Width(16), .Depth(Rows)) u_data (
            .clk,
            .write(write || patch),
            .write_addr(patch ? pending_row : row_q[RowW-1:0]),
            .write_data(patch ? csum : s_data[16*i+:16]),
            .read(row_read),
            .read_addr(head_q),
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
        .read_addr(head_q),
        .shift(row_shift),
        .read_data({row_stamp, row_last, row_last_byte})
    );

    assign m_axis_tlast  = row_last;
    assign m_axis_tuser  = row_stamp;
    assign m_axis_tkeep  = row_last ? ~(8'hfe << row_last_byte) : 8'hff;

    assign busy = queued || some_q || moved_q || loaded_q || there_q || started_q;

endmodule

`default_nettype wire
