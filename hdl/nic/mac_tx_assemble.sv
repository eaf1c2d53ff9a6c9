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
    //
    // The data are zero where the FCS, the terminate and idle follow; lane n of the FCS is byte
    // n - bytes of it, and so is lane n + 4.

    localparam logic [1:0] Data = 2'd0, Fcs = 2'd1, Terminate = 2'd2, Idle = 2'd3;

    function automatic logic [1:0] kind_of(input int lane, input logic [3:0] count);
        kind_of = Idle;
        if (lane < 32'(count)) kind_of = Data;
        else if (lane < 32'(count) + 4) kind_of = Fcs;
        else if (lane == 32'(count) + 4) kind_of = Terminate;
    endfunction

    logic [31:0]  turned;            // the FCS, turned to the lane it begins in
    logic [127:0] composed;
    logic [15:0]  composed_control;
    logic [63:0]  word, spill_q;     // idle when nothing spilled
    logic [7:0]   control, spill_control_q;
    logic         spilled_q;

    assign turned = 32'(({2{fcs}} << {bytes[1:0], 3'd0}) >> 32);

    for (genvar i = 0; i < 16; i++) begin : g_lane
        logic [1:0] lane_kind;
        logic [7:0] lane_fcs, lane_data;

        assign lane_kind = i < 8 && !last ? Data : kind_of(i, bytes);
        assign lane_fcs  = turned[8 * (i % 4) +: 8];

        if (i < 8) begin : g_data
            assign lane_data = data[8*i +: 8];
        end else begin : g_none
            assign lane_data = 8'd0;
        end

        assign composed_control[i] = lane_kind == Terminate || lane_kind == Idle;
        assign composed[8*i +: 8]  = lane_kind == Fcs ? lane_fcs
            : lane_kind == Terminate ? nic_pkg::XgmiiTerminate
            : lane_kind == Idle ? nic_pkg::XgmiiIdle : lane_data;
    end

    always_comb begin
        word    = spill_q;
        control = spill_control_q;
        if (preamble) begin
            word    = nic_pkg::XgmiiPreambleWord;
            control = 8'h01;
        end else if (last && cut) begin
            word    = {8{nic_pkg::XgmiiError}};
            control = 8'hff;
        end else if (body || last) begin
            word    = composed[63:0];
            control = composed_control[7:0];
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
            spilled_q       <= last;
            spill_q         <= last ? composed[127:64] : nic_pkg::XgmiiIdleWord;
            spill_control_q <= last ? composed_control[15:8] : 8'hff;
            active_q        <= {active_q[0], active};
            if (active || active_q != '0) begin
                high_q         <= word[63:32];
                high_control_q <= control[7:4];
                xgmii_txd      <= shift ? {word[31:0], high_q} : word;
                xgmii_txc      <= shift ? {control[3:0], high_control_q} : control;
            end
            if (rst) begin
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
