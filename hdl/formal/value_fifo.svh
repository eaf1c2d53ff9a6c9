// Values are pushed two clocks or more apart, not while it is full, and each was written since the
// push before.  Then what comes out is the values as they were last written before or with their
// push, in order, and stays until taken, on whichever way: followed for one of any value.  What
// lies in the RAM and its reader is looked at by `inside` (proofs.toml).

    localparam int HeldW = AddrW + 2;

    logic [Depth*Width-1:0] f_rows;         // the RAM
    logic [Width-1:0]       f_loaded;       // its register
    logic                   f_is_loaded;    // which holds a value to come

    (* anyconst *) logic [Width-1:0] f_word;
    (* anyseq *) logic f_mark;
    logic              f_marked_q = 1'b0;   // a value like that is inside
    logic [HeldW-1:0]  f_ahead_q;           // and so many ahead of it
    logic [HeldW-1:0]  f_held, f_in_front;  // values in all, and those that have left the RAM
    logic [AddrW-1:0]  f_row;
    logic [Width-1:0]  f_written_q, f_pushed;
    logic              f_fresh_q = 1'b0;    // written and not pushed
    logic              f_before_q = 1'b0;   // a push was a clock ago
    logic              f_past_q = 1'b0, f_pop;

    assign f_in_front = HeldW'(direct_q) + HeldW'(port_valid) + HeldW'(f_is_loaded);
    assign f_held     = HeldW'(held) + f_in_front;
    assign f_row      = AddrW'(head[AddrW-1:0] + AddrW'(f_ahead_q - f_in_front));
    assign f_pop      = m_valid && m_ready;
    assign f_pushed   = write ? value : f_written_q;

    always_ff @(posedge clk) begin
        f_past_q   <= !rst;
        f_before_q <= push && !rst;
        f_fresh_q  <= (write || f_fresh_q) && !push && !rst;
        if (write) f_written_q <= value;
        if (rst) begin
            f_marked_q <= 1'b0;
        end else begin
            assume (!(push && (full || f_before_q)));
            assume (!push || write || f_fresh_q);
            if (!f_marked_q && push && f_mark) begin
                assume (f_pushed == f_word);
                f_marked_q <= 1'b1;
                f_ahead_q  <= f_held - HeldW'(f_pop);
            end else if (f_marked_q && f_pop) begin
                f_ahead_q <= f_ahead_q - 1'b1;
                if (f_ahead_q == '0) f_marked_q <= 1'b0;
            end
            assert (32'(held) < Depth);  // a row stays free
            assert (f_before_q || full || 32'(held) < Depth - Spare);
            assert (!full || !empty_q);
            assert (!empty_q || held == '0);
            assert (busy || f_held == '0);
            assert (port_busy == (port_valid || f_is_loaded));
            if (f_fresh_q)
                assert (Width'(f_rows >> (32'(tail_q[AddrW-1:0]) * Width)) == f_written_q);
            if (f_past_q && $past(m_valid && !m_ready)) assert (m_valid && $stable(m_value));
            if (f_marked_q) begin
                assert (f_ahead_q < f_held);
                if (f_ahead_q >= f_in_front)
                    assert (Width'(f_rows >> (32'(f_row) * Width)) == f_word);
                else if (direct_q && f_ahead_q == '0) assert (direct_value_q == f_word);
                else if (port_valid && f_ahead_q == HeldW'(direct_q)) assert (ram_value == f_word);
                else assert (f_loaded == f_word);
            end
            cover (full && 32'(f_held) == Depth + 2);
            cover (f_marked_q && f_pop && f_ahead_q == '0 && direct_q);
            cover (f_marked_q && f_pop && f_ahead_q == '0 && !direct_q && tail_q[AddrW]);
            cover (f_fresh_q && write && push && value != f_written_q);
        end
    end
