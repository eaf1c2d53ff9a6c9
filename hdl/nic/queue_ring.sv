// State of one ring: whether it runs, and its five indices.  It says when descriptors should be
// fetched and when the engine may take one; it moves no data and owns no registers.
//
//   completed <= consumed <= fetched <= issued <= producer <= consumed + entries
//   (written     (taken by   (here)     (asked    (doorbell)
//    back)        the engine)            for)
//
// All indices run free modulo 2^16.  When the ring stops, by its register or by an error, the
// frames under way are finished, prefetched descriptors are dropped, and `active` falls last.

`default_nettype none

module queue_ring
    import nic_regs_pkg::*;
#(
    parameter int Prefetch = 16,  // descriptors held at most, a power of two
    parameter int Batch = 8,      // fewer than these are asked for only if no more are posted
    parameter int CountW = $clog2(Prefetch) + 1
) (
    input  wire logic              clk,
    input  wire logic              rst,

    // registers
    input  wire logic              enable,
    input  wire logic              run_on,            // where a completion tells of an error
    input  wire logic [3:0]        log2_entries,
    input  wire logic              doorbell,
    input  wire logic [15:0]       doorbell_producer,
    output      logic              doorbell_refused,  // one clock, two after the doorbell
    output      logic              active,
    output      logic [3:0]        error,
    output      logic [15:0]       producer,
    output      logic [15:0]       fetched,
    output      logic [15:0]       completed,

    // descriptor fetch
    output      logic              fetch_wanted,
    output      logic [CountW-1:0] fetch_count,
    output      logic [15:0]       fetch_entry,       // first entry's place in the ring
    input  wire logic              fetch_begin,       // fetch_count descriptors are asked for
    input  wire logic              fetch_push,        // the next of them is here
    input  wire logic              fetch_end,         // that was the last of them

    // engine
    output      logic              running,
    output      logic              posted,            // the driver has posted a descriptor
    output      logic              posted_more,       // if one, then two or more
    output      logic [15:0]       consumed,
    output      logic [15:0]       mask,              // entries - 1
    input  wire logic              pop,
    input  wire logic              desc_failed,       // stop: the bus refused a descriptor
    input  wire logic              desc_decerr,       // how: not SLVERR
    input  wire logic              retire,            // a popped descriptor's completion is through
    input  wire logic [1:0]        retire_resp,       // AXI response to its write
    input  wire logic              told,              // the one a clock ago tells of a bus error
    input  wire logic [3:0]        told_error,
    output      logic              broken,            // completions can no longer be written

    output      logic              start,             // one clock: the indices go to 0
    output      logic              failed,            // stopped by an error, until disabled
    output      logic              busy
);

`ifndef SYNTHESIS
    initial begin
        if (Prefetch < 2 || (Prefetch & (Prefetch - 1)) != 0 || Batch < 1 || Batch > Prefetch) begin
            $display("queue_ring: Batch=%0d is not in 1..Prefetch=%0d, a power of two", Batch,
                     Prefetch);
            $fatal;
        end
    end
`endif

    typedef enum logic [1:0] {
        STOPPED,  // waits for enable
        RUN,      // waits for the end of enable, or an error
        DRAIN     // waits for the fetch and the completions under way
    } state_e;

    state_e       state_q, state_d;
    logic         halted_q;        // by an error: enable has to fall before the next start
    logic [3:0]   error_q, error_d;  // queue_error_e
    logic [15:0]  producer_q, issued_q, fetched_q, consumed_q, completed_q;
    logic [15:0]  next_q;          // consumed_q + 1
    logic [15:0]  waiting_q;       // posted and not asked for: producer - issued
    logic         fetching_q;
    logic [7:0]   under_way_q;     // popped and not retired

    // ---- doorbell: neither beyond the ring nor back
    //
    // A driver may see a completion in memory, and post its slot again, before the response to that
    // write is here: so the ring is measured from `consumed`, not from `completed`.
    //
    // It is measured in the clock in which it comes and judged in the next; an error is known a
    // clock later.

    logic [15:0]  mask_q;              // entries - 1
    logic         measured_q, bad_q;
    logic [15:0]  limit_q;             // the first index beyond the ring: consumed + entries
    logic [15:0]  news_q, free_q;      // descriptors it brings, and room for them
    logic         in_bounds, accept, start_q, resting;
    logic         doorbell_q;

    assign in_bounds = news_q <= free_q;
    assign accept    = measured_q && state_q == RUN && in_bounds;
    assign resting   = state_q == STOPPED || start_q;

    always_ff @(posedge clk) begin
        mask_q           <= ~(16'hffff << log2_entries);
        measured_q       <= doorbell && !start && !rst;
        doorbell_q       <= doorbell && !rst;
        // One that came with the start was meant for what was before.
        doorbell_refused <= doorbell_q && !accept && !rst;
        start_q          <= start;
        // A clock after the start once more: the size may have come with it.
        if (pop || resting) limit_q <= (resting ? mask_q : limit_q) + 16'd1;
        bad_q            <= measured_q && state_q == RUN && !in_bounds && !rst;
        if (doorbell) begin
            news_q <= doorbell_producer - producer_q;
            free_q <= limit_q - producer_q;
        end
    end

    // ---- state

    logic fails;
    logic lost_q, lost_decerr_q;  // a completion was not written, a clock ago

    always_comb begin
        error_d = error_q;
        if (start) error_d = QUEUE_ERROR_NONE;
        else if (lost_q && lost_decerr_q) error_d = QUEUE_ERROR_CPL_DECERR;
        else if (lost_q) error_d = QUEUE_ERROR_CPL_SLVERR;
        else if (desc_failed && desc_decerr && state_q == RUN) error_d = QUEUE_ERROR_DESC_DECERR;
        else if (desc_failed && state_q == RUN) error_d = QUEUE_ERROR_DESC_SLVERR;
        else if (told && !run_on && state_q == RUN) error_d = told_error;
        else if (bad_q && state_q == RUN) error_d = QUEUE_ERROR_BAD_DOORBELL;
    end

    assign start  = state_q == STOPPED && enable && !halted_q;
    assign fails  = lost_q || ((desc_failed || (told && !run_on) || bad_q) && state_q == RUN);
    assign failed = enable && error_q != QUEUE_ERROR_NONE;

    always_comb begin
        state_d = state_q;
        case (state_q)
            STOPPED: if (start) state_d = RUN;
            RUN:     if (!enable || fails) state_d = DRAIN;
            DRAIN:   if (!fetching_q && under_way_q == 8'd0 && !lost_q) state_d = STOPPED;
            default: state_d = STOPPED;
        endcase
    end

    always_ff @(posedge clk) begin
        state_q       <= state_d;
        error_q       <= error_d;
        halted_q      <= enable && (halted_q || fails);
        lost_q        <= retire && retire_resp[1] && !broken;
        lost_decerr_q <= retire_resp[0];
        if (retire && retire_resp[1]) broken <= 1'b1;
        if (start) broken <= 1'b0;
        if (rst) begin
            state_q  <= STOPPED;
            error_q  <= QUEUE_ERROR_NONE;
            halted_q <= 1'b0;
            lost_q   <= 1'b0;
            broken   <= 1'b0;
        end
    end

    // ---- indices

    logic        begun_q;  // a fetch began, and `waiting_q` does not know it yet
    logic        moves;
    logic [1:0]  moved_q;

    assign moves = accept || fetch_begin || fetch_push || fetch_end || begun_q || pop || retire
        || start || rst;

    always_ff @(posedge clk) begin
        moved_q    <= {moved_q[0], moves};
        begun_q    <= (fetch_begin || (begun_q && accept)) && !start && !rst;
        fetching_q <= (fetch_begin || (fetching_q && !fetch_end)) && !start && !rst;
        // What a fetch takes waits for a doorbell, and nothing is wanted until then.
        if (accept) producer_q <= producer_q + news_q;
        if (accept) waiting_q <= waiting_q + news_q;
        else if (begun_q) waiting_q <= waiting_q - 16'(count_q);
        if (fetch_begin) issued_q <= issued_q + 16'(count_q);
        if (fetch_push && state_q == RUN) fetched_q <= fetched_q + 16'd1;
        if (pop) consumed_q <= next_q;
        if (pop) next_q <= next_q + 16'd1;
        if (retire && !retire_resp[1] && !broken) completed_q <= completed_q + 16'd1;
        if (pop && !retire) under_way_q <= under_way_q + 8'd1;
        if (retire && !pop) under_way_q <= under_way_q - 8'd1;
        if (rst || start) begin
            producer_q  <= '0;
            waiting_q   <= '0;
            issued_q    <= '0;
            fetched_q   <= '0;
            consumed_q  <= '0;
            next_q      <= 16'd1;
            completed_q <= '0;
            under_way_q <= '0;
        end
    end

`ifndef SYNTHESIS
    always_ff @(posedge clk) begin
        if (moves && !rst) begin
            assert (!(pop && !running)) else $fatal(1, "queue_ring: pop of a ring that stands");
            assert (!(pop && fetched_q == consumed_q))
            else $fatal(1, "queue_ring: pop without a descriptor");
            assert (!(retire && under_way_q == 8'd0)) else $fatal(1, "queue_ring: bad retire");
            assert (!(pop && under_way_q == 8'hff)) else $fatal(1, "queue_ring: too many popped");
            assert (!(fetch_begin && !fetch_wanted)) else $fatal(1, "queue_ring: fetch not wanted");
        end
    end
`endif

    // ---- fetch: as many as fit, but not one by one while the prefetch is half full
    //
    // A fetch ends at a multiple of Prefetch or of the ring's size, whichever comes first.  Count
    // and decision are a clock old when they are used, and the room two; until then room and
    // waiting can only grow.

    logic [CountW-1:0] room, waiting, behind, room_q, fits_q, count_q;
    logic [CountW-1:0] block_q;  // the smaller of Prefetch and the ring, less one
    logic              many, wanted, wanted_q, roomy_q, want_awake;

    assign room   = CountW'(Prefetch) - CountW'(issued_q - consumed_q);
    assign behind = CountW'(~issued_q) & block_q;  // up to the multiple, behind the next

    assign many    = |waiting_q[15:CountW];
    assign waiting = CountW'(waiting_q);

    assign wanted = state_q == RUN && !fetching_q && !begun_q && (many || waiting != '0)
        && (roomy_q || (!many && waiting <= room_q));

    assign want_awake = moved_q != 2'b00 || wanted_q || start || rst
        || ((posted || posted_more) && state_q != RUN);

    always_ff @(posedge clk) begin
        block_q <= CountW'(mask_q) & CountW'(Prefetch - 1);
        if (want_awake) begin
            room_q      <= room;
            roomy_q     <= room >= CountW'(Batch);
            fits_q      <= behind < room ? behind + 1'b1 : room;
            posted      <= state_q == RUN && producer_q != consumed_q && !rst;
            posted_more <= state_q == RUN && producer_q != next_q && !rst;
            if (!fetch_begin && !begun_q)
                count_q <= !many && waiting < fits_q ? waiting : fits_q;
            wanted_q    <= wanted && !wanted_q;
            if (wanted_q && state_q == RUN) wanted_q <= !fetch_begin;
            if (start || rst) wanted_q <= 1'b0;
        end
    end

    assign fetch_wanted = wanted_q && state_q == RUN;
    assign fetch_count  = count_q;
    assign fetch_entry  = issued_q & mask_q;
    assign mask         = mask_q;

    // ---- outputs

    assign running     = state_q == RUN;
    assign active      = state_q != STOPPED;
    assign error       = error_q;
    assign producer    = producer_q;
    assign fetched     = fetched_q;
    assign consumed    = consumed_q;
    assign completed   = completed_q;
    assign busy        = start || state_q == DRAIN || (running && !enable) || measured_q || bad_q
        || fetching_q || moved_q != 2'b00 || wanted_q || lost_q || doorbell_refused;

endmodule

`default_nettype wire
