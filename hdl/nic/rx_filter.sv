// Destination address filter: turns RX_OK into RX_FILTERED on the last beat of a frame that is
// not for us.  It delays by one clock, and neither drops nor holds a beat.

`default_nettype none

module rx_filter (
    input  wire logic        clk,
    input  wire logic        rst,

    input  wire logic [47:0] cfg_mac,  // first byte on the wire in bits 7:0
    input  wire logic        cfg_promiscuous,
    input  wire logic        cfg_all_multicast,

    input  wire logic [63:0] s_axis_tdata,
    input  wire logic [7:0]  s_axis_tkeep,
    input  wire logic        s_axis_tvalid,
    input  wire logic        s_axis_tlast,
    input  wire logic [2:0]  s_axis_tuser,

    output      logic [63:0] m_axis_tdata,
    output      logic [7:0]  m_axis_tkeep,
    output      logic        m_axis_tvalid,
    output      logic        m_axis_tlast,
    output      logic [2:0]  m_axis_tuser,

    output      logic        busy
);

    logic        inside_q;  // past the first beat of a frame
    logic        accept_q, accept;
    logic [47:0] destination;
    logic        group;      // individual/group bit: the first on the wire
    logic        awake;

    // Judged on the first beat, remembered for the rest.
    assign destination = inside_q ? 48'd0 : s_axis_tdata[47:0];
    assign group       = destination[0];
    assign accept      = inside_q ? accept_q
        : cfg_promiscuous || destination == cfg_mac
            || (group && (cfg_all_multicast || destination == 48'hffff_ffff_ffff));

    assign awake = s_axis_tvalid || m_axis_tvalid || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            m_axis_tvalid <= s_axis_tvalid;
            if (s_axis_tvalid) begin
                m_axis_tdata <= s_axis_tdata;
                m_axis_tkeep <= s_axis_tkeep;
                m_axis_tlast <= s_axis_tlast;
                m_axis_tuser <= s_axis_tuser;
                if (s_axis_tlast && s_axis_tuser == nic_pkg::RX_OK && !accept)
                    m_axis_tuser <= nic_pkg::RX_FILTERED;
                inside_q     <= !s_axis_tlast;
                accept_q     <= accept;
            end
            if (rst) begin
                m_axis_tvalid <= 1'b0;
                inside_q      <= 1'b0;
            end
        end
    end

    assign busy = inside_q || m_axis_tvalid;

endmodule

`default_nettype wire
