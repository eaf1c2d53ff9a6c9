// Last stage of the transmitter: turns the words of a frame into XGMII words with preamble, FCS
// and terminate, and moves a frame that starts in lane 4 by one column.  When words come is
// the caller's choice; it leaves a clock free after a last word with four bytes or more.

`default_nettype none

module mac_tx_assemble (
    input  wire logic        clk,
    input  wire logic        rst,

    // At most one of the three.
    input  wire logic        preamble,
    input  wire logic        body,
    input  wire logic        last,
    input  wire logic [63:0] data,   // bytes beyond `bytes` are zero
    input  wire logic [3:0]  bytes,  // with last: 1..8
    input  wire logic [31:0] fcs,    // with last
    input  wire logic        cut,    // with last, bytes = 4: eight error characters instead
    input  wire logic        shift,  // the frame starts in lane 4; stays until the next preamble

    output      logic [63:0] xgmii_txd,
    output      logic [7:0]  xgmii_txc,

    output      logic        busy
);

    // ---- the frame as if it started in lane 0: this word, and what spills into the next

    logic [127:0] tail;
    logic [15:0]  tail_control;
    logic [63:0]  tail_low, tail_high;
    logic [7:0]   tail_control_low, tail_control_high;
    logic [63:0]  word, spill_q;
    logic [7:0]   control, spill_control_q;
    logic         spilled_q;

    assign tail         = {{11{nic_pkg::XgmiiIdle}}, nic_pkg::XgmiiTerminate, fcs} << {bytes, 3'd0};
    assign tail_control = 16'hfff0 << bytes;

    assign {tail_high, tail_low}                 = tail;
    assign {tail_control_high, tail_control_low} = tail_control;

    always_comb begin
        word    = nic_pkg::XgmiiIdleWord;
        control = 8'hff;
        if (preamble) begin
            word    = nic_pkg::XgmiiPreambleWord;
            control = 8'h01;
        end else if (body) begin
            word    = data;
            control = 8'h00;
        end else if (last && cut) begin
            word    = {8{nic_pkg::XgmiiError}};
        end else if (last) begin
            word    = tail_low | data;
            control = tail_control_low;
        end else if (spilled_q) begin
            word    = spill_q;
            control = spill_control_q;
        end
    end

    // ---- lane shift and output; the wire is idle two clocks after the last word

    logic [31:0] high_q;
    logic [3:0]  high_control_q;
    logic        active, awake;
    logic [1:0]  active_q;

    assign active = preamble || body || last || spilled_q;

    assign awake = active || active_q != '0 || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            spilled_q <= last;
            if (last) begin
                spill_q         <= tail_high;
                spill_control_q <= tail_control_high;
            end
            active_q <= {active_q[0], active};
            if (active || active_q != '0) begin
                high_q         <= word[63:32];
                high_control_q <= control[7:4];
                xgmii_txd      <= shift ? {word[31:0], high_q} : word;
                xgmii_txc      <= shift ? {control[3:0], high_control_q} : control;
            end
            if (rst) begin
                spilled_q      <= 1'b0;
                active_q       <= '0;
                high_q         <= nic_pkg::XgmiiIdleWord[63:32];
                high_control_q <= 4'hf;
                xgmii_txd      <= nic_pkg::XgmiiIdleWord;
                xgmii_txc      <= 8'hff;
            end
        end
    end

    assign busy = active || active_q != '0;

endmodule

`default_nettype wire
