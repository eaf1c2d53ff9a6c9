// AXI4 (IHI 0022) on AW, W and B: valid stays, unchanged, until ready (A3.2.1); a burst has the
// beats its address announced and ends with WLAST (A3.4.1), crosses no 4 KiB; no beat comes before
// the address of its burst is shown; at most MaxBursts lack their response.  Of a job, whichever is
// followed: its bursts lie one behind the other and cover it, its bytes stand where they belong and
// no other byte is written, it is reported once, in turn, with the worst response.  Nothing is
// under way when `busy` is low.  The slave answers a burst once, when it has all of it.

    // ---- bursts

    logic       f_past_q = 1'b0, f_aw_waits_q = 1'b0, f_aw_new, f_w_beat, f_w_last;
    logic [7:0] f_ahead_q = '0;               // shown on AW before, last beat not accepted on W
    logic [7:0] f_addressed_q = '0;           // address accepted, not answered
    logic [7:0] f_written_q = '0;             // last beat accepted, not answered
    logic [7:0] f_beats_q = '0;               // accepted of the burst under way
    (* anyseq *) logic f_mark_burst;
    logic       f_burst_q = 1'b0, f_burst;    // one burst, followed
    logic [7:0] f_place_q, f_place;           // bursts before it on W
    logic [7:0] f_len_q, f_len;

    assign f_aw_new = m_axi_awvalid && !f_aw_waits_q;
    assign f_w_beat = m_axi_wvalid && m_axi_wready;
    assign f_w_last = f_w_beat && m_axi_wlast;
    assign f_burst  = f_burst_q || (f_aw_new && f_mark_burst);
    assign f_place  = f_burst_q ? f_place_q : f_ahead_q;
    assign f_len    = f_burst_q ? f_len_q : m_axi_awlen;

    // ---- one job, followed, and one place in its beats on W

    localparam int FBlock = MaxBurstBytes - 1, FLane = BeatBytes - 1;
    (* anyseq *) logic f_mark_job;
    (* anyconst *) logic [7:0] f_spot;         // a byte lane, counted from its first beat
    logic [Clients-1:0][7:0] f_in_due_q = '0;  // beats of the streams: due
    logic [7:0] f_w_due_q = '0, f_aw_due_q = '0, f_b_due_q = '0, f_done_due_q = '0;
    logic [7:0] f_len8, f_in_beats, f_w_beats, f_bursts;  // of the job that is taken
    logic       f_job_q = 1'b0;
    logic [AddrW-1:0]   f_addr_q;
    logic [7:0]         f_bytes_q;
    logic [ClientW-1:0] f_client_q;
    logic [TagW-1:0]    f_tag_q;
    logic [LaneW-1:0]   f_in_lane_q;
    logic [7:0] f_in_q, f_w_q, f_aw_q, f_b_q, f_done_q;  // before it, or before its spot
    logic [7:0] f_aw_left_q, f_b_left_q, f_w_left_q;  // its bursts not shown, not answered; beats
    logic       f_wanted_q;                              // the spot is one of its bytes
    logic       f_seen_q;                                // and has come
    logic [7:0] f_value_q;
    logic [1:0] f_worst_q, f_resp;

    assign f_len8     = 8'(job_len[client]);
    assign f_in_beats = ((8'(job_lane[client]) + f_len8 - 8'd1) >> BeatW) + 8'd1;
    assign f_w_beats  = (((8'(addr) & 8'(FLane)) + f_len8 - 8'd1) >> BeatW) + 8'd1;
    assign f_bursts   = (((8'(addr) & 8'(FBlock)) + f_len8 - 8'd1) >> BurstW) + 8'd1;
    assign f_resp     = m_axi_bresp[1] ? m_axi_bresp : 2'b00;

    always_ff @(posedge clk) begin
        f_past_q <= !rst;
        f_aw_waits_q <= m_axi_awvalid && !m_axi_awready;
        f_ahead_q     <= f_ahead_q + 8'(f_aw_new) - 8'(f_w_last);
        f_addressed_q <= f_addressed_q + 8'(m_axi_awvalid && m_axi_awready) - 8'(m_axi_bvalid);
        f_written_q   <= f_written_q + 8'(f_w_last) - 8'(m_axi_bvalid);
        if (f_w_beat) f_beats_q <= m_axi_wlast ? '0 : f_beats_q + 8'd1;
        f_burst_q <= f_burst && !(f_w_last && f_place == '0);
        f_place_q <= f_place - 8'(f_w_last);
        f_len_q   <= f_len;

        for (int i = 0; i < Clients; i++)
            f_in_due_q[i] <= f_in_due_q[i] + (job_ready[i] ? f_in_beats : '0)
                - 8'(s_axis_tvalid[i] && s_axis_tready[i]);
        f_w_due_q    <= f_w_due_q + (job_ready != '0 ? f_w_beats : '0) - 8'(f_w_beat);
        f_aw_due_q   <= f_aw_due_q + (job_ready != '0 ? f_bursts : '0) - 8'(f_aw_new);
        f_b_due_q    <= f_b_due_q + (job_ready != '0 ? f_bursts : '0) - 8'(m_axi_bvalid);
        f_done_due_q <= f_done_due_q + 8'(job_ready != '0) - 8'(done_valid != '0);

        if (!f_job_q && job_ready != '0 && f_mark_job) begin
            f_job_q     <= 1'b1;
            f_addr_q    <= addr;
            f_bytes_q   <= f_len8;
            f_client_q  <= client;
            f_tag_q     <= job_tag[client];
            f_in_lane_q <= LaneW'(8'(job_lane[client]) + f_spot - (8'(addr) & 8'(FLane)));
            f_in_q      <= f_in_due_q[client] + ((8'(job_lane[client]) + f_spot
                - (8'(addr) & 8'(FLane))) >> BeatW)
                - 8'(s_axis_tvalid[client] && s_axis_tready[client]);
            f_w_q       <= f_w_due_q + (f_spot >> BeatW) - 8'(f_w_beat);
            f_aw_q      <= f_aw_due_q - 8'(f_aw_new);
            f_b_q       <= f_b_due_q - 8'(m_axi_bvalid);
            f_done_q    <= f_done_due_q - 8'(done_valid != '0);
            f_aw_left_q <= f_bursts;
            f_b_left_q  <= f_bursts;
            f_w_left_q  <= f_w_beats;
            f_wanted_q  <= f_spot >= (8'(addr) & 8'(FLane))
                && f_spot < (8'(addr) & 8'(FLane)) + f_len8;
            f_seen_q    <= 1'b0;
            f_worst_q   <= '0;
            assume (f_spot < (f_w_beats << BeatW));
        end
        if (f_job_q) begin
            if (s_axis_tvalid[f_client_q] && s_axis_tready[f_client_q]) begin
                f_in_q <= f_in_q - 8'd1;
                if (f_in_q == '0) begin
                    f_seen_q  <= 1'b1;
                    f_value_q <= s_axis_tdata[f_client_q][8*f_in_lane_q +: 8];
                end
            end
            if (f_w_beat) f_w_q <= f_w_q - 8'd1;
            if (f_aw_new) begin
                if (f_aw_q != '0) f_aw_q <= f_aw_q - 8'd1;
                else if (f_aw_left_q != '0) begin
                    f_aw_left_q <= f_aw_left_q - 8'd1;
                    f_w_left_q  <= f_w_left_q - m_axi_awlen - 8'd1;
                    f_addr_q    <= (f_addr_q & ~(AddrW'(FBlock))) + AddrW'(MaxBurstBytes);
                end
            end
            if (m_axi_bvalid) begin
                if (f_b_q != '0) f_b_q <= f_b_q - 8'd1;
                else if (f_b_left_q != '0) begin
                    f_b_left_q <= f_b_left_q - 8'd1;
                    if (f_resp > f_worst_q) f_worst_q <= f_resp;
                end
            end
            if (done_valid != '0) begin
                f_done_q <= f_done_q - 8'd1;
                if (f_done_q == '0) f_job_q <= 1'b0;
            end
        end

        if (rst) begin
            f_aw_waits_q  <= 1'b0;
            f_ahead_q     <= '0;
            f_addressed_q <= '0;
            f_written_q   <= '0;
            f_beats_q     <= '0;
            f_burst_q     <= 1'b0;
            f_in_due_q    <= '0;
            f_w_due_q     <= '0;
            f_aw_due_q    <= '0;
            f_b_due_q     <= '0;
            f_done_due_q  <= '0;
            f_job_q       <= 1'b0;
        end

        // ---- the neighbours keep to their ports' meaning
        for (int i = 0; i < Clients; i++) begin
            assume (!job_valid[i] || (job_len[i] != 16'd0 && job_len[i] < 16'd64));
            if (f_past_q && $past(job_valid[i] && !job_ready[i]))
                assume (job_valid[i] && $stable(job_addr[i]) && $stable(job_len[i])
                    && $stable(job_tag[i]) && $stable(job_lane[i]));
        end
        assume (!m_axi_bvalid || (f_addressed_q != '0 && f_written_q != '0));
        assume (!m_axi_bvalid || m_axi_bid == '0);

        if (!rst) begin
            if (f_past_q && $past(m_axi_awvalid && !m_axi_awready))
                assert (m_axi_awvalid && $stable(m_axi_awaddr) && $stable(m_axi_awlen));
            if (f_past_q && $past(m_axi_wvalid && !m_axi_wready))
                assert (m_axi_wvalid && $stable(m_axi_wdata) && $stable(m_axi_wstrb)
                    && $stable(m_axi_wlast));
            assert (!m_axi_awvalid || 17'(m_axi_awaddr[11:0] & ~(12'(FLane)))
                + ((17'(m_axi_awlen) + 17'd1) << BeatW) <= 17'd4096);
            assert (!m_axi_wvalid || f_ahead_q != '0 || f_aw_new);
            assert (f_ahead_q + 8'(f_aw_new) + f_written_q <= 8'(MaxBursts));
            if (m_axi_wvalid && f_burst && f_place == '0)
                assert (f_beats_q <= f_len && m_axi_wlast == (f_beats_q == f_len));

            for (int i = 0; i < Clients; i++)
                assert (!(s_axis_tvalid[i] && s_axis_tready[i]) || f_in_due_q[i] != '0);
            if (f_job_q) begin
                if (f_aw_new && f_aw_q == '0 && f_aw_left_q != '0)
                    assert (m_axi_awaddr == f_addr_q && m_axi_awlen < f_w_left_q
                        && (f_aw_left_q != 8'd1 || m_axi_awlen + 8'd1 == f_w_left_q));
                if (m_axi_wvalid && f_w_q == '0) begin
                    assert (m_axi_wstrb[f_spot[BeatW-1:0]] == f_wanted_q);
                    if (f_wanted_q) assert (f_seen_q
                        && m_axi_wdata[8*f_spot[BeatW-1:0] +: 8] == f_value_q);
                end
                if (done_valid != '0 && f_done_q == '0)
                    assert (f_b_left_q == '0 && done_valid == Clients'(1) << f_client_q
                        && done_tag == f_tag_q && done_resp == f_worst_q);
            end
            assert (done_valid == '0 || f_done_due_q != '0);
            if (!busy) assert (f_done_due_q == '0 && f_aw_due_q == '0 && f_b_due_q == '0
                && f_w_due_q == '0 && f_in_due_q == '0);
            cover (f_done_due_q == 8'd1 && done_valid == Clients'(2) && !any_job);
            cover (done_valid != '0 && done_resp == 2'b11 && f_job_q && f_bytes_q == 8'd33);
            cover (m_axi_wvalid && f_job_q && f_w_q == '0 && f_wanted_q && f_spot == 8'd9);
        end
    end
