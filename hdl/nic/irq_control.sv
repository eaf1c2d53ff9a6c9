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
    // by no more than are under way, and nothing is unconsumed.  A ring has at most 2^15 entries.
    function automatic logic is_ahead(input logic [15:0] completed, input logic [15:0] consumer);
        is_ahead = 16'(completed - consumer) >= 16'hc000;
    endfunction

    function automatic logic [15:0] unconsumed(input logic [15:0] completed,
                                               input logic [15:0] consumer);
        unconsumed = is_ahead(completed, consumer) ? 16'd0 : completed - consumer;
    endfunction

    for (genvar q = 0; q < Queues; q++) begin : g_queue
        logic        armed_q, fired_q;
        logic        arm_q;           // and its consumer indices
        logic [15:0] arm_rx_q, arm_tx_q, rx_consumer_q, tx_consumer_q;
        logic [1:0]  settle_q;        // the figures below are not yet those of the arming
        logic [15:0] rx_pending_q, tx_pending_q;
        logic        enough_q, old_q;
        // Clocks since the first unconsumed completion, or the arming: from 2 on, as it takes two
        // more until the line rises.
        logic [15:0] age_q;
        logic        rx_any_q, tx_any_q;  // there are pending ones
        logic        any, every, event_now, rx_moving, tx_moving;

        assign any       = rx_any_q || tx_any_q;
        assign every     = moderation_count[q][15:1] == 15'd0;  // each completion is enough
        assign event_now = settle_q == 2'd0 && (failed[q] || (any && (every || enough_q || old_q)));
        assign rx_moving = rx_completed[q] != rx_consumer_q;
        assign tx_moving = tx_completed[q] != tx_consumer_q;

        always_ff @(posedge clk) begin
            arm_q        <= arm[q];
            arm_rx_q     <= arm_rx_consumer[q];
            arm_tx_q     <= arm_tx_consumer[q];
            settle_q     <= {1'b0, settle_q[1]};
            rx_pending_q <= unconsumed(rx_completed[q], rx_consumer_q);
            tx_pending_q <= unconsumed(tx_completed[q], tx_consumer_q);
            rx_any_q     <= rx_moving && !is_ahead(rx_completed[q], rx_consumer_q);
            tx_any_q     <= tx_moving && !is_ahead(tx_completed[q], tx_consumer_q);
            enough_q     <= 17'(rx_pending_q) + 17'(tx_pending_q) >= 17'(moderation_count[q]);
            old_q        <= age_q >= moderation_cycles[q];
            // Up to its end, and no further: the line may have to wait for `settle_q`.
            age_q        <= armed_q && any ? age_q + 16'(age_q != '1) : 16'd2;
            // The line falls at once; an event of this clock will be there again.
            if (arm[q]) begin
                armed_q <= 1'b0;
                fired_q <= 1'b0;
            end else if (armed_q && event_now) begin
                armed_q <= 1'b0;
                fired_q <= 1'b1;
            end
            if (rx_start[q]) rx_consumer_q <= '0;
            if (tx_start[q]) tx_consumer_q <= '0;
            if (rx_start[q] || tx_start[q]) settle_q <= 2'b11;
            if (arm_q) begin
                rx_consumer_q <= arm_rx_q;
                tx_consumer_q <= arm_tx_q;
                armed_q       <= !arm[q];
                age_q         <= 16'd2;
                settle_q      <= 2'b11;
            end
            if (rst) begin
                arm_q         <= 1'b0;
                armed_q       <= 1'b1;
                fired_q       <= 1'b0;
                rx_consumer_q <= '0;
                tx_consumer_q <= '0;
                rx_pending_q  <= '0;
                tx_pending_q  <= '0;
                rx_any_q      <= 1'b0;
                tx_any_q      <= 1'b0;
                age_q         <= 16'd2;
                settle_q      <= 2'b11;
            end
        end

        assign armed[q]      = armed_q;
        assign fired[q]      = fired_q;
        assign irq[q]        = fired_q && !mask[q];
        assign queue_busy[q] = arm[q] || arm_q || rx_start[q] || tx_start[q] || settle_q != 2'd0
            || (armed_q && (failed[q] || any || rx_moving || tx_moving));
    end

    assign busy = |queue_busy;

endmodule

`default_nettype wire
