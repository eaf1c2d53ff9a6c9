// Simple dual-port RAM whose read takes two clocks: into the RAM's own register, which is slow to
// leave, and from there into one of flip-flops.  Reading a word in the clock that writes it is not
// supported: the buffers never do.

`default_nettype none

module frame_ram #(
    parameter int Width = 64,
    parameter int Depth = 512,  // words, a power of two
    localparam int AddrW = $clog2(Depth)
) (
    input  wire logic             clk,

    input  wire logic             write,
    input  wire logic [AddrW-1:0] write_addr,
    input  wire logic [Width-1:0] write_data,

    input  wire logic             read,
    input  wire logic [AddrW-1:0] read_addr,
    input  wire logic             shift,      // what was read goes on to read_data
    output      logic [Width-1:0] read_data
);

    (* no_rw_check *)  // or Yosys builds a bypass for that
    logic [Width-1:0] mem[Depth];
    logic [Width-1:0] word_q;

    always_ff @(posedge clk) begin
        if (write) mem[write_addr] <= write_data;
        if (read) word_q <= mem[read_addr];
        if (shift) read_data <= word_q;
    end

endmodule

`default_nettype wire
