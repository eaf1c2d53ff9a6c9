// Says which queues hold a whole frame in their prefetch store, so that a frame whose end is not
// posted keeps nobody waiting.  A frame that cannot become whole, since it has more descriptors
// than a frame may have or the ring has entries, is shown too: the taker refuses it.

`default_nettype none

module tx_whole #(
    parameter int Queues = 1,
    parameter int Prefetch = 32
) (
    input  wire logic                    clk,
    input  wire logic                    rst,

    // rings
    input  wire logic [Queues-1:0]       running,
    input  wire logic [Queues-1:0]       ready,
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
        logic [CountW-1:0] ends_q, held;
        logic [16:0]       entries;
        logic              in, out, awake, too_long;

        assign in    = fetch_push[q] && fetch_last;
        assign out   = pop[q] && pop_last;
        assign awake = in || out || !running[q] || rst;

        always_ff @(posedge clk) begin
            if (awake) begin
                ends_q <= ends_q + CountW'(in) - CountW'(out);
                if (!running[q] || rst) ends_q <= '0;
            end
        end

        assign held     = CountW'(fetched[q] - consumed[q]);
        assign entries  = 17'd1 << log2_entries[q];
        assign too_long = held > CountW'(tx_pkg::MaxFragments) || 17'(held) == entries;
        assign whole[q] = ready[q] && (ends_q != '0 || too_long);
    end

endmodule

`default_nettype wire
