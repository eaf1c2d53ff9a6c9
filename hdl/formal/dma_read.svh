// AXI4 (IHI 0022) on AR and R: valid stays, unchanged, until ready (A3.2.1), no burst crosses 4 KiB;
// nothing is under way when `busy` is low.  A job gives one packet of exactly its bytes.  The slave
// answers the bursts in order, each with its beats.

    (* anyconst *) logic [3:0] f_nth;             // one job, followed
    logic [3:0]  f_ar_q = '0, f_r_q = '0;         // bursts accepted, and answered with RLAST
    logic [7:0]  f_lens_q [16];                   // ARLEN of each burst
    logic [7:0]  f_beats_q = '0;                  // of the burst under way
    logic [3:0]  f_jobs_q = '0, f_packets_q = '0;
    logic [15:0] f_len_q, f_bytes_q = '0;         // the followed job's; delivered of this packet
    logic [15:0] f_bytes;
    logic        f_past_q = 1'b0;

    always_comb begin
        f_bytes = f_bytes_q;
        for (int i = 0; i < BeatBytes; i++) f_bytes = f_bytes + 16'(m_axis_tkeep[i]);
    end

    always_ff @(posedge clk) begin
        f_past_q <= !rst;
        if (rst) begin
            f_ar_q      <= '0;
            f_r_q       <= '0;
            f_beats_q   <= '0;
            f_jobs_q    <= '0;
            f_packets_q <= '0;
            f_bytes_q   <= '0;
        end else begin
            if (m_axi_arvalid && m_axi_arready) begin
                f_ar_q           <= f_ar_q + 4'd1;
                f_lens_q[f_ar_q] <= m_axi_arlen;
            end
            if (m_axi_rvalid && m_axi_rready) begin
                f_r_q     <= f_r_q + 4'(m_axi_rlast);
                f_beats_q <= m_axi_rlast ? '0 : f_beats_q + 8'd1;
            end
            if (take_job) begin
                f_jobs_q <= f_jobs_q + 4'd1;
                if (f_jobs_q == f_nth) f_len_q <= job_len[client];
            end
            if (m_axis_tvalid && m_axis_tready) begin
                f_packets_q <= f_packets_q + 4'(m_axis_tlast);
                f_bytes_q   <= m_axis_tlast ? '0 : f_bytes;
            end

            for (int i = 0; i < Clients; i++) begin
                assume (!job_valid[i] || (job_len[i] != 16'd0 && job_len[i] < 16'd64));
                if (f_past_q && $past(job_valid[i] && !job_ready[i]))
                    assume (job_valid[i] && $stable(job_addr[i]) && $stable(job_len[i])
                        && $stable(job_tag[i]));
            end
            assume (!m_axi_rvalid || f_r_q != f_ar_q);
            assume (!m_axi_rvalid || m_axi_rlast == (f_beats_q == f_lens_q[f_r_q]));
            assume (!m_axi_rvalid || m_axi_rid == '0);
            if (f_past_q && $past(m_axi_rvalid && !m_axi_rready)) assume (m_axi_rvalid);
            assume (f_ar_q < 4'd14 && f_jobs_q < 4'd14);  // no count wraps within the depth

            if (f_past_q && $past(m_axi_arvalid && !m_axi_arready))
                assert (m_axi_arvalid && $stable(m_axi_araddr) && $stable(m_axi_arlen));
            if (f_past_q && $past(m_axis_tvalid && !m_axis_tready))
                assert (m_axis_tvalid && $stable(m_axis_tdata) && $stable(m_axis_tkeep)
                    && $stable(m_axis_tlast) && $stable(m_axis_ttag));
            assert (32'(f_ar_q - f_r_q) <= MaxBursts);
            assert (!m_axi_arvalid || m_axi_araddr[15:12]
                == 4'((m_axi_araddr + 16'(m_axi_arlen) * 16'(BeatBytes)) >> 12));
            if (m_axis_tvalid) assert (f_packets_q < f_jobs_q);
            if (m_axis_tvalid && f_packets_q == f_nth)
                assert (f_bytes <= f_len_q && m_axis_tlast == (f_bytes == f_len_q));
            assert (busy || (f_ar_q == f_r_q && f_packets_q == f_jobs_q));
            cover (f_packets_q == 4'd2 && !busy);
            cover (m_axis_tvalid && m_axis_tresp_job == 2'b11 && f_ar_q == 4'd3);
        end
    end
