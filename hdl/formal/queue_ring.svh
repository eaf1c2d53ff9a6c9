// The indices stand in their order and never overrun, whatever the driver writes into the
// doorbell.  The fetch and the engine keep to their ports' meaning: assumed here.

    logic [CountW-1:0] f_held_q = '0;    // here and not taken
    logic [CountW-1:0] f_coming_q = '0;  // asked for and not here
    logic [15:0] f_dropped_q = '0;       // came too late
    logic [15:0] f_lost_q = '0;          // taken, and their completion is not in memory
    logic [15:0] f_posted;
    logic [1:0]  f_popped_q = '0;        // since the doorbell was taken
    logic [3:0]  f_log2_q = '0;

    assign f_posted = waiting_q + 16'(f_coming_q) + 16'(f_held_q);

    always_ff @(posedge clk) begin
        f_log2_q   <= log2_entries;
        f_popped_q <= (doorbell_q ? f_popped_q : 2'd0) + 2'(pop);
        f_held_q   <= f_held_q + CountW'(fetch_push && state_q == RUN) - CountW'(pop);
        f_coming_q <= f_coming_q + (fetch_begin ? fetch_count : '0) - CountW'(fetch_push);
        f_dropped_q <= f_dropped_q + 16'(fetch_push && state_q != RUN);
        f_lost_q    <= f_lost_q + 16'(retire && (retire_resp[1] || broken));
        if (rst || start) begin
            f_popped_q  <= '0;
            f_held_q    <= '0;
            f_coming_q  <= '0;
            f_dropped_q <= '0;
            f_lost_q    <= '0;
        end

    end

    // Not clocked: so the induction looks at one clock, not two.
    always_comb begin
        if (state_q != STOPPED) assume (log2_entries == f_log2_q);
        assume (log2_entries != 4'd0);
        assume (!(doorbell && doorbell_q));  // a write of a register takes two clocks
        assume (!fetch_begin || fetch_wanted);
        assume (!fetch_push || f_coming_q != '0);
        assume (fetch_end == (fetch_push && f_coming_q == CountW'(1)));
        assume (!pop || (ready && under_way_q != 8'hff));
        assume (!retire || under_way_q != 8'd0);

        if (!rst) begin
            assert (producer_q == issued_q + waiting_q);
            assert (issued_q == fetched_q + 16'(f_coming_q) + f_dropped_q);
            assert (fetched_q == consumed_q + 16'(f_held_q));
            assert (consumed_q == completed_q + 16'(under_way_q) + f_lost_q);
            assert (f_held_q <= CountW'(Prefetch));
            assert (f_coming_q <= CountW'(Prefetch) - f_held_q);
            assert (fetching_q == (f_coming_q != '0));

            assert (state_q != 2'd3);
            if (state_q == STOPPED) assert (!fetching_q && under_way_q == 8'd0);
            if (state_q == RUN) begin
                assert (error_q == nic_regs_pkg::QUEUE_ERROR_NONE && !halted_q);
                assert (f_dropped_q == 16'd0 && f_lost_q == 16'd0);
                assert (waiting_q <= entries && f_posted <= entries);
            end
            if (wanted_q) begin
                assert (state_q == DRAIN || !fetching_q);
                if (state_q == RUN) assert (count_q != '0 && 16'(count_q) <= waiting_q
                    && count_q <= room && count_q <= to_end);
            end
            // What a doorbell is measured against never lies beyond the ring.
            assert (!(doorbell_q && measured_q));
            assert (f_popped_q <= (doorbell_q ? 2'd1 : 2'd2));
            if (doorbell_q && state_q == RUN)
                assert (limit_q == consumed_q + entries - 16'(f_popped_q));
            if (measured_q && state_q == RUN)
                assert (free_q == entries - f_posted - 16'(f_popped_q));
            if ((doorbell_q || measured_q) && state_q == RUN)
                assert (f_posted <= entries - 16'(f_popped_q));
            cover (accept && news_q + f_posted == entries);
            cover (doorbell_refused && state_q == RUN);
            cover (retire && retire_resp[1] && under_way_q == 8'd3);
            cover (state_q == STOPPED && halted_q);
        end
    end
