// The bench's clock, made here so that the simulator and not Python drives it.  While clk_run is
// low it stands still and costs nothing; it restarts on the grid it stopped on, so a run with
// stops shows the same edges as one without.  It does not decide when to stop.
//
//            PhasePs|<-- PeriodPs -->|
//   sample __________|‾‾‾‾‾‾‾|________|‾‾‾‾‾‾‾|____     pins are read and written when it rises
//   clk    ‾‾‾‾‾‾‾‾‾‾|_______|‾‾‾‾‾‾‾‾|_______|‾‾‾‾     flops take them when clk rises
//
// `attention` toggles with a rise of `sample` at which somebody must look: the only signal the
// bench waits on.  With the default phase neither edge ever falls on a whole ns, where the
// events of the host are: nothing depends on the order within a time step.

`default_nettype none

module bench_clock #(
    parameter int PeriodPs = 6400,
    parameter int PhasePs  = 500
) (
    input  wire  clk_run,     // level: run the clock
    input  wire  tick_every,  // level: attention at every sample
    input  wire  wanted,      // attention at this sample
    output logic clk,
    output logic sample,
    output logic attention,
    output logic [63:0] cycles  // rising edges of clk so far
);
    timeunit 1ps;
    timeprecision 1ps;

    localparam logic [63:0] Period = 64'(PeriodPs);
    localparam logic [63:0] Phase = 64'(PhasePs);
    localparam logic [63:0] Half = Period / 2;

    logic [63:0] to_grid;

    // The delay to the grid is never 0, which Verilator cannot know.
    // verilator lint_off ZERODLY
    initial begin
        clk = 1'b0;
        sample = 1'b0;
        attention = 1'b0;
        cycles = 64'd0;
        to_grid = Period;
        #(Phase);
        forever begin
            if (!clk_run) begin
                wait (clk_run);
                to_grid = Period - (($time - Phase) % Period);
                #(to_grid);
            end
            sample = 1'b1;
            if (tick_every || wanted) attention = !attention;
            #(Half);
            sample = 1'b0;
            if (clk_run) begin
                cycles = cycles + 64'd1;
                clk = 1'b1;
            end
            #(Half);
            clk = 1'b0;
        end
    end
    // verilator lint_on ZERODLY

endmodule

`default_nettype wire
