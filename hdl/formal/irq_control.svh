// The re-arm rule: an armed line with a completion the driver has not consumed fires, within five
// clocks when nothing is moderated, and it does not fire for nothing.  Queue 0 is looked at.

    logic [15:0] f_rx, f_tx;
    logic        f_due, f_seen_q = 1'b0;
    logic [2:0]  f_waited_q = '0;

    assign f_rx  = unconsumed(rx_completed[0], g_queue[0].rx_consumer_q);
    assign f_tx  = unconsumed(tx_completed[0], g_queue[0].tx_consumer_q);
    assign f_due = failed[0] || (f_rx | f_tx) != 16'd0;

    always_ff @(posedge clk) begin
        assume (moderation_count[0] <= 16'd1);
        if (rst || arm[0] || g_queue[0].arm_q || rx_start[0] || tx_start[0] || !armed[0] || !f_due)
            f_waited_q <= '0;
        else f_waited_q <= f_waited_q + 3'd1;
        // Since the line was armed, or a ring began while it waited, something was due.
        if (rst || arm[0] || g_queue[0].arm_q
            || (armed[0] && !g_queue[0].event_now && (rx_start[0] || tx_start[0])))
            f_seen_q <= 1'b0;
        else if (f_due) f_seen_q <= 1'b1;

        if (!rst) begin
            assert (!(armed[0] && fired[0]));
            assert (irq[0] == (fired[0] && !mask[0]));
            assert (f_waited_q < 3'd5);
            assert (!(f_due && armed[0]) || busy);
            if (fired[0] || (g_queue[0].settle_q == 2'd0 && armed[0] && g_queue[0].any))
                assert (f_seen_q);
            cover (fired[0] && f_seen_q && f_rx == 16'd2);
            cover (f_waited_q == 3'd3);
        end
    end
