// Simple dual-port RAM with a registered read and a write enable per lane.  Reading a word in
// the clock that writes it is not supported: the buffers never do.

`default_nettype none

module frame_ram #(
    parameter int Lanes = 1,
    parameter int LaneW = 64,
    parameter int Depth = 512,  // words, a power of two
    localparam int AddrW = $clog2(Depth)
) (
    input  wire logic                   clk,

    input  wire logic [Lanes-1:0]       write,
    input  wire logic [AddrW-1:0]       write_addr,
    input  wire logic [Lanes*LaneW-1:0] write_data,

    input  wire logic                   read,
    input  wire logic [AddrW-1:0]       read_addr,
    output      logic [Lanes*LaneW-1:0] read_data
);

    logic [Lanes*LaneW-1:0] mem[Depth];

    always_ff @(posedge clk) begin
        if (write != '0)
            for (int i = 0; i < Lanes; i++)
                if (write[i]) mem[write_addr][i*LaneW+:LaneW] <= write_data[i*LaneW+:LaneW];
        if (read) read_data <= mem[read_addr];
    end

endmodule

`default_nettype wire
