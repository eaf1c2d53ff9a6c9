// Finds pause frames (IEEE 802.3 annex 31B) among the received and keeps the time for which they stop
// the transmitter: quanta of 512 bit times, eight clocks at 64 bits a clock.  It watches only; that a
// pause frame goes no further is up to the filter.

`default_nettype none

module pause_rx (
    input  wire logic        clk,
    input  wire logic        rst,

    input  wire logic        cfg_enable,    // 0: pause frames stop nothing

    input  wire logic [63:0] s_axis_tdata,
    input  wire logic        s_axis_tvalid,
    input  wire logic        s_axis_tlast,
    input  wire logic [2:0]  s_axis_tuser,  // rx_verdict_e, with tlast

    output      logic        is_pause,      // with tlast
    output      logic        paused,

    output      logic        busy
);

    // As they stand in a beat, first byte low.
    localparam logic [47:0] PauseAddress = 48'h0100_00c2_8001;
    localparam logic [31:0] PauseOpcode = 32'h0100_0888;  // type 0x8808, opcode 1

    logic [1:0]  number_q;  // of the beat, 3 at most
    logic        match_q;   // so far
    logic [15:0] quanta_q;
    logic [18:0] clocks_q;  // `paused`: not 0
    logic        heard, awake;

    assign is_pause = match_q && number_q == 2'd3;
    assign heard    = s_axis_tvalid && s_axis_tlast && is_pause && s_axis_tuser == nic_pkg::RX_OK;
    assign awake    = s_axis_tvalid || paused || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            if (s_axis_tvalid) begin
                number_q <= s_axis_tlast ? 2'd0 : number_q == 2'd3 ? 2'd3 : number_q + 2'd1;
                if (number_q == 2'd0) match_q <= s_axis_tdata[47:0] == PauseAddress;
                if (number_q == 2'd1) match_q <= match_q && s_axis_tdata[63:32] == PauseOpcode;
                if (number_q == 2'd2) quanta_q <= {s_axis_tdata[7:0], s_axis_tdata[15:8]};
            end
            if (paused) clocks_q <= clocks_q - 19'd1;
            paused <= clocks_q[18:1] != '0;
            if (heard) begin
                clocks_q <= {quanta_q, 3'd0};
                paused   <= quanta_q != '0;
            end
            if (!cfg_enable || rst) begin
                clocks_q <= '0;
                paused   <= 1'b0;
            end
            if (rst) number_q <= 2'd0;
        end
    end

    assign busy = paused;

endmodule

`default_nettype wire
