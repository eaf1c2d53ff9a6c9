// Takes the descriptors of a frame, whole frames of the queues in turn, and writes down what there
// is to read (a fragment each), what is to be done with the frame, and what is to be completed (a
// descriptor each).  A frame that breaks a rule is handed on with its status instead of its data.
//
//   rings -> fragments -> tx_read      descriptors -> tx_complete
//         '-> frame ----^

`default_nettype none

module tx_gather
    import nic_regs_pkg::*;
    import tx_pkg::*;
#(
    parameter int Queues = 1,
    parameter bit Checksum = 1,
    parameter bit Segment = 1,
    parameter int QueueW = Queues > 1 ? $clog2(Queues) : 1
) (
    input  wire logic                    clk,
    input  wire logic                    rst,
    input  wire logic [15:0]             cfg_max_frame,  // bytes

    // rings and descriptors
    input  wire logic [Queues-1:0]       running,
    input  wire logic [Queues-1:0]       ready,
    input  wire logic [Queues-1:0]       whole,
    input  wire logic [Queues-1:0][15:0] consumed,
    output      logic [Queues-1:0]       pop,
    output      logic                    pop_last,
    output      logic [QueueW-1:0]       head_queue,
    input  wire logic [127:0]            head_desc,
    input  wire logic [1:0]              head_resp,
    output      logic [Queues-1:0]       desc_failed,    // one clock: the bus refused a descriptor
    output      logic                    desc_decerr,    // how: not SLVERR

    // what to read, and the frame it is of
    output      logic                    fragment_push,
    input  wire logic                    fragment_full,
    output      logic [63:0]             fragment_addr,
    output      logic [15:0]             fragment_len,
    output      logic                    fragment_long,  // more than one job
    output      logic                    frame_push,
    input  wire logic                    frame_full,
    output      tx_frame_t               frame,
    input  wire logic                    resume,         // a frame to be cut has been asked for

    // what to complete
    output      logic                    desc_push,
    input  wire logic                    desc_full,
    output      logic [15:0]             desc_index,
    output      logic [15:0]             desc_len,

    output      logic                    busy
);

    localparam logic [3:0] TcpChecksum = 4'd8;  // its place in TCP's header, in 2 bytes
    localparam int LenW = 16 + $clog2(MaxFragments + 1);

    typedef enum logic [2:0] {
        IDLE,   // waits for a whole frame; behind one to be cut, until its data are asked for
        LOOK,   // waits for a descriptor, and for room for it
        TAKE,   // one clock: it is taken, unless its ring has stopped
        JUDGE,  // one clock: is there anything wrong with the frame?
        CLOSE   // waits for room for the frame
    } state_e;

    state_e            state_q, state_d;
    logic [Queues-1:0] wants, rest_q, skip_q;
    logic              any, choose, awake;
    logic              hold_q;  // what comes behind a long frame is not chosen ahead of time
    logic [QueueW-1:0] next_queue;

    assign wants  = whole | rest_q;
    assign choose = state_q == IDLE && !hold_q;

    tx_share #(.Queues(Queues)) u_share (
        .clk,
        .rst,
        .wants,
        .choose,
        .valid(any),
        .index(next_queue),
        .charge(frame_push && frame.status == CPL_STATUS_OK),
        .charge_queue(head_queue),
        .charge_bytes(frame.len)
    );

    // ---- descriptors, one in two clocks: into a register, and from there to where they go
    //
    // A frame ends with the descriptor that says so, with one that the bus refused, or refused
    // itself: when its descriptors run out, in number or in the ring.  What then follows up to the
    // next end is the rest of it, and refused too (`skip_q`).

    // The reserved bits of a descriptor mean nothing.
    // verilator lint_off UNUSEDSIGNAL
    tx_desc_t          desc_q;
    // verilator lint_on UNUSEDSIGNAL
    logic [1:0]        desc_resp_q;
    logic              here, take, ended, first_q;
    tx_frame_t         frame_q;
    logic              cut_q, empty_q;     // ran out; a fragment without bytes
    logic              skipped_q;
    logic              cannot_q;           // be cut
    logic              long_q, beyond_q, bad_q;  // a checksum beyond its end
    logic [LenW-1:0]   len_q, limit_q;     // limit_q: of what is to be read
    logic [LenW-1:0]   tag;                // bytes put in
    logic [8:0]        csum_end_q;
    logic [1:0]        resp_q;

    assign here  = ready[head_queue];
    assign take  = state_q == TAKE && running[head_queue];
    assign ended = desc_q.last || desc_resp_q[1];
    assign tag   = desc_q.vlan_insert ? LenW'(4) : '0;

    assign pop           = take ? Queues'(1) << head_queue : '0;
    assign pop_last      = ended;
    assign fragment_push = take;
    assign fragment_addr = desc_q.addr;
    assign fragment_len  = desc_q.len;
    assign fragment_long = desc_q.len > 16'(MaxJobBytes);
    assign desc_push     = take;
    assign desc_index    = consumed[head_queue];
    assign desc_len      = desc_q.len;

    always_comb begin
        state_d = state_q;
        case (state_q)
            IDLE: if (any && choose) state_d = LOOK;
            LOOK:
                if (!here && first_q) state_d = IDLE;
                else if (!here) state_d = JUDGE;
                else if (!fragment_full && !desc_full) state_d = TAKE;
            TAKE:
                if (take && (ended || frame_q.fragments == 6'(MaxFragments - 1))) state_d = JUDGE;
                else state_d = LOOK;
            JUDGE:   state_d = CLOSE;
            CLOSE:   if (!frame_full) state_d = IDLE;
            default: state_d = IDLE;
        endcase
    end

    assign awake = |wants || state_q != IDLE || |skip_q || hold_q || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            state_q <= state_d;
            if (state_q == IDLE) begin
                head_queue        <= next_queue;
                first_q           <= 1'b1;
                cut_q             <= 1'b0;
                empty_q           <= 1'b0;
                resp_q            <= 2'b00;
                frame_q           <= '0;
                len_q             <= '0;
                skipped_q         <= skip_q[next_queue];
            end
            if (state_q == LOOK) begin
                desc_q      <= head_desc;
                desc_resp_q <= head_resp;
            end
            if (take) begin
                first_q           <= 1'b0;
                frame_q.fragments <= frame_q.fragments + 1'b1;
                cut_q             <= !ended;
                resp_q            <= desc_resp_q;
            end
            // Of a descriptor that is not taken, too: its frame is begun anew or refused.
            if (state_q == TAKE) begin
                len_q   <= len_q + LenW'(desc_q.len);
                empty_q <= empty_q || desc_q.len == 16'd0;
                if (first_q) begin
                    frame_q.timestamp   <= desc_q.timestamp;
                    frame_q.vlan_insert <= desc_q.vlan_insert;
                    frame_q.vlan_tci    <= desc_q.vlan_tci;
                    frame_q.segment     <= Segment && desc_q.segment;
                    frame_q.mss         <= desc_q.mss;
                    frame_q.csum_start  <= Checksum ? desc_q.csum_start : '0;
                    frame_q.csum_offset <= desc_q.csum_offset;
                    csum_end_q          <= {8'(desc_q.csum_start) + 8'(desc_q.csum_offset) + 8'd1,
                                            1'b0};
                    limit_q             <= Segment && desc_q.segment
                        ? LenW'(65536 + MaxHeaderBytes) - tag
                        : LenW'(cfg_max_frame) < tag ? '0 : LenW'(cfg_max_frame) - tag;
                    cannot_q            <= Segment && desc_q.segment && (desc_q.mss == '0
                        || desc_q.csum_start == '0 || desc_q.csum_offset != TcpChecksum);
                end
            end
            if (state_q == JUDGE) begin
                long_q   <= len_q > limit_q;
                beyond_q <= frame_q.csum_start != '0 && LenW'(csum_end_q) > len_q;
                bad_q    <= empty_q || cut_q || skipped_q || cannot_q
                    || (frame_q.vlan_insert && len_q < LenW'(14));
            end
            hold_q <= (hold_q && !resume) || (frame_push && frame.segment);
            rest_q <= frame_push ? '0 : ready & skip_q;  // `skip_q` may end with the frame
            skip_q <= skip_q & running;
            if (frame_push) skip_q[head_queue] <= cut_q && running[head_queue];
            if (rst) begin
                state_q <= IDLE;
                rest_q  <= '0;
                skip_q  <= '0;
                hold_q  <= 1'b0;
            end
        end
    end

    // ---- the frame, when all of it is known

    always_comb begin
        frame        = frame_q;
        frame.len    = len_q[16:0];
        frame.part   = cut_q;
        frame.status = CPL_STATUS_OK;
        if (resp_q == 2'b11) frame.status = CPL_STATUS_DESC_DECERR;
        else if (resp_q == 2'b10) frame.status = CPL_STATUS_DESC_SLVERR;
        else if (long_q || beyond_q || bad_q) frame.status = CPL_STATUS_BAD_LENGTH;
    end

    assign frame_push = state_q == CLOSE && !frame_full;

    always_ff @(posedge clk) begin
        desc_failed <= !rst && frame_push && resp_q[1] ? Queues'(1) << head_queue : '0;
        desc_decerr <= resp_q[0];
    end

    assign busy = |wants || state_q != IDLE;

endmodule

`default_nettype wire
