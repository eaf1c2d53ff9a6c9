// An array of 64-bit event counters that wrap.  A step is in the low word two clocks later, and its
// carry in the high word a clock after that: the high word belongs to the low word shown a clock
// before.

`default_nettype none

module counters #(
    parameter int Counters = 8,
    parameter int StepW = 16,
    parameter int IndexW = $clog2(Counters)
) (
    input  wire logic                           clk,
    input  wire logic                           rst,
    input  wire logic [Counters-1:0][StepW-1:0] step,   // added every clock
    input  wire logic [IndexW-1:0]              index,
    output      logic [31:0]                    low,    // 0 beyond the last
    output      logic [31:0]                    high    // the low word's, a clock later
);

    logic [Counters-1:0][31:0]      low_q, high_q;
    logic [Counters-1:0]            carry_q;
    logic [Counters-1:0][StepW-1:0] step_q;
    logic                           awake;

    assign awake = step_q != '0 || carry_q != '0 || rst;

    always_ff @(posedge clk) begin
        step_q <= step;
        if (awake) begin
            for (int i = 0; i < Counters; i++) begin
                if (step_q[i] != '0)
                    {carry_q[i], low_q[i]} <= 33'(low_q[i]) + 33'(step_q[i]);
                else carry_q[i] <= 1'b0;
                if (carry_q[i]) high_q[i] <= high_q[i] + 1'b1;
            end
        end
        if (rst) begin
            step_q  <= '0;
            carry_q <= '0;
            low_q   <= '0;
            high_q  <= '0;
        end
    end

    assign low  = 32'(index) < Counters ? low_q[index] : '0;
    assign high = 32'(index) < Counters ? high_q[index] : '0;

endmodule

`default_nettype wire
