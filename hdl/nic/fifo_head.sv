// A register behind a FIFO that shows its head without a clock: what depends on the head has the
// whole clock then.  A word stays in it until it is popped; the next, which waits in a register of
// its own, follows with the next clock, and `pop` goes no further than these two.

`default_nettype none

module fifo_head #(
    parameter int Width = 8
) (
    input  wire logic             clk,
    input  wire logic             rst,

    // the FIFO
    input  wire logic             in_valid,
    input  wire logic [Width-1:0] in_head,
    output      logic             in_pop,

    output      logic             valid,
    output      logic [Width-1:0] head,
    input  wire logic             pop
);

    logic [Width-1:0] next_q;
    logic             next_valid_q;  // only with `valid`
    logic             free;

    assign in_pop = in_valid && !next_valid_q;
    assign free   = pop || !valid;

    always_ff @(posedge clk) begin
        valid        <= !rst && (!free || next_valid_q || in_valid);
        next_valid_q <= !rst && !free && (next_valid_q || in_valid);
        if (in_pop) next_q <= in_head;
        if (free) head <= next_valid_q ? next_q : in_head;
    end

endmodule

`default_nettype wire
