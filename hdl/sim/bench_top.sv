// The NIC on its bench: clock, pins, and what tells Python when to look at them.
//
// Python reads and writes pins at `sample` (see bench_clock), half a period before the rising
// edge of clk.  What it writes goes through a flop to the NIC, what it reads is what every flop
// will see at that edge; so one wake-up a cycle is exact, on any simulator, and a bus model that
// takes `sample` for its clock sees an ordinary synchronous bus.  `attention` toggles only in
// cycles in which something happens that `flags` names (tb/pins/flags.py has the same list).
// The checkers look at the pins of the NIC itself.  No memory and no wire model is in here.

`default_nettype none

module bench_top #(
    parameter int Queues        = 1,
    parameter int AxiDataW      = 128,
    parameter int AxiAddrW      = 64,
    parameter int AxiIdW        = 4,
    parameter int RxBufferBytes = 32768,
    parameter int TxBufferBytes = 32768,
    parameter int MaxFrame      = 9018,
    parameter bit RxOffload     = 1'b1
) (
    // bench control
    input  wire clk_run,
    input  wire tick_every,
    input  wire rst,
`ifdef CLOCK_OUTSIDE  // the simulation loop is the clock (verilator_main.cpp)
    input  wire clk,
    input  wire sample,
`endif

    // XGMII
    input  wire  [63:0] xgmii_rxd,
    input  wire  [7:0]  xgmii_rxc,
    output logic [63:0] xgmii_txd,
    output logic [7:0]  xgmii_txc,

    // registers (AXI4-Lite)
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

    // host memory (AXI4)
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

    // interrupts
    output logic [Queues:0] irq,
    output logic              idle
);

    timeunit 1ps;
    timeprecision 1ps;

    localparam int AxiStrbW = AxiDataW / 8;
    localparam logic [63:0] PeriodPs = 64'd6400;

    // -------------------------------------------------------------- clock

    // Read by name from Python only, as `flags` and `violations` below.
    // verilator lint_off UNUSEDSIGNAL
    wire wanted;
`ifdef CLOCK_OUTSIDE
    logic [63:0] cycles;
    // verilator lint_on UNUSEDSIGNAL

    initial cycles = 64'd0;
    always @(posedge clk) cycles <= cycles + 64'd1;
`else
    wire clk, sample, attention;
    wire [63:0] cycles;
    // verilator lint_on UNUSEDSIGNAL

    bench_clock clock_i (
        .clk_run(clk_run),
        .tick_every(tick_every),
        .wanted(wanted),
        .clk(clk),
        .sample(sample),
        .attention(attention),
        .cycles(cycles)
    );
`endif

    // -------------------------------------------------------------- pins to the NIC, one flop each

    logic rst_q;
    logic [63:0] rxd_q;
    logic [7:0] rxc_q;

    logic [15:0] l_awaddr_q, l_araddr_q;
    logic [2:0] l_awprot_q, l_arprot_q;
    logic [31:0] l_wdata_q;
    logic [3:0] l_wstrb_q;
    logic l_awvalid_q, l_wvalid_q, l_bready_q;
    logic l_arvalid_q, l_rready_q;

    logic awready_q, wready_q, arready_q;
    logic bvalid_q, rvalid_q, rlast_q;
    logic [AxiIdW-1:0] bid_q, rid_q;
    logic [1:0] bresp_q, rresp_q;
    logic [AxiDataW-1:0] rdata_q;

    always_ff @(posedge clk) begin
        rst_q <= rst;
        rxd_q <= xgmii_rxd;
        rxc_q <= xgmii_rxc;
    end

    always_ff @(posedge clk) begin
        l_awaddr_q <= s_axil_awaddr;
        l_awprot_q <= s_axil_awprot;
        l_awvalid_q <= s_axil_awvalid;
        l_wdata_q <= s_axil_wdata;
        l_wstrb_q <= s_axil_wstrb;
        l_wvalid_q <= s_axil_wvalid;
        l_bready_q <= s_axil_bready;
        l_araddr_q <= s_axil_araddr;
        l_arprot_q <= s_axil_arprot;
        l_arvalid_q <= s_axil_arvalid;
        l_rready_q <= s_axil_rready;
    end

    always_ff @(posedge clk) begin
        awready_q <= m_axi_awready;
        wready_q <= m_axi_wready;
        bid_q <= m_axi_bid;
        bresp_q <= m_axi_bresp;
        bvalid_q <= m_axi_bvalid;
        arready_q <= m_axi_arready;
        rid_q <= m_axi_rid;
        rdata_q <= m_axi_rdata;
        rresp_q <= m_axi_rresp;
        rlast_q <= m_axi_rlast;
        rvalid_q <= m_axi_rvalid;
    end

    // -------------------------------------------------------------- cycles in which the clock stood

    // Told with the first edge after the pause: at its sample, half a period before.
    logic [63:0] edge_ps, skipped, next_ps;

    initial edge_ps = 64'd0;
    always_ff @(posedge clk) edge_ps <= 64'($time);

    assign next_ps = edge_ps + PeriodPs / 2;
    always_ff @(posedge sample) begin
        skipped <= 64'd0;
        if (64'($time) != next_ps) skipped <= (64'($time) - next_ps) / PeriodPs;
    end

    // -------------------------------------------------------------- the device under test

    nic_top #(
        .Queues(Queues),
        .AxiDataW(AxiDataW),
        .AxiAddrW(AxiAddrW),
        .AxiIdW(AxiIdW),
        .RxBufferBytes(RxBufferBytes),
        .TxBufferBytes(TxBufferBytes),
        .MaxFrame(MaxFrame),
        .RxOffload(RxOffload),
        .Gated(1'b1)
    ) nic (
        .clk(clk),
        .rst(rst_q),
        .skipped(skipped),
        .xgmii_rxd(rxd_q),
        .xgmii_rxc(rxc_q),
        .s_axil_awaddr(l_awaddr_q),
        .s_axil_awprot(l_awprot_q),
        .s_axil_awvalid(l_awvalid_q),
        .s_axil_wdata(l_wdata_q),
        .s_axil_wstrb(l_wstrb_q),
        .s_axil_wvalid(l_wvalid_q),
        .s_axil_bready(l_bready_q),
        .s_axil_araddr(l_araddr_q),
        .s_axil_arprot(l_arprot_q),
        .s_axil_arvalid(l_arvalid_q),
        .s_axil_rready(l_rready_q),
        .m_axi_awready(awready_q),
        .m_axi_wready(wready_q),
        .m_axi_bid(bid_q),
        .m_axi_bresp(bresp_q),
        .m_axi_bvalid(bvalid_q),
        .m_axi_arready(arready_q),
        .m_axi_rid(rid_q),
        .m_axi_rdata(rdata_q),
        .m_axi_rresp(rresp_q),
        .m_axi_rlast(rlast_q),
        .m_axi_rvalid(rvalid_q),
        .*
    );

    // -------------------------------------------------------------- rules of the channels

    wire [6:0] violations;

    handshake_checker #(.Width(AxiIdW + AxiAddrW + 21)) check_aw (
        .clk(clk), .rst(rst_q), .valid(m_axi_awvalid), .ready(awready_q),
        .payload({m_axi_awid, m_axi_awaddr, m_axi_awlen, m_axi_awsize, m_axi_awburst,
                  m_axi_awlock, m_axi_awcache, m_axi_awprot}),
        .violation(violations[0])
    );
    handshake_checker #(.Width(AxiDataW + AxiStrbW + 1)) check_w (
        .clk(clk), .rst(rst_q), .valid(m_axi_wvalid), .ready(wready_q),
        .payload({m_axi_wdata, m_axi_wstrb, m_axi_wlast}), .violation(violations[1])
    );
    handshake_checker check_b (
        .clk(clk), .rst(rst_q), .valid(bvalid_q), .ready(m_axi_bready),
        .payload(1'b0), .violation(violations[2])
    );
    handshake_checker #(.Width(AxiIdW + AxiAddrW + 21)) check_ar (
        .clk(clk), .rst(rst_q), .valid(m_axi_arvalid), .ready(arready_q),
        .payload({m_axi_arid, m_axi_araddr, m_axi_arlen, m_axi_arsize, m_axi_arburst,
                  m_axi_arlock, m_axi_arcache, m_axi_arprot}),
        .violation(violations[3])
    );
    handshake_checker check_r (
        .clk(clk), .rst(rst_q), .valid(rvalid_q), .ready(m_axi_rready),
        .payload(1'b0), .violation(violations[4])
    );
    handshake_checker #(.Width(2)) check_axil_b (
        .clk(clk), .rst(rst_q), .valid(s_axil_bvalid), .ready(l_bready_q),
        .payload(s_axil_bresp), .violation(violations[5])
    );
    handshake_checker #(.Width(34)) check_axil_r (
        .clk(clk), .rst(rst_q), .valid(s_axil_rvalid), .ready(l_rready_q),
        .payload({s_axil_rdata, s_axil_rresp}), .violation(violations[6])
    );

    // -------------------------------------------------------------- what happens in this cycle

    logic [Queues:0] irq_q;
    logic idle_q;
    always_ff @(posedge clk) begin
        irq_q <= irq;
        idle_q <= idle;
    end

    wire [13:0] happens = {
        idle != idle_q,
        |violations,
        irq != irq_q,
        (xgmii_txc != 8'hff) || (xgmii_txd != {8{8'h07}}),
        s_axil_rvalid && l_rready_q,
        l_arvalid_q && s_axil_arready,
        s_axil_bvalid && l_bready_q,
        l_wvalid_q && s_axil_wready,
        l_awvalid_q && s_axil_awready,
        rvalid_q && m_axi_rready,
        m_axi_arvalid && arready_q,
        bvalid_q && m_axi_bready,
        m_axi_wvalid && wready_q,
        m_axi_awvalid && awready_q
    };
    // verilator lint_off UNUSEDSIGNAL
    wire [14:0] flags = rst_q ? 15'd0 : {idle, happens};
    // verilator lint_on UNUSEDSIGNAL
    assign wanted = !rst_q && |happens;

endmodule

`default_nettype wire
