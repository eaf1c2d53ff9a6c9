// XGMII receiver: takes frames off the wire, checks FCS, length and coding, strips the FCS and
// gives every frame its verdict on tlast.  It has no buffer and takes no back-pressure, and it
// does not look at addresses.
//
//   mac_rx_align -> one word held back (the FCS may reach into it) -> m_axis
//
// A frame that is cut short (coding error, oversize, fewer than eight bytes) ends with an empty
// last beat; an oversize frame passes on at most cfg_max_frame + 8 bytes.

`default_nettype none

module mac_rx (
    input  wire logic        clk,
    input  wire logic        rst,

    input  wire logic [63:0] xgmii_rxd,
    input  wire logic [7:0]  xgmii_rxc,

    input  wire logic [15:0] cfg_max_frame,  // bytes without FCS

    output      logic [63:0] m_axis_tdata,
    output      logic [7:0]  m_axis_tkeep,
    output      logic        m_axis_tvalid,
    output      logic        m_axis_tlast,
    output      logic [2:0]  m_axis_tuser,   // rx_verdict_e, with tlast

    output      logic        link_up,
    output      logic        busy
);

    localparam logic [3:0] FcsBytes = 4'(nic_pkg::FcsBytes);
    localparam logic [16:0] MinFrameBytes = 17'(nic_pkg::MinFrameBytes);
    localparam logic [255:0] Residues = crc32_pkg::CrcResidues;

    logic        word_valid, word_last, word_coded;
    logic [63:0] word_data;
    logic [3:0]  word_bytes;
    logic        align_busy, link_busy;

    xgmii_link u_link (
        .clk,
        .rst,
        .xgmii_rxd,
        .xgmii_rxc,
        .link_up,
        .busy(link_busy)
    );

    mac_rx_align u_align (
        .clk,
        .rst,
        .xgmii_rxd,
        .xgmii_rxc,
        .word_valid,
        .word_data,
        .word_bytes,
        .word_last,
        .word_coded,
        .busy(align_busy)
    );

    // ---- length and CRC, both over the FCS as well

    logic        held_q;      // inside a frame: held_data_q is its word before this one
    logic [63:0] held_data_q;
    logic [31:0] crc;
    logic [16:0] length_q, length, max_length;
    logic        oversize_q, oversize, word_awake;

    assign max_length = 17'(cfg_max_frame) + 17'(FcsBytes);
    assign length     = (held_q ? length_q : 17'd0) + 17'(word_bytes);
    assign oversize   = (held_q && oversize_q) || length > max_length;
    assign word_awake = word_valid || rst;

    crc32 u_crc (
        .clk,
        .valid(word_valid),
        .first(!held_q),
        .data(word_data),
        .crc
    );

    always_ff @(posedge clk) begin
        if (word_awake) begin
            if (word_valid) begin
                length_q    <= length;
                oversize_q  <= oversize;
                held_data_q <= word_data;
                held_q      <= !word_last;
            end
            if (rst) held_q <= 1'b0;
        end
    end

    // ---- the beat that goes out, and what is left of a last word for one beat more

    logic       tail_q, tail;         // held_data_q is the last beat, tail_bytes_q of it
    logic [3:0] tail_bytes_q;
    logic       beat_valid, beat_last, cut;
    logic [3:0] beat_bytes;

    assign cut  = word_coded || oversize;
    assign tail = word_valid && word_last && !cut && held_q && word_bytes > FcsBytes;

    always_comb begin
        beat_valid = 1'b0;
        beat_last  = 1'b0;
        beat_bytes = 4'd8;
        if (tail_q) begin
            beat_valid = 1'b1;
            beat_last  = 1'b1;
            beat_bytes = tail_bytes_q;
        end else if (word_valid && word_last) begin
            beat_valid = 1'b1;
            beat_last  = !tail;
            if (cut || !held_q) beat_bytes = 4'd0;
            else if (!tail) beat_bytes = word_bytes + 4'd8 - FcsBytes;
        end else if (word_valid) begin
            beat_valid = held_q && !oversize;
        end
    end

    // ---- output; the CRC is compared here, a clock after the last word entered it

    logic       coded_q, long_q, runt_q;
    logic [2:0] last_bytes_q;
    logic       awake;

    assign awake = word_valid || tail_q || m_axis_tvalid || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            m_axis_tvalid <= beat_valid;
            tail_q        <= tail;
            if (beat_valid) begin
                m_axis_tdata <= held_data_q;
                m_axis_tkeep <= nic_pkg::bytes_keep(beat_bytes);
                m_axis_tlast <= beat_last;
            end
            if (word_valid && word_last) begin
                coded_q      <= word_coded;
                long_q       <= oversize;
                runt_q       <= length < MinFrameBytes;
                last_bytes_q <= word_bytes[2:0];
                tail_bytes_q <= word_bytes - FcsBytes;
            end
            if (rst) begin
                m_axis_tvalid <= 1'b0;
                tail_q        <= 1'b0;
            end
`ifndef SYNTHESIS
            assert (rst || !tail_q || !word_valid)
            else $fatal(1, "mac_rx: a word in the clock of the tail beat");
`endif
        end
    end

    logic fcs_ok;

    assign fcs_ok = crc == Residues[32*last_bytes_q+:32];

    always_comb begin
        m_axis_tuser = nic_pkg::RX_OK;
        if (m_axis_tvalid && m_axis_tlast) begin
            if (coded_q) m_axis_tuser = nic_pkg::RX_CODED_ERROR;
            else if (long_q) m_axis_tuser = nic_pkg::RX_OVERSIZE;
            else if (runt_q) m_axis_tuser = nic_pkg::RX_RUNT;
            else if (!fcs_ok) m_axis_tuser = nic_pkg::RX_BAD_FCS;
        end
    end

    assign busy = align_busy || link_busy || tail_q || m_axis_tvalid;

endmodule

`default_nettype wire
