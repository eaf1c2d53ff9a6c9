// Tells whether the ones' complement sum of 64-bit parts and one addend is all ones (RFC 1071).
// Each 16-bit lane has an adder of its own, whose carry enters a clock later; the lanes are added
// up when all parts are in, a step a clock.  Bytes are summed as they lie in the word: the sum is
// the same in either byte order, but for a swap.
//
//   last part -> lanes -> pairs -> all four -> with the addend -> all ones?     5 clocks

`default_nettype none

module ones_sum (
    input  wire logic        clk,
    input  wire logic        valid,
    input  wire logic        first,
    input  wire logic [63:0] part,
    input  wire logic        awake,   // while something is in the stages behind the lanes
    input  wire logic [16:0] addend,  // a clock after the last part
    output      logic        ones     // five clocks after the last part
);

    logic [63:0] lane_q;
    logic [3:0]  carry_q;  // of each lane
    logic [16:0] low_q, high_q, rest_q, rest_again_q;
    logic [17:0] four_q;
    logic [18:0] all_q;

    for (genvar i = 0; i < 4; i++) begin : g_lane
        always_ff @(posedge clk) begin
            if (valid)
                {carry_q[i], lane_q[16*i+:16]} <= 17'(part[16*i+:16])
                    + (first ? 17'd0 : 17'(lane_q[16*i+:16]) + 17'(carry_q[i]));
        end
    end

    // The last fold is in the comparison: a multiple of 2^16 - 1 is {k - 1, ~(k - 1)}.
    always_ff @(posedge clk) begin
        if (awake) begin
            low_q        <= 17'(lane_q[15:0]) + 17'(lane_q[31:16]) + 17'(carry_q[0]);
            high_q       <= 17'(lane_q[47:32]) + 17'(lane_q[63:48]) + 17'(carry_q[2]);
            rest_q       <= addend + 17'(carry_q[1]) + 17'(carry_q[3]);
            four_q       <= 18'(low_q) + 18'(high_q);
            rest_again_q <= rest_q;
            all_q        <= 19'(four_q) + 19'(rest_again_q);
            ones         <= all_q[15:0] == ~{13'd0, all_q[18:16]};
        end
    end

endmodule

`default_nettype wire
