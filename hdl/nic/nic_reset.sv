// Soft reset: stops the queues and the transmitter, waits until the bus and the wire side have
// nothing under way, then resets all but the AXI4-Lite port.  A bus that never answers holds it
// up: the AXI master must not forget an access.  The hard reset passes through, a clock later.

`default_nettype none

module nic_reset (
    input  wire logic clk,
    input  wire logic rst,
    input  wire logic request,   // one clock
    input  wire logic quiet,     // rings stopped, no bus access, no frame being sent
    output      logic halt,      // nothing new may begin
    output      logic core_rst
);

    typedef enum logic [1:0] {
        RUN,   // waits for a request
        HALT,  // waits until all has been quiet for four clocks
        RESET  // holds the reset for four clocks
    } state_e;

    state_e     state_q, state_d;
    logic [1:0] count_q;
    logic       awake;

    always_comb begin
        state_d = state_q;
        case (state_q)
            RUN:     if (request) state_d = HALT;
            HALT:    if (quiet && count_q == 2'd3) state_d = RESET;
            RESET:   if (count_q == 2'd3) state_d = RUN;
            default: state_d = RUN;
        endcase
    end

    assign awake = request || state_q != RUN || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            state_q <= state_d;
            count_q <= state_q == RESET || (state_q == HALT && quiet) ? count_q + 2'd1 : 2'd0;
            halt    <= state_d != RUN;
            if (rst) begin
                state_q <= RUN;
                halt    <= 1'b0;
            end
        end
        core_rst <= rst || state_d == RESET;
    end

endmodule

`default_nettype wire
