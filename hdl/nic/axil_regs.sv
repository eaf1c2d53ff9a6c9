// The AXI4-Lite port and all registers behind it: device_regs and one queue_regs a queue.  Reading
// the low word of any counter latches its high word, for the next read of a high word.

`default_nettype none

module axil_regs
    import nic_regs_pkg::*;
#(
    parameter int Queues = 1,
    parameter int AxiDataW = 128,
    parameter int MaxFrame = 9018,
    parameter bit TxChecksum = 1,
    parameter bit TxSegment = 1,
    parameter bit RxOffload = 1'b1,
    parameter bit Gated = 1'b0
) (
    input  wire logic                              clk,
    input  wire logic                              rst,       // the port
    input  wire logic                              core_rst,  // the registers

    // AXI4-Lite
    input  wire logic [15:0]                       s_axil_awaddr,
    input  wire logic                              s_axil_awvalid,
    output      logic                              s_axil_awready,
    input  wire logic [31:0]                       s_axil_wdata,
    input  wire logic [3:0]                        s_axil_wstrb,
    input  wire logic                              s_axil_wvalid,
    output      logic                              s_axil_wready,
    output      logic [1:0]                        s_axil_bresp,
    output      logic                              s_axil_bvalid,
    input  wire logic                              s_axil_bready,
    input  wire logic [15:0]                       s_axil_araddr,
    input  wire logic                              s_axil_arvalid,
    output      logic                              s_axil_arready,
    output      logic [31:0]                       s_axil_rdata,
    output      logic [1:0]                        s_axil_rresp,
    output      logic                              s_axil_rvalid,
    input  wire logic                              s_axil_rready,

    // device
    output      logic                              cfg_rx_enable,
    output      logic                              cfg_tx_enable,
    output      logic                              cfg_promiscuous,
    output      logic                              cfg_all_multicast,
    output      logic [47:0]                       cfg_mac,
    output      logic [15:0]                       cfg_max_frame,
    output      logic [7:0]                        cfg_default_queue,
    output      logic [7:0][47:0]                  cfg_filter,
    output      logic [7:0]                        cfg_filter_valid,
    output      logic [63:0]                       cfg_multicast_hash,
    output      logic [2:0]                        cfg_rss_ipv4,
    output      logic [2:0]                        cfg_rss_ipv6,
    output      logic [319:0]                      cfg_rss_key,
    input  wire logic [6:0]                        table_index,
    output      logic [3:0]                        table_queue,
    output      logic                              cfg_vlan_strip,
    output      logic                              cfg_header_split,
    output      logic                              cfg_pause_rx,
    output      logic                              cfg_pause_tx,
    output      logic [15:0]                       cfg_pause_quanta,
    output      logic [15:0]                       cfg_pause_xoff,
    output      logic [15:0]                       cfg_pause_xon,
    input  wire logic [63:0]                       skipped,        // cycles, see ns_clock
    output      logic [63:0]                       now,            // ns
    output      logic                              soft_reset,
    input  wire logic                              soft_resetting,
    input  wire logic                              link_up,
    input  wire logic                              core_idle,
    input  wire logic [COUNTERS-1:0][15:0]         steps,          // in the order of the counters
    output      logic [15:0]                       doorbell_errors,

    // receive rings
    output      logic [Queues-1:0]                 rx_enable,
    output      logic [Queues-1:0]                 rx_run_on,
    output      logic [Queues-1:0][3:0]            rx_log2_entries,
    output      logic [Queues-1:0]                 rx_doorbell,
    output      logic [Queues-1:0][15:0]           rx_doorbell_producer,
    output      logic [Queues-1:0][63:0]           rx_desc_base,
    output      logic [Queues-1:0][63:0]           rx_cpl_base,
    input  wire logic [Queues-1:0]                 rx_doorbell_refused,
    input  wire logic [Queues-1:0]                 rx_active,
    input  wire logic [Queues-1:0][3:0]            rx_error,
    input  wire logic [Queues-1:0][15:0]           rx_producer,
    input  wire logic [Queues-1:0][15:0]           rx_fetched,
    input  wire logic [Queues-1:0][15:0]           rx_completed,

    // transmit rings
    output      logic [Queues-1:0]                 tx_enable,
    output      logic [Queues-1:0]                 tx_run_on,
    output      logic [Queues-1:0][3:0]            tx_log2_entries,
    output      logic [Queues-1:0]                 tx_doorbell,
    output      logic [Queues-1:0][15:0]           tx_doorbell_producer,
    output      logic [Queues-1:0][63:0]           tx_desc_base,
    output      logic [Queues-1:0][63:0]           tx_cpl_base,
    input  wire logic [Queues-1:0]                 tx_doorbell_refused,
    input  wire logic [Queues-1:0]                 tx_active,
    input  wire logic [Queues-1:0][3:0]            tx_error,
    input  wire logic [Queues-1:0][15:0]           tx_producer,
    input  wire logic [Queues-1:0][15:0]           tx_fetched,
    input  wire logic [Queues-1:0][15:0]           tx_completed,

    // interrupts
    output      logic [Queues-1:0]                 irq_mask,
    output      logic [Queues-1:0][15:0]           irq_cycles,
    output      logic [Queues-1:0][15:0]           irq_count,
    output      logic [Queues-1:0]                 irq_arm,
    output      logic [Queues-1:0][15:0]           irq_rx_consumer,
    output      logic [Queues-1:0][15:0]           irq_tx_consumer,
    input  wire logic [Queues-1:0]                 irq_armed,
    input  wire logic [Queues-1:0]                 irq_fired,
    input  wire logic [Queues-1:0]                 irq_raised,
    input  wire logic [Queues-1:0]                 rx_failed,
    input  wire logic [Queues-1:0]                 tx_failed,
    output      logic                              event_irq,
    output      logic                              event_busy,

    input  wire logic [Queues-1:0][Q_COUNTERS-1:0] queue_events,  // in the order of the counters
    output      logic                              busy
);

    // ---- port

    logic        write_ahead, write, write_known, read_ahead, read, read_known;
    logic [15:0] write_addr, read_addr;
    logic [31:0] write_data, write_mask, read_data;

    axil_slave #(.AddrW(16)) u_slave (
        .clk,
        .rst,
        .s_axil_awaddr,
        .s_axil_awvalid,
        .s_axil_awready,
        .s_axil_wdata,
        .s_axil_wstrb,
        .s_axil_wvalid,
        .s_axil_wready,
        .s_axil_bresp,
        .s_axil_bvalid,
        .s_axil_bready,
        .s_axil_araddr,
        .s_axil_arvalid,
        .s_axil_arready,
        .s_axil_rdata,
        .s_axil_rresp,
        .s_axil_rvalid,
        .s_axil_rready,
        .write_ahead,
        .write,
        .write_addr,
        .write_data,
        .write_mask,
        .write_known,
        .read_ahead,
        .read,
        .read_addr,
        .read_data,
        .read_known,
        .busy
    );

    // ---- device

    logic        device_write_known, device_read_known, device_is_counter;
    logic [31:0] device_data, device_high;

    assign doorbell_errors = 16'(write && !write_known) + 16'(read && !read_known)
        + 16'(|rx_doorbell_refused) + 16'(|tx_doorbell_refused);

    device_regs #(
        .Queues(Queues), .AxiDataW(AxiDataW), .MaxFrame(MaxFrame), .TxChecksum(TxChecksum),
        .TxSegment(TxSegment), .RxOffload(RxOffload)
    ) u_device (
        .clk,
        .rst(core_rst),
        .write_ahead,
        .write,
        .write_addr,
        .write_data,
        .write_mask,
        .write_known(device_write_known),
        .read_ahead,
        .read_addr,
        .read_data(device_data),
        .read_known(device_read_known),
        .read_is_counter(device_is_counter),
        .counter_high(device_high),
        .cfg_rx_enable,
        .cfg_tx_enable,
        .cfg_promiscuous,
        .cfg_all_multicast,
        .cfg_mac,
        .cfg_max_frame,
        .cfg_default_queue,
        .soft_reset,
        .soft_resetting,
        .link_up,
        .core_idle,
        .steps
    );

    // ---- receive, events, clock: each reads as 0 where another is meant

    logic [2:0]       part_write_known, part_read_known;
    logic [2:0][31:0] part_data;

    rx_regs #(.RxOffload(RxOffload)) u_rx (
        .clk, .rst(core_rst),
        .write_ahead, .write, .write_addr, .write_data, .write_mask,
        .write_known(part_write_known[0]),
        .read_ahead, .read_addr, .read_data(part_data[0]), .read_known(part_read_known[0]),
        .cfg_filter, .cfg_filter_valid, .cfg_multicast_hash, .cfg_rss_ipv4, .cfg_rss_ipv6,
        .cfg_rss_key, .table_index, .table_queue, .cfg_vlan_strip, .cfg_header_split,
        .cfg_pause_rx, .cfg_pause_tx, .cfg_pause_quanta, .cfg_pause_xoff, .cfg_pause_xon
    );

    event_regs #(.Queues(Queues)) u_events (
        .clk, .rst(core_rst),
        .write_ahead, .write, .write_addr, .write_data, .write_mask,
        .write_known(part_write_known[1]),
        .read_ahead, .read_addr, .read_data(part_data[1]), .read_known(part_read_known[1]),
        .link_up, .rx_failed, .tx_failed, .irq(event_irq), .busy(event_busy)
    );

    ns_clock #(.Gated(Gated)) u_clock (
        .clk, .rst(core_rst), .skipped,
        .write_ahead, .write, .write_addr, .write_data, .write_mask,
        .write_known(part_write_known[2]),
        .read_ahead, .read_addr, .read_data(part_data[2]), .read_known(part_read_known[2]), .now
    );

    // ---- queues

    logic [Queues-1:0]       write_here, read_here;  // the address is in that queue's block
    logic [Queues-1:0]       queue_write_known, queue_read_known, queue_is_counter;
    logic [Queues-1:0][31:0] queue_data, queue_high;

    for (genvar q = 0; q < Queues; q++) begin : g_queue
        localparam logic [15:0] Base = QUEUE_BASE + 16'(q * QUEUE_STRIDE);

        assign write_here[q] = write_addr[15:8] == Base[15:8];
        assign read_here[q]  = read_addr[15:8] == Base[15:8];

        queue_regs u_queue (
            .clk,
            .rst(core_rst),
            .write_ahead,
            .write_here(write_here[q]),
            .write,
            .write_offset(write_addr[7:0]),
            .write_data,
            .write_mask,
            .write_known(queue_write_known[q]),
            .read_ahead,
            .read_here(read_here[q]),
            .read_offset(read_addr[7:0]),
            .read_data(queue_data[q]),
            .read_known(queue_read_known[q]),
            .read_is_counter(queue_is_counter[q]),
            .counter_high(queue_high[q]),
            .enable({tx_enable[q], rx_enable[q]}),
            .run_on({tx_run_on[q], rx_run_on[q]}),
            .log2_entries({tx_log2_entries[q], rx_log2_entries[q]}),
            .doorbell({tx_doorbell[q], rx_doorbell[q]}),
            .doorbell_producer({tx_doorbell_producer[q], rx_doorbell_producer[q]}),
            .desc_base({tx_desc_base[q], rx_desc_base[q]}),
            .cpl_base({tx_cpl_base[q], rx_cpl_base[q]}),
            .active({tx_active[q], rx_active[q]}),
            .error({tx_error[q], rx_error[q]}),
            .producer({tx_producer[q], rx_producer[q]}),
            .fetched({tx_fetched[q], rx_fetched[q]}),
            .completed({tx_completed[q], rx_completed[q]}),
            .irq_mask(irq_mask[q]),
            .irq_cycles(irq_cycles[q]),
            .irq_count(irq_count[q]),
            .irq_arm(irq_arm[q]),
            .irq_rx_consumer(irq_rx_consumer[q]),
            .irq_tx_consumer(irq_tx_consumer[q]),
            .irq_armed(irq_armed[q]),
            .irq_fired(irq_fired[q]),
            .irq_raised(irq_raised[q]),
            .events(queue_events[q])
        );
    end

    assign write_known = device_write_known || |part_write_known || |queue_write_known;
    assign read_known  = device_read_known || |part_read_known || |queue_read_known;

    // ---- read: all but one block answer 0; a counter's high word comes from the latch

    logic        is_counter;
    logic [31:0] low, high, high_q;

    always_comb begin
        low        = device_data | part_data[0] | part_data[1] | part_data[2];
        high       = device_is_counter ? device_high : '0;
        is_counter = device_is_counter;
        for (int q = 0; q < Queues; q++) begin
            low        = low | queue_data[q];
            high       = high | (queue_is_counter[q] ? queue_high[q] : '0);
            is_counter = is_counter || queue_is_counter[q];
        end
    end

    assign read_data = low | (is_counter && read_addr[2] ? high_q : '0);

    always_ff @(posedge clk) begin
        if (read && is_counter && !read_addr[2]) high_q <= high;
        if (core_rst) high_q <= '0;
    end

endmodule

`default_nettype wire
