// No completion is lost or doubled, and they stay in order: those of the engine carry numbers, and
// so the entries written to memory and the descriptors retired count up without a gap.  One queue,
// whose ring never wraps in the depth looked at.  The DMA answers each job once, after its data.

    localparam int FBeats = DataW < 128 ? 128 / DataW : 1;

    logic [4:0] f_pushed_q = '0, f_retired_q = '0;
    logic [4:0] f_given_q = '0, f_written_q = '0;  // entries in jobs, entries whose data is out
    logic [4:0] f_jobs_q = '0, f_done_q = '0;
    logic [4:0] f_data_q = '0, f_resp_q = '0;      // with data: pushed, answered
    logic [4:0] f_ends_q [16];                     // entries up to the end of each job
    logic [CountW-1:0] f_counts_q [16];            // and in it
    logic       f_beat_q = 1'b0, f_drop_q = 1'b0, f_past_q = 1'b0;
    logic       f_told_q = 1'b0;                   // one retired a clock ago that tells of an error

    always_ff @(posedge clk) begin
        f_past_q <= !rst;
        f_told_q <= !rst && retire[0] && !drop_q
            && done_status >= nic_regs_pkg::CPL_STATUS_DATA_SLVERR
            && done_status <= nic_regs_pkg::CPL_STATUS_DESC_DECERR;
        if (rst) begin
            f_pushed_q  <= '0;
            f_retired_q <= '0;
            f_given_q   <= '0;
            f_written_q <= '0;
            f_jobs_q    <= '0;
            f_done_q    <= '0;
            f_data_q    <= '0;
            f_resp_q    <= '0;
            f_beat_q    <= 1'b0;
            f_drop_q    <= 1'b0;
        end else begin
            f_pushed_q  <= f_pushed_q + 5'(push);
            f_retired_q <= f_retired_q + 5'(retire[0]);
            f_data_q    <= f_data_q + 5'(push && push_has_data);
            f_resp_q    <= f_resp_q + 5'(data_done);
            f_done_q    <= f_done_q + 5'(done_valid);
            f_drop_q    <= f_drop_q || drop_q;
            if (job_valid && job_ready) begin
                f_jobs_q           <= f_jobs_q + 5'd1;
                f_given_q          <= f_given_q + 5'(job_len >> 4);
                f_ends_q[f_jobs_q[3:0]] <= f_given_q + 5'(job_len >> 4);
                f_counts_q[f_jobs_q[3:0]] <= job_count;
            end
            if (m_axis_tvalid && m_axis_tready) begin
                f_beat_q <= FBeats > 1 && !f_beat_q;
                if (FBeats == 1 || f_beat_q) f_written_q <= f_written_q + 5'd1;
            end

            assume (!(push && push_full));
            assume (!push || push_queue == '0);
            assume (!push || push_entry[15:0] == 16'(f_pushed_q));
            assume (!data_done || f_resp_q != f_data_q);
            assume (!done_valid || done_tag == TagW'({f_counts_q[f_done_q[3:0]], QueueW'(0)}));
            assume (!done_valid || (f_done_q != f_jobs_q
                && f_written_q >= f_ends_q[f_done_q[3:0]]));
            assume (log2_entries[0] == 4'd6 && mask[0] == 16'd63 && cpl_base[0] == '0);
            if (f_past_q && $past(broken[0])) assume (broken[0]);
            assume (f_pushed_q < 5'd15);

            assert (f_retired_q <= f_pushed_q && f_given_q <= f_pushed_q);
            assert (!m_axis_tvalid || f_written_q < f_given_q);
            if (m_axis_tvalid && !f_beat_q) assert (m_axis_tdata[15:0] == 16'(f_written_q));
            if (job_valid && !f_drop_q) assert (job_addr == AddrW'(f_given_q) * 16);
            if (retiring) assert (f_retired_q < f_written_q);
            assert (busy || f_retired_q == f_pushed_q);
            // What stops a ring is told when its completion has retired, and not before.
            assert (told[0] == f_told_q);
            // Once the responses are here, a completion is through every clock, up to the last.
            if (f_done_q == f_jobs_q && f_retired_q != f_given_q && !f_drop_q) assert (retire[0]);
            if (!f_drop_q) assert (f_retired_q <= f_written_q);
            cover (job_valid && job_ready && job_len == 16'd64);
            cover (f_retired_q == 5'd3 && !busy && f_jobs_q == 5'd2);
            cover (drop_q && f_retired_q == 5'd1);
            cover (told[0] && f_retired_q == 5'd2
                && told_error == nic_regs_pkg::QUEUE_ERROR_DATA_DECERR);
        end
    end
