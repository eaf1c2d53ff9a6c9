// What is popped is what was pushed, in order, and a word is shown two clocks after it came at the
// latest: followed for one word of any value.  The ring keeps to its part: it counts what comes
// while it runs, from 0, never more than fit, and pops what is shown.

    localparam int IndexW = AddrW + 1;

    (* anyconst *) logic [Width-1:0] f_word;
    (* anyseq *) logic  f_mark;
    logic               f_marked_q = 1'b0;  // a word of that value is inside, at this index
    logic [IndexW-1:0]  f_index_q;
    logic [IndexW-1:0]  f_fetched_q = '0;
    logic [IndexW-1:0]  f_popped_q = '0;    // index of the next to be popped
    logic [IndexW-1:0]  f_held;
    logic               f_stood_q = 1'b0, f_late_q = 1'b0;
    logic               f_again_q = 1'b0;   // the ring stopped with words inside, and began anew

    assign f_held = fetched - f_popped_q;

    always_ff @(posedge clk) begin
        f_stood_q <= !running;
        f_late_q  <= running && f_held != '0 && !shown;
        if (!running && f_held != '0 && !f_stood_q) f_again_q <= 1'b1;
        if (push) f_fetched_q <= f_fetched_q + 1'b1;
        if (pop) f_popped_q <= f_popped_q + 1'b1;
        if (running && push && f_mark && !f_marked_q) begin
            assume (push_data == f_word);
            f_marked_q <= 1'b1;
            f_index_q  <= fetched;
        end else if (pop && f_index_q == f_popped_q) f_marked_q <= 1'b0;
        if (!running) begin
            f_fetched_q <= '0;
            f_popped_q  <= '0;
            f_marked_q  <= 1'b0;
        end

        if ($initstate) assume (!running);
        if (running) begin
            assume (fetched == f_fetched_q);
            assume (!(push && f_held == IndexW'(Depth)));
            assume (!(pop && !shown));

            assert (f_held <= IndexW'(Depth));
            assert (next_q == f_popped_q + IndexW'(shown));
            assert (!shown || f_held != '0);
            assert (!(f_late_q && !shown));
            assert (!(f_stood_q && shown));
            if (f_marked_q) begin
                assert (f_index_q - f_popped_q < f_held);
                if (shown && f_index_q == f_popped_q) assert (head == f_word);
                else assert (words_q[f_index_q[AddrW-1:0]] == f_word);
            end
            cover (push && pop && f_held == IndexW'(Depth - 1));
            cover (pop && f_marked_q && f_index_q == f_popped_q && f_index_q[AddrW]);
            cover (pop && f_again_q);
        end else assert (f_stood_q == 1'b0 || !shown);
    end
