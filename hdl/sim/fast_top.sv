// BUS=fast: the bench with its bus and wire models in C (fast/), where BUS=pins has Python.
//
// At every `sample` the models get what happened on the pins and drive their answers; they keep
// the pins between.  Python is called, by a change of `attention`, only when something happened
// that it must know: an interrupt, an answered register access, a frame, a report.  The clock runs
// while `kick` differs from `parked`: Python changes `kick` when it has work for the models, they
// park the clock when everything is quiet.

`default_nettype none

`ifdef VERILATOR
`define CALL(name) name
`else
`define CALL(name) $``name
`endif

module fast_top #(
    parameter int Queues        = 1,
    parameter int AxiDataW      = 128,
    parameter int AxiAddrW      = 64,
    parameter int AxiIdW        = 4,
    parameter int RxBufferBytes = 32768,
    parameter int TxBufferBytes = 32768,
    parameter int MaxFrame      = 9018,
    parameter bit RxOffload = 1'b1
) (
    input  wire rst,
    input  wire kick,
`ifdef CLOCK_OUTSIDE
    input  wire clk,
    input  wire sample,
`endif
    output logic parked,
    output logic attention,
    output wire [63:0] cycles,
    output wire [Queues:0] irq,
    output wire idle
);
    timeunit 1ps;
    timeprecision 1ps;

    localparam int AxiStrbW = AxiDataW / 8;

    // -------------------------------------------------------------- pins

    wire clk_run = (kick === !parked);

    logic [63:0] xgmii_rxd;
    wire  [63:0] xgmii_txd;
    wire  [7:0]  xgmii_txc;

    wire [1:0] s_axil_bresp, s_axil_rresp;
    wire [31:0] s_axil_rdata;

    wire [AxiIdW-1:0] m_axi_awid, m_axi_arid;
    wire [AxiAddrW-1:0] m_axi_awaddr, m_axi_araddr;
    wire [7:0] m_axi_awlen, m_axi_arlen;
    wire [2:0] m_axi_awsize, m_axi_arsize;
    wire [1:0] m_axi_awburst, m_axi_arburst;
    wire [AxiDataW-1:0] m_axi_wdata;
    wire [AxiStrbW-1:0] m_axi_wstrb;
    wire m_axi_wlast;
    logic [AxiDataW-1:0] m_axi_rdata;

    // The checkers and `flags` have them; nobody here does.
    // verilator lint_off UNUSEDSIGNAL
    wire s_axil_awready, s_axil_wready, s_axil_bvalid, s_axil_arready, s_axil_rvalid;
    wire m_axi_awvalid, m_axi_wvalid, m_axi_bready, m_axi_arvalid, m_axi_rready;
    wire m_axi_awlock, m_axi_arlock;
    wire [3:0] m_axi_awcache, m_axi_arcache;
    wire [2:0] m_axi_awprot, m_axi_arprot;

    // What the models drive, as wide as the calls give it.
    int rxc, awready, wready, bid, bresp, bvalid, arready, rid, rresp, rlast, rvalid;
    int addr, wdata, awvalid, wvalid, arvalid, bready, rready;
    // verilator lint_on UNUSEDSIGNAL

    bench_top #(
        .Queues(Queues),
        .AxiDataW(AxiDataW),
        .AxiAddrW(AxiAddrW),
        .AxiIdW(AxiIdW),
        .RxBufferBytes(RxBufferBytes),
        .TxBufferBytes(TxBufferBytes),
        .MaxFrame(MaxFrame),
        .RxOffload(RxOffload)
    ) bench (
        .clk_run(clk_run),
        .tick_every(1'b0),
        .rst(rst),
        .xgmii_rxc(rxc[7:0]),
        .s_axil_awaddr(addr[15:0]),
        .s_axil_awprot(3'd0),
        .s_axil_awvalid(awvalid[0]),
        .s_axil_wdata(wdata),
        .s_axil_wstrb(4'hf),
        .s_axil_wvalid(wvalid[0]),
        .s_axil_bready(bready[0]),
        .s_axil_araddr(addr[15:0]),
        .s_axil_arprot(3'd0),
        .s_axil_arvalid(arvalid[0]),
        .s_axil_rready(rready[0]),
        .m_axi_awready(awready[0]),
        .m_axi_wready(wready[0]),
        .m_axi_bid(bid[AxiIdW-1:0]),
        .m_axi_bresp(bresp[1:0]),
        .m_axi_bvalid(bvalid[0]),
        .m_axi_arready(arready[0]),
        .m_axi_rid(rid[AxiIdW-1:0]),
        .m_axi_rresp(rresp[1:0]),
        .m_axi_rlast(rlast[0]),
        .m_axi_rvalid(rvalid[0]),
        .*
    );

    assign cycles = bench.cycles;

    // -------------------------------------------------------------- the models

`ifdef VERILATOR
    import "DPI-C" function void fast_width(input int bytes);
    import "DPI-C" function int fast_step(input int flags, input longint time_ps);
    import "DPI-C" function void fast_aw(input longint time_ps, input int id, input longint addr,
                                         input int len, input int size, input int burst);
    import "DPI-C" function void fast_ar(input longint time_ps, input int id, input longint addr,
                                         input int len, input int size, input int burst);
    import "DPI-C" function void fast_w(input bit [AxiDataW-1:0] data, input longint strobes,
                                        input int last);
    import "DPI-C" function void fast_axil(input int rdata, input int rresp, input int bresp,
                                           input int read);
    import "DPI-C" function void fast_column(input longint time_ps, input longint data,
                                             input int control);
    import "DPI-C" function void fast_irq(input int levels);
    import "DPI-C" function void fast_violation(input int bits);
    import "DPI-C" function void drive_wire(output longint data, output int control);
    import "DPI-C" function void drive_ready(output int awready, output int wready,
                                             output int arready);
    import "DPI-C" function void drive_b(output int id, output int resp, output int valid);
    import "DPI-C" function void drive_r(output int id, output bit [AxiDataW-1:0] data,
                                         output int resp, output int last, output int valid);
    import "DPI-C" function void drive_axil(output int addr, output int data, output int awvalid,
                                            output int wvalid, output int arvalid,
                                            output int bready, output int rready);
`endif

    wire [14:0] flags = bench.flags;
    int drive;

    initial begin
        parked = 1'b0;
        attention = 1'b0;
        `CALL(fast_width)(AxiStrbW);
    end

`ifdef CLOCK_OUTSIDE
    always @(posedge sample)
`else
    always @(posedge bench.sample)
`endif
    begin
        if (flags[13:0] != 14'd0) begin
            if (flags[12]) `CALL(fast_violation)(32'(bench.violations));
            if (flags[10]) `CALL(fast_column)(64'($time), xgmii_txd, 32'(xgmii_txc));
            if (flags[1]) `CALL(fast_w)(m_axi_wdata, 64'(m_axi_wstrb), 32'(m_axi_wlast));
            if (flags[0])
                `CALL(fast_aw)(64'($time), 32'(m_axi_awid), 64'(m_axi_awaddr), 32'(m_axi_awlen),
                               32'(m_axi_awsize), 32'(m_axi_awburst));
            if (flags[3])
                `CALL(fast_ar)(64'($time), 32'(m_axi_arid), 64'(m_axi_araddr), 32'(m_axi_arlen),
                               32'(m_axi_arsize), 32'(m_axi_arburst));
            if (flags[11]) `CALL(fast_irq)(32'(irq));
            if (flags[7] || flags[9])
                `CALL(fast_axil)(s_axil_rdata, 32'(s_axil_rresp), 32'(s_axil_bresp),
                                 32'(flags[9]));
        end
        // Used in this very block.
        // verilator lint_off BLKSEQ
        drive = `CALL(fast_step)(32'(flags), 64'($time));
        // verilator lint_on BLKSEQ
        if (drive != 0) begin
            if (drive[0]) `CALL(drive_wire)(xgmii_rxd, rxc);
            if (drive[1]) `CALL(drive_ready)(awready, wready, arready);
            if (drive[2]) `CALL(drive_b)(bid, bresp, bvalid);
            if (drive[3]) `CALL(drive_r)(rid, m_axi_rdata, rresp, rlast, rvalid);
            if (drive[4])
                `CALL(drive_axil)(addr, wdata, awvalid, wvalid, arvalid, bready, rready);
            if (drive[5]) parked <= kick;
            if (drive[6]) attention <= !attention;
        end
    end

endmodule

`undef CALL
`default_nettype wire
