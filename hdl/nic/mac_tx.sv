// XGMII transmitter: preamble, padding to 60 bytes, FCS, and an inter-frame gap of 12 bytes on
// average (deficit idle count, never below 9), with starts in lane 0 or 4.  It buffers nothing:
// data that comes late cuts the frame with error characters.
//
//   beat -> state machine -> token (one word of the frame) -> CRC -> FCS in two steps -> wire

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

    output      logic        ev_frame,       // one clock per frame sent whole, late
    output      logic [15:0] ev_len,         // bytes with padding, without FCS
    output      logic        ev_underrun,    // one clock per frame cut
    output      logic        ev_stamp,       // its start is on XGMII the clock after

    output      logic        busy
);

    localparam logic [2:0] LastPadWord = 3'((nic_pkg::MinFrameBytes - nic_pkg::FcsBytes) / 8);
    localparam logic [3:0] LastPadBytes = 4'((nic_pkg::MinFrameBytes - nic_pkg::FcsBytes) % 8);

    typedef enum logic [2:0] {
        IDLE,   // waits for a frame
        DATA,   // waits for the last beat of it
        PAD,    // adds zeros up to 60 bytes
        DRAIN,  // waits for the last beat of a frame that was cut
        GAP,    // finds out when the next frame may start
        LONG    // waits a clock more for it
    } state_e;

    typedef enum logic [1:0] {
        NOTHING,
        PREAMBLE,
        BODY,
        LAST      // up to eight bytes, then the FCS
    } kind_e;

    typedef struct packed {
        kind_e       kind;
        logic [63:0] data;   // bytes beyond `bytes` are zero
        logic [3:0]  bytes;
        logic        cut;
        logic        shift;  // the frame starts in lane 4
        logic        stamp;  // it is to be stamped
    } token_t;

    // ---- beat: what came from the buffer, its bytes counted

    logic        beat_valid_q, beat_last_q, beat_stamp_q, takes;
    logic [63:0] beat_data_q;
    logic [3:0]  beat_bytes_q;

    // Ready when there is no beat, or the state machine takes it: known a clock before.
    always_ff @(posedge clk) begin
        s_axis_tready <= !(s_axis_tready ? s_axis_tvalid : beat_valid_q) || takes || rst;
        if (s_axis_tready) begin
            beat_valid_q <= s_axis_tvalid;
            if (s_axis_tvalid) begin
                beat_last_q  <= s_axis_tlast;
                beat_stamp_q <= s_axis_tuser;
                beat_bytes_q <= nic_pkg::keep_bytes(s_axis_tkeep);
                for (int i = 0; i < 8; i++)
                    beat_data_q[8*i +: 8] <= s_axis_tkeep[i] ? s_axis_tdata[8*i +: 8] : 8'd0;
            end
        end
        if (rst) beat_valid_q <= 1'b0;
    end

    // ---- state machine: one token of the frame a clock

    state_e      state_q, state_d;
    kind_e       kind;
    logic [3:0]  bytes;
    logic [12:0] words_q;     // data words sent of this frame
    logic        short_q;     // not yet as many as padding makes at least
    logic        last_pad_q;  // the next word is the last of a padded frame
    logic        cut;
    logic [3:0]  last_bytes_q;  // of the frame's last word
    logic        sent_q;        // that was a clock ago
    logic        assemble_busy, awake, pipe_awake;

    always_comb begin
        state_d = state_q;
        kind    = NOTHING;
        bytes   = 4'd8;
        cut     = 1'b0;
        case (state_q)
            IDLE: begin
                if (enable && beat_valid_q) begin
                    kind    = PREAMBLE;
                    state_d = DATA;
                end
            end
            DATA: begin
                kind = BODY;
                if (!beat_valid_q) begin
                    cut     = 1'b1;
                    kind    = LAST;
                    bytes   = 4'd4;
                    state_d = DRAIN;
                end else if (beat_last_q && short_q && !last_pad_q) begin
                    state_d = PAD;
                end else if (beat_last_q) begin
                    kind    = LAST;
                    bytes   = beat_bytes_q;
                    if (last_pad_q && beat_bytes_q < LastPadBytes) bytes = LastPadBytes;
                    state_d = GAP;
                end
            end
            PAD: begin
                kind = BODY;
                if (last_pad_q) begin
                    kind    = LAST;
                    bytes   = LastPadBytes;
                    state_d = GAP;
                end
            end
            DRAIN: if (beat_valid_q && beat_last_q) state_d = GAP;
            GAP: begin
                state_d = IDLE;
                if (columns[1]) state_d = LONG;
            end
            default: state_d = IDLE;
        endcase
    end

    assign takes = state_d == DATA || state_d == DRAIN;

    // ---- gap: from the column with the terminate, the next start is three columns on, or four
    // when the deficit does not allow to round down.  Preamble, data and FCS have 2w + 3 +
    // bytes/4 columns before the terminate with w whole words, hence the sum below.

    logic [1:0] deficit_q, deficit;
    logic       round_up;
    logic [1:0] columns;  // 3 at most: eight bytes are never rounded up
    logic       shift_q;  // the next frame starts in lane 4

    assign {round_up, deficit} = {1'b0, deficit_q} + {1'b0, last_bytes_q[1:0]};
    assign columns             = {1'b0, shift_q} + last_bytes_q[3:2] + {1'b0, round_up};

    assign awake = state_q != IDLE || beat_valid_q || sent_q || ev_frame || ev_underrun
        || deficit_q != '0 || shift_q || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            state_q     <= state_d;
            sent_q      <= kind == LAST && !cut;
            ev_frame    <= sent_q;
            ev_underrun <= cut;
            case (kind)
                PREAMBLE: begin
                    words_q    <= '0;
                    short_q    <= 1'b1;
                    last_pad_q <= 1'b0;
                end
                BODY: begin
                    words_q    <= words_q + 1'b1;
                    last_pad_q <= short_q && words_q[2:0] == LastPadWord - 3'd1;
                    if (last_pad_q) short_q <= 1'b0;
                end
                LAST:    last_bytes_q <= bytes;
                default: ;
            endcase
            if (sent_q) ev_len <= {words_q, 3'd0} + 16'(last_bytes_q);
            if (state_q == GAP) begin
                deficit_q <= deficit;
                shift_q   <= columns[0];
            end
            // No frame in time: the gap grows by four bytes or more, which pays any deficit.
            if (state_q == IDLE && kind == NOTHING) begin
                deficit_q <= '0;
                shift_q   <= 1'b0;
            end
            if (rst) begin
                state_q     <= IDLE;
                sent_q      <= 1'b0;
                ev_frame    <= 1'b0;
                ev_underrun <= 1'b0;
                deficit_q   <= '0;
                shift_q     <= 1'b0;
            end
        end
    end

    // ---- token, CRC, FCS: a stage each, two for the FCS

    token_t      token, token_q, crc_q, half_q;
    logic        first_q;  // the token behind crc_q is the first with data
    logic [31:0] crc, half_crc_q, unwound_q;

    always_comb begin
        token.kind  = kind;
        token.data  = state_q == DATA ? beat_data_q : 64'd0;
        token.bytes = bytes;
        token.cut   = cut;
        token.shift = kind == PREAMBLE ? shift_q : token_q.shift;  // behind it, for what spills
        token.stamp = beat_stamp_q;
    end

    crc32 u_crc (
        .clk,
        .valid(token_q.kind == BODY || token_q.kind == LAST),
        .first(first_q),
        .data(token_q.data),
        .crc
    );

    // The zeros that filled the last word are taken back out: four bytes of them, then up to three.
    logic        four;
    logic [1:0]  rest_q;
    logic [31:0] half_crc, unwound;

    crc32_rewind #(.Bits(32), .Most(1)) u_rewind_four (.crc, .steps(four), .back(half_crc));
    crc32_rewind #(.Bits(8), .Most(3)) u_rewind_rest (
        .crc(half_crc_q), .steps(rest_q), .back(unwound)
    );

    assign four = crc_q.bytes <= 4'd4;

    assign pipe_awake = state_q != IDLE || beat_valid_q || token_q.kind != NOTHING
        || crc_q.kind != NOTHING || half_q.kind != NOTHING || ev_stamp || rst;

    always_ff @(posedge clk) begin
        if (pipe_awake) begin
            token_q      <= token;
            crc_q        <= token_q;
            half_q       <= crc_q;
            first_q      <= token_q.kind == PREAMBLE;
            ev_stamp     <= half_q.kind == PREAMBLE && half_q.stamp;
            rest_q       <= 2'(4'd8 - crc_q.bytes);
            half_crc_q   <= half_crc;
            unwound_q    <= unwound;
            if (rst) begin
                token_q.kind <= NOTHING;
                crc_q.kind   <= NOTHING;
                half_q.kind  <= NOTHING;
                ev_stamp     <= 1'b0;
            end
        end
    end

    mac_tx_assemble u_assemble (
        .clk,
        .rst,
        .preamble(half_q.kind == PREAMBLE),
        .body(half_q.kind == BODY),
        .last(half_q.kind == LAST),
        .data(half_q.data),
        .bytes(half_q.bytes),
        .cut(half_q.cut),
        .shift(half_q.shift),
        .fcs(~unwound_q),
        .xgmii_txd,
        .xgmii_txc,
        .busy(assemble_busy)
    );

    assign busy = state_q != IDLE || (enable && beat_valid_q) || token_q.kind != NOTHING
        || crc_q.kind != NOTHING || half_q.kind != NOTHING || assemble_busy;

endmodule

`default_nettype wire
