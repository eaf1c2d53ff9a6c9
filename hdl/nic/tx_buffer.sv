// Transmit buffer, store and forward: takes frames DataW bits a beat, and offers each 64 bits a
// beat once it is whole, so that the wire never waits inside a frame.  A frame whose last beat
// says discard is rolled back.  It does not pad, and a frame larger than the buffer cannot pass.

`default_nettype none

module tx_buffer #(
    parameter int Bytes = 32768,
    parameter int DataW = 128
) (
    input  wire logic               clk,
    input  wire logic               rst,

    input  wire logic [DataW-1:0]   s_axis_tdata,
    input  wire logic [DataW/8-1:0] s_axis_tkeep,
    input  wire logic               s_axis_tvalid,
    output      logic               s_axis_tready,
    input  wire logic               s_axis_tlast,
    input  wire logic               s_axis_tuser,  // with tlast: discard this frame

    output      logic [15:0]        free_bytes,    // whole free rows, at most 65535

    output      logic [63:0]        m_axis_tdata,
    output      logic [7:0]         m_axis_tkeep,
    output      logic               m_axis_tvalid,
    input  wire logic               m_axis_tready,
    output      logic               m_axis_tlast,

    output      logic               busy
);

    localparam int RowBytes = DataW / 8;
    localparam int Rows = Bytes / RowBytes;
    localparam int RowAddrW = $clog2(Rows);
    localparam int Lanes = DataW / 64;
    localparam int LaneW = Lanes > 1 ? $clog2(Lanes) : 1;
    localparam int CountW = $clog2(RowBytes);

`ifndef SYNTHESIS
    initial begin
        if (DataW < 64 || DataW > 512 || (DataW & (DataW - 1)) != 0) begin
            $display("tx_buffer: DataW=%0d is not 64, 128, 256 or 512", DataW);
            $fatal;
        end
        if (Bytes < 128 || (Bytes & (Bytes - 1)) != 0) begin
            $display("tx_buffer: Bytes=%0d is not a power of two from 128", Bytes);
            $fatal;
        end
    end
`endif

    // ---- write side: one row a beat

    logic [RowAddrW:0] row_q, commit_q, head, rows_free;
    logic              awake, write;
    logic [31:0]       bytes_free;
    logic              row_valid;  // of the read side

    assign rows_free     = (RowAddrW + 1)'(Rows) - (row_q - head);
    assign bytes_free    = 32'(rows_free) * RowBytes;
    assign free_bytes    = bytes_free > 32'd65535 ? 16'hffff : bytes_free[15:0];
    assign s_axis_tready = rows_free != '0;
    assign write         = s_axis_tvalid && s_axis_tready;

    assign awake = s_axis_tvalid || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            if (write) begin
                row_q <= row_q + 1'b1;
                if (s_axis_tlast && s_axis_tuser) row_q <= commit_q;
                else if (s_axis_tlast) commit_q <= row_q + 1'b1;
            end
            if (rst) begin
                row_q    <= '0;
                commit_q <= '0;
            end
`ifndef SYNTHESIS
            assert (rst || rows_free != '0 || commit_q != head || row_valid)
            else $fatal(1, "tx_buffer: a frame is larger than the buffer");
            assert (rst || s_axis_tkeep[0] || (s_axis_tlast && s_axis_tuser))
            else $fatal(1, "tx_buffer: a beat without bytes");
`endif
        end
    end

    // ---- rows: the data, and beside it whether the frame ends there and with how many bytes

    logic                row_read, row_ready, row_last;
    logic [RowAddrW-1:0] row_addr;
    logic [DataW-1:0]    row_data;
    logic [CountW-1:0]   last_byte, row_last_byte;  // index of the last byte in the row

    // tkeep is contiguous: the last byte is the one whose successor is not there.
    always_comb begin
        last_byte = '1;
        if (s_axis_tlast)
            for (int i = RowBytes - 1; i > 0; i--) if (!s_axis_tkeep[i]) last_byte = CountW'(i - 1);
    end

    ram_read_port #(.Depth(Rows)) u_row_port (
        .clk,
        .rst,
        .tail(commit_q),
        .head,
        .ram_read(row_read),
        .ram_addr(row_addr),
        .valid(row_valid),
        .ready(row_ready)
    );

    frame_ram #(.Width(DataW), .Depth(Rows)) u_data (
        .clk,
        .write,
        .write_addr(row_q[RowAddrW-1:0]),
        .write_data(s_axis_tdata),
        .read(row_read),
        .read_addr(row_addr),
        .read_data(row_data)
    );

    frame_ram #(.Width(1 + CountW), .Depth(Rows)) u_ends (
        .clk,
        .write,
        .write_addr(row_q[RowAddrW-1:0]),
        .write_data({s_axis_tlast, last_byte}),
        .read(row_read),
        .read_addr(row_addr),
        .read_data({row_last, row_last_byte})
    );

    // ---- 64 bits of the row a beat

    logic [LaneW-1:0] lane_q, last_lane;

    assign last_lane     = Lanes > 1 ? LaneW'(row_last_byte >> 3) : '0;
    assign m_axis_tdata  = row_data[64*lane_q+:64];
    assign m_axis_tvalid = row_valid;
    assign m_axis_tlast  = row_last && lane_q == last_lane;
    assign m_axis_tkeep  = m_axis_tlast ? ~(8'hfe << row_last_byte[2:0]) : 8'hff;
    assign row_ready     = m_axis_tready && lane_q == last_lane;

    always_ff @(posedge clk) begin
        if (row_valid && m_axis_tready) lane_q <= row_ready ? '0 : lane_q + 1'b1;
        if (rst) lane_q <= '0;
    end

    assign busy = row_q != head || row_valid;

endmodule

`default_nettype wire
