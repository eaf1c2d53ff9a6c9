// Whoever uses it pushes only when it is not full and pops only when it is valid (asserted in the
// module).  Then what comes out is what went in, in order: followed for one word of any value.

    (* anyconst *) logic [Width-1:0] f_word;
    logic [AddrW:0] f_held, f_ahead_q;  // words ahead of the marked one
    logic           f_marked_q = 1'b0;  // a word of that value is inside
    (* anyseq *) logic f_mark;

    assign f_held = count_q;

    always_ff @(posedge clk) begin
        if (rst) begin
            f_marked_q <= 1'b0;
        end else begin
            assume (!(push && full));
            assume (!(pop && !valid));
            if (!f_marked_q && push && f_mark) begin
                assume (push_data == f_word);
                f_marked_q <= 1'b1;
                f_ahead_q  <= f_held - (AddrW + 1)'(pop);
            end else if (f_marked_q && pop) begin
                f_ahead_q <= f_ahead_q - 1'b1;
                if (f_ahead_q == '0) f_marked_q <= 1'b0;
            end
            assert (f_held <= (AddrW + 1)'(Depth));
            assert (AddrW'(tail_q - head_q) == AddrW'(f_held));
            assert (full == (f_held == (AddrW + 1)'(Depth)));
            assert (valid == (f_held != '0));
            if (f_marked_q) begin
                assert (f_ahead_q < f_held);
                assert (words_q[AddrW'(head_q + AddrW'(f_ahead_q))] == f_word);
                if (f_ahead_q == '0) assert (head == f_word);
            end
            cover (full && pop);
            cover (f_marked_q && pop && f_ahead_q == '0 && f_word != '0);
        end
    end
