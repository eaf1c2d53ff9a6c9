// The indices stand in their order and never overrun, whatever the driver writes into the
// doorbell.  The fetch and the engine keep to their ports' meaning: assumed here.

    logic [CountW-1:0] f_held_q = '0;    // here and not taken
    logic [CountW-1:0] f_coming_q = '0;  // asked for and not here
    logic [15:0] f_dropped_q = '0;       // came too late
    logic [15:0] f_lost_q = '0;          // taken, and their completion is not in memory
    logic [15:0] f_posted;
    logic        f_popped_q = 1'b0;      // in the clock of the doorbell
    logic        f_stale_q = 1'b1;       // a fetch or a start was a clock ago
    logic [15:0] f_waiting, entries;
    logic [3:0]  f_log2_q, f_log2_before_q;
    logic [1:0]  f_resized_q = '0;       // the size came with the start, one and two clocks ago

    function automatic logic [15:0] last(input logic [3:0] log2);  // entry of a ring
        last = ~(16'hffff << log2);
    endfunction

    assign f_waiting = begun_q ? waiting_q - 16'(count_q) : waiting_q;
    assign f_posted  = f_waiting + 16'(f_coming_q) + 16'(f_held_q);
    assign entries   = mask_q + 16'd1;

    always_ff @(posedge clk) begin
        f_log2_q        <= log2_entries;
        f_log2_before_q <= f_log2_q;
        f_resized_q     <= {f_resized_q[0], start && !rst && log2_entries != f_log2_q};
        f_popped_q <= pop;
        f_stale_q  <= fetch_begin || start || rst;
        f_held_q   <= f_held_q + CountW'(fetch_push && state_q == RUN) - CountW'(pop);
        f_coming_q <= f_coming_q + (fetch_begin ? fetch_count : '0) - CountW'(fetch_push);
        f_dropped_q <= f_dropped_q + 16'(fetch_push && state_q != RUN);
        f_lost_q    <= f_lost_q + 16'(retire && (retire_resp[1] || broken));
        if (rst || start) begin
            f_popped_q  <= 1'b0;
            f_held_q    <= '0;
            f_coming_q  <= '0;
            f_dropped_q <= '0;
            f_lost_q    <= '0;
        end

    end

    // Not clocked: so the induction looks at one clock, not two.
    always_comb begin
        // A driver writes the size while the ring stands.  Should the ring start in the clock in
        // which it changes, the next clock brings no doorbell yet.
        if (state_q != STOPPED) assume (log2_entries == f_log2_q);
        assume (!(doorbell && f_resized_q[0]));
        assume (log2_entries != 4'd0);
        assume (!(doorbell && measured_q));  // a write of a register takes two clocks
        assume (!fetch_begin || fetch_wanted);
        assume (!fetch_push || f_coming_q != '0);
        assume (fetch_end == (fetch_push && f_coming_q == CountW'(1)));
        assume (!pop || (running && fetched_q != consumed_q && under_way_q != 8'hff));
        assume (!retire || under_way_q != 8'd0);

        if (!rst) begin
            // What settles late: the size a clock, the block and the limit of a start two.
            assert (mask_q == last(f_log2_q));
            assert (block_q == (CountW'(last(f_log2_before_q)) & CountW'(Prefetch - 1)));
            if (state_q != STOPPED && !start_q) assert (f_log2_before_q == f_log2_q);
            if (start_q)
                assert (state_q != DRAIN && limit_q == last(f_log2_before_q) + 16'd1
                    && producer_q == '0 && consumed_q == '0 && !fetching_q && !begun_q
                    && !measured_q && !wanted_q);
            if (f_resized_q != '0)
                assert (state_q != STOPPED && producer_q == '0 && consumed_q == '0
                    && waiting_q == '0 && !measured_q && (moved_q & f_resized_q) == f_resized_q);
            assert (f_resized_q[0]
                == (start_q && state_q == RUN && f_log2_before_q != f_log2_q));
            assert (producer_q == issued_q + f_waiting);
            assert (issued_q == fetched_q + 16'(f_coming_q) + f_dropped_q);
            assert (fetched_q == consumed_q + 16'(f_held_q));
            assert (consumed_q == completed_q + 16'(under_way_q) + f_lost_q);
            assert (f_held_q <= CountW'(Prefetch));
            assert (f_coming_q <= CountW'(Prefetch) - f_held_q);
            assert (fetching_q == (f_coming_q != '0));

            assert (state_q != 2'd3);
            assert (!lost_q || broken);
            if (state_q == STOPPED) assert (!fetching_q && under_way_q == 8'd0 && !lost_q);
            if (state_q == RUN) begin
                assert (error_q == nic_regs_pkg::QUEUE_ERROR_NONE && !halted_q);
                assert (f_dropped_q == 16'd0 && f_lost_q == 16'(lost_q) && broken == lost_q);
                assert (f_waiting <= entries && f_posted <= entries);
                assert (start_q || limit_q == 16'(consumed_q + entries));
                assert (next_q == 16'(consumed_q + 16'd1));
                assert (f_stale_q || f_resized_q[1]
                    || (fits_q <= room && fits_q <= behind + 1'b1 && room_q <= room));
            end
            assert (!f_stale_q || (moved_q[0] && (fetching_q || waiting_q == '0)));
            assert (32'(block_q) < Prefetch);
            assert (fits_q != '0 || (room_q == '0 && !roomy_q));
            assert (!begun_q || 16'(count_q) <= waiting_q || state_q != RUN);
            if (wanted_q) begin
                assert (!f_stale_q && !begun_q);
                assert (state_q == DRAIN || !fetching_q);
                if (state_q == RUN) assert (count_q != '0 && fits_q != '0);
                if (state_q == RUN) assert (16'(count_q) <= waiting_q);
                if (state_q == RUN) assert (count_q <= room);
                if (state_q == RUN) assert (count_q <= behind + 1'b1);
            end
            // What a doorbell is measured against never lies beyond the ring.
            if (measured_q && state_q == RUN)
                assert (free_q == entries - f_posted - 16'(f_popped_q)
                    && f_posted <= entries - 16'(f_popped_q));
            cover (accept && news_q + f_posted == entries);
            cover (doorbell_refused && state_q == RUN);
            cover (retire && retire_resp[1] && under_way_q == 8'd3);
            cover (state_q == STOPPED && halted_q);
            cover (f_resized_q[1] && doorbell);
        end
    end
