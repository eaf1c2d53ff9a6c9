// Says which queues hold a whole frame in their prefetch store, so that a frame whose end is not
// posted keeps nobody waiting.  A frame that cannot become whole, since it has more descriptors
// than a frame may have or the ring has entries, is shown too, two clocks later: the taker, who
// has to look at least three clocks after its last `pop`, refuses it.

`default_nettype none

module tx_whole #(
    parameter int Queues = 1,
    parameter int Prefetch = 32
) (
    input  wire logic                    clk,
    input  wire logic                    rst,

    // rings
    input  wire logic [Queues-1:0]       running,
    input  wire logic [Queues-1:0][3:0]  log2_entries,
    input  wire logic [Queues-1:0][15:0] fetched,
    input  wire logic [Queues-1:0][15:0] consumed,
    input  wire logic [Queues-1:0]       fetch_push,  // a descriptor enters the store
    input  wire logic                    fetch_last,  // and ends its frame
    input  wire logic [Queues-1:0]       pop,         // one leaves
    input  wire logic                    pop_last,

    output      logic [Queues-1:0]       whole
);

    localparam int CountW = $clog2(Prefetch) + 1;

    for (genvar q = 0; q < Queues; q++) begin : g_queue
        logic [CountW-1:0] ends_q, held_q, entries_q;  // entries_q: of a ring that can be held
        logic              some_q, too_long_q;  // ends; too many descriptors
        logic [1:0]        moved_q;             // a clock ago, two clocks ago
        logic              in, out, moves, awake;

        assign in    = fetch_push[q] && fetch_last;
        assign out   = pop[q] && pop_last;
        assign moves = fetch_push[q] || pop[q];
        assign awake = moves || moved_q != '0;

        always_ff @(posedge clk) begin
            entries_q <= log2_entries[q] < 4'(CountW) ? CountW'(1) << log2_entries[q] : '1;
            if (awake) begin
                moved_q <= {moved_q[0], moves};
                if (in != out) begin
                    ends_q <= in ? ends_q + 1'b1 : ends_q - 1'b1;
                    some_q <= in || ends_q != CountW'(1);
                end
                held_q     <= CountW'(fetched[q] - consumed[q]);
                too_long_q <= held_q > CountW'(tx_pkg::MaxFragments)
                    || held_q == entries_q;
            end
            if (!running[q] || rst) begin
                ends_q     <= '0;
                held_q     <= '0;
                some_q     <= 1'b0;
                too_long_q <= 1'b0;
            end
            if (rst) moved_q <= '0;
        end

        assign whole[q] = running[q] && (some_q || too_long_q);
    end

endmodule

`default_nettype wire
