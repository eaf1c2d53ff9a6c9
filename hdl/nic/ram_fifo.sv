// FIFO in a frame_ram, for what is too much for flip-flops: what is pushed is offered three clocks
// later, under valid/ready and from a register, a word a clock.  Two words more than Depth fit.
//
//   push -> RAM -> its register (loaded) -> head (valid)

`default_nettype none

module ram_fifo #(
    parameter int Width = 64,
    parameter int Depth = 512  // words, a power of two
) (
    input  wire logic             clk,
    input  wire logic             rst,

    input  wire logic             push,
    input  wire logic [Width-1:0] push_data,
    output      logic             full,
    output      logic             freed,   // a word of the RAM, one clock each

    output      logic [Width-1:0] head,
    output      logic             valid,
    input  wire logic             ready,

    output      logic             busy     // not empty
);

    localparam int AddrW = $clog2(Depth);

`ifndef SYNTHESIS
    initial begin
        if (Depth < 2 || (Depth & (Depth - 1)) != 0) begin
            $display("ram_fifo: Depth=%0d is not a power of two from 2", Depth);
            $fatal;
        end
    end
`endif

    logic [AddrW-1:0] tail_q, head_q;
    logic [AddrW:0]   count_q;  // words in the RAM
    logic             some_q, loaded_q, shift, read, awake;

    assign shift = loaded_q && (!valid || ready);
    assign read  = some_q && (!loaded_q || shift);
    assign freed = read;
    assign busy  = some_q || loaded_q || valid;
    assign awake = push || busy || rst;

    frame_ram #(.Width(Width), .Depth(Depth)) u_ram (
        .clk,
        .write(push),
        .write_addr(tail_q),
        .write_data(push_data),
        .read,
        .read_addr(head_q),
        .shift,
        .read_data(head)
    );

    always_ff @(posedge clk) begin
        if (awake) begin
            if (push) tail_q <= tail_q + 1'b1;
            if (read) head_q <= head_q + 1'b1;
            if (push && !read) count_q <= count_q + 1'b1;
            if (read && !push) count_q <= count_q - 1'b1;
            some_q <= push || (some_q && !(read && count_q == 1));
            full   <= !read && (full || (push && count_q == (AddrW + 1)'(Depth - 1)));
            if (ready) valid <= 1'b0;
            if (shift) begin
                valid    <= 1'b1;
                loaded_q <= 1'b0;
            end
            if (read) loaded_q <= 1'b1;
            if (rst) begin
                tail_q   <= '0;
                head_q   <= '0;
                count_q  <= '0;
                some_q   <= 1'b0;
                full     <= 1'b0;
                loaded_q <= 1'b0;
                valid    <= 1'b0;
            end
`ifndef SYNTHESIS
            assert (rst || !(push && full)) else $fatal(1, "ram_fifo: push while full");
`endif
        end
    end

endmodule

`default_nettype wire
