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

    // ---- ends without a value, and the value without an end: it lies in the FIFO's RAM already

    logic here_q, have_value, have_end, match, late, late_full, late_stored, keep, awake;
    logic unused_full, fifo_busy;

    small_fifo #(.Width(1), .Depth(8)) u_late (
        .clk, .rst,
        .push(ended && (late || !have_value)), .push_data(stored), .full(late_full),
        .pop(late && match), .head(late_stored), .valid(late)
    );

    assign have_value = value_valid || here_q;
    assign have_end   = late || ended;
    assign match      = have_value && have_end;
    assign keep       = match && (late ? late_stored : stored);
    assign awake      = value_valid || match || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            here_q <= have_value && !match;
            if (rst) here_q <= 1'b0;
`ifndef SYNTHESIS
            assert (rst || !(value_valid && here_q)) else $fatal(1, "rx_info: a value too many");
            assert (rst || !late_full) else $fatal(1, "rx_info: a value is missing");
`endif
        end
    end

    value_fifo #(.Width(Width), .Depth(Depth)) u_values (
        .clk, .rst, .write(value_valid), .value, .push(keep), .full(unused_full),
        .m_valid, .m_ready, .m_value, .busy(fifo_busy)
    );

    assign busy = here_q || late || fifo_busy;

endmodule

`default_nettype wire
