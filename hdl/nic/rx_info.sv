// Brings what is found out about a frame together with the frame: one value comes for every frame
// that ended, in order, some clocks before or after its end; those of the stored frames are kept, in
// order, until the frame is taken.

`default_nettype none

module rx_info #(
    parameter int Width = 8,
    parameter int Depth = 512  // stored frames, a power of two
) (
    input  wire logic             clk,
    input  wire logic             rst,

    input  wire logic             ended,        // one clock a frame
    input  wire logic             stored,       // with `ended`: there is room for it here
    input  wire logic             value_valid,  // one clock a frame
    input  wire logic [Width-1:0] value,

    output      logic             m_valid,
    input  wire logic             m_ready,
    output      logic [Width-1:0] m_value,

    output      logic             busy
);

    localparam int AddrW = $clog2(Depth);

    // ---- ends without a value, and the value without an end: it lies in the RAM already, where the
    // next one would overwrite it.  A value that finds the RAM full is of a frame not stored.

    logic           here_q, have_value, have_end, match, late, late_full, late_stored, keep, awake;
    logic           direct;  // into the output register at once
    logic           full;
    logic [AddrW:0] tail_q, head;

    small_fifo #(.Width(1), .Depth(8)) u_late (
        .clk, .rst,
        .push(ended && (late || !have_value)), .push_data(stored), .full(late_full),
        .pop(late && match), .head(late_stored), .valid(late)
    );

    assign have_value = value_valid || here_q;
    assign have_end   = late || ended;
    assign match      = have_value && have_end;
    assign full       = tail_q == {!head[AddrW], head[AddrW-1:0]};
    assign keep       = match && (late ? late_stored : stored);
    assign awake      = value_valid || match || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            here_q <= have_value && !match;
            if (keep && !direct) tail_q <= tail_q + 1'b1;
            if (rst) begin
                here_q <= 1'b0;
                tail_q <= '0;
            end
`ifndef SYNTHESIS
            assert (rst || !(value_valid && here_q)) else $fatal(1, "rx_info: a value too many");
            assert (rst || !(keep && full)) else $fatal(1, "rx_info: no room for a value");
            assert (rst || !late_full) else $fatal(1, "rx_info: a value is missing");
`endif
        end
    end

    // ---- values of stored frames; one that comes when there is none goes past the RAM

    logic             read, shift, port_valid, port_busy, direct_q;
    logic [Width-1:0] direct_value_q, ram_value;
    logic [AddrW-1:0] read_addr;

    ram_read_port #(.Depth(Depth)) u_port (
        .clk, .rst, .tail(tail_q), .head, .ram_read(read), .ram_addr(read_addr),
        .ram_shift(shift), .valid(port_valid), .ready(m_ready && !direct_q), .busy(port_busy)
    );

    frame_ram #(.Width(Width), .Depth(Depth)) u_ram (
        .clk,
        .write(value_valid && !full), .write_addr(tail_q[AddrW-1:0]), .write_data(value),
        .read, .read_addr, .shift, .read_data(ram_value)
    );

    assign direct = keep && value_valid && head == tail_q && !port_busy && (!direct_q || m_ready);

    always_ff @(posedge clk) begin
        if (direct || direct_q || rst) begin
            direct_q <= direct || (direct_q && !m_ready);
            if (direct) direct_value_q <= value;
            if (rst) direct_q <= 1'b0;
        end
    end

    assign m_valid = direct_q || port_valid;
    assign m_value = direct_q ? direct_value_q : ram_value;

    assign busy = here_q || late || head != tail_q || port_busy || direct_q;

endmodule

`default_nettype wire
