// The device's clock, in ns, and its registers.  It gains a number of ns with 24 fractional bits each
// cycle, may be set, and shifted by whole ns.
//
// With Gated=1 the clock signal of the device may stand while it is idle: `skipped` then says, once, how
// many cycles were left out.  On a board that does not do this it is tied to 0.

`default_nettype none

module ns_clock
    import nic_regs_pkg::*;
#(
    parameter bit Gated = 1'b0
) (
    input  wire logic        clk,
    input  wire logic        rst,
    input  wire logic [63:0] skipped,

    // register bus
    input  wire logic        write_ahead,
    input  wire logic        write,
    input  wire logic [15:0] write_addr,
    input  wire logic [31:0] write_data,
    input  wire logic [31:0] write_mask,
    output      logic        write_known,
    input  wire logic        read_ahead,
    input  wire logic [15:0] read_addr,
    output      logic [31:0] read_data,   // 0 if it is none of these
    output      logic        read_known,

    output      logic [63:0] now
);

    function automatic logic known(input logic [15:0] addr);
        known = addr == CLOCK_LO || addr == CLOCK_HI || addr == CLOCK_INCREMENT
            || addr == CLOCK_ADJUST;
    endfunction

    logic [31:0]        increment_q, adjust_q, set_low_q;
    logic [31:0]        high_q;     // of the last read
    logic [23:0]        fraction_q;
    logic [8:0]         whole_q;    // ns of the last cycle
    logic [63:0]        extra_q;    // ns of skipped cycles
    logic               adjusts_q;  // `adjust_q` is due
    logic [63:0]        step_q;     // ns to be added
    logic [32:0]        sum;
    logic               at_lo_q, at_hi_q, at_increment_q, at_adjust_q;
    logic [63:0]        more;       // of skipped cycles: ns and fraction
    logic [87:0]        product;

    assign sum    = 33'(fraction_q) + 33'(increment_q) + 33'(product[23:0]);
    assign more   = product[87:24];

    if (Gated) begin : g_gated
        assign product = skipped != '0 ? 88'(skipped) * 88'(increment_q) : '0;
    end else begin : g_free
        logic unused_skipped;

        assign unused_skipped = ^skipped;
        assign product        = '0;
    end

    always_ff @(posedge clk) begin
        fraction_q <= sum[23:0];
        whole_q    <= sum[32:24];
        extra_q    <= more;
        adjusts_q  <= 1'b0;
        step_q     <= 64'(whole_q) + (adjusts_q ? {{32{adjust_q[31]}}, adjust_q} : extra_q);
        if (adjusts_q) extra_q <= extra_q + more;  // they wait for each other
        now        <= now + step_q;
        if (write_ahead) begin
            at_lo_q        <= write_addr == CLOCK_LO;
            at_hi_q        <= write_addr == CLOCK_HI;
            at_increment_q <= write_addr == CLOCK_INCREMENT;
            at_adjust_q    <= write_addr == CLOCK_ADJUST;
            write_known    <= known(write_addr);
        end
        if (write && at_lo_q) set_low_q <= reg_merge(set_low_q, write_data, write_mask);
        if (write && at_hi_q) begin
            now        <= {reg_merge(now[63:32], write_data, write_mask), set_low_q};
            fraction_q <= '0;
            step_q     <= '0;
        end
        if (write && at_increment_q)
            increment_q <= reg_merge(increment_q, write_data, write_mask);
        if (write && at_adjust_q) begin
            adjust_q  <= reg_merge(adjust_q, write_data, write_mask);
            adjusts_q <= 1'b1;
        end
        if (read_ahead) begin
            read_known <= known(read_addr);
            case (read_addr)
                CLOCK_LO: begin
                    read_data <= now[31:0];
                    high_q    <= now[63:32];  // of the same clock
                end
                CLOCK_HI:        read_data <= high_q;
                CLOCK_INCREMENT: read_data <= increment_q;
                CLOCK_ADJUST:    read_data <= adjust_q;
                default:         read_data <= '0;
            endcase
        end
        if (rst) begin
            now         <= '0;
            fraction_q  <= '0;
            whole_q     <= '0;
            extra_q     <= '0;
            adjusts_q   <= 1'b0;
            step_q      <= '0;
            high_q      <= '0;
            set_low_q   <= '0;
            adjust_q    <= '0;
            increment_q <= CLOCK_INCREMENT_RESET;
        end
    end

endmodule

`default_nettype wire
