// What the FIFO shows is taken once and offered with the next clock; it comes out in order and
// stays until it is popped: followed for one word of any value.

    (* anyconst *) logic [Width-1:0] f_word;
    (* anyseq *) logic f_mark;
    logic              f_marked_q = 1'b0;  // a word of that value is inside
    logic [1:0]        f_ahead_q;          // and so many ahead of it
    logic [1:0]        f_held;
    logic              f_past_q = 1'b0;

    assign f_held = 2'(valid) + 2'(next_valid_q);

    always_ff @(posedge clk) begin
        f_past_q <= !rst;
        if (rst) begin
            f_marked_q <= 1'b0;
        end else begin
            assume (!(pop && !valid));
            if (!f_marked_q && in_pop && f_mark) begin
                assume (in_head == f_word);
                f_marked_q <= 1'b1;
                f_ahead_q  <= f_held - 2'(pop);
            end else if (f_marked_q && pop) begin
                f_ahead_q <= f_ahead_q - 1'b1;
                if (f_ahead_q == '0) f_marked_q <= 1'b0;
            end
            assert (!in_pop || in_valid);
            assert (valid || !next_valid_q);
            if (f_past_q) assert (f_held == 2'($past(f_held) + 2'($past(in_pop)) - 2'($past(pop))));
            if (f_past_q && $past(in_valid)) assert (valid);
            if (f_past_q && $past(valid && !pop)) assert (valid && $stable(head));
            if (f_marked_q) begin
                assert (f_ahead_q < f_held);
                assert ((f_ahead_q == '0 ? head : next_q) == f_word);
            end
            cover (f_marked_q && pop && f_ahead_q == '0 && next_valid_q && in_valid);
            cover (f_past_q && pop && in_pop && $past(pop && in_pop));
            cover (f_marked_q && f_ahead_q == 2'd1);
        end
    end
