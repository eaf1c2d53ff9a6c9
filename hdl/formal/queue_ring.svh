// The indices stand in their order and never overrun, whatever the driver writes into the
// doorbell.  The fetch and the engine keep to their ports' meaning: assumed here.

    logic [15:0] f_posted, f_held, f_taken;
    logic [CountW-1:0] f_coming_q = '0;  // descriptors asked for and not here
    logic [3:0] f_log2_q = '0;

    assign f_posted = producer_q - consumed_q;
    assign f_held   = fetched_q - consumed_q;
    assign f_taken  = consumed_q - completed_q;

    always_ff @(posedge clk) begin
        f_log2_q <= log2_entries;
        if (rst || start) f_coming_q <= '0;
        else if (fetch_begin) f_coming_q <= fetch_count;
        else if (fetch_push) f_coming_q <= f_coming_q - 1'b1;

        if (state_q != STOPPED) assume (log2_entries == f_log2_q);
        assume (log2_entries != 4'd0);
        assume (!(doorbell && doorbell_q));  // a write of a register takes two clocks
        assume (!fetch_begin || fetch_wanted);
        assume (!fetch_push || f_coming_q != '0);
        assume (fetch_end == (fetch_push && f_coming_q == CountW'(1)));
        assume (!pop || (ready && under_way_q != 8'hff));
        assume (!retire || under_way_q != 8'd0);

        if (!rst) begin
            assert (state_q == STOPPED || f_posted <= entries);
            assert (fetching_q == (f_coming_q != '0));
            assert (f_coming_q <= CountW'(Prefetch));
            if (state_q == STOPPED) assert (!fetching_q && under_way_q == 8'd0);
            if (state_q == RUN) begin
                assert (f_held + 16'(f_coming_q) <= 16'(Prefetch));
                assert (issued_q == fetched_q + 16'(f_coming_q));
                assert (waiting_q == producer_q - issued_q);
                assert (f_posted == f_held + 16'(f_coming_q) + waiting_q);
                assert (waiting_q <= entries);
            end
            if (state_q == RUN && !broken) assert (f_taken == 16'(under_way_q));
            if (wanted_q) begin
                assert (state_q == DRAIN || !fetching_q);
                if (state_q == RUN) assert (count_q != '0 && 16'(count_q) <= waiting_q
                    && count_q <= room && count_q <= to_end);
            end
            // What a doorbell is measured against never lies beyond the ring.
            assert (!(doorbell_q && measured_q));
            if (doorbell_q && state_q == RUN)
                assert (16'(limit_q - consumed_q) <= entries
                    && f_posted <= 16'(limit_q - consumed_q));
            if (measured_q && state_q == RUN)
                assert (free_q <= entries && 16'(free_q + f_posted) <= entries);
            if (accept) assert (16'(news_q + f_posted) <= entries);
            cover (accept && f_posted == entries);
            cover (doorbell_refused && state_q == RUN);
            cover (retire && retire_resp[1] && under_way_q == 8'd3);
            cover (state_q == STOPPED && halted_q);
        end
    end
