// AXI4 (IHI 0022) on AR, whatever the jobs: valid stays, unchanged, until ready (A3.2.1), no burst
// crosses a multiple of MaxBurstBytes, so no 4 KiB (A3.4.1), and at most MaxBursts lack their last
// beat.  What is offered to the clients stays until taken, too.  `dma_read` says what the data is.

    localparam int FBurstW = $clog2(MaxBurstBytes);

    logic [15:0]      f_left;           // of the splitter's job
    logic [FBurstW:0] f_room;           // up to the next multiple
    logic [7:0]       f_asked_q = '0;   // accepted on AR, last beat not accepted on R
    logic [AddrW-1:0] f_last;           // where the last beat of a burst begins
    logic             f_past_q = 1'b0;
    logic             f_ends;           // the last beat of a burst is accepted

    assign f_ends = m_axi_rvalid && m_axi_rready && m_axi_rlast;
    assign f_last = (m_axi_araddr & ~(AddrW'(BeatBytes - 1)))
        + (AddrW'(m_axi_arlen) << BeatW);

    always_ff @(posedge clk) begin
        f_past_q  <= !rst;
        f_asked_q <= rst ? '0 : f_asked_q + 8'(m_axi_arvalid && m_axi_arready) - 8'(f_ends);
        for (int i = 0; i < Clients; i++) assume (!job_valid[i] || job_len[i] != 16'd0);
        assume (!m_axi_rvalid || (f_asked_q != '0 && m_axi_rid == '0));

        if (!rst) begin
            if (burst_valid)
                assert (f_left != '0 && f_room == (FBurstW + 1)'(MaxBurstBytes)
                    - (FBurstW + 1)'(burst_addr[FBurstW-1:0]));
            assert (8'(bursts_q) == f_asked_q + 8'(m_axi_arvalid) + 8'(ended_q)
                && f_asked_q < 8'h80);
            assert (32'(bursts_q) <= MaxBursts);
            if (taken_q) assert (burst_valid && !open_full);
            if (m_axi_arvalid) assert (m_axi_araddr >> FBurstW == f_last >> FBurstW);
            if (f_past_q && $past(m_axi_arvalid && !m_axi_arready))
                assert (m_axi_arvalid && $stable(m_axi_araddr) && $stable(m_axi_arlen));
            if (f_past_q && $past(m_axis_tvalid && !m_axis_tready))
                assert (m_axis_tvalid && $stable(m_axis_tdata) && $stable(m_axis_tkeep)
                    && $stable(m_axis_tlast) && $stable(m_axis_ttag) && $stable(m_axis_tclient)
                    && $stable(m_axis_tresp) && $stable(m_axis_tresp_job));
            cover (m_axi_arvalid && !m_axi_arready && m_axi_arlen == 8'd31);
            cover (32'(bursts_q) == MaxBursts && burst_valid && f_ends);
        end
    end
