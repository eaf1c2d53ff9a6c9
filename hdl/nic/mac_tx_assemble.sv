// Last stages of the transmitter: turn the words of a frame into XGMII words with preamble, FCS
// and terminate, and move a frame that starts in lane 4 by one column.  When words come is
// the caller's choice; it leaves a clock free after a last word with four bytes or more.
//
//   word -> all but the FCS in its place -> with the FCS, shifted -> wire

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
    input  wire logic        cut,    // with last, bytes = 4: eight error characters instead
    input  wire logic        shift,  // the frame starts in lane 4; stays until the next preamble
    input  wire logic [31:0] fcs,    // a clock after last

    output      logic [63:0] xgmii_txd,
    output      logic [7:0]  xgmii_txc,

    output      logic        busy
);

    // ---- the word as if the frame started in lane 0, with zeros where the FCS goes

    logic [63:0] plain_q;
    logic [7:0]  control_q;
    logic [7:0]  fcs_lanes_q;
    logic        word_q, last_q, shift_q;
    logic [3:0]  bytes_q;
    logic        comes, awake;

    assign comes = preamble || body || last;

    always_ff @(posedge clk) begin
        if (comes) begin
            bytes_q <= bytes;
            shift_q <= shift;
            for (int i = 0; i < 8; i++) begin
                plain_q[8*i +: 8] <= data[8*i +: 8];
                control_q[i]      <= 1'b0;
                fcs_lanes_q[i]    <= last && !cut && i >= 32'(bytes) && i < 32'(bytes) + 4;
                if (last && i > 32'(bytes) + 4) begin
                    plain_q[8*i +: 8] <= nic_pkg::XgmiiIdle;
                    control_q[i]      <= 1'b1;
                end
                if (last && i == 32'(bytes) + 4) begin
                    plain_q[8*i +: 8] <= nic_pkg::XgmiiTerminate;
                    control_q[i]      <= 1'b1;
                end
            end
            if (preamble) {control_q, plain_q} <= {8'h01, nic_pkg::XgmiiPreambleWord};
            if (last && cut) {control_q, plain_q} <= {8'hff, {8{nic_pkg::XgmiiError}}};
        end
    end

    // ---- the FCS, and what spills into the next word: lane n of the FCS is byte n - bytes of it

    logic [31:0] turned;             // the FCS, turned to the lane it begins in
    logic [63:0] word, spill, spill_q;
    logic [7:0]  control, spill_control, spill_control_q;
    logic        spilled_q;

    assign turned = 32'(({2{fcs}} << {bytes_q[1:0], 3'd0}) >> 32);

    for (genvar i = 0; i < 8; i++) begin : g_lane
        logic [7:0] lane_fcs;

        assign lane_fcs         = turned[8 * (i % 4) +: 8];
        assign word[8*i +: 8]   = word_q ? plain_q[8*i +: 8] | (lane_fcs & {8{fcs_lanes_q[i]}})
            : spill_q[8*i +: 8];
        assign spill[8*i +: 8]  = i + 4 < 32'(bytes_q) ? lane_fcs
            : i + 4 == 32'(bytes_q) ? nic_pkg::XgmiiTerminate : nic_pkg::XgmiiIdle;
        assign spill_control[i] = i + 4 >= 32'(bytes_q);
    end

    assign control = word_q ? control_q : spill_control_q;

    // ---- lane shift and output; the wire is idle two clocks after the last word

    logic [31:0] high_q;
    logic [3:0]  high_control_q;
    logic        active;
    logic [1:0]  active_q;

    assign active = word_q || spilled_q;
    assign awake  = comes || active || active_q != '0 || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            word_q          <= comes;
            last_q          <= last;
            spilled_q       <= last_q;
            spill_q         <= last_q ? spill : nic_pkg::XgmiiIdleWord;
            spill_control_q <= last_q ? spill_control : 8'hff;
            active_q        <= {active_q[0], active};
            if (active || active_q != '0) begin
                high_q         <= word[63:32];
                high_control_q <= control[7:4];
                xgmii_txd      <= shift_q ? {word[31:0], high_q} : word;
                xgmii_txc      <= shift_q ? {control[3:0], high_control_q} : control;
            end
            if (rst) begin
                word_q          <= 1'b0;
                last_q          <= 1'b0;
                spilled_q       <= 1'b0;
                spill_q         <= nic_pkg::XgmiiIdleWord;
                spill_control_q <= 8'hff;
                active_q        <= '0;
                high_q          <= nic_pkg::XgmiiIdleWord[63:32];
                high_control_q  <= 4'hf;
                xgmii_txd       <= nic_pkg::XgmiiIdleWord;
                xgmii_txc       <= 8'hff;
            end
        end
    end

    assign busy = active || active_q != '0;

endmodule

`default_nettype wire
