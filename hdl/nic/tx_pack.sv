// Joins the fragments of a frame: words of 1 to 8 bytes in, whole words out, but for the frame's
// last.  A word a clock; a frame whose end does not fit into its last word takes one clock more.
//
//   in  ->  rotate by what is left over  ->  lanes below: left over | above: in  ->  out
//                                            what does not fit is left over

`default_nettype none

module tx_pack (
    input  wire logic        clk,
    input  wire logic        rst,

    input  wire logic [63:0] s_data,
    input  wire logic [3:0]  s_bytes,   // 1 to 8
    input  wire logic        s_last,
    input  wire logic [1:0]  s_resp,
    input  wire logic        s_valid,
    output      logic        s_ready,

    output      logic [63:0] m_data,
    output      logic [3:0]  m_bytes,   // 8, or with m_last 1 to 8
    output      logic        m_last,
    output      logic [1:0]  m_resp,    // worst of the frame up to here
    output      logic        m_valid,
    input  wire logic        m_ready,

    output      logic        busy
);

    logic [63:0] rest_q, rotated, joined;
    logic [2:0]  held_q;         // bytes left over
    logic        flush_q;        // the frame's end is left over
    logic [1:0]  resp_q, resp;   // of the frame

    logic        full, take, emit, fits, last;
    logic [4:0]  sum;
    logic [3:0]  bytes;

    assign s_ready = !full && !flush_q;
    assign take    = s_valid && s_ready;
    assign sum     = 5'(held_q) + 5'(s_bytes);
    assign fits    = sum <= 5'd8;
    assign emit    = !full && (flush_q || (s_valid && (sum[4:3] != '0 || s_last)));
    assign last    = flush_q || (s_last && fits);
    assign bytes   = flush_q ? {1'b0, held_q} : sum[4:3] != '0 ? 4'd8 : sum[3:0];
    assign resp    = !flush_q && s_resp > resp_q ? s_resp : resp_q;

    assign rotated = 64'({2{s_data}} >> (7'd64 - {1'b0, held_q, 3'd0}));

    always_comb begin
        for (int i = 0; i < 8; i++)
            joined[8*i+:8] = flush_q || 3'(i) < held_q ? rest_q[8*i+:8] : rotated[8*i+:8];
    end

    always_ff @(posedge clk) begin
        if (take) begin
            // Below eight bytes all stays; else what is in the lanes below `held_q`.
            rest_q  <= sum[4:3] != '0 ? rotated : joined;
            held_q  <= s_last && fits ? '0 : sum[2:0];
            flush_q <= s_last && !fits;
            resp_q  <= s_last && fits ? '0 : resp;
        end else if (flush_q && !full) begin
            held_q  <= '0;
            flush_q <= 1'b0;
            resp_q  <= '0;
        end
        if (rst) begin
            held_q  <= '0;
            flush_q <= 1'b0;
            resp_q  <= '0;
        end
    end

    // Holds the words for the block behind, and keeps its `ready` from those in front.
    small_fifo #(.Width(64 + 4 + 1 + 2), .Depth(4)) u_out (
        .clk,
        .rst,
        .push(emit),
        .push_data({joined, bytes, last, resp}),
        .full,
        .pop(m_valid && m_ready),
        .head({m_data, m_bytes, m_last, m_resp}),
        .valid(m_valid)
    );

    assign busy = m_valid || flush_q || held_q != '0;

endmodule

`default_nettype wire
