// Link fault detection after IEEE 802.3 46.3.4: four fault sequences of one kind with fewer than
// 128 columns between neighbours take the link down, 128 columns without one bring it up.
// It watches only: frames are received whatever the link state is.

`default_nettype none

module xgmii_link (
    input  wire logic        clk,
    input  wire logic        rst,

    input  wire logic [63:0] xgmii_rxd,
    input  wire logic [7:0]  xgmii_rxc,

    output      logic        link_up,
    output      logic        busy  // a fault is remembered, the clock has to run to forget it
);

    localparam logic [2:0] FaultsDown = 3'd4;
    localparam logic [5:0] LastClearWord = 6'd63;  // two columns a word

    // One bit a column, the earlier column in bit 0.
    logic [1:0] ordered_set, local_fault, remote_fault;
    logic [63:0] word;  // zero if there is none to look at

    assign word = ordered_set != 2'b00 ? xgmii_rxd : 64'd0;

    for (genvar i = 0; i < 2; i++) begin : g_column
        assign ordered_set[i]  = xgmii_rxc[4*i+:4] == 4'b0001;
        assign local_fault[i]  = ordered_set[i] && word[32*i+:32] == nic_pkg::XgmiiLocalFault;
        assign remote_fault[i] = ordered_set[i] && word[32*i+:32] == nic_pkg::XgmiiRemoteFault;
    end

    // The columns are looked at a clock after they came, and counted another clock later.
    logic [1:0] fault_q, remote_fault_q;
    logic       seen_q;    // there was one,
    logic       both_q;    // two of one kind,
    logic       mixed_q;   // one of each kind,
    logic       latest_q;  // the kind of the latest

    logic [2:0] faults_q;  // of one kind, up to FaultsDown
    logic       remote_q;  // that kind
    logic [5:0] clear_q;   // words since the last one

    logic [2:0] counted;
    logic [3:0] faults;
    logic       awake;

    assign counted = mixed_q || latest_q != remote_q ? 3'd0 : faults_q;
    assign faults = {1'b0, counted} + (both_q ? 4'd2 : 4'd1);
    assign awake  = ordered_set != 2'b00 || busy || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            fault_q        <= local_fault | remote_fault;
            remote_fault_q <= remote_fault;
            seen_q         <= fault_q != 2'b00;
            both_q         <= fault_q == 2'b11 && remote_fault_q[0] == remote_fault_q[1];
            mixed_q        <= fault_q == 2'b11 && remote_fault_q[0] != remote_fault_q[1];
            latest_q       <= fault_q[1] ? remote_fault_q[1] : remote_fault_q[0];
            if (seen_q) begin
                faults_q <= faults > {1'b0, FaultsDown} ? FaultsDown : faults[2:0];
                remote_q <= latest_q;
                clear_q  <= '0;
            end else begin
                clear_q <= clear_q + 1'b1;
                if (clear_q == LastClearWord) faults_q <= '0;
            end
            if (rst) begin
                fault_q  <= '0;
                seen_q   <= 1'b0;
                faults_q <= '0;
                remote_q <= 1'b0;
                clear_q  <= '0;
            end
        end
    end

    assign link_up = faults_q != FaultsDown;
    assign busy    = fault_q != '0 || seen_q || faults_q != '0;

endmodule

`default_nettype wire
