// A register behind a FIFO that shows its head without a clock: what depends on the head has the
// whole clock then.  A word stays in it until it is popped; the next follows two clocks later.

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

    assign in_pop = in_valid && !valid;

    always_ff @(posedge clk) begin
        if (in_valid || pop || rst) begin
            if (pop) valid <= 1'b0;
            if (in_pop) begin
                valid <= 1'b1;
                head  <= in_head;
            end
            if (rst) valid <= 1'b0;
        end
    end

endmodule

`default_nettype wire
