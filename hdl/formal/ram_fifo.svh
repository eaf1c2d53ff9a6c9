// Whoever uses it pushes only when it is not full.  Then what comes out is what went in, in order,
// offered three clocks after it went into an empty one, and stays until it is taken: followed for
// one word of any value.  What lies in the RAM is looked at by `inside` (proofs.toml).

    logic [Depth*Width-1:0] f_rows;    // the RAM
    logic [Width-1:0]       f_loaded;  // its register

    (* anyconst *) logic [Width-1:0] f_word;
    (* anyseq *) logic f_mark;
    logic              f_marked_q = 1'b0;    // a word of that value is inside
    logic [AddrW+1:0]  f_ahead_q;            // and so many ahead of it
    logic [AddrW+1:0]  f_held, f_in_front;   // words in all, and those that have left the RAM
    logic [AddrW-1:0]  f_row;
    logic [1:0]        f_wait_q = '0;        // clocks since there was something and none offered
    logic              f_past_q = 1'b0, f_pop;

    assign f_in_front = (AddrW + 2)'(loaded_q) + (AddrW + 2)'(valid);
    assign f_held     = (AddrW + 2)'(count_q) + f_in_front;
    assign f_row      = AddrW'(head_q + AddrW'(f_ahead_q - f_in_front));
    assign f_pop      = valid && ready;

    always_ff @(posedge clk) begin
        f_past_q <= !rst;
        f_wait_q <= f_held != '0 && !valid ? f_wait_q + 2'd1 : '0;
        if (rst) begin
            f_marked_q <= 1'b0;
            f_wait_q   <= '0;
        end else begin
            assume (!(push && full));
            if (!f_marked_q && push && f_mark) begin
                assume (push_data == f_word);
                f_marked_q <= 1'b1;
                f_ahead_q  <= f_held - (AddrW + 2)'(f_pop);
            end else if (f_marked_q && f_pop) begin
                f_ahead_q <= f_ahead_q - 1'b1;
                if (f_ahead_q == '0) f_marked_q <= 1'b0;
            end
            assert (32'(count_q) <= Depth && full == (32'(count_q) == Depth));
            assert (some_q == (count_q != '0));
            assert (AddrW'(tail_q - head_q) == AddrW'(count_q));
            assert (busy == (f_held != '0));
            assert (f_wait_q == 2'd0 || valid || (loaded_q && f_wait_q == 2'd1));
            if (f_past_q && $past(valid && !ready)) assert (valid && $stable(head));
            if (f_marked_q) begin
                assert (f_ahead_q < f_held);
                if (f_ahead_q >= f_in_front)
                    assert (Width'(f_rows >> (32'(f_row) * Width)) == f_word);
                else if (valid && f_ahead_q == '0) assert (head == f_word);
                else assert (f_loaded == f_word);
            end
            cover (full && f_held == (AddrW + 2)'(Depth + 2));
            cover (f_marked_q && f_pop && f_ahead_q == '0 && head_q == '0);
            cover (f_past_q && f_pop && push && $past(f_pop && push));
        end
    end
