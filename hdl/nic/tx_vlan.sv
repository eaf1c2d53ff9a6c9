// Puts a VLAN tag behind the addresses of the frames that ask for it, and moves what is known of
// the frame's checksum accordingly.  A word a clock; a frame whose end does not fit into its last
// word takes one clock more.  A frame with a tag has at least 14 bytes.

`default_nettype none

module tx_vlan
    import tx_pkg::*;
(
    input  wire logic        clk,
    input  wire logic        rst,

    // Only a part of it matters here.
    // verilator lint_off UNUSEDSIGNAL
    input  wire tx_frame_t   frame,
    // verilator lint_on UNUSEDSIGNAL
    input  wire logic [63:0] s_data,
    input  wire logic [3:0]  s_bytes,    // 8, or with s_last 1 to 8
    input  wire logic        s_last,
    input  wire logic        s_discard,
    input  wire logic        s_stamp,
    input  wire logic        s_valid,
    output      logic        s_ready,

    output      logic [63:0] m_data,
    output      logic [3:0]  m_bytes,
    output      logic        m_last,
    output      logic        m_discard,
    output      logic        m_stamp,
    output      logic        m_checksum,    // one is to be inserted,
    output      logic [7:0]  m_csum_start,  // from here, in 2 bytes from the frame's first
    output      logic [7:0]  m_csum_at,     // at this place
    output      logic        m_valid,
    input  wire logic        m_ready,

    output      logic        busy
);

    localparam logic [15:0] Tpid = 16'h0081;  // 0x8100 as it lies in memory

    logic [1:0]  word_q;    // words of the frame so far, 2 stays
    logic [31:0] held_q;    // what the tag has pushed out
    logic        flush_q;   // the frame's end is held
    logic [1:0]  flush_bytes_q;
    logic        free, take, has_tag, moved, awake;
    logic [63:0] data;

    assign free    = !m_valid || m_ready;
    assign s_ready = free && !flush_q;
    assign take    = s_valid && s_ready;
    assign has_tag  = frame.vlan_insert;
    assign moved   = has_tag && word_q != 2'd0;  // four bytes on from here
    assign awake   = s_valid || flush_q || m_valid || rst;

    always_comb begin
        data = s_data;
        if (has_tag && word_q == 2'd1)
            data = {frame.vlan_tci[7:0], frame.vlan_tci[15:8], Tpid, s_data[31:0]};
        if (has_tag && word_q == 2'd2) data = {s_data[31:0], held_q};
        if (flush_q) data = {32'd0, held_q};
    end

    always_ff @(posedge clk) begin
        if (awake) begin
            if (m_ready) m_valid <= 1'b0;
            if (take || (flush_q && free)) begin
                m_valid <= 1'b1;
                m_data  <= data;
                m_bytes <= 4'd8;
                m_last  <= flush_q || (s_last && (!moved || s_bytes <= 4'd4));
                if (flush_q) m_bytes <= {2'b00, flush_bytes_q} + 4'd1;
                else if (s_last && !moved) m_bytes <= s_bytes;
                else if (s_last && s_bytes <= 4'd4) m_bytes <= s_bytes + 4'd4;
                flush_q <= 1'b0;
            end
            if (take) begin
                m_discard    <= s_discard;
                m_stamp      <= s_stamp;
                m_checksum   <= frame.csum_start != '0;
                m_csum_start <= {1'b0, frame.csum_start} + (has_tag ? 8'd2 : 8'd0);
                m_csum_at    <= {1'b0, frame.csum_start} + {4'd0, frame.csum_offset}
                    + (has_tag ? 8'd2 : 8'd0);
                held_q        <= s_data[63:32];
                flush_bytes_q <= 2'(s_bytes - 4'd5);
                flush_q       <= s_last && moved && s_bytes > 4'd4;
                word_q        <= s_last ? 2'd0 : word_q == 2'd2 ? 2'd2 : word_q + 2'd1;
            end
            if (rst) begin
                m_valid <= 1'b0;
                flush_q <= 1'b0;
                word_q  <= 2'd0;
            end
        end
    end

    assign busy = m_valid || flush_q;

endmodule

`default_nettype wire
