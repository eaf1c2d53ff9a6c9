// Takes the outer VLAN tag (802.1Q or 802.1ad) out of a frame, bytes 12 to 15.  It delays by one
// clock; a tagged frame is moved up by half a beat, so it needs another clock after its last beat if
// that has more than four bytes.
//
//   beat 0 | 1: addresses, tag |  2    =>    0 | {low half of 2, low half of 1} | ...
//
// In that clock nothing else comes, but that the one and empty beat of a broken frame may, which is
// then let out behind.  A frame of more beats leaves a clock free before its first.

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

    output      logic        stripped,       // of a good frame: from its fourth clock to its end

    output      logic        busy
);

    localparam logic [15:0] TypeCtag = 16'h0081;  // as they stand in a beat, first byte low
    localparam logic [15:0] TypeStag = 16'ha888;

    // ---- the beat, and whether a tag would be in it

    logic        beat_valid_q, beat_last_q, beat_tag_q;
    logic [63:0] beat_data_q;
    logic [7:0]  beat_keep_q;
    logic [2:0]  beat_user_q;
    logic        inside_q, second_q;  // past the first beat; at the second
    logic        moved_q;             // the tag is out, `half_q` waits for the next beat
    logic        rest_q;              // the frame is over, `half_q` is its last beat
    logic        late_q;              // an empty frame is still to be let out,
    logic [2:0]  late_user_q;         // with this
    logic [31:0] half_q;
    logic [3:0]  half_keep_q;
    logic [2:0]  user_q;
    logic        tag, awake;

    assign tag   = beat_tag_q && second_q && !beat_last_q;
    assign awake = s_axis_tvalid || beat_valid_q || rest_q || late_q || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            beat_valid_q <= s_axis_tvalid;
            if (s_axis_tvalid) begin
                beat_data_q <= s_axis_tdata;
                beat_keep_q <= s_axis_tkeep;
                beat_last_q <= s_axis_tlast;
                beat_user_q <= s_axis_tuser;
                beat_tag_q  <= cfg_enable
                    && (s_axis_tdata[47:32] == TypeCtag || s_axis_tdata[47:32] == TypeStag);
            end
            rest_q <= 1'b0;
            if (beat_valid_q) begin
                inside_q    <= !beat_last_q;
                second_q    <= !inside_q && !beat_last_q;
                moved_q     <= !beat_last_q && (moved_q || tag);
                rest_q      <= moved_q && beat_last_q && beat_keep_q[4];
                half_q      <= tag ? beat_data_q[31:0] : beat_data_q[63:32];
                half_keep_q <= beat_keep_q[7:4];
                user_q      <= beat_user_q;
            end
            late_q      <= beat_valid_q && (rest_q || late_q);
            late_user_q <= beat_user_q;
            if (rst) begin
                late_q       <= 1'b0;
                beat_valid_q <= 1'b0;
                inside_q     <= 1'b0;
                second_q     <= 1'b0;
                moved_q      <= 1'b0;
                rest_q       <= 1'b0;
            end
`ifndef SYNTHESIS
            assert (rst || !(rest_q || late_q) || !beat_valid_q
                    || (!inside_q && beat_last_q && beat_keep_q == '0))
            else $fatal(1, "vlan_strip: a beat in the clock of another");
`endif
        end
    end

    always_comb begin
        m_axis_tdata  = beat_data_q;
        m_axis_tkeep  = beat_keep_q;
        m_axis_tvalid = beat_valid_q && !tag;
        m_axis_tlast  = beat_last_q;
        m_axis_tuser  = beat_user_q;
        if (rest_q) begin
            m_axis_tdata  = {32'd0, half_q};
            m_axis_tkeep  = {4'd0, half_keep_q};
            m_axis_tvalid = 1'b1;
            m_axis_tlast  = 1'b1;
            m_axis_tuser  = user_q;
        end else if (late_q) begin
            m_axis_tkeep  = '0;
            m_axis_tvalid = 1'b1;
            m_axis_tlast  = 1'b1;
            m_axis_tuser  = late_user_q;
        end else if (moved_q) begin
            m_axis_tdata = {beat_data_q[31:0], half_q};
            m_axis_tkeep = {beat_keep_q[3:0], 4'hf};
            m_axis_tlast = beat_last_q && !beat_keep_q[4];
        end
    end

    assign stripped = moved_q;

    assign busy = beat_valid_q || inside_q || rest_q || late_q;

endmodule

`default_nettype wire
