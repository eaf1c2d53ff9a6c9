// AXI4 (IHI 0022) on AR and R: valid stays, unchanged, until ready (A3.2.1), no burst crosses 4
// KiB, at most MaxBursts lack their last beat.  Of a job, whichever is followed: its bursts lie one
// behind the other and cover it, its bytes come as one packet, from lane 0, with no other byte,
// with its client and tag, and with the worst response.  Nothing is under way when `busy` is low.
// The slave answers the bursts in order, each with its beats.

    // ---- bursts

    localparam int FBlock = MaxBurstBytes - 1, FLane = BeatBytes - 1;
    logic       f_past_q = 1'b0, f_ar_waits_q = 1'b0, f_ar_new, f_ar_taken, f_r_beat, f_out_beat;
    logic [7:0] f_shown_q = '0;              // shown on AR before, last beat not accepted on R
    logic [7:0] f_asked_q = '0;              // accepted on AR, last beat not accepted on R
    logic [7:0] f_lens_q [4];                // ARLEN of these, the oldest first
    logic [7:0] f_beats_q = '0;              // accepted of the oldest

    assign f_ar_new   = m_axi_arvalid && !f_ar_waits_q;
    assign f_ar_taken = m_axi_arvalid && m_axi_arready;
    assign f_r_beat   = m_axi_rvalid && m_axi_rready;
    assign f_out_beat = m_axis_tvalid && m_axis_tready;

    // ---- one job, followed, and one place in its packet

    (* anyseq *) logic f_mark;
    (* anyconst *) logic [7:0] f_spot;         // a byte lane, counted from its first beat
    logic [7:0] f_ar_due_q = '0, f_r_due_q = '0, f_out_due_q = '0;  // bursts, beats, beats
    logic [7:0] f_len8, f_bursts, f_r_beats, f_out_beats;  // of the job that is taken
    logic       f_job_q = 1'b0;
    logic [AddrW-1:0]   f_addr_q;
    logic [7:0]         f_bytes_q;
    logic [ClientW-1:0] f_client_q;
    logic [TagW-1:0]    f_tag_q;
    logic [7:0] f_ar_q, f_r_q, f_out_q;              // due before it
    logic [7:0] f_ar_left_q, f_r_left_q, f_out_left_q;  // of it, due
    logic [7:0] f_room_q;                            // beats not yet asked for
    logic [7:0] f_spot_r_q, f_spot_out_q;            // beats of the job before its spot's
    logic [BeatW-1:0] f_r_lane_q;
    logic       f_seen_q;
    logic [7:0] f_value_q;
    logic [1:0] f_resp, f_spot_resp_q, f_worst_q;

    assign f_len8      = 8'(job_len[client]);
    assign f_bursts    = (((8'(addr) & 8'(FBlock)) + f_len8 - 8'd1) >> $clog2(MaxBurstBytes))
        + 8'd1;
    assign f_r_beats   = (((8'(addr) & 8'(FLane)) + f_len8 - 8'd1) >> BeatW) + 8'd1;
    assign f_out_beats = ((f_len8 - 8'd1) >> BeatW) + 8'd1;
    assign f_resp      = m_axi_rresp[1] ? m_axi_rresp : 2'b00;

    always_ff @(posedge clk) begin
        f_past_q     <= !rst;
        f_ar_waits_q <= m_axi_arvalid && !m_axi_arready;
        f_shown_q    <= f_shown_q + 8'(f_ar_new) - 8'(f_r_beat && m_axi_rlast);
        f_asked_q    <= f_asked_q + 8'(f_ar_taken) - 8'(f_r_beat && m_axi_rlast);
        if (f_r_beat) f_beats_q <= m_axi_rlast ? '0 : f_beats_q + 8'd1;
        for (int i = 0; i < 4; i++) begin
            if (f_r_beat && m_axi_rlast && i < 3) f_lens_q[i] <= f_lens_q[(i + 1) % 4];
            if (f_ar_taken && f_asked_q - 8'(f_r_beat && m_axi_rlast) == 8'(i))
                f_lens_q[i] <= m_axi_arlen;
        end

        f_ar_due_q  <= f_ar_due_q + (take_job ? f_bursts : '0) - 8'(f_ar_new);
        f_r_due_q   <= f_r_due_q + (take_job ? f_r_beats : '0) - 8'(f_r_beat);
        f_out_due_q <= f_out_due_q + (take_job ? f_out_beats : '0) - 8'(f_out_beat);

        if (!f_job_q && take_job && f_mark) begin
            f_job_q      <= 1'b1;
            f_addr_q     <= addr;
            f_bytes_q    <= f_len8;
            f_client_q   <= client;
            f_tag_q      <= job_tag[client];
            f_ar_q       <= f_ar_due_q - 8'(f_ar_new);
            f_r_q        <= f_r_due_q - 8'(f_r_beat);
            f_out_q      <= f_out_due_q - 8'(f_out_beat);
            f_ar_left_q  <= f_bursts;
            f_r_left_q   <= f_r_beats;
            f_out_left_q <= f_out_beats;
            f_room_q     <= f_r_beats;
            f_spot_out_q <= f_spot >> BeatW;
            f_spot_r_q   <= ((8'(addr) & 8'(FLane)) + f_spot) >> BeatW;
            f_r_lane_q   <= BeatW'(8'(addr) + f_spot);
            f_seen_q     <= 1'b0;
            f_worst_q    <= '0;
            assume (f_spot < (f_out_beats << BeatW));
        end
        if (f_job_q) begin
            if (f_ar_new) begin
                if (f_ar_q != '0) f_ar_q <= f_ar_q - 8'd1;
                else if (f_ar_left_q != '0) begin
                    f_ar_left_q <= f_ar_left_q - 8'd1;
                    f_room_q    <= f_room_q - m_axi_arlen - 8'd1;
                    f_addr_q    <= (f_addr_q & ~(AddrW'(FBlock))) + AddrW'(MaxBurstBytes);
                end
            end
            if (f_r_beat) begin
                if (f_r_q != '0) f_r_q <= f_r_q - 8'd1;
                else if (f_r_left_q != '0) begin
                    f_r_left_q <= f_r_left_q - 8'd1;
                    f_spot_r_q <= f_spot_r_q - 8'd1;
                    if (f_resp > f_worst_q) f_worst_q <= f_resp;
                    if (f_spot_r_q == '0) begin
                        f_seen_q      <= 1'b1;
                        f_value_q     <= m_axi_rdata[8*f_r_lane_q +: 8];
                        f_spot_resp_q <= f_resp;
                    end
                end
            end
            if (f_out_beat) begin
                if (f_out_q != '0) f_out_q <= f_out_q - 8'd1;
                else begin
                    f_out_left_q <= f_out_left_q - 8'd1;
                    f_spot_out_q <= f_spot_out_q - 8'd1;
                    if (f_out_left_q == 8'd1) f_job_q <= 1'b0;
                end
            end
        end
        if (rst) begin
            f_ar_waits_q <= 1'b0;
            f_shown_q    <= '0;
            f_asked_q    <= '0;
            f_beats_q    <= '0;
            f_ar_due_q   <= '0;
            f_r_due_q    <= '0;
            f_out_due_q  <= '0;
            f_job_q      <= 1'b0;
        end

        // ---- the neighbours keep to their ports' meaning
        for (int i = 0; i < Clients; i++) begin
            assume (!job_valid[i] || (job_len[i] != 16'd0 && job_len[i] < 16'd64));
            if (f_past_q && $past(job_valid[i] && !job_ready[i]))
                assume (job_valid[i] && $stable(job_addr[i]) && $stable(job_len[i])
                    && $stable(job_tag[i]));
        end
        assume (!m_axi_rvalid || f_asked_q != '0);
        assume (!m_axi_rvalid || m_axi_rlast == (f_beats_q == f_lens_q[0]));
        assume (!m_axi_rvalid || m_axi_rid == '0);
        if (f_past_q && $past(m_axi_rvalid && !m_axi_rready))
            assume (m_axi_rvalid && $stable(m_axi_rdata) && $stable(m_axi_rresp));

        if (!rst) begin
            if (f_past_q && $past(m_axi_arvalid && !m_axi_arready))
                assert (m_axi_arvalid && $stable(m_axi_araddr) && $stable(m_axi_arlen));
            if (f_past_q && $past(m_axis_tvalid && !m_axis_tready))
                assert (m_axis_tvalid && $stable(m_axis_tdata) && $stable(m_axis_tkeep)
                    && $stable(m_axis_tlast) && $stable(m_axis_ttag) && $stable(m_axis_tclient)
                    && $stable(m_axis_tresp) && $stable(m_axis_tresp_job));
            assert (!m_axi_arvalid || 17'(m_axi_araddr[11:0] & ~(12'(FLane)))
                + ((17'(m_axi_arlen) + 17'd1) << BeatW) <= 17'd4096);
            assert (f_shown_q + 8'(f_ar_new) <= 8'(MaxBursts));
            if (f_job_q) begin
                if (f_ar_new && f_ar_q == '0 && f_ar_left_q != '0)
                    assert (m_axi_araddr == f_addr_q && m_axi_arlen < f_room_q
                        && (f_ar_left_q != 8'd1 || m_axi_arlen + 8'd1 == f_room_q));
                if (m_axis_tvalid && f_out_q == '0) begin
                    assert (m_axis_tlast == (f_out_left_q == 8'd1));
                    assert (m_axis_tclient == f_client_q && m_axis_ttag == f_tag_q);
                    if (m_axis_tlast) assert (f_r_left_q == '0 && m_axis_tresp_job == f_worst_q);
                    if (f_spot_out_q == '0) begin
                        assert (m_axis_tkeep[f_spot[BeatW-1:0]] == (f_spot < f_bytes_q));
                        if (f_spot < f_bytes_q) assert (f_seen_q
                            && m_axis_tdata[8*f_spot[BeatW-1:0] +: 8] == f_value_q
                            && m_axis_tresp >= f_spot_resp_q);
                    end
                end
            end
            assert (!m_axis_tvalid || f_out_due_q != '0);
            if (!busy) assert (f_ar_due_q == '0 && f_r_due_q == '0 && f_out_due_q == '0
                && f_shown_q == '0);
            cover (f_out_due_q == 8'd1 && f_out_beat && m_axis_tclient == ClientW'(1) && f_job_q);
            cover (m_axis_tvalid && f_job_q && f_out_q == '0 && m_axis_tresp_job == 2'b11
                && m_axis_tlast && f_bytes_q == 8'd33);
            cover (m_axis_tvalid && f_job_q && f_out_q == '0 && f_spot_out_q == '0
                && f_spot == 8'd9 && f_bytes_q == 8'd12);
        end
    end
