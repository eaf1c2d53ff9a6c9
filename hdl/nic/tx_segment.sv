// TCP segmentation: cuts a frame that asks for it into frames with `mss` bytes of payload each, the
// last with the rest, a word a clock.  Every other frame passes unchanged, in the same clock.  The
// payload streams through a window of two words; only the header is kept (tx_header).
//
//   header words  ------------------.
//   payload -> window -> rotate ----'-> merge -> out
//
// It also says what became of each frame, refused ones included, once all of its data are here.

`default_nettype none

module tx_segment
    import nic_regs_pkg::*;
    import tx_pkg::*;
#(
    parameter bit Segment = 1  // 0: no frame asks for it
) (
    input  wire logic        clk,
    input  wire logic        rst,
    input  wire logic [15:0] cfg_max_frame,  // bytes

    // frames, and the words of those that are not refused
    input  wire logic        frame_valid,
    input  wire logic        frame_refused,  // its status is not OK
    output      logic        frame_pop,
    input  wire tx_frame_t   frame,
    input  wire logic [63:0] s_data,
    input  wire logic [3:0]  s_bytes,
    input  wire logic        s_last,
    input  wire logic [1:0]  s_resp,         // worst of the frame up to here
    input  wire logic        s_valid,
    output      logic        s_ready,

    output      logic [63:0] m_data,
    output      logic [3:0]  m_bytes,        // 8, or with m_last 1 to 8
    output      logic        m_last,
    output      logic        m_discard,      // with m_last: take the frame back
    output      logic        m_first,        // segment of its frame, or the frame itself
    output      logic        m_valid,
    input  wire logic        m_ready,

    output      logic        result_push,
    input  wire logic        result_full,
    output      logic [3:0]  result_status,
    output      logic        result_stamp,   // a start to be stamped is on its way

    output      logic        busy
);

    typedef enum logic [1:0] {
        HEADER,  // whole words of the header
        MERGE,   // its last bytes, and the payload's first
        BODY
    } phase_e;

    function automatic logic [3:0] data_status(input logic [1:0] resp);
        data_status = resp == 2'b11 ? CPL_STATUS_DATA_DECERR
            : resp == 2'b10 ? CPL_STATUS_DATA_SLVERR : CPL_STATUS_OK;
    endfunction

    typedef enum logic [2:0] {
        PASS,   // waits for a frame to be cut; others pass
        HEAD,   // waits for the header, and the look at it
        CHECK,  // one clock: is there anything wrong with it?
        CUT,    // waits for the payload's last byte to go
        SKIP    // waits for the last word of a frame that cannot be cut
    } state_e;

    // ---- a frame that passes, or has no data

    logic pass, pass_valid, refused, cuts, end_of_pass;

    assign refused     = frame_valid && frame_refused;
    assign pass        = frame_valid && !refused && !cuts;
    assign pass_valid  = pass && s_valid && !result_full;
    assign end_of_pass = pass_valid && m_ready && s_last;

    if (!Segment) begin : g_none
        logic unused;

        assign cuts          = 1'b0;
        assign s_ready       = pass && m_ready && !result_full;
        assign m_data        = s_data;
        assign m_bytes       = s_bytes;
        assign m_last        = s_last;
        assign m_discard     = s_resp[1];
        assign m_first       = 1'b1;
        assign m_valid       = pass_valid;
        assign frame_pop     = end_of_pass || (refused && !result_full);
        assign result_status = refused ? frame.status : data_status(s_resp);
        assign result_stamp  = !refused && frame.timestamp && !s_resp[1];
        assign busy          = 1'b0;
        assign unused        = &{clk, rst, cfg_max_frame, frame};
    end else begin : g_segment
        state_e state_q, state_d;
        logic   awake;

        assign cuts = frame.segment;

        // ---- header

        logic        begins, store, all_stored_q, known, scanned, good, head_valid, head_take;
        logic [5:0]  words_q;       // header words stored
        logic [8:0]  length;
        logic [63:0] head_word;
        logic        next, next_first, next_last;
        logic [13:0] next_payload;
        logic        at_payload;    // the word that comes has the payload's first byte
        logic        long, ends_early, wrong;

        tx_header u_header (
            .clk, .rst, .frame,
            .begins, .store, .store_data(s_data), .stored(words_q), .all_stored(all_stored_q),
            .known, .length, .scanned, .good,
            .next, .next_first, .next_last, .next_payload,
            .word(head_word), .word_valid(head_valid), .word_ready(head_take)
        );

        assign begins     = state_q == PASS && frame_valid && !refused && cuts;
        assign at_payload = known && words_q == length[8:3];
        assign long       = known && (length > 9'(MaxHeaderBytes) || 17'(length) >= frame.len);

        // ---- payload: a window of two words, `pos_q` the next byte in the first

        logic [63:0] low_q, high_q, turned;
        logic        low_valid_q, high_valid_q, low_stays, enter, moves, all_in_q;
        logic [2:0]  pos_q, fill;
        logic [3:0]  turn, turn_q;
        logic [1:0]  resp_q;

        logic [16:0] left_q, left;     // payload of the frame, behind this segment
        logic [13:0] segment_left_q;   // of this segment
        logic [5:0]  play_q;           // header words gone
        phase_e      phase_q;
        logic        in_header, merges, last, step, ready_to_go;
        logic [3:0]  room, bytes;

        assign fill      = length[2:0];
        assign in_header = phase_q == HEADER;
        assign merges    = phase_q == MERGE;
        assign room      = merges ? 4'd8 - {1'b0, fill} : 4'd8;
        assign last      = !in_header && segment_left_q <= 14'(room);
        assign bytes     = in_header ? 4'd0 : last ? segment_left_q[3:0] : room;

        assign ready_to_go = in_header ? head_valid
            : (low_valid_q && (high_valid_q || all_in_q) && (!merges || head_valid));
        assign step      = state_q == CUT && ready_to_go && m_ready
            && !(last && left_q == '0 && result_full);
        assign head_take = step && (in_header || merges);
        assign moves     = step && {1'b0, pos_q} + bytes >= 4'd8;
        assign low_stays = low_valid_q && !moves;

        // In MERGE the lanes from `fill` on take the bytes from `pos_q` on; from then on every word
        // takes eight, so that the rotation stays but for the words that it counts.
        assign turn   = merges ? turn_q : {1'b0, turn_q[2:0]};
        assign turned = 64'({2{high_q, low_q}} >> {1'b0, turn, 3'd0});

        assign next_first   = state_q == CHECK;
        assign left         = next_first ? frame.len - 17'(length) : left_q;
        assign next_last    = left <= 17'(frame.mss);
        assign next_payload = next_last ? left[13:0] : frame.mss;
        assign next         = (state_q == CHECK && !wrong) || (step && last && left_q != '0);

        logic [16:0] longest;

        assign longest = 17'(length) + 17'(next_payload) + (frame.vlan_insert ? 17'd4 : 17'd0);
        assign wrong   = !good || longest > 17'(cfg_max_frame);

        // ---- state

        always_comb begin
            state_d    = state_q;
            ends_early = 1'b0;
            case (state_q)
                PASS: if (begins) state_d = HEAD;
                HEAD: begin
                    if (scanned) state_d = CHECK;
                    if (long) begin
                        state_d = SKIP;
                    end else if (s_valid && s_last && !all_stored_q && !at_payload) begin
                        ends_early = 1'b1;
                        state_d    = SKIP;
                    end
                end
                CHECK:
                    if (wrong) state_d = SKIP;
                    else state_d = CUT;
                CUT: if (step && last && left_q == '0) state_d = PASS;
                SKIP: if ((all_in_q || (s_valid && s_last)) && !result_full) state_d = PASS;
                default: state_d = PASS;
            endcase
        end

        assign store = state_q == HEAD && s_valid && !all_stored_q && !long && !ends_early
            && !(at_payload && fill == '0);

        // In HEAD the word with the payload's first byte enters the window, too.
        always_comb begin
            enter   = 1'b0;
            s_ready = 1'b0;
            case (state_q)
                PASS: s_ready = pass && m_ready && !result_full;
                HEAD: begin
                    s_ready = !all_stored_q && !long && !ends_early;
                    enter   = s_ready && s_valid && at_payload;
                end
                CUT: begin
                    s_ready = !all_in_q && !(low_stays && high_valid_q);
                    enter   = s_ready && s_valid;
                end
                SKIP: s_ready = !all_in_q && !(s_last && result_full);
                default: ;
            endcase
        end

        assign awake = frame_valid || state_q != PASS || rst;

        always_ff @(posedge clk) begin
            if (awake) begin
                state_q <= state_d;
                if (begins) begin
                    words_q      <= '0;
                    all_stored_q <= 1'b0;
                    low_valid_q  <= 1'b0;
                    high_valid_q <= 1'b0;
                    all_in_q     <= 1'b0;
                    resp_q       <= '0;
                end
                if (store) words_q <= words_q + 1'b1;
                if (state_q == HEAD && enter) begin
                    all_stored_q <= 1'b1;
                    pos_q        <= fill;
                end
                if (s_valid && s_ready && state_q != PASS) begin
                    resp_q   <= s_resp;
                    all_in_q <= s_last;
                end
                if (moves) begin
                    low_q        <= high_q;
                    low_valid_q  <= high_valid_q;
                    high_valid_q <= 1'b0;
                end
                if (enter) begin
                    if (low_stays || (moves && high_valid_q)) begin
                        high_q       <= s_data;
                        high_valid_q <= 1'b1;
                    end else begin
                        low_q       <= s_data;
                        low_valid_q <= 1'b1;
                    end
                end
                if (step) begin
                    pos_q          <= pos_q + bytes[2:0];
                    segment_left_q <= segment_left_q - 14'(bytes);
                    play_q         <= play_q + 1'b1;
                    if (!in_header || (play_q + 1'b1 == length[8:3] && fill == '0))
                        phase_q <= BODY;
                    else if (play_q + 1'b1 == length[8:3]) phase_q <= MERGE;
                end
                if (in_header) turn_q <= {1'b0, pos_q} - {1'b0, fill};
                if (next) begin
                    phase_q        <= HEADER;
                    play_q         <= '0;
                    segment_left_q <= next_payload;
                    left_q         <= left - 17'(next_payload);
                end
                if (rst) state_q <= PASS;
            end
        end

        // ---- out

        logic [63:0] merged;
        logic [3:0]  lanes;
        logic        done, first_q, first_left_q, first_leaves;
        logic [1:0]  seen_resp;

        assign lanes = merges ? {1'b0, fill} : 4'd0;

        always_comb begin
            for (int i = 0; i < 8; i++)
                merged[8*i+:8] = in_header || 4'(i) < lanes ? head_word[8*i+:8] : turned[8*i+:8];
        end

        assign first_leaves = first_q ? !resp_q[1] : first_left_q;

        always_ff @(posedge clk) begin
            if (next) first_q <= next_first;
            if (step && last) first_left_q <= first_leaves;
        end

        assign m_data    = state_q == CUT ? merged : s_data;
        assign m_bytes   = state_q == CUT ? (in_header ? 4'd8 : lanes + bytes) : s_bytes;
        assign m_last    = state_q == CUT ? last : s_last;
        assign m_discard = state_q == CUT ? resp_q[1] : s_resp[1];
        assign m_first   = state_q != CUT || first_q;
        assign m_valid   = state_q == CUT ? ready_to_go && !(last && left_q == '0 && result_full)
            : state_q == PASS && pass_valid;

        // ---- what became of it

        assign seen_resp = all_in_q && state_q != PASS ? resp_q : s_resp;
        assign done = (state_q == CUT && step && last && left_q == '0)
            || (state_q == SKIP && state_d == PASS);
        assign frame_pop     = done || end_of_pass || (refused && !result_full);
        assign result_status = refused ? frame.status
            : state_q == SKIP && !seen_resp[1] ? CPL_STATUS_BAD_LENGTH : data_status(seen_resp);
        assign result_stamp = frame.timestamp
            && (state_q == CUT ? first_leaves : pass && !s_resp[1]);
        assign busy = state_q != PASS;
    end

    assign result_push = frame_pop;

endmodule

`default_nettype wire
