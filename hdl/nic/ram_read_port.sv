// Read side of a FIFO in a RAM: walks from head to tail, one word a clock, and offers what the
// RAM's read register holds under valid/ready.  Pointers carry one bit more than the address;
// a word is free for writing as soon as it is in the read register.

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

    output      logic             valid,
    input  wire logic             ready
);

    assign ram_read = head != tail && (!valid || ready);
    assign ram_addr = head[AddrW-1:0];

    logic awake;

    assign awake = ram_read || (valid && ready) || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            valid <= ram_read;
            if (ram_read) head <= head + 1'b1;
            if (rst) begin
                head  <= '0;
                valid <= 1'b0;
            end
        end
    end

endmodule

`default_nettype wire
