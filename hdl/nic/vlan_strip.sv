// Takes the outer VLAN tag (802.1Q or 802.1ad) out of a frame, bytes 12 to 15.  Other frames pass
// without delay; a tagged one is moved up by half a beat, so it needs a clock after its last beat
// if that has more than four bytes.
//
//   beat 0 | 1: addresses, tag |  2    =>    0 | {low half of 2, low half of 1} | ...

`default_nettype none

module vlan_strip (
    input  wire logic        clk,
    input  wire logic        rst,

    input  wire logic        cfg_enable,

    input  wire logic [63:0] s_axis_tdata,
    input  wire logic [7:0]  s_axis_tkeep,
    input  wire logic        s_axis_tvalid,
    input  wire logic        s_axis_tlast,
    input  wire logic [2:0]  s_axis_tuser,   // with tlast

    output      logic [63:0] m_axis_tdata,
    output      logic [7:0]  m_axis_tkeep,
    output      logic        m_axis_tvalid,
    output      logic        m_axis_tlast,
    output      logic [2:0]  m_axis_tuser,

    output      logic        busy
);

    localparam logic [15:0] TypeCtag = 16'h0081;  // as they stand in a beat, first byte low
    localparam logic [15:0] TypeStag = 16'ha888;

    logic        inside_q, second_q;  // past the first beat; at the second
    logic        moved_q;             // the tag is out, `half_q` waits for the next beat
    logic        rest_q;              // the frame is over, `half_q` is its last beat
    logic [31:0] half_q;
    logic [3:0]  half_keep_q;
    logic [2:0]  user_q;
    logic        tag, awake;

    assign tag = cfg_enable && second_q && !s_axis_tlast
        && (s_axis_tdata[47:32] == TypeCtag || s_axis_tdata[47:32] == TypeStag);

    assign awake = s_axis_tvalid || rest_q || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            rest_q <= 1'b0;
            if (s_axis_tvalid) begin
                inside_q    <= !s_axis_tlast;
                second_q    <= !inside_q && !s_axis_tlast;
                moved_q     <= !s_axis_tlast && (moved_q || tag);
                rest_q      <= moved_q && s_axis_tlast && s_axis_tkeep[4];
                half_q      <= tag ? s_axis_tdata[31:0] : s_axis_tdata[63:32];
                half_keep_q <= s_axis_tkeep[7:4];
                user_q      <= s_axis_tuser;
            end
            if (rst) begin
                inside_q <= 1'b0;
                second_q <= 1'b0;
                moved_q  <= 1'b0;
                rest_q   <= 1'b0;
            end
`ifndef SYNTHESIS
            assert (rst || !(rest_q && s_axis_tvalid))
            else $fatal(1, "vlan_strip: a beat in the clock of the last half");
`endif
        end
    end

    always_comb begin
        m_axis_tdata  = s_axis_tdata;
        m_axis_tkeep  = s_axis_tkeep;
        m_axis_tvalid = s_axis_tvalid && !tag;
        m_axis_tlast  = s_axis_tlast;
        m_axis_tuser  = s_axis_tuser;
        if (rest_q) begin
            m_axis_tdata  = {32'd0, half_q};
            m_axis_tkeep  = {4'd0, half_keep_q};
            m_axis_tvalid = 1'b1;
            m_axis_tlast  = 1'b1;
            m_axis_tuser  = user_q;
        end else if (moved_q) begin
            m_axis_tdata = {s_axis_tdata[31:0], half_q};
            m_axis_tkeep = {s_axis_tkeep[3:0], 4'hf};
            m_axis_tlast = s_axis_tlast && !s_axis_tkeep[4];
        end
    end

    assign busy = inside_q || rest_q;

endmodule

`default_nettype wire
