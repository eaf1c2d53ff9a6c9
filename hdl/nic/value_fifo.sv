// FIFO for one value a frame: in a frame_ram, and past it while it is empty, so that a lone value is
// out the clock after.  A value may be written some clocks before it is known whether it shall stay:
// what is written lies behind the last one until `push` takes it in, or the next is written over it.
// So a row of the RAM always stays free: Depth + 1 values are sure to find room.
//
// Values are pushed two clocks or more apart: so old `full` may be.

`default_nettype none

module value_fifo #(
    parameter int Width = 8,
    parameter int Depth = 512,  // a power of two
    parameter int Spare = 1     // `full` says that only so many rows of the RAM are free
) (
    input  wire logic             clk,
    input  wire logic             rst,

    input  wire logic             write,
    input  wire logic [Width-1:0] value,
    input  wire logic             push,     // keep what is written now or was written last
    output      logic             full,

    output      logic             m_valid,
    input  wire logic             m_ready,
    output      logic [Width-1:0] m_value,

    output      logic             busy
);

    localparam int AddrW = $clog2(Depth);

    logic             direct;    // past the RAM
    logic [AddrW:0]   tail_q, head, held;
    logic             empty_q;   // the RAM holds none, and did not a clock ago

    assign held = tail_q - head;

    always_ff @(posedge clk) begin
        if (push && !direct) tail_q <= tail_q + 1'b1;
        empty_q <= head == tail_q && !push;
        full    <= held >= (AddrW + 1)'(Depth - Spare);
        if (rst) begin
            tail_q  <= '0;
            empty_q <= 1'b1;
            full    <= 1'b0;
        end
`ifndef SYNTHESIS
        if (push)
            assert (rst || held < (AddrW + 1)'(Depth - 1))
            else $fatal(1, "value_fifo: push while full");
`endif
    end

    logic             read, shift, port_valid, port_busy, direct_q;
    logic [Width-1:0] direct_value_q, ram_value;
    logic [AddrW-1:0] read_addr;

    ram_read_port #(.Depth(Depth)) u_port (
        .clk, .rst, .tail(tail_q), .head, .ram_read(read), .ram_addr(read_addr),
        .ram_shift(shift), .valid(port_valid), .ready(m_ready && !direct_q), .busy(port_busy)
    );

    frame_ram #(.Width(Width), .Depth(Depth)) u_ram (
        .clk,
        .write, .write_addr(tail_q[AddrW-1:0]), .write_data(value),
        .read, .read_addr, .shift, .read_data(ram_value)
    );

    assign direct = push && write && empty_q && !port_busy && !direct_q;

    always_ff @(posedge clk) begin
        direct_q <= (direct || (direct_q && !m_ready)) && !rst;
        if (!direct_q) direct_value_q <= value;
    end

    assign m_valid = direct_q || port_valid;
    assign m_value = direct_q ? direct_value_q : ram_value;
    assign busy    = !empty_q || port_busy || direct_q;

endmodule

`default_nettype wire
