// The register file behind its AXI4-Lite port (axil_slave holds for any registers): at most one
// block answers an address, a write gets DECERR where none does and nowhere else, a read takes at
// most three clocks and a write two, configuration changes only by a write, and what acts on the
// device (doorbell, arming, soft reset) happens only because of one.

    localparam int FConfig = 5 + 48 + 16 + 8 + 2 + 8 * 48 + 8 + 64 + 6 + 320 + 4 + 48;

    logic       f_past_q = 1'b0, f_wrote_q = 1'b0, f_known_q;
    logic [2:0] f_reading_q = '0, f_writing_q = '0;  // clocks that one has waited
    logic       f_aw_q = 1'b0, f_w_q = 1'b0, f_ar_q = 1'b0;  // accepted, no response shown
    logic [3:0] f_readers, f_writers;
    logic [FConfig-1:0]    f_config;
    logic [Queues*140-1:0] f_rings;

    assign f_config = {cfg_rx_enable, cfg_tx_enable, cfg_promiscuous, cfg_all_multicast, cfg_mac,
        cfg_max_frame, cfg_default_queue, cfg_filter, cfg_filter_valid, cfg_multicast_hash,
        cfg_rss_ipv4, cfg_rss_ipv6, cfg_rss_key, cfg_vlan_strip, cfg_header_split, cfg_pause_rx,
        cfg_pause_tx, cfg_pause_quanta, cfg_pause_xoff, cfg_pause_xon};
    assign f_rings = {rx_enable, tx_enable, rx_run_on, tx_run_on, rx_log2_entries,
        tx_log2_entries, rx_desc_base, tx_desc_base};

    always_comb begin
        f_readers = 4'(device_read_known);
        f_writers = 4'(device_write_known);
        for (int i = 0; i < 3; i++) begin
            f_readers = f_readers + 4'(part_read_known[i]);
            f_writers = f_writers + 4'(part_write_known[i]);
        end
        for (int i = 0; i < Queues; i++) begin
            f_readers = f_readers + 4'(queue_read_known[i]);
            f_writers = f_writers + 4'(queue_write_known[i]);
        end
    end

    always_ff @(posedge clk) begin
        f_past_q  <= !core_rst;
        f_wrote_q <= write && !rst;
        f_aw_q    <= !rst && (f_aw_q || (s_axil_awvalid && s_axil_awready)) && !write;
        f_w_q     <= !rst && (f_w_q || (s_axil_wvalid && s_axil_wready)) && !write;
        f_ar_q    <= !rst && (f_ar_q || (s_axil_arvalid && s_axil_arready)) && !read;
        f_writing_q <= f_aw_q && f_w_q && !s_axil_bvalid ? f_writing_q + 3'd1 : 3'd0;
        f_reading_q <= f_ar_q && !s_axil_rvalid ? f_reading_q + 3'd1 : 3'd0;
        if (write) f_known_q <= f_writers != '0;

        assume (!rst || core_rst);

        if (!rst) begin
            if (read) assert (f_readers <= 4'd1);
            if (write) assert (f_writers <= 4'd1);
            assert (f_aw_q == !s_axil_awready && f_w_q == !s_axil_wready);
            assert (f_ar_q == !s_axil_arready);
            assert (f_writing_q <= 3'd2);
            if (f_reading_q >= 3'd1) assert (read_ahead || read || s_axil_rvalid);
            if (f_reading_q >= 3'd2) assert (read || s_axil_rvalid);
            if (f_reading_q >= 3'd3) assert (s_axil_rvalid);
            if (f_wrote_q) assert (s_axil_bvalid && s_axil_bresp == (f_known_q ? 2'b00 : 2'b11));
            if (f_past_q && !core_rst && !f_wrote_q) assert ($stable(f_config) && $stable(f_rings));
            if (rx_doorbell != '0 || tx_doorbell != '0 || irq_arm != '0 || soft_reset)
                assert (write_ahead || write || f_wrote_q);
            cover (s_axil_bvalid && s_axil_bresp == 2'b11);
            cover (s_axil_rvalid && s_axil_rresp == 2'b11);
            cover (s_axil_rvalid && s_axil_rresp == 2'b00 && s_axil_rdata != '0);
            cover (irq_arm != '0);
        end
    end
