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
        DRAIN,  // waits for the last word to be taken
        SKIP    // waits for the last word of a frame that cannot be cut
    } state_e;

    // ---- a frame that passes, or has no data

    logic pass, pass_valid, refused, cuts, end_of_pass;

    assign refused     = frame_valid && frame_refused;
    assign pass        = frame_valid && !refused && !cuts;
    assign pass_valid  = pass && s_valid;
    assign end_of_pass = pass_valid && m_ready && s_last;

    if (!Segment) begin : g_none
        logic unused;

        assign cuts          = 1'b0;
        assign s_ready       = pass && m_ready;
        assign m_data        = s_data;
        assign m_bytes       = s_bytes;
        assign m_last        = s_last;
        assign m_discard     = s_resp[1];
        assign m_first       = 1'b1;
        assign m_valid       = pass_valid;
        assign frame_pop     = end_of_pass || refused;
        assign result_status = refused ? frame.status : data_status(s_resp);
        assign result_stamp  = !refused && frame.timestamp && !s_resp[1];
        assign busy          = 1'b0;
        assign unused        = &{clk, rst, cfg_max_frame, frame};
    end else begin : g_segment
        state_e      state_q, state_d;
        logic        begins;
        logic        enter;           // a word goes into the window
        logic        cutting_q;       // in CUT
        logic        passing_q;       // in PASS
        logic        step;            // one comes out
        logic        next;            // a segment begins with the next
        logic        plan_last_q;     // the next segment takes all that is left
        logic [13:0] plan_payload_q;  // what it takes
        logic [1:0]  resp_q;          // worst of the frame up to here
        logic        all_in_q;        // its last word is here
        logic        out_valid, out_full;

        assign cuts = frame.segment;

        // ---- header

        logic        store, all_stored_q, pause, known, scanned, good;
        logic        head_valid, head_take;
        logic [5:0]  words_q, words_next_q;  // header words stored, and one more
        logic [8:0]  length;
        logic [63:0] head_word;
        logic        at_payload_q;           // the word that comes has the payload's first byte
        logic        long_q, ends_early;
        logic [2:0]  fill;

        tx_header u_header (
            .clk, .rst, .frame,
            .begins, .store, .store_data(s_data), .stored(words_q), .all_stored(all_stored_q),
            .pause, .known, .length, .scanned, .good,
            .next, .next_first(state_q == CHECK), .next_last(plan_last_q),
            .next_payload(plan_payload_q),
            .word(head_word), .word_valid(head_valid), .word_ready(head_take)
        );

        assign fill       = length[2:0];
        assign begins     = state_q == PASS && frame_valid && !refused && cuts;
        assign ends_early = s_valid && s_ready && s_last && !at_payload_q;
        assign store      = state_q == HEAD && s_valid && s_ready && !(at_payload_q && fill == '0);

        always_ff @(posedge clk) begin
            at_payload_q <= known && (store ? words_next_q : words_q) == length[8:3];
            long_q       <= known && (length > 9'(MaxHeaderBytes) || 17'(length) >= frame.len);
            if (store) begin
                words_q      <= words_next_q;
                words_next_q <= words_next_q + 1'b1;
            end
            if (state_q == HEAD && enter) all_stored_q <= 1'b1;
            if (begins) begin
                at_payload_q <= 1'b0;
                long_q       <= 1'b0;
                words_q      <= '0;
                words_next_q <= 6'd1;
                all_stored_q <= 1'b0;
            end
        end

        // ---- segments, planned one ahead: the scan, or a header, is longer than that takes

        logic [16:0] left_q;          // payload of the frame that is in no segment yet
        logic [16:0] around_q;        // bytes of a segment beside the payload
        logic [16:0] longest_q;       // of the first segment: none is longer
        logic        wrong_q;

        always_ff @(posedge clk) begin
            around_q       <= 17'(length) + (frame.vlan_insert ? 17'd4 : 17'd0);
            plan_last_q    <= left_q <= 17'(frame.mss);
            plan_payload_q <= plan_last_q ? left_q[13:0] : frame.mss;
            longest_q      <= around_q + 17'(plan_payload_q);
            wrong_q        <= !good || longest_q > 17'(cfg_max_frame);
            if (state_q == HEAD) left_q <= frame.len - 17'(length);
            else if (next) left_q <= left_q - 17'(plan_payload_q);
        end

        // ---- words of a segment, planned one ahead

        logic [13:0] segment_left_q;  // payload of the segment behind this word
        logic [5:0]  header_left_q;   // whole words of the header behind it
        logic        header_ends_q;   // none
        phase_e      phase_q, phase_d;
        logic [3:0]  bytes_q;         // payload in it
        logic [3:0]  beside_q;        // what the header's last word has room for
        logic        last_q;          // the segment ends with it
        logic        final_q;         // it is the frame's last
        logic        first_q, first_left_q;
        logic        last_d, last_merge, last_body;
        logic [13:0] left_merge, left_body;

        always_comb begin
            phase_d = BODY;
            if (phase_q == HEADER && !header_ends_q) phase_d = HEADER;
            else if (phase_q == HEADER && fill != '0) phase_d = MERGE;
        end

        assign last_merge = segment_left_q <= 14'(beside_q);
        assign last_body  = segment_left_q <= 14'd8;
        assign left_merge = segment_left_q - 14'(beside_q);
        assign left_body  = segment_left_q - 14'd8;
        assign last_d     = phase_d == MERGE ? last_merge : last_body;

        always_ff @(posedge clk) begin
            beside_q <= 4'd8 - {1'b0, fill};
            if (step) begin
                phase_q       <= phase_d;
                header_left_q <= header_left_q - 1'b1;
                header_ends_q <= header_left_q == 6'd1;
                if (phase_d != HEADER) begin
                    last_q         <= last_d;
                    bytes_q        <= last_d ? segment_left_q[3:0]
                        : phase_d == MERGE ? beside_q : 4'd8;
                    segment_left_q <= phase_d == MERGE ? left_merge : left_body;
                end
            end
            if (step && last_q) first_left_q <= first_q ? !resp_q[1] : first_left_q;
            if (!cutting_q || (step && last_q)) begin
                phase_q        <= HEADER;
                header_left_q  <= length[8:3] - 6'd1;
                header_ends_q  <= length[8:3] == 6'd1;
                bytes_q        <= '0;
                last_q         <= 1'b0;
                segment_left_q <= plan_payload_q;
                final_q        <= plan_last_q;
                first_q        <= !cutting_q;
            end
        end

        // ---- payload: a window of two words, `pos_q` the next byte in the first, and one to spare

        logic [63:0] low_q, high_q, spare_q, turned;
        logic        low_valid_q, high_valid_q, spare_valid_q, low_stays, high_stays;
        logic        moves, ready_to_go;
        logic [2:0]  pos_q;
        logic [3:0]  turn, turn_q;
        logic        in_header, merges;

        assign in_header   = phase_q == HEADER;
        assign merges      = phase_q == MERGE;
        assign ready_to_go = (head_valid || phase_q == BODY)
            && (in_header || (low_valid_q && (high_valid_q || all_in_q)));
        assign step        = cutting_q && ready_to_go && !out_full;
        assign head_take   = step && phase_q != BODY;
        assign moves       = step && {1'b0, pos_q} + bytes_q >= 4'd8;
        assign low_stays   = moves ? high_valid_q : low_valid_q;
        assign high_stays  = moves ? spare_valid_q : high_valid_q;
        assign next        = (state_q == CHECK && !wrong_q)
            || (step && last_q && !final_q);

        // In MERGE the lanes from `fill` on take the bytes from `pos_q` on; from then on every word
        // takes eight, so that the rotation stays but for the words that it counts.
        assign turn   = merges ? turn_q : {1'b0, turn_q[2:0]};
        assign turned = 64'({2{high_q, low_q}} >> {1'b0, turn, 3'd0});

        always_ff @(posedge clk) begin
            if (moves) begin
                low_q  <= high_q;
                high_q <= spare_q;
            end
            if (enter && !low_stays) low_q <= s_data;
            if (enter && low_stays && !high_stays) high_q <= s_data;
            if (enter) spare_q <= s_data;
            low_valid_q   <= low_stays || enter;
            high_valid_q  <= high_stays || (enter && low_stays);
            spare_valid_q <= (spare_valid_q && !moves) || (enter && low_stays && high_stays);
            if (state_q == HEAD && enter) pos_q <= fill;
            else if (step) pos_q <= pos_q + bytes_q[2:0];
            if (in_header) turn_q <= {1'b0, pos_q} - {1'b0, fill};
            if (s_valid && s_ready && state_q != PASS) begin
                resp_q   <= s_resp;
                all_in_q <= s_last;
            end
            if (begins) begin
                low_valid_q   <= 1'b0;
                high_valid_q  <= 1'b0;
                spare_valid_q <= 1'b0;
                all_in_q      <= 1'b0;
            end
        end

        // ---- state

        logic done;

        assign done = (state_q == DRAIN && !out_valid) || (state_q == SKIP && all_in_q);

        always_comb begin
            state_d = state_q;
            case (state_q)
                PASS: if (begins) state_d = HEAD;
                HEAD: begin
                    if (scanned) state_d = CHECK;
                    if (long_q || ends_early) state_d = SKIP;
                end
                CHECK:
                    if (wrong_q) state_d = SKIP;
                    else state_d = CUT;
                CUT: if (step && last_q && final_q) state_d = DRAIN;
                DRAIN: if (done) state_d = PASS;
                SKIP: if (done) state_d = PASS;
                default: state_d = PASS;
            endcase
        end

        always_ff @(posedge clk) begin
            state_q   <= rst ? PASS : state_d;
            cutting_q <= !rst && state_d == CUT;
            passing_q <= rst || (passing_q ? !begins : done);
        end

        // In HEAD the word with the payload's first byte enters the window, too.
        always_comb begin
            enter   = 1'b0;
            s_ready = 1'b0;
            case (state_q)
                PASS: s_ready = pass && m_ready;
                HEAD: begin
                    s_ready = !all_stored_q && !long_q && !pause;
                    enter   = s_ready && s_valid && at_payload_q;
                end
                CUT: begin
                    s_ready = !all_in_q && !spare_valid_q;
                    enter   = s_ready && s_valid;
                end
                SKIP: s_ready = !all_in_q;
                default: ;
            endcase
        end

        // ---- out

        logic [63:0] merged, out_data;
        logic [3:0]  lanes, out_bytes;
        logic        out_last, out_discard, out_first;

        assign lanes = merges ? {1'b0, fill} : 4'd0;

        always_comb begin
            for (int i = 0; i < 8; i++)
                merged[8*i+:8] = in_header || 4'(i) < lanes ? head_word[8*i+:8] : turned[8*i+:8];
        end

        // Keeps what takes the words from what makes them.
        small_fifo #(.Width(64 + 4 + 3), .Depth(4)) u_out (
            .clk,
            .rst,
            .push(step),
            .push_data({merged, in_header ? 4'd8 : lanes + bytes_q, last_q, resp_q[1], first_q}),
            .full(out_full),
            .pop(out_valid && m_ready),
            .head({out_data, out_bytes, out_last, out_discard, out_first}),
            .valid(out_valid)
        );

        assign m_data    = passing_q ? s_data : out_data;
        assign m_bytes   = passing_q ? s_bytes : out_bytes;
        assign m_last    = passing_q ? s_last : out_last;
        assign m_discard = passing_q ? s_resp[1] : out_discard;
        assign m_first   = passing_q || out_first;
        assign m_valid   = passing_q ? pass_valid : out_valid;

        // ---- what became of it

        logic [1:0]  seen_resp;

        assign seen_resp     = passing_q ? s_resp : resp_q;
        assign frame_pop     = done || end_of_pass || refused;
        assign result_status = refused ? frame.status
            : state_q == SKIP && !seen_resp[1] ? CPL_STATUS_BAD_LENGTH : data_status(seen_resp);
        assign result_stamp  = frame.timestamp
            && (state_q == DRAIN ? first_left_q : pass && !s_resp[1]);
        assign busy          = state_q != PASS;
    end

    assign result_push = frame_pop;

endmodule

`default_nettype wire
