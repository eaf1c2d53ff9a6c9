// Destination address filter: turns RX_OK into RX_FILTERED on the last beat of a frame that is
// not for us, and into RX_PAUSE on that of a pause frame.  It delays by one clock, and neither drops
// nor holds a beat.
//
// The multicast hash is bits 31:26 of the CRC-32 register, first bit on top, before the complement:
// Linux's ether_crc(6, address) >> 26, as r8169 and tulip have it.

`default_nettype none

module rx_filter #(
    parameter int Filters = 8,         // exact addresses besides the own one
    parameter bit MulticastHash = 1'b1
) (
    input  wire logic                     clk,
    input  wire logic                     rst,

    // addresses have their first byte on the wire in bits 7:0
    input  wire logic [47:0]              cfg_mac,
    input  wire logic                     cfg_promiscuous,
    input  wire logic                     cfg_all_multicast,
    input  wire logic [Filters-1:0][47:0] cfg_filter,
    input  wire logic [Filters-1:0]       cfg_filter_valid,
    input  wire logic [63:0]              cfg_multicast_hash,

    input  wire logic [63:0]              s_axis_tdata,
    input  wire logic [7:0]               s_axis_tkeep,
    input  wire logic                     s_axis_tvalid,
    input  wire logic                     s_axis_tlast,
    input  wire logic [2:0]               s_axis_tuser,
    input  wire logic                     s_axis_pause,  // with tlast: a pause frame

    output      logic [63:0]              m_axis_tdata,
    output      logic [7:0]               m_axis_tkeep,
    output      logic                     m_axis_tvalid,
    output      logic                     m_axis_tlast,
    output      logic [2:0]               m_axis_tuser,

    output      logic                     busy
);

    // ---- the address is judged in the three clocks after the first beat: a good frame has seven
    // beats or more

    logic        inside_q;                   // past the first beat of a frame
    logic [1:0]  judge_q;                    // compare, then decide
    logic        accept_q;
    logic [47:0] destination_q;
    logic        own_q, broadcast_q, group_q;  // group: the first bit on the wire
    logic        hash_hit;
    logic        awake;

    logic [Filters-1:0] filter_q;

    if (MulticastHash) begin : g_hash
        localparam logic [31:0] None = crc32_pkg::crc32_zeros(32'hffff_ffff, 48);

        logic [5:0] index, index_q;

        // Bit i of the address, counted as on the wire, adds Column to the register.
        for (genvar b = 0; b < 6; b++) begin : g_bit
            logic [47:0] mask;

            for (genvar i = 0; i < 48; i++) begin : g_mask
                localparam logic [31:0] Column = crc32_pkg::crc32_zeros(32'd1, 48 - i);

                assign mask[i] = Column[b];
            end
            assign index[5-b] = None[b] ^ ^(destination_q & mask);
        end

        always_ff @(posedge clk) begin
            if (judge_q[0]) index_q <= index;
        end

        assign hash_hit = cfg_multicast_hash[index_q];
    end else begin : g_no_hash
        logic unused_hash;

        assign unused_hash = ^cfg_multicast_hash;
        assign hash_hit    = 1'b0;
    end

    assign awake = s_axis_tvalid || m_axis_tvalid || judge_q != '0 || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            m_axis_tvalid <= s_axis_tvalid;
            judge_q       <= {judge_q[0], s_axis_tvalid && !inside_q};
            if (judge_q[0]) begin
                own_q       <= destination_q == cfg_mac;
                broadcast_q <= destination_q == 48'hffff_ffff_ffff;
                group_q     <= destination_q[0];
                for (int i = 0; i < Filters; i++)
                    filter_q[i] <= cfg_filter_valid[i] && destination_q == cfg_filter[i];
            end
            if (judge_q[1])
                accept_q <= cfg_promiscuous || own_q || broadcast_q || filter_q != '0
                    || (group_q && (cfg_all_multicast || hash_hit));
            if (s_axis_tvalid) begin
                if (!inside_q) destination_q <= s_axis_tdata[47:0];
                m_axis_tdata <= s_axis_tdata;
                m_axis_tkeep <= s_axis_tkeep;
                m_axis_tlast <= s_axis_tlast;
                m_axis_tuser <= s_axis_tuser;
                if (s_axis_tlast && s_axis_tuser == nic_pkg::RX_OK) begin
                    if (s_axis_pause) m_axis_tuser <= nic_pkg::RX_PAUSE;
                    else if (!accept_q) m_axis_tuser <= nic_pkg::RX_FILTERED;
                end
                inside_q <= !s_axis_tlast;
            end
            if (rst) begin
                m_axis_tvalid <= 1'b0;
                inside_q      <= 1'b0;
                judge_q       <= '0;
            end
        end
    end

    assign busy = inside_q || m_axis_tvalid;

endmodule

`default_nettype wire
