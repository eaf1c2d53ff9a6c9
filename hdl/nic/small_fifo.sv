// FIFO in flip-flops or LUT RAM for short queues of control words: the head is visible without a
// read, a push is visible the clock after.  `full` and `valid` are registers.  It is not meant for
// frame data.

`default_nettype none

module small_fifo #(
    parameter int Width = 8,
    parameter int Depth = 8  // a power of two
) (
    input  wire logic             clk,
    input  wire logic             rst,
    input  wire logic             push,
    input  wire logic [Width-1:0] push_data,
    output      logic             full,
    input  wire logic             pop,
    output      logic [Width-1:0] head,
    output      logic             valid  // not empty
);

    localparam int AddrW = $clog2(Depth);

`ifndef SYNTHESIS
    initial begin
        if (Depth < 2 || (Depth & (Depth - 1)) != 0) begin
            $display("small_fifo: Depth=%0d is not a power of two from 2", Depth);
            $fatal;
        end
    end
`endif

    logic [Width-1:0] words_q [Depth];
    logic [AddrW-1:0] tail_q, head_q;
    logic [AddrW:0]   count_q;  // words held

    assign head = words_q[head_q];

    always_ff @(posedge clk) begin
        if (push) begin
            words_q[tail_q] <= push_data;
            tail_q <= tail_q + 1'b1;
        end
        if (pop) head_q <= head_q + 1'b1;
        if (push && !pop) count_q <= count_q + 1'b1;
        if (pop && !push) count_q <= count_q - 1'b1;
        valid <= push || (valid && !(pop && count_q == (AddrW + 1)'(1)));
        full  <= !pop && (full || (push && count_q == (AddrW + 1)'(Depth - 1)));
        if (rst) begin
            tail_q  <= '0;
            head_q  <= '0;
            count_q <= '0;
            valid   <= 1'b0;
            full    <= 1'b0;
        end
`ifndef SYNTHESIS
        if (push || pop) begin
            assert (rst || !(push && full)) else $fatal(1, "small_fifo: push while full");
            assert (rst || !(pop && !valid)) else $fatal(1, "small_fifo: pop while empty");
        end
`endif
    end

endmodule

`default_nettype wire
