// An AXI master's pins joined to a slave's: a cocotb bus model drives s_axi_*, the memory of the
// bench answers on m_axi_*.  Both sides see the bus as `bench_top` shows it, so a master clocked by
// `sample` and the memory meet at the same edges.  Each direction passes one flop.

`default_nettype none

module axi_loop_top #(
    parameter int AxiDataW = 128,
    parameter int AxiAddrW = 64,
    parameter int AxiIdW   = 4
) (
    input  wire clk_run,
    input  wire tick_every,
    input  wire rst,
    input  wire  [AxiIdW-1:0] s_axi_awid,
    input  wire  [AxiAddrW-1:0] s_axi_awaddr,
    input  wire  [7:0] s_axi_awlen,
    input  wire  [2:0] s_axi_awsize,
    input  wire  [1:0] s_axi_awburst,
    input  wire  s_axi_awlock,
    input  wire  [3:0] s_axi_awcache,
    input  wire  [2:0] s_axi_awprot,
    input  wire  s_axi_awvalid,
    output logic s_axi_awready,
    input  wire  [AxiDataW-1:0] s_axi_wdata,
    input  wire  [AxiDataW/8-1:0] s_axi_wstrb,
    input  wire  s_axi_wlast,
    input  wire  s_axi_wvalid,
    output logic s_axi_wready,
    output logic [AxiIdW-1:0] s_axi_bid,
    output logic [1:0] s_axi_bresp,
    output logic s_axi_bvalid,
    input  wire  s_axi_bready,
    input  wire  [AxiIdW-1:0] s_axi_arid,
    input  wire  [AxiAddrW-1:0] s_axi_araddr,
    input  wire  [7:0] s_axi_arlen,
    input  wire  [2:0] s_axi_arsize,
    input  wire  [1:0] s_axi_arburst,
    input  wire  s_axi_arlock,
    input  wire  [3:0] s_axi_arcache,
    input  wire  [2:0] s_axi_arprot,
    input  wire  s_axi_arvalid,
    output logic s_axi_arready,
    output logic [AxiIdW-1:0] s_axi_rid,
    output logic [AxiDataW-1:0] s_axi_rdata,
    output logic [1:0] s_axi_rresp,
    output logic s_axi_rlast,
    output logic s_axi_rvalid,
    input  wire  s_axi_rready,
    output logic [AxiIdW-1:0] m_axi_awid,
    output logic [AxiAddrW-1:0] m_axi_awaddr,
    output logic [7:0] m_axi_awlen,
    output logic [2:0] m_axi_awsize,
    output logic [1:0] m_axi_awburst,
    output logic m_axi_awlock,
    output logic [3:0] m_axi_awcache,
    output logic [2:0] m_axi_awprot,
    output logic m_axi_awvalid,
    input  wire  m_axi_awready,
    output logic [AxiDataW-1:0] m_axi_wdata,
    output logic [AxiDataW/8-1:0] m_axi_wstrb,
    output logic m_axi_wlast,
    output logic m_axi_wvalid,
    input  wire  m_axi_wready,
    input  wire  [AxiIdW-1:0] m_axi_bid,
    input  wire  [1:0] m_axi_bresp,
    input  wire  m_axi_bvalid,
    output logic m_axi_bready,
    output logic [AxiIdW-1:0] m_axi_arid,
    output logic [AxiAddrW-1:0] m_axi_araddr,
    output logic [7:0] m_axi_arlen,
    output logic [2:0] m_axi_arsize,
    output logic [1:0] m_axi_arburst,
    output logic m_axi_arlock,
    output logic [3:0] m_axi_arcache,
    output logic [2:0] m_axi_arprot,
    output logic m_axi_arvalid,
    input  wire  m_axi_arready,
    input  wire  [AxiIdW-1:0] m_axi_rid,
    input  wire  [AxiDataW-1:0] m_axi_rdata,
    input  wire  [1:0] m_axi_rresp,
    input  wire  m_axi_rlast,
    input  wire  m_axi_rvalid,
    output logic m_axi_rready
);

    wire clk, sample, attention;
    wire [63:0] cycles;
    wire awready_q = s_axi_awready;
    wire wready_q = s_axi_wready;
    wire arready_q = s_axi_arready;
    wire bvalid_q = s_axi_bvalid;
    wire rvalid_q = s_axi_rvalid;
    wire [6:0] violations = 7'd0;
    wire [14:0] flags = {
        1'b0,
        9'b0,
        m_axi_rready && rvalid_q,
        m_axi_arvalid && arready_q,
        m_axi_bready && bvalid_q,
        m_axi_wvalid && wready_q,
        m_axi_awvalid && awready_q
    };

    bench_clock clock_i (
        .clk_run(clk_run), .tick_every(tick_every), .wanted(|flags), .clk(clk), .sample(sample),
        .attention(attention), .cycles(cycles)
    );

    // The master looks at its pins before the first edge.
    initial begin
        {s_axi_awready, s_axi_wready, s_axi_bvalid, s_axi_arready, s_axi_rvalid} = 5'd0;
        {m_axi_awvalid, m_axi_wvalid, m_axi_bready, m_axi_arvalid, m_axi_rready} = 5'd0;
    end

    // What the master drives, as the slave sees it.
    always_ff @(posedge clk) begin
        m_axi_awid <= s_axi_awid;
        m_axi_awaddr <= s_axi_awaddr;
        m_axi_awlen <= s_axi_awlen;
        m_axi_awsize <= s_axi_awsize;
        m_axi_awburst <= s_axi_awburst;
        m_axi_awlock <= s_axi_awlock;
        m_axi_awcache <= s_axi_awcache;
        m_axi_awprot <= s_axi_awprot;
        m_axi_awvalid <= s_axi_awvalid && !rst;
        m_axi_wdata <= s_axi_wdata;
        m_axi_wstrb <= s_axi_wstrb;
        m_axi_wlast <= s_axi_wlast;
        m_axi_wvalid <= s_axi_wvalid && !rst;
        m_axi_bready <= s_axi_bready;
        m_axi_arid <= s_axi_arid;
        m_axi_araddr <= s_axi_araddr;
        m_axi_arlen <= s_axi_arlen;
        m_axi_arsize <= s_axi_arsize;
        m_axi_arburst <= s_axi_arburst;
        m_axi_arlock <= s_axi_arlock;
        m_axi_arcache <= s_axi_arcache;
        m_axi_arprot <= s_axi_arprot;
        m_axi_arvalid <= s_axi_arvalid && !rst;
        m_axi_rready <= s_axi_rready;
    end

    // What the slave drives, as the master sees it.
    always_ff @(posedge clk) begin
        s_axi_awready <= m_axi_awready;
        s_axi_wready <= m_axi_wready;
        s_axi_bid <= m_axi_bid;
        s_axi_bresp <= m_axi_bresp;
        s_axi_bvalid <= m_axi_bvalid && !rst;
        s_axi_arready <= m_axi_arready;
        s_axi_rid <= m_axi_rid;
        s_axi_rdata <= m_axi_rdata;
        s_axi_rresp <= m_axi_rresp;
        s_axi_rlast <= m_axi_rlast;
        s_axi_rvalid <= m_axi_rvalid && !rst;
    end

endmodule

`default_nettype wire
