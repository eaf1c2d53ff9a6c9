// XGMII receiver: takes frames off the wire, checks FCS, length and coding, strips the FCS and
// gives every frame its verdict on tlast.  It has no buffer and takes no back-pressure, and it
// does not look at addresses.
//
//   mac_rx_align -> one word held back (the FCS may reach into it) -> beat -> verdict -> m_axis
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
    localparam logic [3:0] MinFrameWords = 4'(nic_pkg::MinFrameBytes / 8);
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
    logic [16:0] first_q;       // bytes a frame may have behind its first word; negative: none
    logic [16:0] room_q;        // bytes the frame may still have; once negative it is oversize
    logic        tight_q;       // fewer than 16
    logic        oversize_q, oversize, runt;
    logic [3:0]  words_q;                   // before this one, at most MinFrameWords

    assign oversize = oversize_q || (held_q && tight_q && room_q[3:0] < word_bytes);
    assign runt     = words_q < MinFrameWords - 4'd1
        || (words_q == MinFrameWords - 4'd1 && word_bytes != 4'd8);

    crc32 u_crc (
        .clk,
        .valid(word_valid),
        .first(!held_q),
        .data(word_data),
        .crc
    );

    always_ff @(posedge clk) begin
        first_q <= {1'b0, cfg_max_frame} - (17'd8 - 17'(FcsBytes));
        if (word_valid || rst) begin
            room_q      <= held_q ? room_q - 17'd8 : first_q;
            tight_q     <= held_q ? room_q < 17'd24 : first_q[16:4] == '0;
            oversize_q  <= (oversize || (held_q ? room_q < 17'd8 : first_q[16])) && !word_last;
            held_data_q <= word_data;
            held_q      <= !word_last;
            if (word_last) words_q <= '0;
            else if (words_q != MinFrameWords) words_q <= words_q + 4'd1;
            if (rst) begin
                held_q     <= 1'b0;
                oversize_q <= 1'b0;
                words_q    <= '0;
            end
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

    // ---- verdict: the CRC is compared here, a clock after the last word entered it

    logic        beat_valid_q, beat_last_q;
    logic [63:0] beat_data_q;
    logic [3:0]  beat_bytes_q;
    logic        coded_q, long_q, runt_q;
    logic [31:0] residue_q;
    logic [2:0]  verdict;
    logic        awake;

    always_comb begin
        verdict = nic_pkg::RX_OK;
        if (coded_q) verdict = nic_pkg::RX_CODED_ERROR;
        else if (long_q) verdict = nic_pkg::RX_OVERSIZE;
        else if (runt_q) verdict = nic_pkg::RX_RUNT;
        else if (crc != residue_q) verdict = nic_pkg::RX_BAD_FCS;
    end

    assign awake = word_valid || tail_q || beat_valid_q || m_axis_tvalid || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            tail_q        <= tail;
            beat_valid_q  <= beat_valid;
            m_axis_tvalid <= beat_valid_q;
            if (beat_valid) begin
                beat_data_q  <= held_data_q;
                beat_bytes_q <= beat_bytes;
                beat_last_q  <= beat_last;
            end
            if (word_valid && word_last) begin
                coded_q      <= word_coded;
                long_q       <= oversize;
                runt_q       <= runt;
                residue_q    <= Residues[32*word_bytes[2:0]+:32];
                tail_bytes_q <= word_bytes - FcsBytes;
            end
            if (beat_valid_q) begin
                m_axis_tdata <= beat_data_q;
                m_axis_tkeep <= nic_pkg::bytes_keep(beat_bytes_q);
                m_axis_tlast <= beat_last_q;
                m_axis_tuser <= beat_last_q ? verdict : nic_pkg::RX_OK;
            end
            if (rst) begin
                beat_valid_q  <= 1'b0;
                m_axis_tvalid <= 1'b0;
                tail_q        <= 1'b0;
            end
`ifndef SYNTHESIS
            assert (rst || !tail_q || !word_valid)
            else $fatal(1, "mac_rx: a word in the clock of the tail beat");
`endif
        end
    end

    assign busy = align_busy || link_busy || tail_q || beat_valid_q || m_axis_tvalid;

endmodule

`default_nettype wire
