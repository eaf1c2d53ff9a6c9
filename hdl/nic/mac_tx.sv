// XGMII transmitter: preamble, padding to 60 bytes, FCS, and an inter-frame gap of 12 bytes on
// average (deficit idle count, never below 9), with starts in lane 0 or 4.  It buffers nothing:
// data that comes late cuts the frame with error characters.
//
//   state machine -> token (one word of the frame) -> CRC -> FCS -> assembly -> lane shift -> wire

`default_nettype none

module mac_tx (
    input  wire logic        clk,
    input  wire logic        rst,
    input  wire logic        enable,         // 0: the frame under way is finished, none begins

    input  wire logic [63:0] s_axis_tdata,
    input  wire logic [7:0]  s_axis_tkeep,
    input  wire logic        s_axis_tvalid,
    output      logic        s_axis_tready,
    input  wire logic        s_axis_tlast,
    input  wire logic        s_axis_tuser,   // the frame is to be stamped

    output      logic [63:0] xgmii_txd,
    output      logic [7:0]  xgmii_txc,

    output      logic        ev_frame,       // one clock per frame sent whole
    output      logic [15:0] ev_len,         // bytes with padding, without FCS
    output      logic        ev_underrun,    // one clock per frame cut
    output      logic        ev_stamp,       // its start is on XGMII the clock after

    output      logic        busy
);

    localparam logic [12:0] LastPadWord = 13'((nic_pkg::MinFrameBytes - nic_pkg::FcsBytes) / 8);
    localparam logic [3:0] LastPadBytes = 4'((nic_pkg::MinFrameBytes - nic_pkg::FcsBytes) % 8);

    typedef enum logic [2:0] {
        IDLE,   // waits for a frame
        DATA,   // waits for the last beat of it
        PAD,    // adds zeros up to 60 bytes
        DRAIN,  // waits for the last beat of a frame that was cut
        GAP     // waits until the next frame may start
    } state_e;

    typedef enum logic [1:0] {
        NOTHING,
        PREAMBLE,
        BODY,
        LAST      // up to eight bytes, then the FCS
    } kind_e;

    // ---- state machine: one token of the frame a clock

    state_e      state_q, state_d;
    kind_e       kind;
    logic [3:0]  bytes;
    logic [12:0] words_q;     // data words sent of this frame
    logic [3:0]  last_bytes;  // of a last beat
    logic [63:0] last_mask;
    logic        cut;
    logic        long_gap_q;  // two clocks of GAP, not one
    logic        assemble_busy, awake, pipe_awake;

    assign last_bytes = nic_pkg::keep_bytes(s_axis_tkeep);
    assign last_mask  = nic_pkg::bytes_mask(last_bytes);

    always_comb begin
        state_d = state_q;
        kind    = NOTHING;
        bytes   = 4'd8;
        cut     = 1'b0;
        case (state_q)
            IDLE: begin
                if (enable && s_axis_tvalid) begin
                    kind    = PREAMBLE;
                    state_d = DATA;
                end
            end
            DATA: begin
                kind = BODY;
                if (!s_axis_tvalid) begin
                    cut     = 1'b1;
                    kind    = LAST;
                    bytes   = 4'd4;
                    state_d = DRAIN;
                end else if (s_axis_tlast && words_q < LastPadWord) begin
                    state_d = PAD;
                end else if (s_axis_tlast) begin
                    kind    = LAST;
                    bytes   = last_bytes;
                    if (words_q == LastPadWord && bytes < LastPadBytes) bytes = LastPadBytes;
                    state_d = GAP;
                end
            end
            PAD: begin
                kind = BODY;
                if (words_q == LastPadWord) begin
                    kind    = LAST;
                    bytes   = LastPadBytes;
                    state_d = GAP;
                end
            end
            DRAIN: if (s_axis_tvalid && s_axis_tlast) state_d = GAP;
            GAP: if (!long_gap_q) state_d = IDLE;
            default: state_d = IDLE;
        endcase
    end

    assign s_axis_tready = state_q == DATA || state_q == DRAIN;

    // ---- gap: from the column with the terminate, the next start is three columns on, or four
    // when the deficit does not allow to round down.  Preamble, data and FCS have 2w + 3 +
    // bytes/4 columns before the terminate with w whole words, hence the sum below.

    logic [1:0] deficit_q, deficit;
    logic       round_up;
    logic [1:0] columns;  // 3 at most: eight bytes are never rounded up
    logic       shift_q;  // the next frame starts in lane 4

    assign {round_up, deficit} = {1'b0, deficit_q} + {1'b0, bytes[1:0]};
    assign columns             = {1'b0, shift_q} + bytes[3:2] + {1'b0, round_up};

    assign awake = state_q != IDLE || kind != NOTHING || ev_frame || ev_underrun
        || deficit_q != '0 || shift_q || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            state_q     <= state_d;
            ev_frame    <= kind == LAST && !cut;
            ev_underrun <= cut;
            case (kind)
                PREAMBLE: words_q <= '0;
                BODY: words_q <= words_q + 1'b1;
                LAST: begin
                    ev_len     <= {words_q, 3'd0} + 16'(bytes);
                    deficit_q  <= deficit;
                    shift_q    <= columns[0];
                    long_gap_q <= columns[1];
                end
                default: ;
            endcase
            if (state_q == GAP) long_gap_q <= 1'b0;
            // No frame in time: the gap grows by four bytes or more, which pays any deficit.
            if (state_q == IDLE && kind == NOTHING) begin
                deficit_q <= '0;
                shift_q   <= 1'b0;
            end
            if (rst) begin
                state_q     <= IDLE;
                ev_frame    <= 1'b0;
                ev_underrun <= 1'b0;
                deficit_q   <= '0;
                shift_q     <= 1'b0;
                long_gap_q  <= 1'b0;
            end
        end
    end

    // ---- token, CRC, FCS: a stage each

    kind_e       token_kind_q, crc_kind_q, fcs_kind_q;
    logic [63:0] token_data_q, crc_data_q, fcs_data_q;
    logic [3:0]  token_bytes_q, crc_bytes_q, fcs_bytes_q;
    logic        token_cut_q, crc_cut_q, fcs_cut_q;
    logic        token_shift_q, crc_shift_q, fcs_shift_q;
    logic        token_stamp_q, crc_stamp_q, fcs_stamp_q;
    logic [31:0] crc, fcs_q;

    crc32 u_crc (
        .clk,
        .valid(token_kind_q == BODY || token_kind_q == LAST),
        .first(crc_kind_q == PREAMBLE),
        .data(token_data_q),
        .crc
    );

    assign pipe_awake = kind != NOTHING || token_kind_q != NOTHING || crc_kind_q != NOTHING
        || fcs_kind_q != NOTHING || rst;

    always_ff @(posedge clk) begin
        if (pipe_awake) begin
            token_kind_q <= kind;
            crc_kind_q   <= token_kind_q;
            fcs_kind_q   <= crc_kind_q;
            if (kind != NOTHING) begin
                token_bytes_q <= bytes;
                token_cut_q   <= cut;
                token_shift_q <= shift_q;
                token_stamp_q <= s_axis_tuser;
                token_data_q  <= state_q != DATA ? 64'd0
                    : s_axis_tlast ? s_axis_tdata & last_mask : s_axis_tdata;
            end
            if (token_kind_q != NOTHING) begin
                crc_data_q  <= token_data_q;
                crc_bytes_q <= token_bytes_q;
                crc_cut_q   <= token_cut_q;
                crc_shift_q <= token_shift_q;
                crc_stamp_q <= token_stamp_q;
            end
            if (crc_kind_q != NOTHING) begin
                fcs_data_q  <= crc_data_q;
                fcs_bytes_q <= crc_bytes_q;
                fcs_cut_q   <= crc_cut_q;
                fcs_shift_q <= crc_shift_q;
                fcs_stamp_q <= crc_stamp_q;
                if (crc_kind_q == LAST)
                    fcs_q <= crc32_pkg::crc32_unwind(crc, 3'(4'd8 - crc_bytes_q));
            end
            if (rst) begin
                token_kind_q <= NOTHING;
                crc_kind_q   <= NOTHING;
                fcs_kind_q   <= NOTHING;
            end
        end
    end

    mac_tx_assemble u_assemble (
        .clk,
        .rst,
        .preamble(fcs_kind_q == PREAMBLE),
        .body(fcs_kind_q == BODY),
        .last(fcs_kind_q == LAST),
        .data(fcs_data_q),
        .bytes(fcs_bytes_q),
        .fcs(~fcs_q),
        .cut(fcs_cut_q),
        .shift(fcs_shift_q),
        .xgmii_txd,
        .xgmii_txc,
        .busy(assemble_busy)
    );

    assign ev_stamp = fcs_kind_q == PREAMBLE && fcs_stamp_q;

    assign busy = state_q != IDLE || token_kind_q != NOTHING || crc_kind_q != NOTHING
        || assemble_busy;

endmodule

`default_nettype wire
