// The NIC: the receive path, the transmit path, then what both share.  It holds instances and wires
// only; nic_rx and nic_tx go on with the blocks of a path in packet order.
//
//   wire -> nic_rx -> dma_write -> memory          AXI4-Lite -> axil_regs
//   memory -> dma_read -> nic_tx -> wire           completions -> irq_control -> irq

`default_nettype none

module nic_top
    import nic_regs_pkg::*;
#(
    parameter int Queues = 1,        // 1 to 16
    parameter int AxiDataW = 128,    // 64, 128, 256, 512
    parameter int AxiAddrW = 64,
    parameter int AxiIdW = 4,
    parameter int RxBufferBytes = 32768,
    parameter int TxBufferBytes = 32768,
    parameter int MaxFrame = 9018,   // without FCS, limit of the register
    parameter bit TxChecksum = 1,
    parameter bit TxSegment = 1,     // needs TxChecksum
    parameter bit RxOffload = 1'b1,  // 0: receive looks at addresses only
    parameter bit Gated = 1'b0       // clk may stand while `idle`: `skipped` counts
) (
    input  wire logic                  clk,
    input  wire logic                  rst,
    input  wire logic [63:0]           skipped,  // cycles left out since the last, see ns_clock

    // XGMII
    input  wire logic [63:0]           xgmii_rxd,
    input  wire logic [7:0]            xgmii_rxc,
    output      logic [63:0]           xgmii_txd,
    output      logic [7:0]            xgmii_txc,

    // AXI4-Lite slave: registers
    input  wire logic [15:0]           s_axil_awaddr,
    input  wire logic [2:0]            s_axil_awprot,
    input  wire logic                  s_axil_awvalid,
    output      logic                  s_axil_awready,
    input  wire logic [31:0]           s_axil_wdata,
    input  wire logic [3:0]            s_axil_wstrb,
    input  wire logic                  s_axil_wvalid,
    output      logic                  s_axil_wready,
    output      logic [1:0]            s_axil_bresp,
    output      logic                  s_axil_bvalid,
    input  wire logic                  s_axil_bready,
    input  wire logic [15:0]           s_axil_araddr,
    input  wire logic [2:0]            s_axil_arprot,
    input  wire logic                  s_axil_arvalid,
    output      logic                  s_axil_arready,
    output      logic [31:0]           s_axil_rdata,
    output      logic [1:0]            s_axil_rresp,
    output      logic                  s_axil_rvalid,
    input  wire logic                  s_axil_rready,

    // AXI4 master: host memory
    output      logic [AxiIdW-1:0]     m_axi_awid,
    output      logic [AxiAddrW-1:0]   m_axi_awaddr,
    output      logic [7:0]            m_axi_awlen,
    output      logic [2:0]            m_axi_awsize,
    output      logic [1:0]            m_axi_awburst,
    output      logic                  m_axi_awlock,
    output      logic [3:0]            m_axi_awcache,
    output      logic [2:0]            m_axi_awprot,
    output      logic                  m_axi_awvalid,
    input  wire logic                  m_axi_awready,
    output      logic [AxiDataW-1:0]   m_axi_wdata,
    output      logic [AxiDataW/8-1:0] m_axi_wstrb,
    output      logic                  m_axi_wlast,
    output      logic                  m_axi_wvalid,
    input  wire logic                  m_axi_wready,
    input  wire logic [AxiIdW-1:0]     m_axi_bid,
    input  wire logic [1:0]            m_axi_bresp,
    input  wire logic                  m_axi_bvalid,
    output      logic                  m_axi_bready,
    output      logic [AxiIdW-1:0]     m_axi_arid,
    output      logic [AxiAddrW-1:0]   m_axi_araddr,
    output      logic [7:0]            m_axi_arlen,
    output      logic [2:0]            m_axi_arsize,
    output      logic [1:0]            m_axi_arburst,
    output      logic                  m_axi_arlock,
    output      logic [3:0]            m_axi_arcache,
    output      logic [2:0]            m_axi_arprot,
    output      logic                  m_axi_arvalid,
    input  wire logic                  m_axi_arready,
    input  wire logic [AxiIdW-1:0]     m_axi_rid,
    input  wire logic [AxiDataW-1:0]   m_axi_rdata,
    input  wire logic [1:0]            m_axi_rresp,
    input  wire logic                  m_axi_rlast,
    input  wire logic                  m_axi_rvalid,
    output      logic                  m_axi_rready,

    output      logic [Queues:0]       irq,   // level; the last is that of device events
    output      logic                  idle   // nothing under way: the clock may stop
);

    localparam int QueueW = Queues > 1 ? $clog2(Queues) : 1;
    localparam int LaneW = $clog2(AxiDataW / 8);
    localparam int WriteTagW = QueueW + 3;  // a queue, and how many completions

    nic_params #(
        .Queues(Queues), .AxiDataW(AxiDataW), .AxiAddrW(AxiAddrW), .AxiIdW(AxiIdW),
        .RxBufferBytes(RxBufferBytes), .TxBufferBytes(TxBufferBytes), .MaxFrame(MaxFrame),
        .TxChecksum(TxChecksum), .TxSegment(TxSegment)
    ) u_params ();

    // ---- DMA: jobs of the paths, and the data that come back or go out

    logic rx_read_job_valid, rx_read_job_ready, rx_read_tvalid, rx_read_tready;
    logic [AxiAddrW-1:0] rx_read_job_addr;
    logic [15:0] rx_read_job_len;
    logic [QueueW-1:0] rx_read_job_tag;
    logic [1:0] rx_write_job_valid, rx_write_job_ready, rx_write_tvalid, rx_write_tready,
                rx_write_done;
    logic [1:0][AxiAddrW-1:0] rx_write_job_addr;
    logic [1:0][15:0] rx_write_job_len;
    logic [1:0][WriteTagW-1:0] rx_write_job_tag;
    logic [LaneW-1:0] rx_write_job_lane;
    logic [1:0][AxiDataW-1:0] rx_write_tdata;
    logic [1:0] tx_read_job_valid, tx_read_job_ready, tx_read_tvalid, tx_read_tready;
    logic [1:0][AxiAddrW-1:0] tx_read_job_addr;
    logic [1:0][15:0] tx_read_job_len;
    logic [1:0][QueueW-1:0] tx_read_job_tag;
    logic tx_write_job_valid, tx_write_job_ready, tx_write_tvalid, tx_write_tready, tx_write_done;
    logic [AxiAddrW-1:0] tx_write_job_addr;
    logic [15:0] tx_write_job_len;
    logic [WriteTagW-1:0] tx_write_job_tag;
    logic [AxiDataW-1:0] tx_write_tdata;
    logic [AxiDataW-1:0] read_tdata;
    logic [AxiDataW/8-1:0] read_tkeep;
    logic read_tvalid, read_tready, read_tlast, dma_read_busy, dma_write_busy;
    logic [1:0] read_tclient, read_tresp, unused_tresp_job, write_done_resp;
    logic [QueueW-1:0] read_ttag;
    logic [WriteTagW-1:0] write_done_tag;

    // ---- registers to everybody, and what they show

    logic cfg_rx_enable, cfg_tx_enable, cfg_promiscuous, cfg_all_multicast;
    logic [47:0] cfg_mac;
    logic [15:0] cfg_max_frame;
    logic [7:0] cfg_default_queue;
    logic [7:0][47:0] cfg_filter;
    logic [7:0] cfg_filter_valid;
    logic [63:0] cfg_multicast_hash;
    // verilator lint_off UNUSEDSIGNAL
    logic [63:0] now;  // the completions have its lower part
    // verilator lint_on UNUSEDSIGNAL
    logic [2:0] cfg_rss_ipv4, cfg_rss_ipv6;
    logic [319:0] cfg_rss_key;
    logic [6:0] table_index;
    logic [3:0] table_queue;
    logic cfg_vlan_strip, cfg_header_split, cfg_pause_rx, cfg_pause_tx, paused;
    logic [15:0] cfg_pause_quanta, cfg_pause_xoff, cfg_pause_xon, rx_fill;
    logic core_rst, halt, link_up, core_idle, axil_busy, event_busy;
    logic [Queues-1:0] rx_enable, rx_run_on, rx_doorbell, rx_doorbell_refused;
    logic [Queues-1:0] rx_active, rx_start, rx_failed;
    logic [Queues-1:0][3:0] rx_log2_entries, rx_error;
    logic [Queues-1:0][15:0] rx_doorbell_producer, rx_producer, rx_fetched, rx_completed;
    logic [Queues-1:0][63:0] rx_desc_base, rx_cpl_base;
    logic [Queues-1:0] tx_enable, tx_run_on, tx_doorbell, tx_doorbell_refused;
    logic [Queues-1:0] tx_active, tx_start, tx_failed;
    logic [Queues-1:0][3:0] tx_log2_entries, tx_error;
    logic [Queues-1:0][15:0] tx_doorbell_producer, tx_producer, tx_fetched, tx_completed;
    logic [Queues-1:0][63:0] tx_desc_base, tx_cpl_base;

    // ---- events to the counters

    logic ev_rx_wire, ev_tx_wire, ev_tx_pause, ev_tx_underrun, rx_busy, tx_busy, tx_wire_busy;
    logic [2:0] ev_rx_verdict;
    logic [15:0] ev_rx_len, ev_tx_len;
    logic [Queues-1:0] ev_rx_disabled, ev_rx_no_descriptor, ev_rx_frame, ev_rx_length,
                       ev_rx_bus_error;
    logic [Queues-1:0] ev_tx_frame, ev_tx_length, ev_tx_bus_error;

    // ---- receive

    nic_rx #(
        .Queues(Queues), .DataW(AxiDataW), .AddrW(AxiAddrW), .BufferBytes(RxBufferBytes),
        .RxOffload(RxOffload)
    ) u_rx (
        .clk, .rst(core_rst),
        .xgmii_rxd, .xgmii_rxc, .link_up, .cfg_enable(cfg_rx_enable && !halt), .cfg_max_frame,
        .cfg_mac, .cfg_promiscuous, .cfg_all_multicast, .cfg_default_queue,
        .cfg_filter, .cfg_filter_valid, .cfg_multicast_hash, .cfg_rss_ipv4, .cfg_rss_ipv6,
        .cfg_rss_key, .table_index, .table_queue, .cfg_vlan_strip, .cfg_header_split,
        .cfg_pause(cfg_pause_rx), .now(now[30:0]), .paused, .fill(rx_fill),
        .enable(rx_enable & {Queues{!halt}}), .run_on(rx_run_on), .log2_entries(rx_log2_entries),
        .doorbell(rx_doorbell), .doorbell_producer(rx_doorbell_producer), .desc_base(rx_desc_base),
        .cpl_base(rx_cpl_base),
        .doorbell_refused(rx_doorbell_refused), .active(rx_active), .error(rx_error),
        .producer(rx_producer), .fetched(rx_fetched), .completed(rx_completed),
        .read_job_valid(rx_read_job_valid), .read_job_ready(rx_read_job_ready),
        .read_job_addr(rx_read_job_addr), .read_job_len(rx_read_job_len),
        .read_job_tag(rx_read_job_tag),
        .read_tdata, .read_tkeep, .read_tvalid(rx_read_tvalid), .read_tready(rx_read_tready),
        .read_tlast, .read_ttag, .read_tresp,
        .write_job_valid(rx_write_job_valid), .write_job_ready(rx_write_job_ready),
        .write_job_addr(rx_write_job_addr), .write_job_len(rx_write_job_len),
        .write_job_tag(rx_write_job_tag), .write_job_lane(rx_write_job_lane),
        .write_tdata(rx_write_tdata), .write_tvalid(rx_write_tvalid),
        .write_tready(rx_write_tready), .write_done(rx_write_done), .write_done_tag,
        .write_done_resp,
        .start(rx_start), .failed(rx_failed),
        .ev_wire(ev_rx_wire), .ev_wire_verdict(ev_rx_verdict), .ev_wire_len(ev_rx_len),
        .ev_disabled(ev_rx_disabled), .ev_no_descriptor(ev_rx_no_descriptor),
        .ev_frame(ev_rx_frame), .ev_length(ev_rx_length), .ev_bus_error(ev_rx_bus_error),
        .busy(rx_busy)
    );

    // ---- transmit

    nic_tx #(
        .Queues(Queues), .DataW(AxiDataW), .AddrW(AxiAddrW), .BufferBytes(TxBufferBytes),
        .Checksum(TxChecksum), .Segment(TxSegment), .RxOffload(RxOffload)
    ) u_tx (
        .clk, .rst(core_rst), .now(now[30:0]),
        .xgmii_txd, .xgmii_txc, .cfg_enable(cfg_tx_enable && !halt), .cfg_max_frame,
        .cfg_mac, .cfg_pause(cfg_pause_tx), .cfg_pause_quanta, .cfg_pause_xoff, .cfg_pause_xon,
        .rx_fill, .paused,
        .enable(tx_enable & {Queues{!halt}}), .run_on(tx_run_on), .log2_entries(tx_log2_entries),
        .doorbell(tx_doorbell), .doorbell_producer(tx_doorbell_producer), .desc_base(tx_desc_base),
        .cpl_base(tx_cpl_base),
        .doorbell_refused(tx_doorbell_refused), .active(tx_active), .error(tx_error),
        .producer(tx_producer), .fetched(tx_fetched), .completed(tx_completed),
        .read_job_valid(tx_read_job_valid), .read_job_ready(tx_read_job_ready),
        .read_job_addr(tx_read_job_addr), .read_job_len(tx_read_job_len),
        .read_job_tag(tx_read_job_tag),
        .read_tdata, .read_tkeep, .read_tvalid(tx_read_tvalid), .read_tready(tx_read_tready),
        .read_tlast, .read_ttag, .read_tresp,
        .write_job_valid(tx_write_job_valid), .write_job_ready(tx_write_job_ready),
        .write_job_addr(tx_write_job_addr), .write_job_len(tx_write_job_len),
        .write_job_tag(tx_write_job_tag),
        .write_tdata(tx_write_tdata), .write_tvalid(tx_write_tvalid),
        .write_tready(tx_write_tready), .write_done(tx_write_done), .write_done_tag,
        .write_done_resp,
        .start(tx_start), .failed(tx_failed),
        .ev_frame(ev_tx_frame), .ev_length(ev_tx_length), .ev_bus_error(ev_tx_bus_error),
        .ev_wire(ev_tx_wire), .ev_pause(ev_tx_pause), .ev_wire_len(ev_tx_len),
        .ev_wire_underrun(ev_tx_underrun),
        .wire_busy(tx_wire_busy), .busy(tx_busy)
    );

    // ---- memory

    dma_read #(
        .DataW(AxiDataW), .AddrW(AxiAddrW), .IdW(AxiIdW), .Clients(3), .TagW(QueueW)
    ) u_dma_read (
        .clk, .rst(core_rst),
        .job_valid({tx_read_job_valid, rx_read_job_valid}),
        .job_ready({tx_read_job_ready, rx_read_job_ready}),
        .job_addr({tx_read_job_addr, rx_read_job_addr}),
        .job_len({tx_read_job_len, rx_read_job_len}),
        .job_tag({tx_read_job_tag, rx_read_job_tag}),
        .m_axis_tdata(read_tdata), .m_axis_tkeep(read_tkeep), .m_axis_tvalid(read_tvalid),
        .m_axis_tready(read_tready), .m_axis_tlast(read_tlast), .m_axis_tclient(read_tclient),
        .m_axis_ttag(read_ttag), .m_axis_tresp(read_tresp), .m_axis_tresp_job(unused_tresp_job),
        .busy(dma_read_busy),
        .m_axi_arid, .m_axi_araddr, .m_axi_arlen, .m_axi_arsize, .m_axi_arburst, .m_axi_arlock,
        .m_axi_arcache, .m_axi_arprot, .m_axi_arvalid, .m_axi_arready,
        .m_axi_rid, .m_axi_rdata, .m_axi_rresp, .m_axi_rlast, .m_axi_rvalid, .m_axi_rready
    );

    read_demux #(.Clients(3)) u_read_demux (
        .s_axis_tvalid(read_tvalid), .s_axis_tready(read_tready), .s_axis_tclient(read_tclient),
        .m_axis_tvalid({tx_read_tvalid, rx_read_tvalid}),
        .m_axis_tready({tx_read_tready, rx_read_tready})
    );

    dma_write #(
        .DataW(AxiDataW), .AddrW(AxiAddrW), .IdW(AxiIdW), .Clients(3), .TagW(WriteTagW)
    ) u_dma_write (
        .clk, .rst(core_rst),
        .job_valid({tx_write_job_valid, rx_write_job_valid}),
        .job_ready({tx_write_job_ready, rx_write_job_ready}),
        .job_addr({tx_write_job_addr, rx_write_job_addr}),
        .job_len({tx_write_job_len, rx_write_job_len}),
        .job_tag({tx_write_job_tag, rx_write_job_tag}),
        .job_lane({{2 * LaneW{1'b0}}, rx_write_job_lane}),
        .s_axis_tdata({tx_write_tdata, rx_write_tdata}),
        .s_axis_tvalid({tx_write_tvalid, rx_write_tvalid}),
        .s_axis_tready({tx_write_tready, rx_write_tready}),
        .done_valid({tx_write_done, rx_write_done}), .done_tag(write_done_tag),
        .done_resp(write_done_resp), .busy(dma_write_busy),
        .m_axi_awid, .m_axi_awaddr, .m_axi_awlen, .m_axi_awsize, .m_axi_awburst, .m_axi_awlock,
        .m_axi_awcache, .m_axi_awprot, .m_axi_awvalid, .m_axi_awready,
        .m_axi_wdata, .m_axi_wstrb, .m_axi_wlast, .m_axi_wvalid, .m_axi_wready,
        .m_axi_bid, .m_axi_bresp, .m_axi_bvalid, .m_axi_bready
    );

    // ---- interrupts

    logic [Queues-1:0] irq_mask, irq_arm, irq_armed, irq_fired;
    logic [Queues-1:0][15:0] irq_cycles, irq_count, irq_rx_consumer, irq_tx_consumer;
    logic irq_busy;

    irq_control #(.Queues(Queues)) u_irq_control (
        .clk, .rst(core_rst), .mask(irq_mask), .moderation_cycles(irq_cycles),
        .moderation_count(irq_count),
        .arm(irq_arm), .arm_rx_consumer(irq_rx_consumer), .arm_tx_consumer(irq_tx_consumer),
        .armed(irq_armed), .fired(irq_fired),
        .rx_completed, .tx_completed, .rx_start, .tx_start, .failed(rx_failed | tx_failed),
        .irq(irq[Queues-1:0]), .busy(irq_busy)
    );

    // ---- registers, counters, reset

    logic [15:0] doorbell_errors;
    logic [COUNTERS-1:0][15:0] steps;
    logic [Queues-1:0][Q_COUNTERS-1:0] queue_events;
    logic soft_reset, quiet;
    logic [5:0] unused_prot;

    nic_events #(.Queues(Queues)) u_events (
        .rx_valid(ev_rx_wire), .rx_verdict(ev_rx_verdict), .rx_len(ev_rx_len),
        .tx_frame(ev_tx_wire), .tx_len(ev_tx_len), .tx_underrun(ev_tx_underrun),
        .rx_no_descriptor(ev_rx_no_descriptor), .rx_disabled(ev_rx_disabled),
        .rx_bus_error(ev_rx_bus_error), .rx_truncated(ev_rx_length), .rx_delivered(ev_rx_frame),
        .tx_bus_error(ev_tx_bus_error), .tx_bad_length(ev_tx_length), .tx_handed_over(ev_tx_frame),
        .doorbell_errors, .tx_pause(ev_tx_pause), .steps, .queue_events
    );

    axil_regs #(
        .Queues(Queues), .AxiDataW(AxiDataW), .MaxFrame(MaxFrame), .TxChecksum(TxChecksum),
        .TxSegment(TxSegment), .RxOffload(RxOffload), .Gated(Gated)
    ) u_regs (
        .clk, .rst, .core_rst,
        .s_axil_awaddr, .s_axil_awvalid, .s_axil_awready, .s_axil_wdata, .s_axil_wstrb,
        .s_axil_wvalid, .s_axil_wready,
        .s_axil_bresp, .s_axil_bvalid, .s_axil_bready,
        .s_axil_araddr, .s_axil_arvalid, .s_axil_arready, .s_axil_rdata, .s_axil_rresp,
        .s_axil_rvalid, .s_axil_rready,
        .cfg_rx_enable, .cfg_tx_enable, .cfg_promiscuous, .cfg_all_multicast, .cfg_mac,
        .cfg_max_frame, .cfg_default_queue, .cfg_filter, .cfg_filter_valid, .cfg_multicast_hash,
        .cfg_rss_ipv4, .cfg_rss_ipv6, .cfg_rss_key, .table_index, .table_queue, .cfg_vlan_strip,
        .cfg_header_split, .cfg_pause_rx, .cfg_pause_tx, .cfg_pause_quanta, .cfg_pause_xoff,
        .cfg_pause_xon, .skipped, .now,
        .soft_reset, .soft_resetting(halt), .link_up, .core_idle, .steps, .doorbell_errors,
        .queue_events,
        .rx_enable, .rx_run_on, .rx_log2_entries, .rx_doorbell, .rx_doorbell_producer,
        .rx_desc_base, .rx_cpl_base,
        .rx_doorbell_refused, .rx_active, .rx_error, .rx_producer, .rx_fetched, .rx_completed,
        .tx_enable, .tx_run_on, .tx_log2_entries, .tx_doorbell, .tx_doorbell_producer,
        .tx_desc_base, .tx_cpl_base,
        .tx_doorbell_refused, .tx_active, .tx_error, .tx_producer, .tx_fetched, .tx_completed,
        .irq_mask, .irq_cycles, .irq_count, .irq_arm, .irq_rx_consumer, .irq_tx_consumer,
        .irq_armed, .irq_fired, .irq_raised(irq[Queues-1:0]),
        .rx_failed, .tx_failed, .event_irq(irq[Queues]), .event_busy,
        .busy(axil_busy)
    );

    nic_reset u_reset (
        .clk, .rst, .request(soft_reset), .quiet, .halt, .core_rst
    );

    // What is under way is told two clocks late, by registers; so what arrives tells it as well, for
    // a clock longer than it is there.
    logic       wire_quiet, wire_quiet_q, axil_busy_q, axil_quiet_q, irq_busy_q;
    logic [5:0] busy_q;
    logic [2:0] rings_busy_q;

    assign wire_quiet = xgmii_rxc == 8'hff && xgmii_rxd == nic_pkg::XgmiiIdleWord;

    always_ff @(posedge clk) begin
        rings_busy_q <= {|rx_active, |tx_active, tx_wire_busy};
        quiet        <= rings_busy_q == '0 && busy_q[2:1] == '0;
        busy_q       <= {halt, rx_busy, tx_busy, dma_read_busy, dma_write_busy, event_busy};
        irq_busy_q   <= irq_busy;  // the rings that move it are busy for two clocks more
        core_idle    <= busy_q == '0 && !irq_busy_q;
        axil_busy_q  <= axil_busy;
        axil_quiet_q <= !axil_busy && !axil_busy_q;
        wire_quiet_q <= wire_quiet;
    end

    assign idle = core_idle && axil_quiet_q && wire_quiet && wire_quiet_q && !s_axil_awvalid
        && !s_axil_wvalid && !s_axil_arvalid;
    assign unused_prot = {s_axil_awprot, s_axil_arprot};

endmodule

`default_nettype wire
