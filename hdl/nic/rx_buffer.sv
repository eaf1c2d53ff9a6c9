// Receive buffer: stores frames from the wire, 64 bits a clock, and offers the whole good ones
// DataW bits a clock.  A frame that ends badly, or does not fit, is rolled back as a whole; the
// event port tells how every frame ended.  It does not choose queues or look into frames.
//
//   rows of DataW bits:   | free | ready frames | frame under way | free |
//                                head           commit            row
//
// A frame begins in a row of its own, in which the last lane may stay unused.

`default_nettype none

module rx_buffer #(
    parameter int Bytes = 32768,
    parameter int DataW = 128
) (
    input  wire logic               clk,
    input  wire logic               rst,
    input  wire logic               enable,         // 0: frames that begin now are ignored

    input  wire logic [63:0]        s_axis_tdata,
    input  wire logic [7:0]         s_axis_tkeep,
    input  wire logic               s_axis_tvalid,
    input  wire logic               s_axis_tlast,
    input  wire logic [2:0]         s_axis_tuser,   // rx_verdict_e, with tlast

    output      logic               m_meta_valid,   // one per stored frame, and its data below
    input  wire logic               m_meta_ready,
    output      logic [15:0]        m_meta_len,     // bytes

    output      logic [DataW-1:0]   m_axis_tdata,
    output      logic [DataW/8-1:0] m_axis_tkeep,
    output      logic               m_axis_tvalid,
    input  wire logic               m_axis_tready,
    output      logic               m_axis_tlast,

    output      logic               ended,          // a frame is over
    output      logic               stored,         // and the frame was kept

    output      logic [15:0]        fill,           // units of 64 bytes, up to 65535

    output      logic               ev_valid,       // one clock per frame seen
    output      logic [2:0]         ev_verdict,     // RX_OK: stored; RX_OVERFLOW: no room
    output      logic [15:0]        ev_len,         // bytes that reached the buffer

    output      logic               busy
);

    localparam int RowBytes = DataW / 8;
    localparam int Rows = Bytes / RowBytes;
    localparam int RowAddrW = $clog2(Rows);
    localparam int Lanes = DataW / 64;
    localparam int LaneW = Lanes > 1 ? $clog2(Lanes) : 1;
    localparam int CountW = $clog2(RowBytes);
    localparam int Metas = Bytes / 64;  // good frames have 60 bytes or more

`ifndef SYNTHESIS
    initial begin
        if (DataW < 64 || DataW > 512 || (DataW & (DataW - 1)) != 0) begin
            $display("rx_buffer: DataW=%0d is not 64, 128, 256 or 512", DataW);
            $fatal;
        end
        if (Bytes < 256 || (Bytes & (Bytes - 1)) != 0) begin
            $display("rx_buffer: Bytes=%0d is not a power of two from 256", Bytes);
            $fatal;
        end
    end
`endif

    // ---- write side

    logic                 enable_q;
    logic                 inside_q, ignore_q;   // past the first beat; of a frame not taken
    logic                 no_room_q, no_room;   // a beat of this frame found no row
    logic [15:0]          len_q, len;
    logic [LaneW-1:0]     lane_q;
    logic [RowAddrW:0]    row_q, commit_q, head;

    logic                 awake, take, has_data, fits, write, row_ends, good, store;
    logic [RowAddrW:0]    held, held_q;         // rows from head to row
    logic                 holds_q;              // not 0
    logic                 full_q;               // no row is free: true for a clock too long
    logic                 metas_full, meta_busy;
    logic [3:0]           bytes;
    logic [DataW-1:0]     row_data, row_data_q;  // what there is of the row, then zeros
    logic [2:0]           verdict;              // rx_verdict_e

    assign take      = s_axis_tvalid && (inside_q ? !ignore_q : enable_q);
    assign bytes     = nic_pkg::keep_bytes(s_axis_tkeep);
    assign has_data  = s_axis_tkeep[0];
    assign held      = row_q - head;

    assign no_room   = (inside_q && no_room_q) || (has_data && full_q);
    assign write     = take && has_data && !no_room;
    assign row_ends  = s_axis_tlast || Lanes == 1 || lane_q == LaneW'(Lanes - 1);
    assign len       = (inside_q ? len_q : 16'd0) + 16'(bytes);

    for (genvar i = 0; i < Lanes; i++) begin : g_lane
        assign row_data[64*i+:64] = lane_q == LaneW'(i) ? s_axis_tdata : row_data_q[64*i+:64];
    end

    assign fits    = !no_room && !metas_full;
    assign verdict = s_axis_tuser == nic_pkg::RX_OK && !fits ? nic_pkg::RX_OVERFLOW : s_axis_tuser;

    logic [31:0] blocks;

    assign blocks = (32'(held_q) * RowBytes) >> 6;
    assign fill   = blocks > 32'd65535 ? 16'hffff : blocks[15:0];

    assign awake = s_axis_tvalid || ended || holds_q || rst;
    assign good  = s_axis_tuser == nic_pkg::RX_OK && fits;
    assign store = take && s_axis_tlast && good;

    always_ff @(posedge clk) begin
        enable_q <= enable;
        if (awake) begin
            ended     <= s_axis_tvalid && s_axis_tlast;
            stored    <= store;
            ev_valid  <= take && s_axis_tlast;
            held_q    <= held;
            holds_q   <= row_q != head;
            full_q    <= held[RowAddrW] || (held[RowAddrW-1:0] == '1 && write && row_ends);
            if (s_axis_tvalid) begin
                inside_q <= !s_axis_tlast;
                if (!inside_q) ignore_q <= !enable_q;
            end
            if (take) begin
                no_room_q  <= no_room;
                len_q      <= len;
                row_data_q <= row_ends ? '0 : row_data;
                if (s_axis_tlast) begin
                    ev_verdict <= verdict;
                    ev_len     <= len;
                    lane_q     <= '0;
                    row_q      <= good ? row_q + 1'b1 : commit_q;
                end else if (write) begin
                    lane_q <= row_ends ? '0 : lane_q + 1'b1;
                    if (row_ends) row_q <= row_q + 1'b1;
                end
            end
            if (store) commit_q <= row_q + 1'b1;
            if (rst) begin
                ended      <= 1'b0;
                ev_valid   <= 1'b0;
                held_q     <= '0;
                holds_q    <= 1'b0;
                full_q     <= 1'b0;
                inside_q   <= 1'b0;
                lane_q     <= '0;
                row_data_q <= '0;
                row_q      <= '0;
                commit_q   <= '0;
            end
`ifndef SYNTHESIS
            assert (rst || !store || has_data)
            else $fatal(1, "rx_buffer: a good frame ends with an empty beat");
`endif
        end
    end

    // ---- rows: the data, and beside it whether the frame ends there and with how many bytes

    logic                row_read, row_shift, row_last, row_busy;
    logic [RowAddrW-1:0] row_addr;
    logic [CountW-1:0]   last_byte, row_last_byte;  // index of the last byte in the row

    assign last_byte = CountW'({lane_q, 3'd0}) + CountW'(bytes) - 1'b1;

    ram_read_port #(.Depth(Rows)) u_row_port (
        .clk,
        .rst,
        .tail(commit_q),
        .head,
        .ram_read(row_read),
        .ram_addr(row_addr),
        .ram_shift(row_shift),
        .valid(m_axis_tvalid),
        .ready(m_axis_tready),
        .busy(row_busy)
    );

    frame_ram #(.Width(DataW), .Depth(Rows)) u_data (
        .clk,
        .write(write && row_ends),
        .write_addr(row_q[RowAddrW-1:0]),
        .write_data(row_data),
        .read(row_read),
        .read_addr(row_addr),
        .shift(row_shift),
        .read_data(m_axis_tdata)
    );

    frame_ram #(.Width(1 + CountW), .Depth(Rows)) u_ends (
        .clk,
        .write(write && row_ends),
        .write_addr(row_q[RowAddrW-1:0]),
        .write_data({s_axis_tlast, last_byte}),
        .read(row_read),
        .read_addr(row_addr),
        .shift(row_shift),
        .read_data({row_last, row_last_byte})
    );

    assign m_axis_tlast = row_last;
    assign m_axis_tkeep = ~((~(RowBytes'(1))) << row_last_byte);

    // ---- lengths: what is known of these frames besides is kept until they leave the engine, which
    // has two of them, in stores that are as deep

    value_fifo #(.Width(16), .Depth(Metas), .Spare(3)) u_lengths (
        .clk,
        .rst,
        .write(store),
        .value(len),
        .push(store),
        .full(metas_full),
        .m_valid(m_meta_valid),
        .m_ready(m_meta_ready),
        .m_value(m_meta_len),
        .busy(meta_busy)
    );

    assign busy = (inside_q && !ignore_q) || ended || holds_q || row_busy || meta_busy;

endmodule

`default_nettype wire
