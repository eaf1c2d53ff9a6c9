// One interrupt line a queue pair, level, with moderation.  An event fires an armed line; re-arming
// carries what the driver has consumed, and completions beyond that are a new event at once, so
// none can fall between the driver's last look and its re-arm.
//
//   armed --(enough unconsumed completions, or one that is old enough, or a queue error)--> fired
//   fired --(re-arm)--> armed            line = fired and not masked
//
// The mask only holds the line: events behind it are remembered.  A queue error stays an event
// until the ring is disabled, so a driver that found completions beside it hears of it again.

`default_nettype none

module irq_control #(
    parameter int Queues = 1
) (
    input  wire logic                    clk,
    input  wire logic                    rst,

    // registers
    input  wire logic [Queues-1:0]       mask,
    input  wire logic [Queues-1:0][15:0] moderation_cycles,
    input  wire logic [Queues-1:0][15:0] moderation_count,
    input  wire logic [Queues-1:0]       arm,
    input  wire logic [Queues-1:0][15:0] arm_rx_consumer,
    input  wire logic [Queues-1:0][15:0] arm_tx_consumer,
    output      logic [Queues-1:0]       armed,
    output      logic [Queues-1:0]       fired,

    // rings
    input  wire logic [Queues-1:0][15:0] rx_completed,
    input  wire logic [Queues-1:0][15:0] tx_completed,
    input  wire logic [Queues-1:0]       rx_start,      // the ring's indices go to 0
    input  wire logic [Queues-1:0]       tx_start,
    input  wire logic [Queues-1:0]       failed,        // a ring has stopped by an error: level

    output      logic [Queues-1:0]       irq,
    output      logic                    busy
);

    logic [Queues-1:0] queue_busy;

    // A driver may consume a completion before the response to its write is here: then it is ahead,
    // and nothing is unconsumed.  A ring has at most 2^15 entries.
    function automatic logic [15:0] unconsumed(input logic [15:0] completed,
                                               input logic [15:0] consumer);
        logic [15:0] difference;
        difference = completed - consumer;
        unconsumed = difference > 16'h8000 ? 16'd0 : difference;
    endfunction

    for (genvar q = 0; q < Queues; q++) begin : g_queue
        logic        armed_q, fired_q;
        logic [15:0] rx_consumer_q, tx_consumer_q;
        logic [15:0] age_q;   // clocks since the first unconsumed completion, or the arming
        logic [16:0] pending;
        logic        enough, old, event_now, awake;

        assign pending = 17'(unconsumed(rx_completed[q], rx_consumer_q))
            + 17'(unconsumed(tx_completed[q], tx_consumer_q));

        assign enough    = pending >= 17'(moderation_count[q]);
        assign old       = age_q >= moderation_cycles[q];
        assign event_now = failed[q] || (pending != 17'd0 && (enough || old));

        assign awake = queue_busy[q] || age_q != 16'd0 || rx_start[q] || tx_start[q] || arm[q]
            || rst;

        always_ff @(posedge clk) begin
            if (awake) begin
                age_q <= armed_q && pending != 17'd0 ? age_q + 16'd1 : 16'd0;
                if (rx_start[q]) rx_consumer_q <= '0;
                if (tx_start[q]) tx_consumer_q <= '0;
                if (arm[q]) begin  // goes before an event of this clock, which will be there again
                    rx_consumer_q <= arm_rx_consumer[q];
                    tx_consumer_q <= arm_tx_consumer[q];
                    armed_q       <= 1'b1;
                    fired_q       <= 1'b0;
                    age_q         <= '0;
                end else if (armed_q && event_now) begin
                    armed_q <= 1'b0;
                    fired_q <= 1'b1;
                end
                if (rst) begin
                    armed_q       <= 1'b1;
                    fired_q       <= 1'b0;
                    rx_consumer_q <= '0;
                    tx_consumer_q <= '0;
                    age_q         <= '0;
                end
            end
        end

        assign armed[q]      = armed_q;
        assign fired[q]      = fired_q;
        assign irq[q]        = fired_q && !mask[q];
        assign queue_busy[q] = armed_q && (failed[q] || pending != 17'd0);
    end

    assign busy = |queue_busy;

endmodule

`default_nettype wire
