// The re-arm rule: an armed line with cause fires within five clocks, and it does not fire for
// nothing.  Cause is an error, or as many completions unconsumed as `count` says, or one that is
// unconsumed for `cycles`: then it may fire two clocks early, and at once if a ring has started
// within four.  Queue 0 is looked at.
//
// Completions come one by one, moderation is set before them, and each ring starts once while a
// line settles.

    logic [15:0] f_rx, f_tx;
    logic [16:0] f_total;
    logic [17:0] f_age_q = '0;      // clocks since the first unconsumed one, armed
    logic        f_any, f_enough, f_due, f_cause, f_sane, f_start, f_seen_q = 1'b0, f_past_q = 1'b0;
    logic [15:0] f_rx_now_q, f_tx_now_q, f_count_q, f_cycles_q;
    logic [2:0]  f_waited_q = '0, f_failed_q = '0;  // clocks since there was cause, or an error
    logic [3:0]  f_began_q = '0;    // a ring started so many clocks ago
    logic [1:0]  f_starts_q = '0;   // before the line has settled

    assign f_rx     = unconsumed(rx_completed[0], g_queue[0].rx_consumer_q);
    assign f_tx     = unconsumed(tx_completed[0], g_queue[0].tx_consumer_q);
    assign f_sane   = f_rx <= 16'h8000 && f_tx <= 16'h8000;  // a ring has no more
    assign f_total  = 17'(f_rx) + 17'(f_tx);
    assign f_any    = f_total != '0;
    assign f_enough = f_any && f_total >= 17'(moderation_count[0]);
    assign f_due    = f_enough || (f_any && f_age_q >= 18'(moderation_cycles[0]));
    assign f_cause  = failed[0] || f_enough
        || (f_any && (f_began_q != '0 || f_age_q + 18'd2 >= 18'(moderation_cycles[0])));
    assign f_start  = rx_start[0] || tx_start[0];

    always_ff @(posedge clk) begin
        f_past_q <= !rst;
        f_rx_now_q <= rx_start[0] ? '0 : rx_completed[0];
        f_tx_now_q <= tx_start[0] ? '0 : tx_completed[0];
        f_count_q  <= moderation_count[0];
        f_cycles_q <= moderation_cycles[0];
        if (f_past_q)
            assume (moderation_count[0] == f_count_q && moderation_cycles[0] == f_cycles_q && f_cycles_q < 16'hfff0
                && 16'(rx_completed[0] - f_rx_now_q) <= 16'd1
                && 16'(tx_completed[0] - f_tx_now_q) <= 16'd1);
        if (armed[0] && !rst) assume (f_sane);
        assume (!(f_start && f_starts_q == 2'd2));
        f_began_q <= {f_began_q[2:0], f_start && !rst};
        f_starts_q <= f_starts_q + 2'(f_start);
        if (rst || (g_queue[0].settle_q == 2'd0 && !f_start)) f_starts_q <= '0;

        f_age_q <= f_age_q + 18'd1;
        if (rst || arm[0] || g_queue[0].arm_q || !armed[0] || !f_any) f_age_q <= '0;
        f_waited_q <= f_due ? f_waited_q + 3'd1 : '0;
        f_failed_q <= failed[0] ? f_failed_q + 3'd1 : '0;
        if (rst || arm[0] || g_queue[0].arm_q || f_start || !armed[0]) begin
            f_waited_q <= '0;
            f_failed_q <= '0;
        end
        // Since the line was armed, or a ring began while it waited, there was cause.
        if (rst || arm[0] || g_queue[0].arm_q || (armed[0] && !g_queue[0].event_now && f_start))
            f_seen_q <= 1'b0;
        else if (f_cause) f_seen_q <= 1'b1;

        if (!rst) begin
            assert (!(armed[0] && fired[0]));
            assert (irq[0] == (fired[0] && !mask[0]));
            assert (f_waited_q < 3'd5 && f_failed_q < 3'd5);
            assert (!((f_any || failed[0]) && armed[0]) || busy);
            if (fired[0]) assert (f_seen_q);
            if (armed[0] && g_queue[0].event_now) assert (f_seen_q || f_cause);
            if (armed[0]) assert (f_age_q < 18'(moderation_cycles[0]) + 18'd12);
            if (armed[0] && f_age_q > 18'd1)
                assert ((18'(g_queue[0].age_q) == f_age_q + 18'd1
                        || 18'(g_queue[0].age_q) == f_age_q + 18'd2)
                    && g_queue[0].old_q == (g_queue[0].age_q > moderation_cycles[0]));
            assert (f_starts_q < 2'd3);
            cover (fired[0] && f_seen_q && f_rx == 16'd2);
            cover (f_waited_q == 3'd3);
            cover (fired[0] && f_total == 17'd3 && moderation_count[0] == 16'd3
                && moderation_cycles[0] == 16'd100);
            cover (fired[0] && f_total == 17'd1 && moderation_count[0] == 16'd3
                && moderation_cycles[0] == 16'd8);
        end
    end
