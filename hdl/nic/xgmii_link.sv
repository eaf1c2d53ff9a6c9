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

    // The columns are looked at a clock after they came.
    logic [1:0] fault_q, remote_fault_q;

    logic [2:0] faults_q;  // of one kind, up to FaultsDown
    logic       remote_q;  // that kind
    logic [5:0] clear_q;   // words since the last one

    logic       remote;    // the kind of the latest one in this word
    logic       mixed;     // both kinds in this word
    logic [1:0] seen;
    logic [3:0] faults;
    logic       awake;

    assign remote = fault_q[1] ? remote_fault_q[1] : remote_fault_q[0];
    assign mixed  = (fault_q == 2'b11) && (remote_fault_q[0] != remote_fault_q[1]);
    assign seen   = mixed ? 2'd1 : {1'b0, fault_q[0]} + {1'b0, fault_q[1]};
    assign faults = {1'b0, (mixed || remote != remote_q) ? 3'd0 : faults_q} + {2'd0, seen};
    assign awake  = ordered_set != 2'b00 || busy || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            fault_q        <= local_fault | remote_fault;
            remote_fault_q <= remote_fault;
            if (fault_q != 2'b00) begin
                faults_q <= faults > {1'b0, FaultsDown} ? FaultsDown : faults[2:0];
                remote_q <= remote;
                clear_q  <= '0;
            end else begin
                clear_q <= clear_q + 1'b1;
                if (clear_q == LastClearWord) faults_q <= '0;
            end
            if (rst) begin
                fault_q  <= '0;
                faults_q <= '0;
                remote_q <= 1'b0;
                clear_q  <= '0;
            end
        end
    end

    assign link_up = faults_q != FaultsDown;
    assign busy    = fault_q != '0 || faults_q != '0;

endmodule

`default_nettype wire
