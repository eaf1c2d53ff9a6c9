// AXI4 (IHI 0022) on AW and W, whatever the jobs: valid stays, unchanged, until ready (A3.2.1), no
// burst crosses a multiple of MaxBurstBytes, so no 4 KiB (A3.4.1), no beat is shown before its
// address, and at most MaxBursts lack their response.  The slave answers bursts it has whole.
// `dma_write` says what the data is.

    logic [15:0]            f_left;          // of the splitter's job
    logic [BurstW:0]        f_room;          // up to the next multiple
    logic [BurstCountW-1:0] f_waiting;       // for a response
    logic [7:0]             f_asked_q = '0;    // accepted on AW, no response
    logic [7:0]             f_written_q = '0;  // last beat accepted on W, no response
    logic [AddrW-1:0]       f_last;          // where the last beat of a burst begins
    logic                   f_past_q = 1'b0;

    assign f_last = (m_axi_awaddr & ~(AddrW'(BeatBytes - 1)))
        + (AddrW'(m_axi_awlen) << BeatW);

    always_ff @(posedge clk) begin
        f_past_q    <= !rst;
        f_asked_q   <= f_asked_q + 8'(m_axi_awvalid && m_axi_awready) - 8'(m_axi_bvalid);
        f_written_q <= f_written_q + 8'(m_axi_wvalid && m_axi_wready && m_axi_wlast)
            - 8'(m_axi_bvalid);
        if (rst) begin
            f_asked_q   <= '0;
            f_written_q <= '0;
        end
        for (int i = 0; i < Clients; i++) assume (!job_valid[i] || job_len[i] != 16'd0);
        assume (!m_axi_bvalid || (f_asked_q != '0 && f_written_q != '0 && m_axi_bid == '0));

        if (!rst) begin
            if (burst_valid)
                assert (f_left != '0 && f_room == (BurstW + 1)'(MaxBurstBytes)
                    - (BurstW + 1)'(burst_addr[BurstW-1:0]));
            assert (32'(f_waiting) <= MaxBursts);
            assert (responses_full == (32'(f_waiting) == MaxBursts));
            assert (response_valid == (f_waiting != '0));
            assert (8'(f_waiting) == f_asked_q + 8'(m_axi_awvalid) && f_asked_q < 8'h80);
            assert (8'(f_waiting) == 8'(addressed_q) + 8'(m_axi_wvalid && m_axi_wlast)
                + f_written_q && f_written_q < 8'h80);
            assert (addressed_any_q == (addressed_q != '0));
            // Those addressed and this one are the bursts shown and not written whole.
            if (m_axi_wvalid) assert (m_axi_wlast || addressed_q != '0);
            if (m_axi_awvalid) assert (m_axi_awaddr >> BurstW == f_last >> BurstW);
            if (f_past_q && $past(m_axi_awvalid && !m_axi_awready))
                assert (m_axi_awvalid && $stable(m_axi_awaddr) && $stable(m_axi_awlen));
            if (f_past_q && $past(m_axi_wvalid && !m_axi_wready))
                assert (m_axi_wvalid && $stable(m_axi_wdata) && $stable(m_axi_wstrb)
                    && $stable(m_axi_wlast));
            cover (m_axi_awvalid && !m_axi_awready && m_axi_awlen == 8'd31);
            cover (32'(f_waiting) == MaxBursts && burst_valid && m_axi_bvalid);
            cover (m_axi_wvalid && !m_axi_wready && m_axi_wlast && addressed_q != '0);
        end
    end
