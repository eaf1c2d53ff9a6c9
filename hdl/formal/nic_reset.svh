// The soft reset comes only when the bus and the wire have been quiet for four clocks in which
// nothing new could begin, lasts four clocks, and comes once for a request.

    logic [2:0] f_quiet_q = '0;  // clocks in a row, halted and quiet
    logic [2:0] f_reset_q = '0;  // clocks it has lasted
    logic       f_hard_q = 1'b1; // rst a clock ago

    always_ff @(posedge clk) begin
        if (rst || !halt || !quiet) f_quiet_q <= '0;
        else if (f_quiet_q != 3'd4) f_quiet_q <= f_quiet_q + 3'd1;
        if (rst || f_hard_q || !core_rst) f_reset_q <= '0;
        else f_reset_q <= f_reset_q + 3'd1;
        f_hard_q <= rst;
        if (!rst && f_hard_q) assert (core_rst);
        if (!rst) assert (halt == (state_q != RUN));
        if (!rst && !f_hard_q) begin
            if (state_q == HALT) assert (f_quiet_q == 3'(count_q));
            if (state_q == RESET) assert (f_reset_q == 3'(count_q));
            if (core_rst && f_reset_q == '0) assert (f_quiet_q == 3'd4);
            assert (state_q != 2'd3);
            if (core_rst) assert (f_reset_q <= 3'd3);
            assert (!core_rst || halt);
            cover (core_rst && f_reset_q == 3'd3);
            cover (state_q == HALT && count_q == 2'd2 && !quiet);
        end
    end
