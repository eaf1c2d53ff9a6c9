// A stand-in for the NIC with its ports, for tests of the bench: the wire is looped back, one
// burst at a time is written or read on command, and what the bench must react to (interrupts,
// idle, broken rules) is driven from registers.
//
//   0x00 id   0x04 scratch   0x08 irq lines   0x0c cycles to be busy
//   0x10 burst address, low   0x14 high
//   0x18 command: [7:0] beats-1, [8] write, [12:9] id; starts the burst
//   0x1c result: [0] busy, [2:1] worst response, [31:16] bursts done
//   0x20 strobes of the first beat   0x24 strobes of the last beat
//   0x28 data: low word of every written beat is this plus the beat's number; sum of those read
//   0x2c misbehave: [0] withdraw AWVALID, [1] change WDATA while it waits, [2] early WLAST,
//        [3] drive AWVALID unknown, [4] corrupt lane 0 of the next data column on the wire
//   0x30 cycles since reset
//   any address with bit 15 set is answered with SLVERR

`default_nettype none

module nic_top #(
    parameter int Queues        = 1,
    parameter int AxiDataW      = 128,
    parameter int AxiAddrW      = 64,
    parameter int AxiIdW        = 4,
    parameter int RxBufferBytes = 32768,
    parameter int TxBufferBytes = 32768,
    parameter int MaxFrame      = 9018,
    parameter bit RxOffload     = 1'b1,
    parameter bit Gated         = 1'b0
) (
    input  wire clk,
    input  wire rst,
    input  wire [63:0] skipped,
    input  wire  [63:0] xgmii_rxd,
    input  wire  [7:0]  xgmii_rxc,
    output logic [63:0] xgmii_txd,
    output logic [7:0]  xgmii_txc,
    input  wire  [15:0] s_axil_awaddr,
    input  wire  [2:0]  s_axil_awprot,
    input  wire         s_axil_awvalid,
    output logic        s_axil_awready,
    input  wire  [31:0] s_axil_wdata,
    input  wire  [3:0]  s_axil_wstrb,
    input  wire         s_axil_wvalid,
    output logic        s_axil_wready,
    output logic [1:0]  s_axil_bresp,
    output logic        s_axil_bvalid,
    input  wire         s_axil_bready,
    input  wire  [15:0] s_axil_araddr,
    input  wire  [2:0]  s_axil_arprot,
    input  wire         s_axil_arvalid,
    output logic        s_axil_arready,
    output logic [31:0] s_axil_rdata,
    output logic [1:0]  s_axil_rresp,
    output logic        s_axil_rvalid,
    input  wire         s_axil_rready,
    output logic [AxiIdW-1:0]   m_axi_awid,
    output logic [AxiAddrW-1:0] m_axi_awaddr,
    output logic [7:0]          m_axi_awlen,
    output logic [2:0]          m_axi_awsize,
    output logic [1:0]          m_axi_awburst,
    output logic                m_axi_awlock,
    output logic [3:0]          m_axi_awcache,
    output logic [2:0]          m_axi_awprot,
    output logic                m_axi_awvalid,
    input  wire                 m_axi_awready,
    output logic [AxiDataW-1:0] m_axi_wdata,
    output logic [AxiDataW/8-1:0] m_axi_wstrb,
    output logic                m_axi_wlast,
    output logic                m_axi_wvalid,
    input  wire                 m_axi_wready,
    input  wire  [AxiIdW-1:0]   m_axi_bid,
    input  wire  [1:0]          m_axi_bresp,
    input  wire                 m_axi_bvalid,
    output logic                m_axi_bready,
    output logic [AxiIdW-1:0]   m_axi_arid,
    output logic [AxiAddrW-1:0] m_axi_araddr,
    output logic [7:0]          m_axi_arlen,
    output logic [2:0]          m_axi_arsize,
    output logic [1:0]          m_axi_arburst,
    output logic                m_axi_arlock,
    output logic [3:0]          m_axi_arcache,
    output logic [2:0]          m_axi_arprot,
    output logic                m_axi_arvalid,
    input  wire                 m_axi_arready,
    input  wire  [AxiIdW-1:0]   m_axi_rid,
    input  wire  [AxiDataW-1:0] m_axi_rdata,
    input  wire  [1:0]          m_axi_rresp,
    input  wire                 m_axi_rlast,
    input  wire                 m_axi_rvalid,
    output logic                m_axi_rready,
    output logic [Queues:0] irq,
    output logic              idle
);

    localparam int AxiStrbW = AxiDataW / 8;

    logic [31:0] scratch, busy_left, sum, now;
    logic [63:0] burst_addr;
    logic [AxiStrbW-1:0] first_strb, last_strb;
    logic [4:0] misbehave;
    logic [7:0] beats, beat;
    logic [3:0] burst_id;
    logic [1:0] worst;
    logic [15:0] bursts_done;
    logic burst_busy, burst_write, aw_waited;

    // ---------------------------------------------------------------- wire
    always_ff @(posedge clk) begin
        xgmii_txd <= xgmii_rxd;
        xgmii_txc <= xgmii_rxc;
        if (misbehave[4] && xgmii_rxc == 8'h00) xgmii_txd[7:0] <= ~xgmii_rxd[7:0];
    end

    assign idle = !burst_busy && busy_left == 0 && xgmii_txc == 8'hff && xgmii_rxc == 8'hff;

    // ---------------------------------------------------------------- registers
    wire write = s_axil_awvalid && s_axil_wvalid && s_axil_awready && s_axil_wready;
    wire command = write && !s_axil_awaddr[15] && s_axil_awaddr[7:0] == 8'h18;

    // Both channels are taken together, so ready waits for both valids.
    assign s_axil_awready = s_axil_awvalid && s_axil_wvalid && !s_axil_bvalid && !rst;
    assign s_axil_wready = s_axil_awready;
    assign s_axil_arready = !s_axil_rvalid && !rst;

    always_ff @(posedge clk) begin
        now <= now + 1;
        if (busy_left != 0) busy_left <= busy_left - 1;
        if (s_axil_bready) s_axil_bvalid <= 1'b0;
        if (write) begin
            s_axil_bvalid <= 1'b1;
            s_axil_bresp <= s_axil_awaddr[15] ? 2'b10 : 2'b00;
            case (s_axil_awaddr)
                16'h04: scratch <= s_axil_wdata;
                16'h08: irq <= {1'b0, s_axil_wdata[Queues-1:0]};
                16'h0c: busy_left <= s_axil_wdata;
                16'h10: burst_addr[31:0] <= s_axil_wdata;
                16'h14: burst_addr[63:32] <= s_axil_wdata;
                16'h20: first_strb <= AxiStrbW'(s_axil_wdata);
                16'h24: last_strb <= AxiStrbW'(s_axil_wdata);
                16'h2c: misbehave <= s_axil_wdata[4:0];
                default: ;
            endcase
        end
        if (rst) begin
            s_axil_bvalid <= 1'b0;
            s_axil_bresp <= 2'b00;
            {scratch, busy_left, now, burst_addr} <= '0;
            {first_strb, last_strb} <= '1;
            misbehave <= '0;
            irq <= '0;
        end
    end

    always_ff @(posedge clk) begin
        if (s_axil_rready) s_axil_rvalid <= 1'b0;
        if (s_axil_arvalid && s_axil_arready) begin
            s_axil_rvalid <= 1'b1;
            s_axil_rresp <= s_axil_araddr[15] ? 2'b10 : 2'b00;
            case (s_axil_araddr)
                16'h00: s_axil_rdata <= 32'h50524f42;
                16'h04: s_axil_rdata <= scratch;
                16'h1c: s_axil_rdata <= {bursts_done, 13'b0, worst, burst_busy};
                16'h28: s_axil_rdata <= sum;
                16'h30: s_axil_rdata <= now;
                default: s_axil_rdata <= 32'h0;
            endcase
        end
        if (rst) begin
            s_axil_rvalid <= 1'b0;
            s_axil_rdata <= '0;
            s_axil_rresp <= 2'b00;
        end
    end

    // ---------------------------------------------------------------- one burst
    wire last_beat = beat == (misbehave[2] ? beats - 8'd1 : beats);
    wire [31:0] word = sum + {24'b0, beat};

    always_comb begin
        m_axi_wdata = {AxiDataW / 32{word}};
        if (misbehave[1]) m_axi_wdata[31:0] = now;
        m_axi_wstrb = '1;
        if (beat == 0) m_axi_wstrb = m_axi_wstrb & first_strb;
        if (beat == beats) m_axi_wstrb = m_axi_wstrb & last_strb;
        m_axi_wlast = last_beat;
        m_axi_awid = AxiIdW'(burst_id);
        m_axi_arid = AxiIdW'(burst_id);
        m_axi_awaddr = AxiAddrW'(burst_addr);
        m_axi_araddr = AxiAddrW'(burst_addr);
        m_axi_awlen = beats;
        m_axi_arlen = beats;
        m_axi_awsize = 3'($clog2(AxiStrbW));
        m_axi_arsize = 3'($clog2(AxiStrbW));
        {m_axi_awburst, m_axi_arburst} = 4'b0101;
        {m_axi_awlock, m_axi_arlock} = 2'b00;
        {m_axi_awcache, m_axi_arcache} = 8'h33;
        {m_axi_awprot, m_axi_arprot} = 6'b0;
    end
    assign m_axi_bready = 1'b1;
    assign m_axi_rready = 1'b1;

    always_ff @(posedge clk) begin
        if (command) begin
            {beats, beat} <= {s_axil_wdata[7:0], 8'h00};
            burst_id <= s_axil_wdata[12:9];
            burst_write <= s_axil_wdata[8];
            burst_busy <= 1'b1;
            m_axi_awvalid <= s_axil_wdata[8];
            m_axi_wvalid <= s_axil_wdata[8];
            m_axi_arvalid <= !s_axil_wdata[8];
            if (!s_axil_wdata[8]) sum <= '0;
        end
        if (write && s_axil_awaddr == 16'h28) sum <= s_axil_wdata;
        if (m_axi_awvalid && (m_axi_awready || (misbehave[0] && aw_waited))) m_axi_awvalid <= 1'b0;
        aw_waited <= m_axi_awvalid && !m_axi_awready;
        if (m_axi_arvalid && m_axi_arready) m_axi_arvalid <= 1'b0;
        if (m_axi_wvalid && m_axi_wready) begin
            beat <= beat + 8'd1;
            if (last_beat) m_axi_wvalid <= 1'b0;
        end
        if (m_axi_bvalid || (m_axi_rvalid && m_axi_rlast)) begin
            burst_busy <= 1'b0;
            bursts_done <= bursts_done + 16'd1;
        end
        if (m_axi_bvalid && m_axi_bresp > worst) worst <= m_axi_bresp;
        if (m_axi_rvalid) begin
            sum <= sum + m_axi_rdata[31:0];
            if (m_axi_rresp > worst) worst <= m_axi_rresp;
        end
        if (misbehave[3]) m_axi_awvalid <= 1'bx;
        if (rst) begin
            {m_axi_awvalid, m_axi_wvalid, m_axi_arvalid, burst_busy, aw_waited} <= '0;
            {worst, bursts_done, beats, beat, sum, burst_id, burst_write} <= '0;
        end
    end

endmodule

`default_nettype wire
