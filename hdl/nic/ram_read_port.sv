// Read side of a FIFO in frame_rams: walks from head to tail, one word a clock, and offers what
// their last register holds under valid/ready.  Pointers carry one bit more than the address;
// a word is free for writing as soon as it is in the RAM's register.
//
//   head -> RAM -> its register (loaded) -> read_data (valid)

`default_nettype none

module ram_read_port #(
    parameter int Depth = 512,  // words, a power of two
    localparam int AddrW = $clog2(Depth)
) (
    input  wire logic             clk,
    input  wire logic             rst,

    input  wire logic [AddrW:0]   tail,  // after the last word that may be read
    output      logic [AddrW:0]   head,  // the next word to read

    output      logic             ram_read,
    output      logic [AddrW-1:0] ram_addr,
    output      logic             ram_shift,

    output      logic             valid,
    input  wire logic             ready,

    output      logic             busy   // a word is between the RAM and its taker
);

    logic loaded_q, more, awake;

    assign more      = head != tail;
    assign ram_shift = loaded_q && (!valid || ready);
    assign ram_read  = more && (!loaded_q || ram_shift);
    assign ram_addr  = head[AddrW-1:0];

    assign busy  = loaded_q || valid;
    assign awake = more || busy || rst;

    always_ff @(posedge clk) begin
        if (ram_read) head <= head + 1'b1;
        if (rst) head <= '0;
        if (awake) begin
            if (ready) valid <= 1'b0;
            if (ram_shift) begin
                valid    <= 1'b1;
                loaded_q <= 1'b0;
            end
            if (ram_read) loaded_q <= 1'b1;
            if (rst) begin
                loaded_q <= 1'b0;
                valid    <= 1'b0;
            end
        end
    end

endmodule

`default_nettype wire
