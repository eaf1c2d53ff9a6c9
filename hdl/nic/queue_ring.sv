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
    input  wire logic [3:0]        log2_entries,
    input  wire logic              doorbell,
    input  wire logic [15:0]       doorbell_producer,
    output      logic              doorbell_refused,  // one clock, two after the doorbell
    output      logic              active,
    output      queue_error_e      error,
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
    output      logic              posted_more,       // two or more
    output      logic              ready,             // and it is here
    output      logic [15:0]       consumed,
    input  wire logic              pop,
    input  wire logic              desc_failed,       // stop: the bus refused a descriptor
    input  wire logic              desc_decerr,       // how: not SLVERR
    input  wire logic              retire,            // a popped descriptor's completion is through
    input  wire logic [1:0]        retire_resp,       // AXI response to its write
    output      logic              broken,            // completions can no longer be written

    output      logic              start,             // one clock: the indices go to 0
    output      logic              failed,            // stopped by an error, until disabled
    output      logic              busy
);

    typedef enum logic [1:0] {
        STOPPED,  // waits for enable
        RUN,      // waits for the end of enable, or an error
        DRAIN     // waits for the fetch and the completions under way
    } state_e;

    state_e       state_q, state_d;
    logic         halted_q;        // by an error: enable has to fall before the next start
    queue_error_e error_q, error_d;
    logic [15:0]  producer_q, issued_q, fetched_q, consumed_q, completed_q;
    logic [15:0]  waiting_q;       // posted and not asked for: producer - issued
    logic         fetching_q;
    logic [7:0]   under_way_q;     // popped and not retired

    // ---- doorbell: neither beyond the ring nor back
    //
    // A driver may see a completion in memory, and post its slot again, before the response to that
    // write is here: so the ring is measured from `consumed`, not from `completed`.

    // It is judged in three steps: taken, measured from the producer, compared.

    logic [15:0]  entries, mask;
    logic         doorbell_q, measured_q;
    logic [15:0]  claimed_q, limit_q;  // its index, and the first beyond the ring
    logic [15:0]  news_q, free_q;      // descriptors it brings, and room for them
    logic         doorbell_bad, accept;
    logic         fails, state_awake;

    assign entries          = 16'd1 << log2_entries;
    assign mask             = entries - 16'd1;
    assign doorbell_bad     = news_q > free_q;
    assign doorbell_refused = measured_q && (state_q != RUN || doorbell_bad);
    assign accept           = measured_q && state_q == RUN && !doorbell_bad;

    always_ff @(posedge clk) begin
        if (doorbell || doorbell_q || measured_q || rst) begin
            doorbell_q <= doorbell;
            measured_q <= doorbell_q;
            claimed_q  <= doorbell_producer;
            limit_q    <= consumed_q + entries;
            news_q     <= claimed_q - producer_q;
            free_q     <= limit_q - producer_q;
            if (rst || start) begin  // one from before the start means nothing
                doorbell_q <= 1'b0;
                measured_q <= 1'b0;
            end
        end
    end

    // ---- state

    always_comb begin
        error_d = error_q;
        if (start) error_d = QUEUE_ERROR_NONE;
        else if (retire && retire_resp == 2'b11 && !broken) error_d = QUEUE_ERROR_CPL_DECERR;
        else if (retire && retire_resp == 2'b10 && !broken) error_d = QUEUE_ERROR_CPL_SLVERR;
        else if (desc_failed && desc_decerr && state_q == RUN) error_d = QUEUE_ERROR_DESC_DECERR;
        else if (desc_failed && state_q == RUN) error_d = QUEUE_ERROR_DESC_SLVERR;
        else if (measured_q && doorbell_bad && state_q == RUN) error_d = QUEUE_ERROR_BAD_DOORBELL;
    end

    assign start  = state_q == STOPPED && enable && !halted_q;
    assign fails  = error_d != error_q && !start;
    assign failed = enable && error_q != QUEUE_ERROR_NONE;

    always_comb begin
        state_d = state_q;
        case (state_q)
            STOPPED: if (start) state_d = RUN;
            RUN:     if (!enable || fails) state_d = DRAIN;
            DRAIN:   if (!fetching_q && under_way_q == 8'd0) state_d = STOPPED;
            default: state_d = STOPPED;
        endcase
    end

    assign state_awake = state_d != state_q || error_d != error_q || (halted_q && !enable) || rst;

    always_ff @(posedge clk) begin
        if (state_awake) begin
            state_q  <= state_d;
            error_q  <= error_d;
            halted_q <= enable && (halted_q || fails);
            if (rst) begin
                state_q  <= STOPPED;
                error_q  <= QUEUE_ERROR_NONE;
                halted_q <= 1'b0;
            end
        end
    end

    // ---- indices

    logic         moves;

    assign moves = accept || fetch_begin || fetch_push || fetch_end || pop || retire || start
        || rst;

    always_ff @(posedge clk) begin
        if (moves) begin
            if (accept) producer_q <= producer_q + news_q;
            if (fetch_begin) issued_q <= issued_q + 16'(fetch_count);
            waiting_q <= waiting_q + (accept ? news_q : 16'd0)
                - (fetch_begin ? 16'(fetch_count) : 16'd0);
            if (fetch_push && state_q == RUN) fetched_q <= fetched_q + 16'd1;
            if (pop) consumed_q <= consumed_q + 16'd1;
            if (retire && !retire_resp[1] && !broken) completed_q <= completed_q + 16'd1;
            fetching_q  <= fetch_begin || (fetching_q && !fetch_end);
            under_way_q <= under_way_q + 8'(pop) - 8'(retire);
            if (rst || start) begin
                producer_q  <= '0;
                issued_q    <= '0;
                waiting_q   <= '0;
                fetched_q   <= '0;
                consumed_q  <= '0;
                completed_q <= '0;
                fetching_q  <= 1'b0;
                under_way_q <= '0;
            end
        end
    end

`ifndef SYNTHESIS
    always_ff @(posedge clk) begin
        if (moves && !rst) begin
            assert (!(pop && !ready)) else $fatal(1, "queue_ring: pop without a descriptor");
            assert (!(retire && under_way_q == 8'd0)) else $fatal(1, "queue_ring: bad retire");
            assert (!(pop && under_way_q == 8'hff)) else $fatal(1, "queue_ring: too many popped");
            assert (!(fetch_begin && !fetch_wanted)) else $fatal(1, "queue_ring: fetch not wanted");
        end
    end
`endif

    // ---- fetch: as many as fit, but not one by one while the prefetch is half full
    //
    // A fetch ends at a multiple of Prefetch or of the ring's size, whichever comes first.  Count
    // and decision are a clock old when they are used; until then room and waiting can only grow.

    logic [CountW-1:0] room, waiting, block, to_end, count, count_q;
    logic              want, wanted_q, posted_q, posted_more_q, moved_q, want_awake;

    assign room    = CountW'(Prefetch) - CountW'(issued_q - consumed_q);
    assign waiting = |waiting_q[15:CountW-1] ? CountW'(Prefetch) : CountW'(waiting_q);
    assign block   = |entries[15:CountW-1] ? CountW'(Prefetch) : CountW'(entries);
    assign to_end  = block - (CountW'(issued_q) & (block - 1'b1));

    always_comb begin
        count = room;
        if (waiting < count) count = waiting;
        if (to_end < count) count = to_end;
    end

    assign want = state_q == RUN && !fetching_q && !fetch_begin && waiting_q != 16'd0
        && (room >= CountW'(Batch) || waiting_q <= 16'(room));

    assign want_awake = moves || moved_q || wanted_q || (posted_q && state_q != RUN);

    always_ff @(posedge clk) begin
        if (want_awake) begin
            moved_q       <= moves;
            wanted_q      <= want && !start && !rst;
            posted_q      <= state_q == RUN && producer_q != consumed_q && !rst;
            posted_more_q <= state_q == RUN && 16'(producer_q - consumed_q) > 16'd1 && !rst;
            count_q       <= count;
        end
    end

    assign fetch_wanted = wanted_q && state_q == RUN;
    assign fetch_count  = count_q;
    assign fetch_entry  = issued_q & mask;

    // ---- outputs

    assign running     = state_q == RUN;
    assign posted      = posted_q;
    assign posted_more = posted_more_q;
    assign ready       = running && CountW'(fetched_q) != CountW'(consumed_q);
    assign active      = state_q != STOPPED;
    assign broken      = error_q == QUEUE_ERROR_CPL_SLVERR || error_q == QUEUE_ERROR_CPL_DECERR;
    assign error       = error_q;
    assign producer    = producer_q;
    assign fetched     = fetched_q;
    assign consumed    = consumed_q;
    assign completed   = completed_q;
    assign busy        = start || state_q == DRAIN || (running && !enable) || doorbell_q
        || measured_q || fetching_q || moved_q || wanted_q;

endmodule

`default_nettype wire
