// AXI4 (IHI 0022) on AW, W and B: valid stays, unchanged, until ready (A3.2.1); a burst has the
// beats its address announced and ends with WLAST (A3.4.1); no beat comes before the address of
// its burst; nothing is under way when `busy` is low.  Each job is done once.  The slave answers a
// burst once, when it has all of it.

    (* anyconst *) logic [3:0] f_nth;              // one burst, followed
    logic [3:0] f_aw_q = '0, f_aw_taken_q = '0;    // bursts shown on AW, accepted there,
    logic [3:0] f_w_q = '0, f_b_q = '0;            // whose last beat was accepted, answered
    logic [3:0] f_jobs_q = '0, f_done_q = '0;
    logic [7:0] f_len_q, f_beats_q = '0;           // of the followed burst; beats of this burst
    logic       f_past_q = 1'b0;

    logic f_aw_new, f_w_beat;

    assign f_aw_new = burst_take;
    assign f_w_beat = m_axi_wvalid && m_axi_wready;

    always_ff @(posedge clk) begin
        f_past_q <= !rst;
        if (rst) begin
            f_aw_q       <= '0;
            f_aw_taken_q <= '0;
            f_w_q        <= '0;
            f_b_q        <= '0;
            f_jobs_q     <= '0;
            f_done_q     <= '0;
            f_beats_q    <= '0;
        end else begin
            f_aw_q       <= f_aw_q + 4'(f_aw_new);
            f_aw_taken_q <= f_aw_taken_q + 4'(m_axi_awvalid && m_axi_awready);
            f_w_q        <= f_w_q + 4'(f_w_beat && m_axi_wlast);
            f_b_q        <= f_b_q + 4'(m_axi_bvalid && m_axi_bready);
            f_jobs_q     <= f_jobs_q + 4'(job_ready != '0);
            f_done_q     <= f_done_q + 4'(done_valid != '0);
            if (f_aw_new && f_aw_q == f_nth) f_len_q <= burst_len;
            if (f_w_beat) f_beats_q <= m_axi_wlast ? '0 : f_beats_q + 8'd1;

            for (int i = 0; i < Clients; i++) begin
                assume (!job_valid[i] || (job_len[i] != 16'd0 && job_len[i] < 16'd64));
                if (f_past_q && $past(job_valid[i] && !job_ready[i]))
                    assume (job_valid[i] && $stable(job_addr[i]) && $stable(job_len[i])
                        && $stable(job_tag[i]) && $stable(job_lane[i]));
            end
            assume (!m_axi_bvalid || (f_b_q != f_w_q && f_b_q != f_aw_taken_q));
            assume (!m_axi_bvalid || m_axi_bid == '0);
            assume (f_aw_q < 4'd14 && f_jobs_q < 4'd14);  // no count wraps within the depth

            if (f_past_q && $past(m_axi_awvalid && !m_axi_awready))
                assert (m_axi_awvalid && $stable(m_axi_awaddr) && $stable(m_axi_awlen));
            if (f_past_q && $past(m_axi_wvalid && !m_axi_wready))
                assert (m_axi_wvalid && $stable(m_axi_wdata) && $stable(m_axi_wstrb)
                    && $stable(m_axi_wlast));
            assert (!m_axi_wvalid || f_w_q < f_aw_q);
            assert (32'(f_aw_q - f_b_q) <= MaxBursts);
            if (m_axi_wvalid && f_w_q == f_nth)
                assert (f_beats_q <= f_len_q && m_axi_wlast == (f_beats_q == f_len_q));
            assert (!m_axi_awvalid || m_axi_awaddr[15:12]
                == 4'((m_axi_awaddr + 16'(m_axi_awlen) * 16'(BeatBytes)) >> 12));
            assert (f_done_q <= f_jobs_q);
            assert (busy || (f_aw_q == f_b_q && f_w_q == f_aw_q && f_done_q == f_jobs_q));
            cover (f_done_q == 4'd2 && !busy);
            cover (done_valid != '0 && done_resp == 2'b11 && f_aw_q == 4'd3);
        end
    end
