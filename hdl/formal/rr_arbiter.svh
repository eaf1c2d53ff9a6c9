// It points at a requester, and one that keeps asking is served within as many turns as there are
// requesters.

    (* anyconst *) logic [IndexW-1:0] f_who;
    logic [IndexW:0] f_passed_q = '0;  // turns that went to others while it asked
    logic [IndexW:0] f_distance;       // from the last that was served to this one

    assign f_distance = f_who > last_q ? (IndexW + 1)'(f_who) - (IndexW + 1)'(last_q)
        : (IndexW + 1)'(f_who) + (IndexW + 1)'(Requesters) - (IndexW + 1)'(last_q);

    always_ff @(posedge clk) begin
        assume (32'(f_who) < Requesters);
        assume (!(advance && !valid));
        if (rst || !request[f_who] || (advance && index == f_who)) f_passed_q <= '0;
        else if (advance) f_passed_q <= f_passed_q + 1'b1;
        if (!rst) begin
            assert (valid == (request != '0));
            assert (!valid || request[index]);
            assert (32'(last_q) < Requesters);
            assert (32'(f_passed_q) + 32'(f_distance) <= Requesters);
            cover (f_passed_q == (IndexW + 1)'(Requesters - 1));
        end
    end
