// Round-robin choice: the first requester after the last one that was served.  It only points at
// a requester; the turn passes on when the user says so with `advance`.

`default_nettype none

module rr_arbiter #(
    parameter int Requesters = 2,
    parameter int IndexW = Requesters > 1 ? $clog2(Requesters) : 1
) (
    input  wire logic                  clk,
    input  wire logic                  rst,
    input  wire logic [Requesters-1:0] request,
    input  wire logic                  advance,  // the requester at `index` has been served
    output      logic                  valid,
    output      logic [IndexW-1:0]     index
);

    logic [IndexW-1:0] last_q;
    logic              valid_after, awake;
    logic [IndexW-1:0] index_after, index_any;

    always_comb begin
        valid_after = 1'b0;
        index_after = '0;
        index_any   = IndexW'(Requesters - 1);
        for (int i = Requesters - 1; i >= 0; i--) begin
            if (request[i]) begin
                index_any = IndexW'(i);
                if (IndexW'(i) > last_q) begin
                    valid_after = 1'b1;
                    index_after = IndexW'(i);
                end
            end
        end
    end

    assign valid = |request;
    assign index = valid_after ? index_after : index_any;

    assign awake = advance || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            if (advance) last_q <= index;
            if (rst) last_q <= '0;
        end
    end

endmodule

`default_nettype wire
