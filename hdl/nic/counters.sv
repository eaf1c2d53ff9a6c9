// An array of 64-bit event counters that wrap.  A step is in the value two clocks later; splitting
// the value at `index` into words is up to the reader.

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
    output      logic [63:0]                    value   // 0 beyond the last
);

    logic [Counters-1:0][63:0]      count_q;
    logic [Counters-1:0][StepW-1:0] step_q;

    logic awake;

    assign awake = step != '0 || step_q != '0 || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            step_q <= step;
            for (int i = 0; i < Counters; i++)
                if (step_q[i] != '0) count_q[i] <= count_q[i] + 64'(step_q[i]);
            if (rst) begin
                step_q  <= '0;
                count_q <= '0;
            end
        end
    end

    assign value = 32'(index) < Counters ? count_q[index] : '0;

endmodule

`default_nettype wire
